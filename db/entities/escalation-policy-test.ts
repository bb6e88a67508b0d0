import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { ExpectedMessage } from '../../domain/policy-test.ts';
import type { SimulationPlan } from '../../domain/simulation-plan.ts';

/** A simulation that every version of a policy has to pass. */
export const EscalationPolicyTestEntity = defineEntity({
  name: 'EscalationPolicyTest',
  tableName: 'escalation_policy_test',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    policyId: p.uuid(),
    name: p.text(),
    /** `foldName(name)`; unique among the policy's. */
    nameKey: p.text(),
    plan: p.json<SimulationPlan>().columnType('jsonb'),
    expected: p.json<readonly ExpectedMessage[]>().columnType('jsonb'),
    version: p.integer(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    deletedAt: p.datetime(3).nullable(),
  },
});
export type EscalationPolicyTestRow = InferEntity<typeof EscalationPolicyTestEntity>;
