import { z } from 'zod';
import type { FeedItem } from '../db/queries/feed-rows.ts';
import type { Unread } from '../db/queries/unread.ts';
import { feeds } from '../domain/event-type.ts';
import { toWireId } from '../domain/id.ts';
import { severities } from '../domain/severity.ts';
import { presentedId, presentedTime } from './schema.ts';

export const shownNotification = z
  .strictObject({
    id: presentedId('notification'),
    category: z.enum(feeds).meta({ description: 'Tab of the feed.' }),
    type: z.string(),
    severity: z.enum(severities),
    subject: z.string(),
    message: z.string().nullable(),
    eventId: presentedId('event').nullable(),
    escalationId: presentedId('escalation').nullable().meta({ description: 'The escalation that tells of it.' }),
    projectId: presentedId('project').nullable(),
    broadcast: z.boolean().meta({ description: 'For every member, not for one.' }),
    createdAt: presentedTime,
    readAt: presentedTime.nullable(),
  })
  .meta({ id: 'Notification' });

export function presentNotification(item: FeedItem) {
  return {
    id: toWireId('notification', item.id),
    category: item.feed,
    type: item.type,
    severity: item.severity,
    subject: item.subject,
    message: item.message,
    eventId: item.eventId === null ? null : toWireId('event', item.eventId),
    escalationId: item.escalationId === null ? null : toWireId('escalation', item.escalationId),
    projectId: item.projectId === null ? null : toWireId('project', item.projectId),
    broadcast: item.userId === null,
    createdAt: item.createdAt.toISOString(),
    readAt: item.readAt?.toISOString() ?? null,
  };
}

export const shownUnread = z
  .strictObject({ count: z.int(), byCategory: z.record(z.enum(feeds), z.int()), version: z.int() })
  .meta({ id: 'UnreadCount' });

export function presentUnread({ byFeed, version }: Unread) {
  const byCategory = Object.fromEntries(feeds.map((feed) => [feed, byFeed.get(feed) ?? 0]));
  return { count: [...byFeed.values()].reduce((sum, count) => sum + count, 0), byCategory, version };
}
