import { LockMode } from '@mikro-orm/core';
import { z } from 'zod';
import { ScheduleOverrideEntity } from '../db/entities/schedule-override.ts';
import { overrideOf } from '../db/queries/schedule.ts';
import { DomainError, notFound } from '../domain/errors.ts';
import type { Fault } from '../domain/errors.ts';
import { newId, toWireId } from '../domain/id.ts';
import { overrideConflicts, overrideFaults } from '../domain/schedule.ts';
import type { Override } from '../domain/schedule.ts';
import { endpoint } from './endpoint.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { assertReferences } from './references.ts';
import { overrideFields as fields, presentOverride, shownOverride } from './schedule-fields.ts';
import { findSchedule } from './schedules.ts';
import { idParams, time, wireId } from './schema.ts';
import { inspectWith } from './validation.ts';

const listOverrides = endpoint({
  name: 'override.list',
  method: 'get',
  path: '/schedules/{id}/overrides',
  tag: 'On-call',
  summary: 'List the overrides of a schedule, newest first',
  permission: 'monitoring.view',
  params: idParams('schedule'),
  query: z.strictObject({
    ...pageQuery,
    from: time.optional().meta({ description: 'Those that end after it.' }),
    to: time.optional().meta({ description: 'Those that start before it.' }),
  }),
  responses: { 200: { description: 'A page of overrides.', schema: pageOf(shownOverride) } },
  handler: async ({ em, input: { params, query }, ...context }) => {
    const { organizationId } = context.principal;
    await findSchedule(em, organizationId, params.id);
    const page = openPageById(context, query, `override.list ${params.id}`);
    const rows = await em.find(
      ScheduleOverrideEntity,
      {
        orgId: organizationId,
        scheduleId: params.id,
        deletedAt: null,
        ...(query.from === undefined ? {} : { endsAt: { $gt: query.from } }),
        ...(query.to === undefined ? {} : { startsAt: { $lt: query.to } }),
        ...page.where,
      },
      page.options,
    );
    return { body: page.present(rows, presentOverride) };
  },
});

function inspectOverride({ startsAt, endsAt, ...rest }: z.output<typeof overrideForm>): Fault[] {
  const faults = overrideFaults({ ...rest, startsAt: startsAt.getTime(), endsAt: endsAt.getTime() });
  // what is over stays as it was: it says who has been on call
  return endsAt.getTime() > Date.now() ? faults : [...faults, { pointer: '/endsAt', code: 'in_the_past', detail: 'must be in the future' }];
}

const overrideForm = z.object(fields);

const createOverride = endpoint({
  name: 'override.create',
  method: 'post',
  path: '/schedules/{id}/overrides',
  tag: 'On-call',
  summary: 'Have somebody else on call for a time',
  description:
    '`replace` puts a member in the place of another, or of everybody; `add` and `remove` do what they say. 409 `override_overlap` when another override of that time names one of the same members, or one of the two replaces everybody.',
  permission: 'monitoring.manage',
  idempotent: true,
  params: idParams('schedule'),
  inspect: inspectWith(overrideForm, inspectOverride),
  body: z.strictObject(fields).meta({ id: 'ScheduleOverrideCreate' }),
  responses: { 201: { description: 'The override.', schema: shownOverride } },
  handler: async ({ em, principal, input: { params, body }, now, audit }) => {
    const { organizationId } = principal;
    const schedule = await findSchedule(em, organizationId, params.id);
    const override = { ...body, id: newId(now.getTime()), startsAt: body.startsAt.getTime(), endsAt: body.endsAt.getTime() };
    await assertReferences(em, organizationId, [
      { kind: 'user', id: body.userId, pointer: '/userId' },
      ...(body.insteadOf === null ? [] : [{ kind: 'user' as const, id: body.insteadOf, pointer: '/insteadOf' }]),
    ]);
    const others = await em.find(ScheduleOverrideEntity, {
      orgId: organizationId,
      scheduleId: schedule.id,
      deletedAt: null,
      startsAt: { $lt: body.endsAt },
      endsAt: { $gt: body.startsAt },
    });
    // of two at once neither sees the other here: the database refuses the later one
    assertNoConflict(overrideConflicts(others.map(overrideOf), override));
    const row = em.create(ScheduleOverrideEntity, {
      ...body,
      id: override.id,
      orgId: organizationId,
      scheduleId: schedule.id,
      creatorType: principal.type,
      creatorId: principal.id,
      createdAt: now,
    });
    const after = presentOverride(row);
    audit({
      resource: { type: 'override', id: row.id },
      targets: [{ type: 'schedule', id: schedule.id, name: schedule.name }],
      after,
    });
    return { body: after };
  },
});

function assertNoConflict(conflicts: readonly Override[]): void {
  if (conflicts.length === 0) return;
  const faults = conflicts.map(({ id, kind, startsAt, endsAt }) => ({
    pointer: '',
    code: 'override_overlap',
    detail: `${kind} ${toWireId('override', id)} from ${new Date(startsAt).toISOString()} to ${new Date(endsAt).toISOString()}`,
  }));
  throw new DomainError('override_overlap', 'Another override of this time names the same member, or replaces everybody.', { faults });
}

const deleteOverride = endpoint({
  name: 'override.delete',
  method: 'delete',
  path: '/schedules/{id}/overrides/{overrideId}',
  tag: 'On-call',
  summary: 'Take an override back',
  description: 'Also one that has begun: the layers count again at once. One that has ended stays.',
  permission: 'monitoring.manage',
  params: z.object({ id: wireId('schedule'), overrideId: wireId('override') }),
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal, input: { params }, now, audit }) => {
    const { organizationId } = principal;
    const schedule = await findSchedule(em, organizationId, params.id);
    const row = await em.findOne(
      ScheduleOverrideEntity,
      { orgId: organizationId, scheduleId: schedule.id, id: params.overrideId, deletedAt: null },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    if (row === null) throw notFound();
    if (row.endsAt <= now) throw new DomainError('wrong_state', 'The override has ended.');
    audit({
      resource: { type: 'override', id: row.id },
      targets: [{ type: 'schedule', id: schedule.id, name: schedule.name }],
      before: presentOverride(row),
    });
    row.deletedAt = now;
    return {};
  },
});

export const scheduleOverrideEndpoints = [listOverrides, createOverride, deleteOverride];
