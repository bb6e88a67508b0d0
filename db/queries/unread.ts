import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import { type Feed, feeds } from '../../domain/event-type.ts';
import { floorOf, isForReader, markedUnread, marks, readAt, type Reader, readers } from './feed-rows.ts';

/** Unread items of one reader by category, as of one instant. */
export interface Unread {
  /** Categories without any are missing. */
  readonly byFeed: ReadonlyMap<Feed, number>;
  /** Greater with every change of any feed or mark that this count can see and an earlier one could not. */
  readonly version: number;
}

/**
 * The snapshot's number of transactions that have ended: whatever a later snapshot sees in addition, it sees because another one ended, also
 * within one millisecond. Nobody has to count changes for it, so changes never wait for each other.
 */
export const snapshotVersion = sql`(select (pg_snapshot_xmax(s.now)::text::bigint - (select count(*) from pg_snapshot_xip(s.now)))::float8
  from pg_current_snapshot() as s (now))`;

/**
 * `unread (count)` of the reader `m` in the category `f`: what has come since the watermark and has no mark, and what is marked as unread
 * below it. However long the history that was read, it is not looked at.
 */
export function unreadOf(organizationId: string, upTo?: string): RawBuilder<unknown> {
  const newer = sql`n.org_id = ${organizationId} and n.feed = f.feed and n.id > floor.id
    ${upTo === undefined ? sql`` : sql`and n.id <= ${upTo}`} and ${readAt} is null`;
  return sql`(
    select count(*)::int as count from (
      select 1 from notification n ${marks} where ${newer} and n.user_id = m.user_id
      union all
      select 1 from notification n ${marks} where ${newer} and ${isForReader}
      union all
      select 1 from ${markedUnread(organizationId)} ${upTo === undefined ? sql`` : sql`and r.notification_id <= ${upTo}`}
    ) each_unread
  ) unread`;
}

/** Counts from rows, for several readers of one organization at one instant. */
export async function countUnreadOf(em: EntityManager, organizationId: string, userIds: readonly string[]): Promise<Map<string, Unread>> {
  const { rows } = await sql<{ userId: string; feed: Feed; count: number; version: number }>`
    select m.user_id as "userId", f.feed, unread.count, ${snapshotVersion} as version
      from ${readers({ organizationId, userIds })}
        cross join unnest(${[...feeds]}::text[]) as f (feed)
        cross join lateral ${floorOf(organizationId)}
        cross join lateral ${unreadOf(organizationId)}`.execute(em.getKysely());
  const counts = new Map<string, { byFeed: Map<Feed, number>; version: number }>();
  for (const { userId, feed, count, version } of rows) {
    let unread = counts.get(userId);
    if (unread === undefined) counts.set(userId, (unread = { byFeed: new Map(), version }));
    if (count > 0) unread.byFeed.set(feed, count);
  }
  return counts;
}

export async function countUnread(em: EntityManager, { organizationId, userId }: Reader): Promise<Unread> {
  return (await countUnreadOf(em, organizationId, [userId])).get(userId)!;
}
