import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import { firstIdAt } from '../../domain/id.ts';

export interface DeletedDeliveries {
  deleted: number;
  /** Events whose rendered body went with their last delivery. */
  emptied: number;
}

/**
 * Deletes finished, unclaimed deliveries with their attempts, oldest first, for all organizations, and the rendered bodies that none is left
 * to send; run as `tocsin_relay`.
 * @returns how many were deleted: fewer than `limit` means that no more are old enough.
 */
export async function deleteFinishedDeliveries(
  em: EntityManager,
  { before, limit }: { before: Date; limit: number },
): Promise<DeletedDeliveries> {
  return em.transactional(async (transaction) =>
    deleteDeliveries(
      transaction,
      sql`select org_id, id, event_id from delivery where finished_at < ${before} and finished_at is not null and claimed_by is null
        order by finished_at limit ${limit} for update skip locked`,
    ),
  );
}

/** How long an item stays in the feed. */
const feedKeptMs = 90 * 86_400_000;

/**
 * What is of no use any more, with the column by which it ages and how long it is of use after that instant (null: until `before`). An id
 * says when it was made.
 */
const leftovers = [
  { table: 'link_token', age: 'expires_at', keptMs: null },
  { table: 'escalation_command', age: 'created_at', keptMs: null },
  { table: 'watchdog_alarm', age: 'due_at', keptMs: null },
  // What merely occurred is compared with for ten minutes.
  { table: 'occurrence', age: 'first_at', keptMs: 3_600_000 },
  { table: 'notification', age: 'shown_until', keptMs: 0 },
  { table: 'notification', age: 'created_at', keptMs: feedKeptMs },
  { table: 'notification_read', age: 'notification_id', keptMs: feedKeptMs },
  { table: 'notification_watermark', age: 'up_to', keptMs: feedKeptMs },
  { table: 'stream_ticket', age: 'expires_at', keptMs: 0 },
] as const;

const agedById: ReadonlySet<string> = new Set(['notification_id', 'up_to']);

/**
 * Deletes rows that only served something that is long over, for all organizations; run as `tocsin_relay`.
 * @returns how many: none means that no more are old enough
 */
export async function deleteLeftovers(
  em: EntityManager,
  { before, now, limit }: { before: Date; now: Date; limit: number },
): Promise<number> {
  let deleted = 0;
  for (const { table, age, keptMs } of leftovers) {
    const instant = keptMs === null ? before : new Date(now.getTime() - keptMs);
    const until = agedById.has(age) ? sql`${firstIdAt(instant.getTime())}::uuid` : sql`${instant}`;
    const { numAffectedRows = 0n } = await sql`delete from ${sql.table(table)} where ctid = any(array(
      select ctid from ${sql.table(table)} where ${sql.ref(age)} < ${until} limit ${limit} for update skip locked))`.execute(
      em.getKysely(),
    );
    deleted += Number(numAffectedRows);
  }
  return deleted;
}

/**
 * Deletes the deliveries that `doomed` selects (org_id, id, event_id) with their attempts, and the rendered bodies that none is left to send.
 * MUST run in a transaction. These follow one another: two at once that delete the last two deliveries of an event would each still see the
 * other's, and its body would stay for ever.
 */
export async function deleteDeliveries(em: EntityManager, doomed: RawBuilder<unknown>): Promise<DeletedDeliveries> {
  const db = em.getKysely();
  // A statement of its own: what the next one sees is decided when it begins, and that must be after the wait.
  await sql`select pg_advisory_xact_lock(hashtextextended('tocsin.delete-deliveries', 0))`.execute(db);
  const { rows } = await sql<DeletedDeliveries>`
    with doomed as (${doomed}),
    attempts as (delete from attempt a using doomed where a.org_id = doomed.org_id and a.delivery_id = doomed.id),
    deleted as (delete from delivery d using doomed where d.org_id = doomed.org_id and d.id = doomed.id returning 1),
    emptied as (
      update event e set body = null from (select distinct org_id, event_id from doomed) as o
        where e.org_id = o.org_id and e.id = o.event_id and e.body is not null
          and not exists (
            select from decision c join delivery d on d.org_id = c.org_id and d.id = c.delivery_id
              where c.org_id = e.org_id and c.event_id = e.id
                and not exists (select from doomed where doomed.org_id = d.org_id and doomed.id = d.id))
        returning 1
    )
    select (select count(*) from deleted)::int as deleted, (select count(*) from emptied)::int as emptied
  `.execute(db);
  return rows[0]!;
}
