import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { Layer } from '../../domain/schedule.ts';

const properties = () => ({
  id: p.uuid().primary(),
  orgId: p.uuid(),
  name: p.text(),
  nameKey: p.text(),
  timeZone: p.text(),
  layers: p.json<Layer[]>().columnType('jsonb'),
  version: p.integer(),
  createdAt: p.datetime(3),
  updatedAt: p.datetime(3),
  deletedAt: p.datetime(3).nullable(),
});

export const ScheduleEntity = defineEntity({ name: 'Schedule', tableName: 'schedule', properties: properties() });
export type ScheduleRow = InferEntity<typeof ScheduleEntity>;

/** Every version there was; written by the database alone. */
export const ScheduleVersionEntity = defineEntity({
  name: 'ScheduleVersion',
  tableName: 'schedule_version',
  properties: { ...properties(), version: p.integer().primary() },
});
