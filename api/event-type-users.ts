import type { EntityManager } from '@mikro-orm/postgresql';
import { EscalationPolicyEntity } from '../db/entities/escalation-policy.ts';
import { OrganizationEntity } from '../db/entities/organization.ts';
import { RuleEntity } from '../db/entities/rule.ts';
import { WebhookEntity } from '../db/entities/webhook.ts';
import { findCustomEventTypes } from '../db/queries/custom-event-types.ts';
import { findPreferringOwners } from '../db/queries/preferences.ts';
import { eventTypes } from '../domain/event-type.ts';
import { matchesEventType } from '../domain/rule.ts';
import { isEventTypePattern } from '../domain/webhook.ts';
import type { User } from './in-use.ts';

/** What names the type: itself, or by a pattern that would match nothing without it. */
export async function findTypeUsers(em: EntityManager, organizationId: string, type: string): Promise<User[]> {
  const where = { orgId: organizationId, deletedAt: null };
  const others = (await findCustomEventTypes(em, organizationId)).filter((row) => row.type !== type);
  const remaining = [...eventTypes, ...others].map((each) => each.type);
  const needs = (pattern: string): boolean => matchesEventType(pattern, type) && !isEventTypePattern(pattern, remaining);
  const users: User[] = [];
  for (const { id, name, types } of await em.find(RuleEntity, where)) if (types.some(needs)) users.push({ kind: 'rule', id, name });
  for (const { id, name, eventTypes: patterns } of await em.find(WebhookEntity, where, { fields: ['id', 'name', 'eventTypes'] }))
    if (patterns.some(needs)) users.push({ kind: 'webhook', id, name });
  for (const { id, name, definition } of await em.find(EscalationPolicyEntity, where))
    if (definition.trigger?.types.some(needs) === true) users.push({ kind: 'escalation_policy', id, name });
  for (const { ownerKind, ownerId, name } of await findPreferringOwners(em, organizationId, type))
    users.push({ kind: ownerKind, id: ownerId, name: `${name} (preferences)` });
  const { settings } = await em.findOneOrFail(OrganizationEntity, { id: organizationId });
  const foreign = Object.entries(settings.foreignTypes ?? {}).filter(([, meant]) => meant === type);
  return [...users, ...foreign.map(([name]): User => ({ kind: 'organization', id: organizationId, name }))];
}
