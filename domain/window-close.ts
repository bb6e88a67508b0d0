import { composeDigest, type DigestItem, type DigestLine, type WindowKind } from './digest.ts';
import type { Span } from './digest-window.ts';
import { heldSpanAt } from './message-window.ts';
import type { Contact, PeopleFacts } from './personal-routing.ts';
import { choosePreference, type PreferredEvent } from './preference.ts';
import { defaultTimeZone, layersOf } from './preference-set.ts';
import { severities, type Severity } from './severity.ts';

/** What a person's window took in, with what preferences look at. */
export type WindowItem = DigestItem & PreferredEvent;

export interface ClosingWindow {
  readonly kind: WindowKind;
  readonly userId: string;
  /** As it is now; null: it is gone, or not verified any more. */
  readonly contact: Contact | null;
  readonly items: readonly WindowItem[];
}

/** An item that is told to nobody, and why. */
export interface DroppedItem {
  readonly eventId: string;
  readonly reason: 'no_access' | 'preference_off' | 'preference_filter';
}

/** What becomes of a window when its time has come. */
export type WindowEnd =
  | { readonly state: 'cancelled'; readonly reason: 'user_inactive' | 'contact_unverified' | 'channel_disabled' }
  | { readonly state: 'empty'; readonly dropped: readonly DroppedItem[] }
  | { readonly state: 'sent'; readonly lines: readonly DigestLine[]; readonly dropped: readonly DroppedItem[] }
  /** Its items wait for the end of these quiet hours, with what they hold already. */
  | { readonly state: 'joined'; readonly span: Span; readonly items: readonly WindowItem[]; readonly dropped: readonly DroppedItem[] };

/**
 * Ends a person's window at `at` by what holds then, not by what held when its items came: who may not see or does not want an item any more
 * is not told of it. What became instant meanwhile is still told here, for nobody else will tell it.
 * @param liveProjectIds projects that there are still
 */
export function closeWindow(
  { kind, userId, contact, items }: ClosingWindow,
  facts: PeopleFacts,
  { liveProjectIds, at }: { liveProjectIds: ReadonlySet<string>; at: number },
): WindowEnd {
  if (!facts.activeMemberIds.has(userId)) return { state: 'cancelled', reason: 'user_inactive' };
  if (contact === null) return { state: 'cancelled', reason: 'contact_unverified' };
  if (!facts.senders.has(contact.channelType)) return { state: 'cancelled', reason: 'channel_disabled' };
  const dropped: DroppedItem[] = [];
  const kept = items.filter((item) => {
    const reason = dropReasonOf(item, { userId, contact, facts, liveProjectIds });
    if (reason !== null) dropped.push({ eventId: item.eventId, reason });
    return reason === null;
  });
  if (kept.length === 0) return { state: 'empty', dropped };
  const { quietHours = null, timeZone = defaultTimeZone } = facts.preferences.users.get(userId) ?? {};
  const span = kind === 'digest' ? heldSpanAt(quietHours, timeZone, worstOf(kept), at) : null;
  return span === null ? { state: 'sent', lines: composeDigest(kept), dropped } : { state: 'joined', span, items: kept, dropped };
}

function dropReasonOf(
  item: WindowItem,
  { userId, contact, facts, liveProjectIds }: { userId: string; contact: Contact; facts: PeopleFacts; liveProjectIds: ReadonlySet<string> },
): DroppedItem['reason'] | null {
  if (item.projectId !== null && !liveProjectIds.has(item.projectId)) return 'no_access';
  const reach = { channelType: contact.channelType, contactMethodId: contact.id };
  const { mode, reason } = choosePreference(item, reach, layersOf(facts.preferences, userId, item.projectId));
  if (mode !== 'off') return null;
  return reason === 'preference_filter' ? reason : 'preference_off';
}

function worstOf(items: readonly WindowItem[]): Severity {
  return severities.find((severity) => items.some((item) => item.severity === severity))!;
}
