import { z } from 'zod';
import { countUnread, findNotification, listNotifications, markAllRead, markRead, markUnread } from '../db/queries/notification-feed.ts';
import type { FeedItem } from '../db/queries/notification-feed.ts';
import { notFound } from '../domain/errors.ts';
import { feeds } from '../domain/event-type.ts';
import { toWireId } from '../domain/id.ts';
import { severities } from '../domain/severity.ts';
import { endpoint } from './endpoint.ts';
import { openPage, pageOf, pageQuery } from './paging.ts';
import { idParams, listOf, presentedId, presentedTime, wireId } from './schema.ts';

const shownNotification = z
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

function presentNotification(item: FeedItem) {
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

const listOwn = endpoint({
  name: 'notification.list',
  method: 'get',
  path: '/notifications',
  tag: 'Notifications',
  summary: "The caller's feed, newest first",
  permission: 'authenticated',
  query: z.strictObject({ ...pageQuery, read: z.stringbool().optional(), category: listOf(z.enum(feeds)).optional() }),
  responses: { 200: { description: 'A page of the feed.', schema: pageOf(shownNotification) } },
  handler: async ({ em, input: { query }, ...context }) => {
    const { organizationId, id: userId } = context.principal;
    const page = openPage(context, query, { list: 'notification.list', key: z.uuid() });
    const items = await listNotifications(em, { organizationId, userId }, { ...query, after: page.after, take: page.take });
    return { body: page.present(items, ({ id }) => id, presentNotification) };
  },
});

const readUnreadCount = endpoint({
  name: 'notification.unread_count',
  method: 'get',
  path: '/notifications/unread-count',
  tag: 'Notifications',
  summary: 'How many items the caller has not read',
  description: '`version` grows with every change of the feed or its marks: a client ignores an answer with a lower one.',
  permission: 'authenticated',
  responses: {
    200: {
      description: 'Absolute counts.',
      schema: z
        .strictObject({ count: z.int(), byCategory: z.record(z.enum(feeds), z.int()), version: z.int() })
        .meta({ id: 'UnreadCount' }),
    },
  },
  handler: async ({ em, principal }) => {
    const { byFeed, version } = await countUnread(em, { organizationId: principal.organizationId, userId: principal.id });
    const byCategory = Object.fromEntries(feeds.map((feed) => [feed, byFeed.get(feed) ?? 0]));
    return { body: { count: [...byFeed.values()].reduce((sum, count) => sum + count, 0), byCategory, version } };
  },
});

function markEndpoint({ name, path, summary, mark }: { name: string; path: string; summary: string; mark: typeof markRead }) {
  return endpoint({
    name,
    method: 'post',
    path,
    tag: 'Notifications',
    summary,
    permission: 'authenticated',
    params: idParams('notification'),
    responses: { 200: { description: 'The item as it is now.', schema: shownNotification } },
    handler: async ({ em, principal, input: { params }, now, audit }) => {
      const reader = { organizationId: principal.organizationId, userId: principal.id };
      const found = await findNotification(em, reader, params.id);
      if (found === undefined) throw notFound();
      await mark(em, reader, found.id, now);
      audit({ resource: { type: 'notification', id: found.id } });
      const item = await findNotification(em, reader, found.id);
      if (item === undefined) throw notFound();
      return { body: presentNotification(item) };
    },
  });
}

const readOne = markEndpoint({
  name: 'notification.read',
  path: '/notifications/{id}/read',
  summary: 'Mark an item as read by the caller',
  mark: markRead,
});

const unreadOne = markEndpoint({
  name: 'notification.unread',
  path: '/notifications/{id}/unread',
  summary: 'Mark an item as not read by the caller',
  mark: markUnread,
});

const readAll = endpoint({
  name: 'notification.read_all',
  method: 'post',
  path: '/notifications/mark-all-read',
  tag: 'Notifications',
  summary: 'Mark everything up to an item as read by the caller',
  description: 'Items newer than `before` stay unread: they came after the caller looked.',
  permission: 'authenticated',
  body: z
    .strictObject({
      before: wireId('notification').optional().meta({ description: 'The newest item that the caller saw. Default: the newest there is.' }),
      category: z.enum(feeds).optional(),
    })
    .prefault({})
    .meta({ id: 'MarkAllRead' }),
  responses: { 200: { description: 'How many were marked.', schema: z.strictObject({ marked: z.int() }) } },
  handler: async ({ em, principal, input: { body }, now, audit }) => {
    const reader = { organizationId: principal.organizationId, userId: principal.id };
    const marked = await markAllRead(em, reader, { upTo: body.before, feed: body.category, now });
    audit({ resource: { type: 'notification', id: 'all' }, details: { marked } });
    return { body: { marked } };
  },
});

export const notificationEndpoints = [listOwn, readUnreadCount, readAll, readOne, unreadOne];
