import type { Calendar } from './calendar.ts';
import type { Recipient } from './escalation-input.ts';
import type { EscalationPolicy, Target } from './escalation-policy.ts';
import { onCallUserIds, type Override, type Schedule } from './schedule.ts';
import type { Silence } from './silence.ts';

export interface PageMethod {
  id: string;
  channelType: string;
}

/** What of an organization's configuration escalations depend on. The newest versions; ids are UUIDs. */
export interface EscalationConfiguration {
  policies: ReadonlyMap<string, EscalationPolicy>;
  calendars: ReadonlyMap<string, Calendar>;
  schedules: ReadonlyMap<string, { schedule: Schedule; overrides: readonly Override[] }>;
  /** Verified contact methods that are paged, by active user. */
  pageMethods: ReadonlyMap<string, readonly PageMethod[]>;
  activeUserIds: ReadonlySet<string>;
  /** Active channels through which people are reached at their addresses, by channel type. */
  senders: ReadonlyMap<string, string>;
  /** Types of active channels, by id. */
  activeChannels: ReadonlyMap<string, string>;
  activeWebhookIds: ReadonlySet<string>;
  silences: readonly Silence[];
  /** Active members who look after the organization. */
  adminIds: readonly string[];
  /** A verified e-mail contact method of each active user who has one, paged or not. */
  emailContacts: ReadonlyMap<string, string>;
  /** Whether the organization keeps an address for what would reach nobody. */
  hasFallbackEmail: boolean;
}

/** The people behind a target at `at`, active ones only. */
export function usersOf(target: Target, at: number, configuration: EscalationConfiguration): string[] {
  const { activeUserIds, schedules } = configuration;
  switch (target.kind) {
    case 'user':
      return activeUserIds.has(target.id) ? [target.id] : [];
    case 'schedule': {
      const planned = schedules.get(target.id);
      return planned === undefined ? [] : onCallUserIds(planned.schedule, planned.overrides, activeUserIds, at);
    }
    case 'channel':
    case 'webhook':
      return [];
  }
}

/** Where a page to the target goes outside the app at `at`: everywhere at once. Empty: it reaches nobody. */
export function recipientsOf(target: Target, at: number, configuration: EscalationConfiguration): Recipient[] {
  switch (target.kind) {
    case 'user':
    case 'schedule':
      return usersOf(target, at, configuration).flatMap((userId) => contactsOf(userId, configuration));
    case 'channel':
      return isOutsideApp(configuration.activeChannels.get(target.id)) ? [{ kind: 'channel', id: target.id, userId: null }] : [];
    case 'webhook':
      return configuration.activeWebhookIds.has(target.id) ? [{ kind: 'webhook', id: target.id, userId: null }] : [];
  }
}

/** Whom only the app tells, nobody calls. */
function isOutsideApp(channelType: string | undefined): boolean {
  return channelType !== undefined && channelType !== 'in_app';
}

/** A user's page methods, as far as there is a channel to reach them through. */
export function contactsOf(userId: string, { pageMethods, senders }: EscalationConfiguration): Recipient[] {
  const reachable = (pageMethods.get(userId) ?? []).filter(({ channelType }) => senders.has(channelType));
  return reachable.map(({ id }) => ({ kind: 'contact', id, userId }));
}

/** What nobody can switch off: whom it is told in the app and by mail, and whether the organization's own address stands in for them. */
export interface MandatoryRecipients {
  userIds: string[];
  /** E-mail contact methods. */
  contactIds: string[];
  /** Nobody of them can be reached by mail, and there is an address for that. */
  fallsBack: boolean;
}

/** Those who look after the organization, with the owner of what it is about. */
export function mandatoryRecipients(ownerUserId: string | null, configuration: EscalationConfiguration): MandatoryRecipients {
  const { activeUserIds, adminIds, emailContacts, senders, hasFallbackEmail } = configuration;
  const owners = ownerUserId !== null && activeUserIds.has(ownerUserId) ? [ownerUserId] : [];
  const userIds = [...new Set([...owners, ...adminIds])];
  if (!senders.has('email')) return { userIds, contactIds: [], fallsBack: false };
  const contactIds = userIds.flatMap((userId) => emailContacts.get(userId) ?? []);
  return { userIds, contactIds, fallsBack: contactIds.length === 0 && hasFallbackEmail };
}
