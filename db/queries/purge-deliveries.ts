import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { inOrganization } from '../tenant.ts';

const batch = 5_000;

/**
 * Deletes the ended deliveries of a deleted destination with their attempts, a batch a transaction. What a crash or an attempt under
 * way leaves behind is deleted by the retention sweep.
 */
export async function purgeDeliveries(orm: MikroORM, organizationId: string, destinationId: string): Promise<void> {
  let deleted: number;
  do {
    deleted = await inOrganization(orm, organizationId, async (em) => {
      const { rows } = await sql<{ count: number }>`
        with doomed as (
          select id from delivery
          where org_id = ${organizationId} and destination_id = ${destinationId} and finished_at is not null
          limit ${batch} for update skip locked
        ), attempts as (
          delete from attempt where org_id = ${organizationId} and delivery_id in (select id from doomed)
        ), gone as (
          delete from delivery where org_id = ${organizationId} and id in (select id from doomed) returning 1
        )
        select count(*)::int as count from gone`.execute(em.getKysely());
      return rows[0]!.count;
    });
  } while (deleted === batch);
}
