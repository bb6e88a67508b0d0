import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import type { Feed } from '../../domain/event-type.ts';
import { firstIdAt } from '../../domain/id.ts';
import {
  epochMs,
  type FeedItem,
  type FeedRow,
  isForReader,
  itemColumns,
  marks,
  readAt,
  type Reader,
  readers,
  toItem,
} from './feed-rows.ts';

/** How far an organization's feeds have been read. */
export interface FeedPoint {
  /** The database's time, Unix ms. */
  readonly at: number;
  /** Every transaction with a lower number had ended. Decimal. */
  readonly since: string;
}

/** A mark on single items; `readAt` null: marked as unread. */
export interface ChangedMark {
  readonly userId: string;
  readonly id: string;
  readonly readAt: Date | null;
}

/** Everything unread up to an item was marked as read. */
export interface ChangedWatermark {
  readonly userId: string;
  readonly feed: Feed;
  readonly upTo: string;
  readonly markedAt: Date;
}

/** What somebody else's item says to whom it may not be shown is nothing: `audienceRole` has to be respected by whoever passes it on. */
export type ChangedItem = Omit<FeedItem, 'readAt'> & { readonly audienceRole: string | null };

export interface FeedChanges {
  readonly point: FeedPoint;
  /** Opaque; for the next question. */
  readonly snapshot: string;
  /** In the order of their ids. */
  readonly items: readonly ChangedItem[];
  readonly marks: readonly ChangedMark[];
  readonly watermarks: readonly ChangedWatermark[];
}

/** After a restore, transactions are numbered anew: what was written long ago is no news, whatever its number. */
const newsMs = 3_600_000;

/**
 * What the snapshot sees now and `snapshot` did not: each change exactly once, however long its transaction took and in whatever order they
 * committed. Without one: nothing, only where to begin.
 */
export async function readFeedChanges(em: EntityManager, organizationId: string, snapshot: string | undefined): Promise<FeedChanges> {
  const db = em.getKysely();
  const { rows: now } = await sql<{ snapshot: string; since: string; at: number }>`
    select pg_current_snapshot()::text as snapshot, pg_snapshot_xmin(pg_current_snapshot())::text as since, floor(${epochMs(sql`clock_timestamp()`)}) as at
  `.execute(db);
  const { snapshot: current, since, at } = now[0]!;
  const none = { point: { at, since }, snapshot: current, items: [], marks: [], watermarks: [] };
  if (snapshot === undefined || snapshot === current) return none;
  const isNew = sql`written >= pg_snapshot_xmin(${snapshot}::pg_snapshot) and written < pg_snapshot_xmax(${current}::pg_snapshot)
    and not pg_visible_in_snapshot(written, ${snapshot}::pg_snapshot) and pg_visible_in_snapshot(written, ${current}::pg_snapshot)
    and org_id = ${organizationId}`;
  const { rows: items } = await sql<FeedRow & { audienceRole: string | null }>`
    select ${itemColumns}, n.audience_role as "audienceRole"
      from (select *, null::timestamptz as read_at from notification where ${isNew} and id >= ${firstIdAt(at - newsMs)}::uuid) n
      order by n.id`.execute(db);
  const { rows: changedMarks } = await sql<{ userId: string; id: string; readAtMs: number | null }>`
    select user_id as "userId", notification_id as id, ${epochMs(sql`read_at`)} as "readAtMs" from notification_read where ${isNew}
      order by user_id, notification_id`.execute(db);
  const { rows: watermarks } = await sql<{ userId: string; feed: Feed; upTo: string; markedAtMs: number }>`
    select user_id as "userId", feed, up_to as "upTo", ${epochMs(sql`marked_at`)} as "markedAtMs" from notification_watermark where ${isNew}
      order by user_id, up_to`.execute(db);
  return {
    ...none,
    items: items.map(({ audienceRole, ...row }) => ({ ...toItem(row), audienceRole })),
    marks: changedMarks.map(({ userId, id, readAtMs }) => ({ userId, id, readAt: readAtMs === null ? null : new Date(readAtMs) })),
    watermarks: watermarks.map(({ markedAtMs, ...rest }) => ({ ...rest, markedAt: new Date(markedAtMs) })),
  };
}

export interface Replay {
  /** Oldest first, with the reader's marks as they are. */
  readonly items: readonly FeedItem[];
  readonly marks: readonly ChangedMark[];
  readonly watermarks: readonly ChangedWatermark[];
}

/** Transactions that write items last at most this long, so one that ended after the point began no earlier. */
const overlapMs = 10_000;

/**
 * What a reader may have missed since the point, which repeats some of what it knows. @returns undefined: more than `most`
 */
export async function readReplay(
  em: EntityManager,
  { organizationId, userId }: Reader,
  { point, most }: { point: FeedPoint; most: number },
): Promise<Replay | undefined> {
  const db = em.getKysely();
  const from = firstIdAt(point.at - overlapMs);
  const { rows: items } = await sql<FeedRow>`
    select ${itemColumns} from ${readers({ organizationId, userIds: [userId] })}
      cross join lateral (
        select n.*, ${readAt} as read_at from notification n ${marks}
          where n.org_id = ${organizationId} and n.id >= ${from}::uuid and (n.user_id = ${userId} or (${isForReader}))
          order by n.id limit ${most + 1}
      ) n order by n.id`.execute(db);
  const mine = sql`org_id = ${organizationId} and user_id = ${userId} and written >= ${point.since}::text::xid8`;
  const { rows: changedMarks } = await sql<{ userId: string; id: string; readAtMs: number | null }>`
    select user_id as "userId", notification_id as id, ${epochMs(sql`read_at`)} as "readAtMs" from notification_read where ${mine}
      order by notification_id limit ${most + 1}`.execute(db);
  const { rows: watermarks } = await sql<{ userId: string; feed: Feed; upTo: string; markedAtMs: number }>`
    select user_id as "userId", feed, up_to as "upTo", ${epochMs(sql`marked_at`)} as "markedAtMs" from notification_watermark where ${mine}
      order by up_to limit ${most + 1}`.execute(db);
  if (Math.max(items.length, changedMarks.length, watermarks.length) > most) return undefined;
  return {
    items: items.map(toItem),
    marks: changedMarks.map(({ userId: user, id, readAtMs }) => ({
      userId: user,
      id,
      readAt: readAtMs === null ? null : new Date(readAtMs),
    })),
    watermarks: watermarks.map(({ markedAtMs, ...rest }) => ({ ...rest, markedAt: new Date(markedAtMs) })),
  };
}
