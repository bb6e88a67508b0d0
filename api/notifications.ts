import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import type { Reader } from '../db/queries/feed-rows.ts';
import { findNotification, listNotifications } from '../db/queries/notification-feed.ts';
import { markAllRead, markRead, markUnread } from '../db/queries/notification-marks.ts';
import { countUnread } from '../db/queries/unread.ts';
import { notFound } from '../domain/errors.ts';
import { feeds } from '../domain/event-type.ts';
import { endpoint } from './endpoint.ts';
import { presentNotification, presentUnread, shownNotification, shownUnread } from './notification-fields.ts';
import { openPage, pageOf, pageQuery } from './paging.ts';
import { notificationBroadcastEndpoint } from './notification-broadcast.ts';
import { idParams, listOf, wireId } from './schema.ts';

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
    const items = await listNotifications(
      em,
      { organizationId, userId },
      {
        ...query,
        category: query.category && [...new Set(query.category)],
        after: page.after,
        take: page.take,
      },
    );
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
      schema: shownUnread,
    },
  },
  handler: async ({ em, principal }) => {
    return { body: presentUnread(await countUnread(em, { organizationId: principal.organizationId, userId: principal.id })) };
  },
});

type Mark = (em: EntityManager, reader: Reader, ids: readonly string[], now: Date) => Promise<string[]>;

function markEndpoint({ name, path, summary, mark }: { name: string; path: string; summary: string; mark: Mark }) {
  return endpoint({
    name,
    method: 'post',
    path,
    tag: 'Notifications',
    summary,
    permission: 'authenticated',
    params: idParams('notification'),
    responses: { 200: { description: 'The item as it is now.', schema: shownNotification } },
    handler: async ({ em, principal, input: { params }, now, audit, afterCommit, deps }) => {
      const reader = { organizationId: principal.organizationId, userId: principal.id };
      const found = await findNotification(em, reader, params.id);
      if (found === undefined) throw notFound();
      await mark(em, reader, [found.id], now);
      audit({ resource: { type: 'notification', id: found.id } });
      afterCommit(() => deps.feedChanged(reader.organizationId));
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
  handler: async ({ em, principal, input: { body }, now, audit, afterCommit, deps }) => {
    const reader = { organizationId: principal.organizationId, userId: principal.id };
    const marked = await markAllRead(em, reader, { upTo: body.before, feeds: body.category === undefined ? feeds : [body.category], now });
    audit({ resource: { type: 'notification', id: 'all' }, details: { marked } });
    afterCommit(() => deps.feedChanged(reader.organizationId));
    return { body: { marked } };
  },
});

export const notificationEndpoints = [listOwn, readUnreadCount, notificationBroadcastEndpoint, readAll, readOne, unreadOne];
