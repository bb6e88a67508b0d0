import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import type { RawBuilder } from 'kysely';
import type { Feed } from '../../domain/event-type.ts';
import type { Severity } from '../../domain/severity.ts';

/** Whose feed it is. UUIDs. */
export interface Reader {
  readonly organizationId: string;
  readonly userId: string;
}

export interface FeedItem {
  readonly id: string;
  /** Null: every member's. */
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

type FeedRow = Omit<FeedItem, 'createdAt' | 'readAt'> & { createdAtMs: number; readAtMs: number | null };

/** The reader's own items and everybody's since the reader became a member, each with the reader's mark. */
function feedOf({ organizationId, userId }: Reader): RawBuilder<unknown> {
  return sql`notification n
    left join notification_read r on r.org_id = n.org_id and r.user_id = ${userId} and r.notification_id = n.id
    left join member m on m.org_id = n.org_id and m.id = ${userId}
    where n.org_id = ${organizationId}
      and (n.user_id = ${userId} or (n.user_id is null and (m.id is null or n.created_at >= m.created_at)))`;
}

const columns = sql`n.id, n.user_id as "userId", n.event_id as "eventId", n.escalation_id as "escalationId", n.type, n.feed, n.severity, n.project_id as "projectId", n.subject,
  n.message, (extract(epoch from n.created_at) * 1000)::float8 as "createdAtMs", (extract(epoch from r.read_at) * 1000)::float8 as "readAtMs"`;

function toItem({ createdAtMs, readAtMs, ...rest }: FeedRow): FeedItem {
  return { ...rest, createdAt: new Date(createdAtMs), readAt: readAtMs === null ? null : new Date(readAtMs) };
}

export interface FeedFilter {
  readonly read?: boolean | undefined;
  readonly category?: readonly Feed[] | undefined;
  /** Only items older than this one. */
  readonly after: string | undefined;
  readonly take: number;
}

/** Newest first. */
export async function listNotifications(
  em: EntityManager,
  reader: Reader,
  { read, category, after, take }: FeedFilter,
): Promise<FeedItem[]> {
  const { rows } = await sql<FeedRow>`select ${columns} from ${feedOf(reader)}
    ${after === undefined ? sql`` : sql`and n.id < ${after}`}
    ${category === undefined ? sql`` : sql`and n.feed = any(${[...category]}::text[])`}
    ${read === undefined ? sql`` : read ? sql`and r.read_at is not null` : sql`and r.read_at is null`}
    order by n.id desc limit ${take}`.execute(em.getKysely());
  return rows.map(toItem);
}

/** An item of the reader's feed; undefined when it is not in it. */
export async function findNotification(em: EntityManager, reader: Reader, id: string): Promise<FeedItem | undefined> {
  const { rows } = await sql<FeedRow>`select ${columns} from ${feedOf(reader)} and n.id = ${id}`.execute(em.getKysely());
  return rows[0] && toItem(rows[0]);
}

/** Unread items by feed, counted from rows. `version` is the time (Unix ms) of the last change of the feed or of its marks. */
export async function countUnread(em: EntityManager, reader: Reader): Promise<{ byFeed: Map<Feed, number>; version: number }> {
  const { rows } = await sql<{ feed: Feed; unread: number; version: number }>`
    select n.feed, (count(*) filter (where r.read_at is null))::int as unread,
      (extract(epoch from greatest(max(n.created_at), max(r.read_at))) * 1000)::float8 as version
    from ${feedOf(reader)} group by n.feed`.execute(em.getKysely());
  return {
    byFeed: new Map(rows.map(({ feed, unread }) => [feed, unread])),
    version: Math.floor(Math.max(0, ...rows.map(({ version }) => version))),
  };
}

/** The item MUST be in the reader's feed. Marking twice keeps the first time. */
export async function markRead(em: EntityManager, { organizationId, userId }: Reader, id: string, now: Date): Promise<void> {
  await sql`insert into notification_read (org_id, user_id, notification_id, read_at) values (${organizationId}, ${userId}, ${id}, ${now})
    on conflict do nothing`.execute(em.getKysely());
}

export async function markUnread(em: EntityManager, { organizationId, userId }: Reader, id: string): Promise<void> {
  await sql`delete from notification_read where org_id = ${organizationId} and user_id = ${userId} and notification_id = ${id}`.execute(
    em.getKysely(),
  );
}

/** Marks every unread item up to `upTo` (an item's id; undefined = all there are). @returns how many were marked */
export async function markAllRead(
  em: EntityManager,
  reader: Reader,
  { upTo, feed, now }: { upTo: string | undefined; feed: Feed | undefined; now: Date },
): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    with marked as (
      insert into notification_read (org_id, user_id, notification_id, read_at)
      select n.org_id, ${reader.userId}::uuid, n.id, ${now}::timestamptz from ${feedOf(reader)} and r.read_at is null
        ${upTo === undefined ? sql`` : sql`and n.id <= ${upTo}`}
        ${feed === undefined ? sql`` : sql`and n.feed = ${feed}`}
      on conflict do nothing returning 1
    )
    select count(*)::int as count from marked`.execute(em.getKysely());
  return rows[0]!.count;
}
