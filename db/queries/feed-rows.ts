import { type RawBuilder, sql } from 'kysely';
import type { Feed } from '../../domain/event-type.ts';
import type { Severity } from '../../domain/severity.ts';

/** Whose feed it is. UUIDs. */
export interface Reader {
  readonly organizationId: string;
  readonly userId: string;
}

export interface FeedItem {
  readonly id: string;
  /** Null: every member's, or every member's of a role. */
  readonly userId: string | null;
  readonly eventId: string | null;
  readonly escalationId: string | null;
  readonly type: string;
  readonly feed: Feed;
  readonly severity: Severity;
  readonly projectId: string | null;
  readonly subject: string;
  readonly message: string | null;
  readonly createdAt: Date;
  /** By this reader. */
  readonly readAt: Date | null;
}

export type FeedRow = Omit<FeedItem, 'createdAt' | 'readAt'> & { createdAtMs: number; readAtMs: number | null };

export function toItem({ createdAtMs, readAtMs, ...rest }: FeedRow): FeedItem {
  return { ...rest, createdAt: new Date(createdAtMs), readAt: readAtMs === null ? null : new Date(readAtMs) };
}

/** Of `notification n`; its mark is in `n.read_at`. */
export const itemColumns = sql`n.id, n.user_id as "userId", n.event_id as "eventId", n.escalation_id as "escalationId", n.type, n.feed,
  n.severity, n.project_id as "projectId", n.subject, n.message, ${epochMs(sql`n.created_at`)} as "createdAtMs",
  ${epochMs(sql`n.read_at`)} as "readAtMs"`;

/** Unix milliseconds of a timestamp. */
export function epochMs(at: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`(extract(epoch from ${at}) * 1000)::float8`;
}

/**
 * Readers `m (user_id, role, since)`: an item for everybody is theirs when its id is at least `since`, that is, when it is newer than their
 * membership. Whoever is no member, such as a service account, has no role and reads from the beginning.
 */
export function readers({ organizationId, userIds }: { organizationId: string; userIds: readonly string[] }): RawBuilder<unknown> {
  return sql`(
    select u.id as user_id, m.role, coalesce(first_id_at(m.created_at), ${firstOfAll}) as since
      from unnest(${[...userIds]}::uuid[]) as u (id) left join member m on m.org_id = ${organizationId} and m.id = u.id
  ) m`;
}

const firstOfAll = sql`'00000000-0000-0000-0000-000000000000'::uuid`;

/** Whether an item for everybody is for the reader `m`. */
export const isForReader = sql`n.user_id is null and n.id >= m.since and (n.audience_role is null or n.audience_role = m.role)
  and (n.shown_until is null or n.shown_until > now())`;

/**
 * The marks `r` and `w` on the items `n` of the reader `m`. A mark on the item itself goes before any watermark; of several watermarks
 * the first tells when it was read. See the migration for what a watermark covers.
 */
export const marks = sql`
  left join notification_read r on r.org_id = n.org_id and r.user_id = m.user_id and r.notification_id = n.id
  left join lateral (
    select w.marked_at from notification_watermark w
      where w.org_id = n.org_id and w.user_id = m.user_id and w.feed = n.feed and w.up_to >= n.id
        and (n.id <= w.settled or n.written is null or pg_visible_in_snapshot(n.written, w.seen))
      order by w.up_to limit 1
  ) w on r.notification_id is null`;

/** When the reader read the item; null: has not. */
export const readAt = sql`case when r.notification_id is null then w.marked_at else r.read_at end`;

/** `floor.id`: up to there every item of the reader `m` in the category `f.feed` is read, but for those marked otherwise. Worked out once for each, not for each item. */
export function floorOf(organizationId: string): RawBuilder<unknown> {
  return sql`(
    select coalesce((
      select w.settled from notification_watermark w
        where w.org_id = ${organizationId} and w.user_id = m.user_id and w.feed = f.feed order by w.settled desc limit 1
    ), ${firstOfAll}) as id offset 0
  ) floor`;
}

/**
 * `r` and `n`: what the reader `m` has marked as unread at or below the watermark, in the category `f.feed`. From the marks to the items,
 * which the planner would not choose while it has not seen how few marks there are: hence the subquery that it cannot take apart.
 */
export function markedUnread(organizationId: string): RawBuilder<unknown> {
  return sql`notification_read r
    cross join lateral (select * from notification n where n.org_id = r.org_id and n.id = r.notification_id offset 0) n
    where r.org_id = ${organizationId} and r.user_id = m.user_id and r.read_at is null and r.notification_id <= floor.id
      and n.feed = f.feed and (n.user_id = m.user_id or (${isForReader}))`;
}
