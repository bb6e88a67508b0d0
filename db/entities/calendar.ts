import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { CalendarInterval } from '../../domain/calendar.ts';

const properties = () => ({
  id: p.uuid().primary(),
  orgId: p.uuid(),
  name: p.text(),
  nameKey: p.text(),
  timeZone: p.text(),
  intervals: p.json<CalendarInterval[]>().columnType('jsonb'),
  holidays: p.array().columnType('text[]'),
  version: p.integer(),
  createdAt: p.datetime(3),
  updatedAt: p.datetime(3),
  deletedAt: p.datetime(3).nullable(),
});

export const CalendarEntity = defineEntity({ name: 'Calendar', tableName: 'calendar', properties: properties() });
export type CalendarRow = InferEntity<typeof CalendarEntity>;
/** What a row of either table holds. */
export type CalendarColumns = Omit<CalendarRow, symbol>;

/** Every version there was; written by the database alone. */
export const CalendarVersionEntity = defineEntity({
  name: 'CalendarVersion',
  tableName: 'calendar_version',
  properties: { ...properties(), version: p.integer().primary() },
});
