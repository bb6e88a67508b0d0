import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { CalendarEntity } from '../db/entities/calendar.ts';
import type { CalendarRow } from '../db/entities/calendar.ts';
import { findPoliciesAsking } from '../db/queries/policy-references.ts';
import { calendarFaults } from '../domain/calendar.ts';
import { notFound, validationFailed } from '../domain/errors.ts';
import { newId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import { calendarFields as fields, presentCalendar, shownCalendar } from './calendar-fields.ts';
import { endpoint } from './endpoint.ts';
import { assertUnused, policyUsers } from './in-use.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { definedOnly } from './patch.ts';
import { idParams } from './schema.ts';
import { inspectWith } from './validation.ts';
import { assertVersion, versionHeaders } from './version.ts';

async function findCalendar(
  em: EntityManager,
  organizationId: string,
  id: string,
  lockMode: LockMode = LockMode.NONE,
): Promise<CalendarRow> {
  const row = await em.findOne(CalendarEntity, { orgId: organizationId, id, deletedAt: null }, { lockMode });
  if (row === null) throw notFound();
  return row;
}

const openingHours = z.object({ timeZone: fields.timeZone, intervals: fields.intervals, holidays: fields.holidays.default([]) });

const listCalendars = endpoint({
  name: 'calendar.list',
  method: 'get',
  path: '/calendars',
  tag: 'Calendars',
  summary: 'List calendars, newest first',
  permission: 'monitoring.view',
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of calendars.', schema: pageOf(shownCalendar) } },
  handler: async ({ em, input, ...context }) => {
    const page = openPageById(context, input.query, 'calendar.list');
    const where = { orgId: context.principal.organizationId, deletedAt: null, ...page.where };
    return { body: page.present(await em.find(CalendarEntity, where, page.options), presentCalendar) };
  },
});

const createCalendar = endpoint({
  name: 'calendar.create',
  method: 'post',
  path: '/calendars',
  tag: 'Calendars',
  summary: 'Create a calendar',
  description: 'Opening hours by which escalation policies wait or choose tiers. 422 `never_open` when it would not open within 400 days.',
  permission: 'monitoring.manage',
  idempotent: true,
  inspect: inspectWith(openingHours, (hours) => calendarFaults(hours, Date.now())),
  body: z
    .strictObject({
      name: fields.name,
      timeZone: fields.timeZone,
      intervals: fields.intervals,
      holidays: fields.holidays.default([]),
    })
    .meta({ id: 'CalendarCreate' }),
  responses: { 201: { description: 'The calendar.', schema: shownCalendar } },
  handler: async ({ em, principal, input: { body }, now, audit }) => {
    const row = em.create(CalendarEntity, {
      ...body,
      id: newId(now.getTime()),
      orgId: principal.organizationId,
      nameKey: foldName(body.name),
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    const after = presentCalendar(row);
    audit({ resource: { type: 'calendar', id: row.id, name: row.name }, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const readCalendar = endpoint({
  name: 'calendar.view',
  method: 'get',
  path: '/calendars/{id}',
  tag: 'Calendars',
  summary: 'Read a calendar',
  permission: 'monitoring.view',
  params: idParams('calendar'),
  responses: { 200: { description: 'The calendar.', schema: shownCalendar } },
  handler: async ({ em, principal, input }) => {
    const row = await findCalendar(em, principal.organizationId, input.params.id);
    return { body: presentCalendar(row), headers: versionHeaders(row) };
  },
});

const updateCalendar = endpoint({
  name: 'calendar.update',
  method: 'patch',
  path: '/calendars/{id}',
  tag: 'Calendars',
  summary: 'Change a calendar',
  description: 'Escalations that are open keep the version that they began with.',
  permission: 'monitoring.manage',
  conditional: true,
  params: idParams('calendar'),
  body: z
    .strictObject({
      name: fields.name.optional(),
      timeZone: fields.timeZone.optional(),
      intervals: fields.intervals.optional(),
      holidays: fields.holidays.optional(),
    })
    .meta({ id: 'CalendarPatch' }),
  responses: { 200: { description: 'The calendar as it is now.', schema: shownCalendar } },
  handler: async ({ em, principal, input: { params, body }, ifMatch, now, audit }) => {
    const row = await findCalendar(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    const before = presentCalendar(row);
    em.assign(row, definedOnly(body));
    const { timeZone, intervals, holidays } = row;
    const faults = calendarFaults({ timeZone, intervals, holidays }, now.getTime());
    if (faults.length > 0) throw validationFailed(faults);
    row.nameKey = foldName(row.name);
    row.version += 1;
    row.updatedAt = now;
    const after = presentCalendar(row);
    audit({ resource: { type: 'calendar', id: row.id, name: row.name }, before, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const deleteCalendar = endpoint({
  name: 'calendar.delete',
  method: 'delete',
  path: '/calendars/{id}',
  tag: 'Calendars',
  summary: 'Delete a calendar',
  description: '409 `in_use` while escalation policies ask it.',
  permission: 'monitoring.manage',
  conditional: true,
  params: idParams('calendar'),
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal, input: { params }, ifMatch, now, audit }) => {
    const row = await findCalendar(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    assertUnused('calendar', policyUsers(await findPoliciesAsking(em, row.id)));
    audit({ resource: { type: 'calendar', id: row.id, name: row.name }, before: presentCalendar(row) });
    row.deletedAt = now;
    return {};
  },
});

export const calendarEndpoints = [listCalendars, createCalendar, readCalendar, updateCalendar, deleteCalendar];
