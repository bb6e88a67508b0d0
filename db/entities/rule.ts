import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { Aggregate } from '../../domain/aggregation.ts';
import type { Matcher } from '../../domain/rule.ts';

export const RuleEntity = defineEntity({
  name: 'Rule',
  tableName: 'rule',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    name: p.text(),
    nameKey: p.text(),
    enabled: p.boolean(),
    position: p.integer(),
    types: p.array().columnType('text[]'),
    categories: p.array().columnType('text[]'),
    projectIds: p.array().columnType('uuid[]'),
    minSeverity: p.text().nullable(),
    matchers: p.json<Matcher[]>().columnType('jsonb'),
    channelIds: p.array().columnType('uuid[]'),
    /** The escalation policy that its events go to. */
    policyId: p.uuid().nullable(),
    /** How what it sends is bundled. */
    aggregate: p.json<Aggregate>().columnType('jsonb').nullable(),
    stop: p.boolean(),
    version: p.integer(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    deletedAt: p.datetime(3).nullable(),
  },
});
export type RuleRow = InferEntity<typeof RuleEntity>;
