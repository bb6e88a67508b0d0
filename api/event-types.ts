import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { CustomEventTypeEntity, type CustomEventTypeRow } from '../db/entities/custom-event-type.ts';
import { OrganizationEntity } from '../db/entities/organization.ts';
import { customEventTypeOf, findCustomEventTypes } from '../db/queries/custom-event-types.ts';
import {
  type CustomEventType,
  customTypeRules,
  describeType,
  isTypeName,
  takenNames,
  typeNameFaults,
} from '../domain/custom-event-type.ts';
import { DomainError, notFound, validationFailed } from '../domain/errors.ts';
import { type EventType, eventTypes as builtIn, familyOf, findEventType } from '../domain/event-type.ts';
import { newId } from '../domain/id.ts';
import { endpoint } from './endpoint.ts';
import { eventTypeFields as fields, presentType, shownType } from './event-type-fields.ts';
import { findTypeUsers } from './event-type-users.ts';
import { assertUnused } from './in-use.ts';
import { definedOnly } from './patch.ts';
import { inspectWith } from './validation.ts';
import { assertVersion, versionHeaders } from './version.ts';

type Names = Pick<CustomEventType, 'type' | 'aliases'>;

const typeParams = z.object({ type: z.string().max(customTypeRules.typeLength).meta({ example: 'payment.charge_failed' }) });

async function findOwnType(em: EntityManager, organizationId: string, type: string): Promise<CustomEventTypeRow> {
  const row = await em.findOne(
    CustomEventTypeEntity,
    { orgId: organizationId, type, deletedAt: null },
    { lockMode: LockMode.PESSIMISTIC_WRITE },
  );
  if (row === null) throw notFound();
  return row;
}

/** One at a time in an organization, for all spellings share one name space. Throws `duplicate_name` with all that are taken. */
async function assertNamesFree(em: EntityManager, organizationId: string, named: Names, except?: CustomEventTypeRow): Promise<void> {
  await em.findOneOrFail(OrganizationEntity, { id: organizationId }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  const others = (await findCustomEventTypes(em, organizationId)).filter(({ id }) => id !== except?.id);
  const { perOrganization: max } = customTypeRules;
  if (others.length >= max)
    throw new DomainError('wrong_state', `The organization has ${max} event types of its own, and may not have more.`);
  const faults = takenNames(named, others);
  if (faults.length > 0) throw new DomainError('duplicate_name', 'An event type is called that already.', { faults });
}

const listEventTypes = endpoint({
  name: 'event_type.list',
  method: 'get',
  path: '/event-types',
  tag: 'Events',
  summary: 'The catalogue of event types',
  permission: 'authenticated',
  query: z.strictObject({ category: fields.anyCategory.optional() }),
  responses: {
    200: {
      description: 'Every type, those of the organization last.',
      schema: z.strictObject({ data: z.array(shownType), nextCursor: z.null() }),
    },
  },
  handler: async ({ em, principal, input: { query } }) => {
    const rows = await findCustomEventTypes(em, principal.organizationId);
    const all = [...builtIn.map((type) => presentType(type, null)), ...rows.map((row) => presentType(typeOf(row), row))];
    return { body: { data: all.filter(({ category }) => query.category === undefined || query.category === category), nextCursor: null } };
  },
});

const readEventType = endpoint({
  name: 'event_type.view',
  method: 'get',
  path: '/event-types/{type}',
  tag: 'Events',
  summary: 'Read an event type',
  permission: 'authenticated',
  params: typeParams,
  responses: { 200: { description: 'The type.', schema: shownType } },
  handler: async ({ em, principal, input: { params } }) => {
    const known = findEventType(params.type);
    if (known?.type === params.type) return { body: presentType(known, null) };
    const row = await em.findOne(CustomEventTypeEntity, { orgId: principal.organizationId, type: params.type, deletedAt: null });
    if (row === null) throw notFound();
    return { body: presentType(typeOf(row), row), headers: versionHeaders(row) };
  },
});

const named = z.object({ type: z.string(), family: z.string().optional(), aliases: z.array(z.string()).default([]) });
/** A type that is not well formed has no family of its own. */
const familyOrOwn = (type: string, family: string | undefined): string => family ?? (isTypeName(type) ? familyOf(type) : 'none');

const createEventType = endpoint({
  name: 'event_type.create',
  method: 'post',
  path: '/event-types',
  tag: 'Events',
  summary: 'Add an event type',
  description:
    'Its name and aliases share one name space with all others: 409 when one is taken. Types of one `family` open and resolve the same problems.',
  permission: 'monitoring.manage',
  idempotent: true,
  inspect: inspectWith(named, ({ type, family, aliases }) => typeNameFaults({ type, family: familyOrOwn(type, family), aliases })),
  body: z
    .strictObject({
      type: fields.type,
      category: fields.category.default('custom'),
      feed: fields.feed.default('system'),
      description: fields.description.optional(),
      defaultSeverity: fields.defaultSeverity.default('info'),
      effect: fields.effect.default('occur'),
      family: fields.family.optional().meta({ description: 'Default: the words before the last.' }),
      aliases: fields.aliases.default([]),
    })
    .meta({ id: 'EventTypeCreate' }),
  responses: { 201: { description: 'The type.', schema: shownType } },
  handler: async ({ em, principal, input: { body }, now, audit }) => {
    const { organizationId } = principal;
    const { description = describeType(body.type), family = familyOf(body.type), ...rest } = body;
    await assertNamesFree(em, organizationId, body);
    const row = em.create(CustomEventTypeEntity, {
      ...rest,
      description,
      family,
      id: newId(now.getTime()),
      orgId: organizationId,
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    const after = presentType(typeOf(row), row);
    audit({ resource: { type: 'event_type', id: row.id, name: row.type }, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const updateEventType = endpoint({
  name: 'event_type.update',
  method: 'patch',
  path: '/event-types/{type}',
  tag: 'Events',
  summary: 'Change an event type of the organization',
  description: 'Applies to events from now on; problems that are open stay. Its name stays: rules and stored events know it by that.',
  permission: 'monitoring.manage',
  conditional: true,
  params: typeParams,
  body: z
    .strictObject({
      category: fields.category.optional(),
      feed: fields.feed.optional(),
      description: fields.description.optional(),
      defaultSeverity: fields.defaultSeverity.optional(),
      effect: fields.effect.optional(),
      family: fields.family.optional(),
      aliases: fields.aliases.optional(),
    })
    .meta({ id: 'EventTypePatch' }),
  responses: { 200: { description: 'The type as it is now.', schema: shownType } },
  handler: async ({ em, principal, input: { params, body }, ifMatch, now, audit }) => {
    const { organizationId } = principal;
    const row = await findOwnType(em, organizationId, params.type);
    assertVersion(row, ifMatch);
    const before = presentType(typeOf(row), row);
    em.assign(row, definedOnly(body));
    const faults = typeNameFaults(row);
    if (faults.length > 0) throw validationFailed(faults);
    if (body.aliases !== undefined) await assertNamesFree(em, organizationId, row, row);
    row.version += 1;
    row.updatedAt = now;
    const after = presentType(typeOf(row), row);
    audit({ resource: { type: 'event_type', id: row.id, name: row.type }, before, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const deleteEventType = endpoint({
  name: 'event_type.delete',
  method: 'delete',
  path: '/event-types/{type}',
  tag: 'Events',
  summary: 'Delete an event type of the organization',
  description: '409 `in_use` while a rule, webhook, escalation policy, preference or setting names it. Events of it stay.',
  permission: 'monitoring.manage',
  conditional: true,
  params: typeParams,
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal, input: { params }, ifMatch, now, audit }) => {
    const { organizationId } = principal;
    const row = await findOwnType(em, organizationId, params.type);
    assertVersion(row, ifMatch);
    assertUnused('event type', await findTypeUsers(em, organizationId, row.type));
    audit({ resource: { type: 'event_type', id: row.id, name: row.type }, before: presentType(typeOf(row), row) });
    row.deletedAt = now;
    return {};
  },
});

function typeOf(row: CustomEventTypeRow): EventType {
  return { ...customEventTypeOf(row), audience: [], own: false };
}

export const eventTypeEndpoints = [listEventTypes, readEventType, createEventType, updateEventType, deleteEventType];
