import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import type { Feed } from '../../domain/event-type.ts';
import { firstIdAt, newId } from '../../domain/id.ts';
import { floorOf, isForReader, marks, readAt, type Reader, readers } from './feed-rows.ts';
import { listNotifications } from './notification-feed.ts';
import { unreadOf } from './unread.ts';

/** A transaction that writes items lasts a few seconds at most; what is older than this has been committed or never will be. */
const settledAfterMs = 60_000;

/** Marks those of the items that are in the reader's feed and unread: marking twice keeps the first time. @returns their ids */
export async function markRead(em: EntityManager, reader: Reader, ids: readonly string[], now: Date): Promise<string[]> {
  return mark(em, reader, ids, { at: sql`${now}::timestamptz`, which: sql`${readAt} is null` });
}

/** Marks those of the items that are in the reader's feed and read. @returns their ids */
export async function markUnread(em: EntityManager, reader: Reader, ids: readonly string[]): Promise<string[]> {
  return mark(em, reader, ids, { at: sql`null::timestamptz`, which: sql`${readAt} is not null` });
}

async function mark(
  em: EntityManager,
  { organizationId, userId }: Reader,
  ids: readonly string[],
  { at, which }: Record<'at' | 'which', RawBuilder<unknown>>,
): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    insert into notification_read as kept (org_id, user_id, notification_id, read_at)
      select n.org_id, m.user_id, n.id, ${at}
        from ${readers({ organizationId, userIds: [userId] })} cross join notification n ${marks}
        where n.org_id = ${organizationId} and n.id = any(${[...ids]}::uuid[]) and (n.user_id = m.user_id or (${isForReader})) and ${which}
        order by n.id
      on conflict (org_id, user_id, notification_id) do update set read_at = excluded.read_at, written = excluded.written
        where (kept.read_at is null) <> (excluded.read_at is null)
      returning notification_id as id`.execute(em.getKysely());
  return rows.map(({ id }) => id);
}

/**
 * Marks every unread item up to `upTo` (an item's id; undefined = the newest there is): one row for each category that has any, however
 * many they are. By id and not by time, because several items may be of one millisecond and the caller saw only some of them.
 * @returns how many were marked
 */
export async function markAllRead(
  em: EntityManager,
  reader: Reader,
  { upTo, feeds, now }: { upTo: string | undefined; feeds: readonly Feed[]; now: Date },
): Promise<number> {
  const newest = upTo ?? (await listNotifications(em, reader, { category: feeds, take: 1 }))[0]?.id;
  if (newest === undefined) return 0;
  const { organizationId, userId } = reader;
  const { rows } = await sql<{ marked: number }>`
    with unread as materialized (
      select f.feed, unread.count
        from ${readers({ organizationId, userIds: [userId] })}
          cross join unnest(${[...feeds]}::text[]) as f (feed)
          cross join lateral ${floorOf(organizationId)}
          cross join lateral ${unreadOf(organizationId, newest)}
        where unread.count > 0
    ),
    marked as (
      insert into notification_watermark (org_id, user_id, feed, id, up_to, settled, seen, marked_at)
        select ${organizationId}, ${userId}, feed, ${newId(now.getTime())}, ${newest}::uuid,
            least(${newest}::uuid, ${firstIdAt(now.getTime() - settledAfterMs)}::uuid), pg_current_snapshot(), ${now}
          from unread
    ),
    -- What was marked as unread before is read now.
    overruled as (
      delete from notification_read r using notification n, unread
        where r.org_id = ${organizationId} and r.user_id = ${userId} and r.read_at is null and r.notification_id <= ${newest}
          and n.org_id = r.org_id and n.id = r.notification_id and n.feed = unread.feed
    )
    select coalesce(sum(count), 0)::int as marked from unread`.execute(em.getKysely());
  return rows[0]!.marked;
}
