import { z } from 'zod';
import type { ScheduleOverrideRow } from '../db/entities/schedule-override.ts';
import type { ScheduleRow } from '../db/entities/schedule.ts';
import { toWireId } from '../domain/id.ts';
import type { Layer, Rotation } from '../domain/schedule.ts';
import { calendarInterval, timeZone } from './calendar-fields.ts';
import type { Reference } from './references.ts';
import { presentedId, presentedTime, prose, resourceName, text, time, wireId } from './schema.ts';

const units = ['hour', 'day', 'week', 'month'] as const;

const rotation = z
  .strictObject({
    participants: z.array(wireId('user')).meta({ description: '1 to 100 members, in turn.' }),
    start: z.string().max(40).meta({ description: 'Local time of the first hand-off.', example: '2026-10-05T09:00' }),
    unit: z.enum(units).meta({ example: 'week' }),
    length: z.number().default(1).meta({ description: 'Units of a shift, 1 to 366.' }),
    restriction: z.array(calendarInterval).nullable().default(null).meta({ description: 'On call only while one of these holds.' }),
  })
  .meta({ id: 'RotationInput' }) satisfies z.ZodType<Rotation>;

const layer = z
  .strictObject({ name: text(1, 100).nullable().default(null), rotations: z.array(rotation) })
  .meta({ id: 'LayerInput' }) satisfies z.ZodType<Layer>;

/** What can be written. */
export const scheduleFields = {
  name: resourceName.meta({ example: 'Platform on-call' }),
  timeZone,
  layers: z.array(layer).meta({
    description: '1 to 10, lowest first: the highest one in which anybody is on call counts, and its rotations add up.',
  }),
};

const overrideKinds = ['replace', 'add', 'remove'] as const;

export const overrideFields = {
  kind: z.enum(overrideKinds),
  userId: wireId('user'),
  insteadOf: wireId('user').nullable().default(null).meta({ description: 'With `replace`: whom. Null: everybody.' }),
  startsAt: time,
  endsAt: time,
  reason: prose(500)
    .transform((text) => text.trim())
    .default(''),
};

const shownRotation = z.strictObject({
  participants: z.array(presentedId('user')),
  start: z.string(),
  unit: z.enum(units),
  length: z.int(),
  restriction: z.array(calendarInterval).nullable(),
});

export const shownSchedule = z
  .strictObject({
    id: presentedId('schedule'),
    name: z.string(),
    timeZone: z.string(),
    layers: z.array(z.strictObject({ name: z.string().nullable(), rotations: z.array(shownRotation) })),
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'Schedule' });

/** The allow-list of what leaves the server about a schedule. */
export function presentSchedule(row: ScheduleRow) {
  return {
    id: toWireId('schedule', row.id),
    name: row.name,
    timeZone: row.timeZone,
    layers: row.layers.map(({ name, rotations }) => ({ name, rotations: rotations.map(presentRotation) })),
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

function presentRotation({ participants, start, unit, length, restriction }: Rotation) {
  return { participants: participants.map((id) => toWireId('user', id)), start, unit, length, restriction };
}

export const shownOverride = z
  .strictObject({
    id: presentedId('override'),
    scheduleId: presentedId('schedule'),
    kind: z.enum(overrideKinds),
    userId: presentedId('user'),
    insteadOf: presentedId('user').nullable(),
    startsAt: presentedTime,
    endsAt: presentedTime,
    reason: z.string(),
    createdBy: z.string().meta({ description: 'A member or service account.' }),
    createdAt: presentedTime,
  })
  .meta({ id: 'ScheduleOverride' });

/** The allow-list of what leaves the server about an override. */
export function presentOverride(row: ScheduleOverrideRow) {
  return {
    id: toWireId('override', row.id),
    scheduleId: toWireId('schedule', row.scheduleId),
    kind: row.kind,
    userId: toWireId('user', row.userId),
    insteadOf: row.insteadOf ? toWireId('user', row.insteadOf) : null,
    startsAt: row.startsAt.toISOString(),
    endsAt: row.endsAt.toISOString(),
    reason: row.reason,
    createdBy: toWireId(row.creatorType, row.creatorId),
    createdAt: row.createdAt.toISOString(),
  };
}

/** The members that layers name. */
export function participantsOf(layers: readonly Layer[] = []): Reference[] {
  return layers.flatMap(({ rotations }, layerIndex) =>
    rotations.flatMap(({ participants }, rotationIndex) =>
      participants.map((id, index): Reference => ({
        kind: 'user',
        id,
        pointer: `/layers/${layerIndex}/rotations/${rotationIndex}/participants/${index}`,
      })),
    ),
  );
}
