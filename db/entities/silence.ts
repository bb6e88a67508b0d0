import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { Matcher } from '../../domain/rule.ts';

export const SilenceEntity = defineEntity({
  name: 'Silence',
  tableName: 'silence',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    matchers: p.json<Matcher[]>().columnType('jsonb'),
    comment: p.text(),
    startsAt: p.datetime(3),
    /** Of a cancelled one: when it was cancelled, or its start if that had not come. */
    endsAt: p.datetime(3),
    cancelledAt: p.datetime(3).nullable(),
    creatorType: p.text().$type<'user' | 'service_account'>(),
    creatorId: p.uuid(),
    version: p.integer(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
  },
});
export type SilenceRow = InferEntity<typeof SilenceEntity>;
