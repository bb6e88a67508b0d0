import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { readActiveUsers, readScheduleAsOf } from '../db/queries/schedule.ts';
import { validationFailed } from '../domain/errors.ts';
import { toWireId } from '../domain/id.ts';
import { onCallAt, shifts, shiftsHorizonMs } from '../domain/schedule.ts';
import { endpoint } from './endpoint.ts';
import { idParams, presentedId, presentedTime, time } from './schema.ts';
import { findSchedule } from './schedules.ts';

const because = z
  .array(z.string())
  .meta({ description: 'The layer, the rotation with its shift, and overrides.', example: ['layer 1', 'rotation 1 shift 14'] });

/** The configuration in force at `asOf`, with who of it is active now. */
async function readPlan(em: EntityManager, place: { organizationId: string; id: string }, asOf: Date, span: { from: number; to: number }) {
  await findSchedule(em, place.organizationId, place.id);
  const plan = await readScheduleAsOf(em, place.id, asOf, span);
  if (plan === undefined) {
    throw validationFailed([{ pointer: '/query/asOf', code: 'before_creation', detail: 'is before the schedule was created' }]);
  }
  return { ...plan, active: await readActiveUsers(em, [plan]) };
}

/** Overrides are named by their ids, which look otherwise on the wire. */
function presentReasons(reasons: readonly string[]): string[] {
  return reasons.map((reason) => reason.replace(/^override ([0-9a-f-]{36})$/, (_, id: string) => `override ${toWireId('override', id)}`));
}

const asOfParameter = time.optional().meta({ description: 'The configuration as it was then. Default: now.' });

const readOnCall = endpoint({
  name: 'schedule.on_call',
  method: 'get',
  path: '/schedules/{id}/on-call',
  tag: 'On-call',
  summary: 'Who is, was or will be on call at an instant, and why',
  permission: 'monitoring.view',
  params: idParams('schedule'),
  query: z.strictObject({ at: time.optional().meta({ description: 'Default: now.' }), asOf: asOfParameter }),
  responses: {
    200: {
      description: 'Nobody, when the list is empty.',
      schema: z
        .strictObject({
          at: presentedTime,
          asOf: presentedTime,
          version: z.int().meta({ description: 'Of the schedule.' }),
          data: z.array(
            z.strictObject({
              userId: presentedId('user'),
              since: presentedTime.nullable().meta({ description: 'Null: for more than 92 days.' }),
              until: presentedTime.nullable().meta({ description: 'Null: for more than 92 days, if not for ever.' }),
              because,
            }),
          ),
        })
        .meta({ id: 'OnCall' }),
    },
  },
  handler: async ({ em, principal, input: { params, query }, now }) => {
    const { at = now, asOf = now } = query;
    const place = { organizationId: principal.organizationId, id: params.id };
    const span = { from: at.getTime() - shiftsHorizonMs - 1, to: at.getTime() + shiftsHorizonMs + 1 };
    const { schedule, overrides, active } = await readPlan(em, place, asOf, span);
    const data = onCallAt(schedule, overrides, active, at.getTime()).map((watch) => ({
      userId: toWireId('user', watch.userId),
      since: watch.since === null ? null : new Date(watch.since).toISOString(),
      until: watch.until === null ? null : new Date(watch.until).toISOString(),
      because: presentReasons(watch.because),
    }));
    return { body: { at: at.toISOString(), asOf: asOf.toISOString(), version: schedule.version, data } };
  },
});

const listShifts = endpoint({
  name: 'schedule.shifts',
  method: 'get',
  path: '/schedules/{id}/shifts',
  tag: 'On-call',
  summary: 'Who is on call from when to when',
  description: 'At most 92 days. Where no shift is, nobody is on call.',
  permission: 'monitoring.view',
  params: idParams('schedule'),
  query: z
    .strictObject({ from: time, to: time, asOf: asOfParameter })
    .refine(({ from, to }) => from < to && to.getTime() - from.getTime() <= shiftsHorizonMs, {
      path: ['to'],
      error: 'must be after from, and at most 92 days after it',
      params: { code: 'out_of_range' },
    }),
  responses: {
    200: {
      description: 'By their start, cut at both ends of what was asked for.',
      schema: z
        .strictObject({
          asOf: presentedTime,
          version: z.int().meta({ description: 'Of the schedule.' }),
          data: z.array(z.strictObject({ userId: presentedId('user'), start: presentedTime, end: presentedTime, because })),
        })
        .meta({ id: 'Shifts' }),
    },
  },
  handler: async ({ em, principal, input: { params, query }, now }) => {
    const { asOf = now } = query;
    const span = { from: query.from.getTime(), to: query.to.getTime() };
    const { schedule, overrides, active } = await readPlan(em, { organizationId: principal.organizationId, id: params.id }, asOf, span);
    const data = shifts(schedule, overrides, active, span).map((shift) => ({
      userId: toWireId('user', shift.userId),
      start: new Date(shift.start).toISOString(),
      end: new Date(shift.end).toISOString(),
      because: presentReasons(shift.because),
    }));
    return { body: { asOf: asOf.toISOString(), version: schedule.version, data } };
  },
});

export const onCallEndpoints = [readOnCall, listShifts];
