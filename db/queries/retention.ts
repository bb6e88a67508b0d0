import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';

/**
 * Deletes finished, unclaimed deliveries with their attempts, oldest first, for all organizations, and the rendered bodies that none is left
 * to send; run as `tocsin_relay`.
 * @returns how many were deleted: fewer than `limit` means that no more are old enough.
 */
export async function deleteFinishedDeliveries(
  em: EntityManager,
  { before, limit }: { before: Date; limit: number },
): Promise<{ deleted: number; emptied: number }> {
  const { rows } = await sql<{ deleted: number; emptied: number }>`
    with old as (
      select org_id, id, event_id from delivery where finished_at < ${before} and finished_at is not null and claimed_by is null
        order by finished_at limit ${limit} for update skip locked
    ),
    attempts as (delete from attempt a using old where a.org_id = old.org_id and a.delivery_id = old.id),
    deleted as (delete from delivery d using old where d.org_id = old.org_id and d.id = old.id returning 1),
    emptied as (
      update event e set body = null from (select distinct org_id, event_id from old) as o
        where e.org_id = o.org_id and e.id = o.event_id and e.body is not null
          and not exists (
            select from decision c join delivery d on d.org_id = c.org_id and d.id = c.delivery_id
              where c.org_id = e.org_id and c.event_id = e.id and not exists (select from old where old.org_id = d.org_id and old.id = d.id))
        returning 1
    )
    select (select count(*) from deleted)::int as deleted, (select count(*) from emptied)::int as emptied
  `.execute(em.getKysely());
  return rows[0]!;
}
