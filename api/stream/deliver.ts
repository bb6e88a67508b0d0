import type { ChangedItem, ChangedMark, ChangedWatermark } from '../../db/queries/feed-changes.ts';
import type { FeedItem } from '../../db/queries/feed-rows.ts';
import { findNotification } from '../../db/queries/notification-feed.ts';
import { countUnreadOf } from '../../db/queries/unread.ts';
import type { SecretBox } from '../../db/secrets.ts';
import { toWireId } from '../../domain/id.ts';
import { presentNotification, presentUnread } from '../notification-fields.ts';
import { push } from './client.ts';
import type { Deliver } from './hub.ts';
import type { ServerMessage } from './protocol.ts';
import type { Registry } from './registry.ts';
import { sealResume } from './resume.ts';

const usersPerCount = 500;

/** Sends what changed to those whom it concerns, marks first: one may be about everything up to an item, and must not be taken for newer. */
export function createDeliver({ registry, secrets }: { registry: Registry; secrets: SecretBox }): Deliver {
  return async (em, organizationId, { items, marks, watermarks }, before) => {
    const users = registry.usersOf(organizationId);
    const resume = sealResume(secrets, organizationId, before);
    const texts = new Map<ChangedItem, string>();
    const textOf = (item: ChangedItem): string => {
      let text = texts.get(item);
      if (text === undefined) texts.set(item, (text = JSON.stringify(messageOf({ ...item, readAt: null }, resume))));
      return text;
    };
    const send = (userId: string, text: string): void => registry.clientsOf(organizationId, userId).forEach((client) => push(client, text));
    const [ofUser, forAll] = [groupByUser(items), items.filter(({ userId }) => userId === null)];
    const [marksOf, watermarksOf] = [groupByUser(marks), groupByUser(watermarks)];
    const concerned: string[] = [];
    for (const userId of users) {
      const marked = tellMarks(marksOf.get(userId) ?? [], watermarksOf.get(userId) ?? []);
      const own = inOrder([...(ofUser.get(userId) ?? []), ...forAll]);
      if (marked.length + own.length > 0) concerned.push(userId);
      for (const message of marked) send(userId, JSON.stringify(message));
      for (const item of own) {
        // What not every member sees, and what was read as soon as it came, the reader's own query decides.
        if (marked.length === 0 && item.audienceRole === null) send(userId, textOf(item));
        else {
          const found = await findNotification(em, { organizationId, userId }, item.id);
          if (found !== undefined) send(userId, JSON.stringify(messageOf(found, resume)));
        }
      }
    }
    for (let at = 0; at < concerned.length; at += usersPerCount) {
      const counts = await countUnreadOf(em, organizationId, concerned.slice(at, at + usersPerCount));
      for (const [userId, unread] of counts)
        send(userId, JSON.stringify({ t: 'unread', ...presentUnread(unread) } satisfies ServerMessage));
    }
  };
}

export function messageOf(item: FeedItem, resume: string): ServerMessage {
  return { t: 'notification', item: presentNotification(item), resume };
}

/** What one reader has to be told of marks. */
export function tellMarks(marks: readonly ChangedMark[], watermarks: readonly ChangedWatermark[]): ServerMessage[] {
  const byTime = Map.groupBy(marks, ({ readAt }) => readAt?.toISOString() ?? null);
  const byWatermark = Map.groupBy(watermarks, ({ upTo, markedAt }) => `${upTo} ${markedAt.toISOString()}`);
  return [
    ...[...byWatermark.values()].map((together): ServerMessage => {
      const { upTo, markedAt } = together[0]!;
      return {
        t: 'updated',
        ids: [],
        readAt: markedAt.toISOString(),
        before: toWireId('notification', upTo),
        categories: together.map(({ feed }) => feed),
      };
    }),
    ...[...byTime].map(([readAt, together]): ServerMessage => ({
      t: 'updated',
      ids: together.map(({ id }) => toWireId('notification', id)),
      readAt,
    })),
  ];
}

function groupByUser<T extends { readonly userId: string | null }>(all: readonly T[]): Map<string, T[]> {
  const groups = Map.groupBy(all, ({ userId }) => userId ?? '');
  groups.delete('');
  return groups;
}

function inOrder(items: ChangedItem[]): ChangedItem[] {
  return items.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}
