import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { inOrganization } from '../tenant.ts';
import { deleteDeliveries } from './retention.ts';

const batch = 5_000;

/**
 * Deletes the ended deliveries of a deleted destination with their attempts, and the bodies that only they could send, a batch a
 * transaction. What a crash or an attempt under way leaves behind is deleted by the retention sweep.
 */
export async function purgeDeliveries(orm: MikroORM, organizationId: string, destinationId: string): Promise<void> {
  let deleted: number;
  do {
    ({ deleted } = await inOrganization(orm, organizationId, async (em) =>
      deleteDeliveries(
        em,
        sql`select org_id, id, event_id from delivery
          where org_id = ${organizationId} and destination_id = ${destinationId} and finished_at is not null
          limit ${batch} for update skip locked`,
      ),
    ));
  } while (deleted === batch);
}
