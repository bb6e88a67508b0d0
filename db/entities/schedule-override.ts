import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { Override } from '../../domain/schedule.ts';

/** Never changed, only deleted: `createdAt` and `deletedAt` say when it was part of the schedule. */
export const ScheduleOverrideEntity = defineEntity({
  name: 'ScheduleOverride',
  tableName: 'schedule_override',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    scheduleId: p.uuid(),
    kind: p.text().$type<Override['kind']>(),
    userId: p.uuid(),
    /** Null with `replace`: everybody. */
    insteadOf: p.uuid().nullable(),
    startsAt: p.datetime(3),
    endsAt: p.datetime(3),
    reason: p.text(),
    creatorType: p.text().$type<'user' | 'service_account'>(),
    creatorId: p.uuid(),
    createdAt: p.datetime(3),
    deletedAt: p.datetime(3).nullable(),
  },
});
export type ScheduleOverrideRow = InferEntity<typeof ScheduleOverrideEntity>;
