import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { RuleEntity } from '../db/entities/rule.ts';
import type { RuleRow } from '../db/entities/rule.ts';
import { closeNoticeGroups } from '../db/queries/notice-group.ts';
import { notFound } from '../domain/errors.ts';
import { newId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import { inspectLeast } from './duration.ts';
import { endpoint } from './endpoint.ts';
import { holdTypes, inspectPatterns } from './event-pattern.ts';
import { openPage, pageOf, pageQuery } from './paging.ts';
import { definedOnly } from './patch.ts';
import { assertProjects } from './projects.ts';
import { assertReferences } from './references.ts';
import type { Reference } from './references.ts';
import { leastRuleDurations, maxPosition, presentRule, ruleFields as fields, shownRule } from './rule-fields.ts';
import { idParams } from './schema.ts';
import { inspectAll } from './validation.ts';
import { assertVersion, versionHeaders } from './version.ts';

interface Naming {
  readonly channelIds?: readonly string[] | undefined;
  readonly policyId?: string | null | undefined;
}

function referencesOf({ channelIds = [], policyId }: Naming): Reference[] {
  return [
    ...channelIds.map((id, index) => ({ kind: 'channel' as const, id, pointer: `/channelIds/${index}` })),
    ...(policyId ? [{ kind: 'policy' as const, id: policyId, pointer: '/policyId' }] : []),
  ];
}

async function findRule(em: EntityManager, organizationId: string, id: string, lockMode: LockMode = LockMode.NONE): Promise<RuleRow> {
  const row = await em.findOne(RuleEntity, { orgId: organizationId, id, deletedAt: null }, { lockMode });
  if (row === null) throw notFound();
  return row;
}

const listRules = endpoint({
  name: 'rule.list',
  method: 'get',
  path: '/rules',
  tag: 'Rules',
  summary: 'List rules in the order in which they are asked',
  permission: 'monitoring.view',
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of rules.', schema: pageOf(shownRule) } },
  handler: async ({ em, input, ...context }) => {
    const page = openPage(context, input.query, { list: 'rule.list', key: z.tuple([z.int(), z.string()]) });
    const [position, id] = page.after ?? [];
    const rows = await em.find(
      RuleEntity,
      {
        orgId: context.principal.organizationId,
        deletedAt: null,
        ...(position === undefined || id === undefined ? {} : { $or: [{ position: { $gt: position } }, { position, id: { $gt: id } }] }),
      },
      { orderBy: [{ position: 'asc' }, { id: 'asc' }], limit: page.take },
    );
    return { body: page.present(rows, (row): [number, string] => [row.position, row.id], presentRule) };
  },
});

const createRule = endpoint({
  name: 'rule.create',
  method: 'post',
  path: '/rules',
  tag: 'Rules',
  summary: 'Create a rule',
  permission: 'monitoring.manage',
  idempotent: true,
  inspect: inspectAll(inspectPatterns('types/*'), inspectLeast(leastRuleDurations)),
  body: z
    .strictObject({
      name: fields.name,
      enabled: fields.enabled.default(true),
      position: fields.position.optional().meta({ description: 'Default: after all others.' }),
      types: fields.types.default([]),
      categories: fields.categories.default([]),
      projectIds: fields.projectIds.default([]),
      minSeverity: fields.minSeverity.nullable().default(null),
      matchers: fields.matchers.default([]),
      channelIds: fields.channelIds.default([]),
      policyId: fields.policyId.nullable().default(null),
      aggregate: fields.aggregate.default(null),
      stop: fields.stop.default(false),
    })
    .meta({ id: 'RuleCreate' }),
  responses: { 201: { description: 'The rule.', schema: shownRule } },
  handler: async ({ em, principal, input: { body }, now, audit }) => {
    const { organizationId } = principal;
    await assertProjects(em, organizationId, body.projectIds);
    await assertReferences(em, organizationId, referencesOf(body));
    const [last] = await em.find(RuleEntity, { orgId: organizationId, deletedAt: null }, { orderBy: { position: 'desc' }, limit: 1 });
    const row = em.create(RuleEntity, {
      ...body,
      types: await holdTypes(em, organizationId, body.types),
      position: body.position ?? Math.min((last?.position ?? 0) + 10, maxPosition),
      id: newId(now.getTime()),
      orgId: organizationId,
      nameKey: foldName(body.name),
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    const after = presentRule(row);
    audit({ resource: { type: 'rule', id: row.id, name: row.name }, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const readRule = endpoint({
  name: 'rule.view',
  method: 'get',
  path: '/rules/{id}',
  tag: 'Rules',
  summary: 'Read a rule',
  permission: 'monitoring.view',
  params: idParams('rule'),
  responses: { 200: { description: 'The rule.', schema: shownRule } },
  handler: async ({ em, principal, input }) => {
    const row = await findRule(em, principal.organizationId, input.params.id);
    return { body: presentRule(row), headers: versionHeaders(row) };
  },
});

const updateRule = endpoint({
  name: 'rule.update',
  method: 'patch',
  path: '/rules/{id}',
  tag: 'Rules',
  summary: 'Change a rule',
  permission: 'monitoring.manage',
  conditional: true,
  inspect: inspectAll(inspectPatterns('types/*'), inspectLeast(leastRuleDurations)),
  params: idParams('rule'),
  body: z
    .strictObject({
      name: fields.name.optional(),
      enabled: fields.enabled.optional(),
      position: fields.position.optional(),
      types: fields.types.optional(),
      categories: fields.categories.optional(),
      projectIds: fields.projectIds.optional(),
      minSeverity: fields.minSeverity.nullable().optional(),
      matchers: fields.matchers.optional(),
      channelIds: fields.channelIds.optional(),
      policyId: fields.policyId.nullable().optional(),
      aggregate: fields.aggregate.optional(),
      stop: fields.stop.optional(),
    })
    .meta({ id: 'RulePatch' }),
  responses: { 200: { description: 'The rule as it is now.', schema: shownRule } },
  handler: async ({ em, principal, input: { params, body }, ifMatch, now, audit }) => {
    const { organizationId } = principal;
    if (body.projectIds !== undefined) await assertProjects(em, organizationId, body.projectIds);
    // before the rule is held: deleting a channel or policy holds that first and then the rules that name it
    await assertReferences(em, organizationId, referencesOf(body));
    const types = body.types && (await holdTypes(em, organizationId, body.types));
    const row = await findRule(em, organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    const before = presentRule(row);
    em.assign(row, definedOnly({ ...body, types }));
    if (!row.enabled || !row.aggregate) await closeNoticeGroups(em, organizationId, { ruleId: row.id, at: now.getTime() });
    row.nameKey = foldName(row.name);
    row.version += 1;
    row.updatedAt = now;
    const after = presentRule(row);
    audit({ resource: { type: 'rule', id: row.id, name: row.name }, before, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const deleteRule = endpoint({
  name: 'rule.delete',
  method: 'delete',
  path: '/rules/{id}',
  tag: 'Rules',
  summary: 'Delete a rule',
  permission: 'monitoring.manage',
  conditional: true,
  params: idParams('rule'),
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal, input: { params }, ifMatch, now, audit }) => {
    const row = await findRule(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    audit({ resource: { type: 'rule', id: row.id, name: row.name }, before: presentRule(row) });
    await closeNoticeGroups(em, principal.organizationId, { ruleId: row.id, at: now.getTime() });
    row.deletedAt = now;
    return {};
  },
});

export const ruleEndpoints = [listRules, createRule, readRule, updateRule, deleteRule];
