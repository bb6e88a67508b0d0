import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { Decision } from '../../domain/routing.ts';

export const DecisionEntity = defineEntity({
  name: 'Decision',
  tableName: 'decision',
  properties: {
    orgId: p.uuid().primary(),
    eventId: p.uuid().primary(),
    ordinal: p.smallint().primary(),
    targetKind: p.text().$type<Decision['target']['kind']>(),
    targetId: p.uuid().nullable(),
    verdict: p.text().$type<Decision['verdict']>(),
    reason: p.text().$type<Decision['reason']>(),
    /** `rule:<id>@<version>` of the configuration row that decided. */
    winner: p.text().nullable(),
    losers: p.json<string[]>().columnType('jsonb'),
    until: p.datetime(3).nullable(),
    deliveryId: p.uuid().nullable(),
  },
});
export type DecisionRow = InferEntity<typeof DecisionEntity>;
