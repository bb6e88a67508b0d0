import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';

/**
 * Deletes finished, unclaimed deliveries with their attempts, oldest first, for all organizations; run as `tocsin_relay`.
 * @returns how many were deleted: fewer than `limit` means that no more are old enough.
 */
export async function deleteFinishedDeliveries(em: EntityManager, { before, limit }: { before: Date; limit: number }): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    with old as (
      select org_id, id from delivery where finished_at < ${before} and finished_at is not null and claimed_by is null
        order by finished_at limit ${limit} for update skip locked
    ),
    attempts as (delete from attempt a using old where a.org_id = old.org_id and a.delivery_id = old.id),
    deleted as (delete from delivery d using old where d.org_id = old.org_id and d.id = old.id returning 1)
    select count(*)::int as count from deleted
  `.execute(em.getKysely());
  return rows[0]!.count;
}

/** Empties rendered bodies that no delivery can send any more. @returns how many. */
export async function dropUnneededBodies(em: EntityManager, { before, limit }: { before: Date; limit: number }): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    with unneeded as (
      select e.org_id, e.id from event e
        where e.body_kept and e.accepted_at < ${before}
          and not exists (select from delivery d where d.org_id = e.org_id and d.event_id = e.id)
        order by e.accepted_at limit ${limit} for update skip locked
    ),
    emptied as (
      update event e set body = '', body_kept = false from unneeded u where e.org_id = u.org_id and e.id = u.id returning 1
    )
    select count(*)::int as count from emptied
  `.execute(em.getKysely());
  return rows[0]!.count;
}
