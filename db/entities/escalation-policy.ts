import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { EscalationPolicy } from '../../domain/escalation-policy.ts';

/** What of a policy has no column of its own. */
export type PolicyDefinition = Omit<EscalationPolicy, 'id' | 'version' | 'name' | 'enabled' | 'ownerUserId'>;

const properties = () => ({
  id: p.uuid().primary(),
  orgId: p.uuid(),
  name: p.text(),
  nameKey: p.text(),
  enabled: p.boolean(),
  ownerUserId: p.uuid().nullable(),
  definition: p.json<PolicyDefinition>().columnType('jsonb'),
  version: p.integer(),
  createdAt: p.datetime(3),
  updatedAt: p.datetime(3),
  deletedAt: p.datetime(3).nullable(),
});

export const EscalationPolicyEntity = defineEntity({ name: 'EscalationPolicy', tableName: 'escalation_policy', properties: properties() });
export type EscalationPolicyRow = InferEntity<typeof EscalationPolicyEntity>;
/** What a row of either table holds. */
export type EscalationPolicyColumns = Omit<EscalationPolicyRow, symbol>;

/** Every version there was; written by the database alone. A running escalation reads the one that it began with. */
export const EscalationPolicyVersionEntity = defineEntity({
  name: 'EscalationPolicyVersion',
  tableName: 'escalation_policy_version',
  properties: { ...properties(), version: p.integer().primary() },
});
