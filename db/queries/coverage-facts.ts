import type { EntityManager } from '@mikro-orm/postgresql';
import type { CoverageFacts } from '../../domain/coverage.ts';
import type { EscalationPolicy, Target } from '../../domain/escalation-policy.ts';
import { ChannelEntity } from '../entities/channel.ts';
import { ContactMethodEntity } from '../entities/contact-method.ts';
import { MemberEntity } from '../entities/member.ts';
import { WebhookEntity } from '../entities/webhook.ts';
import { calendarIdsOf, readCalendars } from './policy.ts';
import { readSchedules, type Span, usersOf } from './schedule.ts';
import { readSenders } from './senders.ts';

/** Whom the policy would reach in a span of time, as things are configured now; run in the organization. */
export async function readCoverageFacts(
  em: EntityManager,
  organizationId: string,
  policy: Pick<EscalationPolicy, 'tiers' | 'calendarId' | 'fallback'>,
  span: Span,
): Promise<CoverageFacts> {
  const targets = [...policy.tiers.flatMap((tier) => tier.targets), ...policy.fallback];
  const schedules = await readSchedules(em, idsOf(targets, 'schedule'), span);
  const userIds = new Set([...idsOf(targets, 'user'), ...[...schedules.values()].flatMap(usersOf)]);
  return {
    schedules,
    calendars: await readCalendars(em, calendarIdsOf(policy)),
    users: await readUsers(em, organizationId, [...userIds]),
    channels: await readChannels(em, idsOf(targets, 'channel')),
    webhooks: await readWebhooks(em, idsOf(targets, 'webhook')),
  };
}

function idsOf(targets: readonly Target[], kind: Target['kind']): string[] {
  return [...new Set(targets.filter((target) => target.kind === kind).map(({ id }) => id))];
}

/** Of their addresses those count to which a page would go out: verified, wanted for pages, and of a type that has an active sender. */
async function readUsers(em: EntityManager, organizationId: string, ids: readonly string[]): Promise<CoverageFacts['users']> {
  if (ids.length === 0) return new Map();
  const chosen = { $in: [...ids] };
  const members = await em.find(MemberEntity, { id: chosen, removedAt: null }, { fields: ['id', 'status'] });
  const senders = await readSenders(em, organizationId);
  const methods = await em.find(
    ContactMethodEntity,
    { userId: chosen, page: true, verifiedAt: { $ne: null }, deletedAt: null, channelType: { $in: [...senders.keys()] } },
    { fields: ['userId'] },
  );
  return new Map(
    members.map(({ id, status }) => [
      id,
      { active: status === 'active', pageMethods: methods.filter(({ userId }) => userId === id).length },
    ]),
  );
}

/** A message in the app alone reaches nobody who is not looking. */
async function readChannels(em: EntityManager, ids: readonly string[]): Promise<CoverageFacts['channels']> {
  if (ids.length === 0) return new Map();
  const rows = await em.find(ChannelEntity, { id: { $in: [...ids] }, deletedAt: null }, { fields: ['id', 'type', 'active'] });
  return new Map(rows.map(({ id, type, active }) => [id, { active: active && type !== 'in_app' }]));
}

async function readWebhooks(em: EntityManager, ids: readonly string[]): Promise<CoverageFacts['webhooks']> {
  if (ids.length === 0) return new Map();
  const rows = await em.find(WebhookEntity, { id: { $in: [...ids] }, deletedAt: null }, { fields: ['id', 'active'] });
  return new Map(rows.map(({ id, active }) => [id, { active }]));
}
