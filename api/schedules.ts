import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ScheduleEntity } from '../db/entities/schedule.ts';
import type { ScheduleRow } from '../db/entities/schedule.ts';
import { findPoliciesNaming } from '../db/queries/policy-references.ts';
import { notFound } from '../domain/errors.ts';
import { newId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import { scheduleFaults } from '../domain/schedule.ts';
import { endpoint } from './endpoint.ts';
import { assertUnused, policyUsers } from './in-use.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { definedOnly } from './patch.ts';
import { assertReferences } from './references.ts';
import { participantsOf, presentSchedule, scheduleFields as fields, shownSchedule } from './schedule-fields.ts';
import { idParams } from './schema.ts';
import { inspectWith } from './validation.ts';
import { assertVersion, versionHeaders } from './version.ts';

/** A schedule of the organization that is not deleted; throws `not_found`. */
export async function findSchedule(
  em: EntityManager,
  organizationId: string,
  id: string,
  lockMode: LockMode = LockMode.NONE,
): Promise<ScheduleRow> {
  const row = await em.findOne(ScheduleEntity, { orgId: organizationId, id, deletedAt: null }, { lockMode });
  if (row === null) throw notFound();
  return row;
}

const listSchedules = endpoint({
  name: 'schedule.list',
  method: 'get',
  path: '/schedules',
  tag: 'On-call',
  summary: 'List schedules, newest first',
  permission: 'monitoring.view',
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of schedules.', schema: pageOf(shownSchedule) } },
  handler: async ({ em, input, ...context }) => {
    const page = openPageById(context, input.query, 'schedule.list');
    const where = { orgId: context.principal.organizationId, deletedAt: null, ...page.where };
    return { body: page.present(await em.find(ScheduleEntity, where, page.options), presentSchedule) };
  },
});

const createSchedule = endpoint({
  name: 'schedule.create',
  method: 'post',
  path: '/schedules',
  tag: 'On-call',
  summary: 'Create a schedule',
  permission: 'monitoring.manage',
  idempotent: true,
  inspect: inspectWith(z.object({ timeZone: fields.timeZone, layers: fields.layers }), scheduleFaults),
  body: z.strictObject({ name: fields.name, timeZone: fields.timeZone, layers: fields.layers }).meta({ id: 'ScheduleCreate' }),
  responses: { 201: { description: 'The schedule.', schema: shownSchedule } },
  handler: async ({ em, principal, input: { body }, now, audit }) => {
    await assertReferences(em, principal.organizationId, participantsOf(body.layers));
    const row = em.create(ScheduleEntity, {
      ...body,
      id: newId(now.getTime()),
      orgId: principal.organizationId,
      nameKey: foldName(body.name),
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    const after = presentSchedule(row);
    audit({ resource: { type: 'schedule', id: row.id, name: row.name }, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const readSchedule = endpoint({
  name: 'schedule.view',
  method: 'get',
  path: '/schedules/{id}',
  tag: 'On-call',
  summary: 'Read a schedule',
  permission: 'monitoring.view',
  params: idParams('schedule'),
  responses: { 200: { description: 'The schedule.', schema: shownSchedule } },
  handler: async ({ em, principal, input }) => {
    const row = await findSchedule(em, principal.organizationId, input.params.id);
    return { body: presentSchedule(row), headers: versionHeaders(row) };
  },
});

const updateSchedule = endpoint({
  name: 'schedule.update',
  method: 'patch',
  path: '/schedules/{id}',
  tag: 'On-call',
  summary: 'Change a schedule',
  description:
    'Also open escalations page by it from their next firing on. `layers` replaces all of them; who has left the organization may stay.',
  permission: 'monitoring.manage',
  conditional: true,
  params: idParams('schedule'),
  body: z
    .strictObject({ name: fields.name.optional(), timeZone: fields.timeZone.optional(), layers: fields.layers.optional() })
    .meta({ id: 'SchedulePatch' }),
  responses: { 200: { description: 'The schedule as it is now.', schema: shownSchedule } },
  handler: async ({ em, principal, input: { params, body }, ifMatch, now, audit }) => {
    const row = await findSchedule(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    const before = presentSchedule(row);
    const known = new Set(participantsOf(row.layers).map(({ id }) => id));
    const added = participantsOf(body.layers).filter(({ id }) => !known.has(id));
    await assertReferences(em, principal.organizationId, added, scheduleFaults({ ...row, ...definedOnly(body) }));
    em.assign(row, definedOnly(body));
    row.nameKey = foldName(row.name);
    row.version += 1;
    row.updatedAt = now;
    const after = presentSchedule(row);
    audit({ resource: { type: 'schedule', id: row.id, name: row.name }, before, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const deleteSchedule = endpoint({
  name: 'schedule.delete',
  method: 'delete',
  path: '/schedules/{id}',
  tag: 'On-call',
  summary: 'Delete a schedule with its overrides',
  description: '409 `in_use` while escalation policies name it.',
  permission: 'monitoring.manage',
  conditional: true,
  params: idParams('schedule'),
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal, input: { params }, ifMatch, now, audit }) => {
    const row = await findSchedule(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    assertUnused('schedule', policyUsers(await findPoliciesNaming(em, { kind: 'schedule', id: row.id })));
    audit({ resource: { type: 'schedule', id: row.id, name: row.name }, before: presentSchedule(row) });
    row.deletedAt = now;
    return {};
  },
});

export const scheduleEndpoints = [listSchedules, createSchedule, readSchedule, updateSchedule, deleteSchedule];
