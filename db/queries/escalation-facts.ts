import type { EntityManager } from '@mikro-orm/postgresql';
import type { OrganizationSettings } from '../../domain/organization.ts';
import type { EscalationConfiguration, PageMethod } from '../../domain/recipients.ts';
import type { Silence } from '../../domain/silence.ts';
import { CalendarEntity } from '../entities/calendar.ts';
import { ContactMethodEntity } from '../entities/contact-method.ts';
import { EscalationPolicyEntity } from '../entities/escalation-policy.ts';
import { ScheduleEntity } from '../entities/schedule.ts';
import { SilenceEntity } from '../entities/silence.ts';
import { calendarOf, policyOf } from './policy.ts';
import { readSchedules } from './schedule.ts';

export interface KnownDestinations {
  activeUserIds: ReadonlySet<string>;
  adminIds: readonly string[];
  /** Types of active channels, by id. */
  activeChannels: ReadonlyMap<string, string>;
  activeWebhookIds: ReadonlySet<string>;
}

/** Nothing earlier can page or mute any more: overrides and silences that ended before are left out. */
const pastMs = 3_600_000;
const forEverMs = 100 * 365 * 86_400_000;

/** Run in the organization. Overrides and silences are those that end after `at`, so the answer stays right for as long as nothing changes. */
export async function readEscalationConfiguration(
  em: EntityManager,
  known: KnownDestinations,
  settings: OrganizationSettings,
  at: number,
): Promise<EscalationConfiguration> {
  const policies = await em.find(EscalationPolicyEntity, { deletedAt: null });
  const calendars = await em.find(CalendarEntity, { deletedAt: null });
  const scheduleIds = (await em.find(ScheduleEntity, { deletedAt: null }, { fields: ['id'] })).map(({ id }) => id);
  const contacts = await em.find(
    ContactMethodEntity,
    { deletedAt: null, verifiedAt: { $ne: null } },
    // A member's own address comes before others of the same type.
    { orderBy: { login: 'desc', id: 'asc' } },
  );
  const silences = await em.find(SilenceEntity, { endsAt: { $gt: new Date(at - pastMs) } });
  const pageMethods = new Map<string, PageMethod[]>();
  const emailContacts = new Map<string, string>();
  for (const { id, userId, channelType, page } of contacts) {
    if (!known.activeUserIds.has(userId)) continue;
    if (channelType === 'email' && !emailContacts.has(userId)) emailContacts.set(userId, id);
    if (!page) continue;
    pageMethods.set(userId, [...(pageMethods.get(userId) ?? []), { id, channelType }]);
  }
  const senders = Object.entries(settings.senderChannels ?? {}).filter(([, id]) => known.activeChannels.has(id));
  return {
    ...known,
    policies: new Map(policies.map((row) => [row.id, policyOf(row)])),
    calendars: new Map(calendars.map((row) => [row.id, calendarOf(row)])),
    schedules: await readSchedules(em, scheduleIds, { from: at - pastMs, to: at + forEverMs }),
    pageMethods,
    emailContacts,
    hasFallbackEmail: settings.fallbackEmail !== undefined,
    senders: new Map(senders),
    silences: silences.map((row): Silence => ({
      id: row.id,
      version: row.version,
      matchers: row.matchers,
      startsAt: row.startsAt.getTime(),
      endsAt: row.endsAt.getTime(),
      comment: row.comment,
      createdBy: row.creatorId,
    })),
  };
}
