import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { type Feed, feeds } from '../../domain/event-type.ts';
import {
  type FeedItem,
  type FeedRow,
  floorOf,
  isForReader,
  markedUnread,
  itemColumns,
  marks,
  readAt,
  type Reader,
  readers,
  toItem,
} from './feed-rows.ts';

export interface FeedFilter {
  readonly read?: boolean | undefined;
  readonly category?: readonly Feed[] | undefined;
  /** Only items older than this one. */
  readonly after?: string | undefined;
  readonly take: number;
}

/**
 * Newest first. Each category is read from its own end, own items and everybody's apart, so that a page costs about a page. What is unread is
 * looked for above the watermark and among the marks that say so below it, not among everything that was read.
 */
export async function listNotifications(
  em: EntityManager,
  { organizationId, userId }: Reader,
  { read, category = feeds, after, take }: FeedFilter,
): Promise<FeedItem[]> {
  const within = sql`
    ${after === undefined ? sql`` : sql`and n.id < ${after}`}
    ${read === undefined ? sql`` : read ? sql`and ${readAt} is not null` : sql`and n.id > floor.id and ${readAt} is null`}
    order by n.id desc limit ${take}`;
  const { rows } = await sql<FeedRow>`
    select ${itemColumns}
      from ${readers({ organizationId, userIds: [userId] })}
        cross join unnest(${[...category]}::text[]) as f (feed)
        ${read === false ? sql`cross join lateral ${floorOf(organizationId)}` : sql``}
        cross join lateral (
          (select n.*, ${readAt} as read_at from notification n ${marks}
            where n.org_id = ${organizationId} and n.user_id = ${userId} and n.feed = f.feed ${within})
          union all
          (select n.*, ${readAt} as read_at from notification n ${marks}
            where n.org_id = ${organizationId} and n.feed = f.feed and ${isForReader} ${within})
          ${
            read === false
              ? sql`union all
                (select n.*, r.read_at from ${markedUnread(organizationId)}
                    ${after === undefined ? sql`` : sql`and r.notification_id < ${after}`}
                  order by r.notification_id desc limit ${take})`
              : sql``
          }
        ) n
      order by n.id desc limit ${take}`.execute(em.getKysely());
  return rows.map(toItem);
}

/** An item of the reader's feed; undefined when it is not in it. */
export async function findNotification(em: EntityManager, { organizationId, userId }: Reader, id: string): Promise<FeedItem | undefined> {
  const { rows } = await sql<FeedRow>`
    select ${itemColumns}
      from ${readers({ organizationId, userIds: [userId] })}
        cross join lateral (
          select n.*, ${readAt} as read_at from notification n ${marks}
            where n.org_id = ${organizationId} and n.id = ${id} and (n.user_id = ${userId} or (${isForReader}))
        ) n`.execute(em.getKysely());
  return rows[0] && toItem(rows[0]);
}
