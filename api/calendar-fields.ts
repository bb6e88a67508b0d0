import { z } from 'zod';
import type { CalendarRow } from '../db/entities/calendar.ts';
import type { CalendarInterval } from '../domain/calendar.ts';
import { toWireId } from '../domain/id.ts';
import { presentedId, presentedTime, resourceName } from './schema.ts';

/** Form and faults of what is in these texts are the domain's business. */
const words = z.array(z.string().max(40));

/** Hours of a calendar, or of a rotation's restriction. */
export const calendarInterval = z
  .strictObject({
    times: z
      .array(z.strictObject({ start: z.string().max(40), end: z.string().max(40) }))
      .exactOptional()
      .meta({ description: 'From `start` until `end`, not at it: `HH:MM`, the end also `24:00`. Past midnight takes two.' }),
    weekdays: words.exactOptional().meta({ description: '`monday`, or `monday:friday` with both.', example: ['monday:friday'] }),
    daysOfMonth: words.exactOptional().meta({ description: '`1`, `1:5`, or `-3:-1` from the end.', example: ['1:5'] }),
    months: words.exactOptional().meta({ example: ['january:march'] }),
    years: words.exactOptional().meta({ example: ['2026:2030'] }),
  })
  .meta({
    id: 'CalendarInterval',
    description: 'Holds when every given field does, by one of its items.',
    example: { weekdays: ['monday:friday'], times: [{ start: '09:00', end: '17:00' }] },
  }) satisfies z.ZodType<CalendarInterval>;

export const timeZone = z.string().max(100).meta({ description: 'Of the IANA database.', example: 'Europe/Berlin' });

/** What can be written. */
export const calendarFields = {
  name: resourceName.meta({ example: 'Business hours' }),
  timeZone,
  intervals: z.array(calendarInterval).meta({ description: '1 to 50: open while one of them holds.' }),
  holidays: z
    .array(z.string().max(40))
    .meta({ description: 'At most 400 local dates on which it is closed all day.', example: ['2026-12-25'] }),
};

export const shownCalendar = z
  .strictObject({
    id: presentedId('calendar'),
    name: z.string(),
    timeZone: z.string(),
    intervals: z.array(calendarInterval),
    holidays: z.array(z.string()),
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'Calendar' });

/** The allow-list of what leaves the server about a calendar. */
export function presentCalendar(row: CalendarRow) {
  return {
    id: toWireId('calendar', row.id),
    name: row.name,
    timeZone: row.timeZone,
    intervals: row.intervals,
    holidays: row.holidays,
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}
