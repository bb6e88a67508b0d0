import type { AcceptedEvent } from './event.ts';
import type { DigestTimes } from './digest-window.ts';
import { type Wait, waitOf } from './message-window.ts';
import { choosePreference, type PreferenceChoice, type PreferenceLayers, type Reach } from './preference.ts';
import { defaultTimeZone, layersOf, type PreferenceFacts } from './preference-set.ts';
import type { Severity } from './severity.ts';

/** A verified contact method of an active member. */
export interface Contact {
  readonly id: string;
  readonly version: number;
  readonly channelType: string;
  readonly digestIntervalMs: number;
  /** `HH:MM`. */
  readonly dailyAt: string;
}

/** What decides how people hear of events. Ids are UUIDs. */
export interface PeopleFacts {
  readonly activeMemberIds: ReadonlySet<string>;
  readonly preferences: PreferenceFacts;
  /** By member. */
  readonly contacts: ReadonlyMap<string, readonly Contact[]>;
  /** Active channels through which people are reached at their addresses, by channel type. */
  readonly senders: ReadonlyMap<string, string>;
  readonly digestBypass: Severity;
}

/** How one person hears of an event by one way, or all of them in the app. */
export interface PersonalDecision {
  /** Null: every active member for whom nothing else is decided. */
  readonly userId: string | null;
  readonly reach: Reach;
  readonly verdict: 'send' | 'digest' | 'hold' | 'suppress';
  readonly reason: PreferenceChoice['reason'] | 'digest' | 'quiet_hours' | 'digest_bypass' | 'user_inactive';
  /** `preference:<id>@<version>`; null: built in. */
  readonly winner: string | null;
  readonly losers: readonly string[];
  /** Of a verdict that waits. */
  readonly wait: Exclude<Wait, { kind: 'none' }> | null;
}

const inApp: Reach = { channelType: 'in_app', contactMethodId: null };

/**
 * Who hears of `event`, and how. What is for everybody is decided once for all of them in the app, and for single people where a preference of
 * theirs, or a default, says otherwise: what it costs goes by how many have said something, not by how many there are. Nothing is decided for
 * ways that nobody has asked for. A page is no business of this.
 */
export function decidePeople(event: AcceptedEvent, facts: PeopleFacts): PersonalDecision[] {
  return event.audience === null ? decideForAll(event, facts) : event.audience.flatMap((id) => decideForOne(event, id, facts));
}

function decideForAll(event: AcceptedEvent, facts: PeopleFacts): PersonalDecision[] {
  const defaults = { ...layersOf(facts.preferences, '', event.projectId), user: [] };
  const common = choosePreference(event, inApp, defaults);
  const decisions = [inTheApp(null, common)];
  const said = whoHasSaid(event, facts.preferences);
  for (const userId of said) {
    if (!facts.activeMemberIds.has(userId)) continue;
    const own = choosePreference(event, inApp, layersOf(facts.preferences, userId, event.projectId));
    if (own.mode !== common.mode) decisions.push(inTheApp(userId, own));
    decisions.push(...decideContacts(event, userId, facts));
  }
  for (const [userId, contacts] of facts.contacts) {
    if (said.has(userId) || !contacts.some((contact) => hasDefault(event, contact, defaults))) continue;
    decisions.push(...decideContacts(event, userId, facts));
  }
  return decisions;
}

function decideForOne(event: AcceptedEvent, userId: string, facts: PeopleFacts): PersonalDecision[] {
  if (!facts.activeMemberIds.has(userId))
    return [{ userId, reach: inApp, verdict: 'suppress', reason: 'user_inactive', winner: null, losers: [], wait: null }];
  const own = choosePreference(event, inApp, layersOf(facts.preferences, userId, event.projectId));
  return [inTheApp(userId, own), ...decideContacts(event, userId, facts)];
}

function inTheApp(userId: string | null, choice: PreferenceChoice): PersonalDecision {
  return {
    userId,
    reach: inApp,
    verdict: choice.mode === 'off' ? 'suppress' : 'send',
    reason: choice.reason,
    ...namesOf(choice),
    wait: null,
  };
}

function decideContacts(event: AcceptedEvent, userId: string, facts: PeopleFacts): PersonalDecision[] {
  const layers = layersOf(facts.preferences, userId, event.projectId);
  return (facts.contacts.get(userId) ?? []).flatMap((contact): PersonalDecision[] => {
    if (!facts.senders.has(contact.channelType)) return [];
    const reach: Reach = { channelType: contact.channelType, contactMethodId: contact.id };
    const choice = choosePreference(event, reach, layers);
    if (choice.winner === null) return [];
    const common = { userId, reach, ...namesOf(choice) };
    if (choice.mode === 'off') return [{ ...common, verdict: 'suppress', reason: choice.reason, wait: null }];
    const { timeZone = defaultTimeZone, quietHours = null } = facts.preferences.users.get(userId) ?? {};
    const times: DigestTimes = { intervalMs: contact.digestIntervalMs, timeZone, dailyAt: contact.dailyAt };
    const wait = waitOf({ mode: choice.mode, times, quietHours, digestBypass: facts.digestBypass }, event.severity, event.acceptedAt);
    if (wait.kind === 'none') return [{ ...common, verdict: 'send', reason: wait.reason ?? choice.reason, wait: null }];
    return [{ ...common, ...(wait.kind === 'quiet' ? hold : digest), wait }];
  });
}

const hold = { verdict: 'hold', reason: 'quiet_hours' } as const;
const digest = { verdict: 'digest', reason: 'digest' } as const;

function hasDefault(event: AcceptedEvent, { id, channelType }: Contact, defaults: PreferenceLayers): boolean {
  return choosePreference(event, { channelType, contactMethodId: id }, defaults).winner !== null;
}

function namesOf({ winner, losers }: PreferenceChoice): Pick<PersonalDecision, 'winner' | 'losers'> {
  const name = ({ preference: { id, version } }: NonNullable<PreferenceChoice['winner']>): string => `preference:${id}@${version}`;
  return { winner: winner && name(winner), losers: losers.map(name) };
}

const known = new WeakMap<PreferenceFacts, ReadonlyMap<string, ReadonlySet<string>>>();

/** Who has a preference of their own that may be about the event. */
function whoHasSaid({ type, category }: AcceptedEvent, facts: PreferenceFacts): ReadonlySet<string> {
  let said = known.get(facts);
  if (said === undefined) known.set(facts, (said = indexUsers(facts)));
  return new Set([`type ${type}`, `category ${category}`, 'all'].flatMap((key) => [...(said.get(key) ?? [])]));
}

/** By what their preferences are about. */
function indexUsers({ users }: PreferenceFacts): Map<string, Set<string>> {
  const index = new Map<string, Set<string>>();
  for (const [userId, { rules }] of users) {
    for (const { selector } of rules) {
      const key =
        selector.kind === 'type' ? `type ${selector.type}` : selector.kind === 'category' ? `category ${selector.category}` : 'all';
      const ids = index.get(key);
      if (ids === undefined) index.set(key, new Set([userId]));
      else ids.add(userId);
    }
  }
  return index;
}
