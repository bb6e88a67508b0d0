import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ChannelEntity } from '../db/entities/channel.ts';
import { RuleEntity } from '../db/entities/rule.ts';
import type { RuleRow } from '../db/entities/rule.ts';
import { notFound, validationFailed } from '../domain/errors.ts';
import { categories } from '../domain/event-type.ts';
import { newId, toWireId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import { matcherKeys, matcherOperators } from '../domain/rule.ts';
import type { Matcher } from '../domain/rule.ts';
import { severities } from '../domain/severity.ts';
import type { Severity } from '../domain/severity.ts';
import { endpoint } from './endpoint.ts';
import { eventPattern } from './event-pattern.ts';
import { openPage, pageOf, pageQuery } from './paging.ts';
import { definedOnly } from './patch.ts';
import { assertProjects } from './projects.ts';
import { distinct, distinctOf, idParams, presentedId, presentedTime, resourceName, wireId } from './schema.ts';
import { assertVersion, versionHeaders } from './version.ts';

const matcherKey = z
  .string()
  .max(128)
  .refine((key) => (matcherKeys as readonly string[]).includes(key) || /^label\.[A-Za-z0-9_.\-/]{1,64}$/.test(key), {
    error: `must be one of ${matcherKeys.join(', ')}, or label.<name>`,
    params: { code: 'unknown_key' },
  });

const matcherText = z.string().max(256);

const matcher = z
  .discriminatedUnion('op', [
    z.strictObject({ key: matcherKey, op: z.enum(['=', '!=', 'glob']), value: matcherText }),
    z.strictObject({ key: matcherKey, op: z.enum(['in', 'not_in']), value: z.array(matcherText).min(1).max(100) }),
    z.strictObject({ key: matcherKey, op: z.literal('exists'), value: z.boolean() }),
  ])
  .meta({ id: 'Matcher', example: { key: 'environment', op: '=', value: 'production' } }) satisfies z.ZodType<Matcher>;

const fields = {
  name: resourceName,
  enabled: z.boolean(),
  position: z.int().min(0).max(1_000_000).meta({ description: 'Rules are asked in this order.' }),
  types: distinct(eventPattern, { max: 100 }).meta({ description: 'With `categories` also empty: every event.' }),
  categories: distinctOf(categories, categories.length),
  projectIds: distinct(wireId('project'), { max: 100 }).meta({ description: 'Empty: all projects and none.' }),
  minSeverity: z.enum(severities),
  matchers: z
    .array(matcher)
    .max(20)
    .meta({ description: `All must match. Operators: ${matcherOperators.join(' ')}.` }),
  channelIds: distinct(wireId('channel'), { max: 50 }).meta({ description: 'All of them get the event.' }),
  stop: z.boolean().meta({ description: 'Later rules are not asked.' }),
};

const shownRule = z
  .strictObject({
    id: presentedId('rule'),
    name: z.string(),
    enabled: z.boolean(),
    position: z.int(),
    types: z.array(z.string()),
    categories: z.array(z.string()),
    projectIds: z.array(presentedId('project')),
    minSeverity: z.enum(severities).nullable(),
    matchers: z.array(matcher),
    channelIds: z.array(presentedId('channel')),
    stop: z.boolean(),
    warnings: z.array(z.string()).meta({ description: '`no_channels`: nothing leaves Tocsin by this rule.' }),
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'Rule' });

function presentRule(row: RuleRow) {
  return {
    id: toWireId('rule', row.id),
    name: row.name,
    enabled: row.enabled,
    position: row.position,
    types: row.types,
    categories: row.categories,
    projectIds: row.projectIds.map((id) => toWireId('project', id)),
    minSeverity: (row.minSeverity ?? null) as Severity | null,
    // a project is an id on the wire and a UUID where rules are asked
    matchers: row.matchers.map((each) => mapProjects(each, (id) => toWireId('project', id))),
    channelIds: row.channelIds.map((id) => toWireId('channel', id)),
    stop: row.stop,
    warnings: row.channelIds.length === 0 ? ['no_channels'] : [],
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

function mapProjects(each: Matcher, map: (id: string) => string): Matcher {
  if (each.key !== 'projectId' || typeof each.value === 'boolean' || each.op === 'glob') return each;
  const convert = (text: string) => (text === '' ? '' : map(text));
  return { ...each, value: Array.isArray(each.value) ? each.value.map(convert) : convert(each.value) };
}

function readMatchers(matchers: readonly Matcher[]): Matcher[] {
  return matchers.map((each, index) =>
    mapProjects(each, (text) => {
      const parsed = wireId('project').safeParse(text);
      if (parsed.success) return parsed.data;
      throw validationFailed([{ pointer: `/matchers/${index}/value`, code: 'invalid_id', detail: 'is not the id of a project' }]);
    }),
  );
}

async function assertChannels(em: EntityManager, organizationId: string, channelIds: readonly string[]): Promise<void> {
  if (channelIds.length === 0) return;
  const found = await em.find(ChannelEntity, { orgId: organizationId, id: { $in: [...channelIds] }, deletedAt: null }, { fields: ['id'] });
  const known = new Set(found.map(({ id }) => id));
  const faults = channelIds.flatMap((id, index) =>
    known.has(id) ? [] : [{ pointer: `/channelIds/${index}`, code: 'unknown_channel', detail: 'is no channel of this organization' }],
  );
  if (faults.length > 0) throw validationFailed(faults);
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
      stop: fields.stop.default(false),
    })
    .meta({ id: 'RuleCreate' }),
  responses: { 201: { description: 'The rule.', schema: shownRule } },
  handler: async ({ em, principal, input: { body }, now, audit }) => {
    const { organizationId } = principal;
    const matchers = readMatchers(body.matchers);
    await assertProjects(em, organizationId, body.projectIds);
    await assertChannels(em, organizationId, body.channelIds);
    const [last] = await em.find(RuleEntity, { orgId: organizationId, deletedAt: null }, { orderBy: { position: 'desc' }, limit: 1 });
    const row = em.create(RuleEntity, {
      ...body,
      matchers,
      position: body.position ?? Math.min((last?.position ?? 0) + 10, 1_000_000),
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
      stop: fields.stop.optional(),
    })
    .meta({ id: 'RulePatch' }),
  responses: { 200: { description: 'The rule as it is now.', schema: shownRule } },
  handler: async ({ em, principal, input: { params, body }, ifMatch, now, audit }) => {
    const { organizationId } = principal;
    const row = await findRule(em, organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    if (body.projectIds !== undefined) await assertProjects(em, organizationId, body.projectIds);
    if (body.channelIds !== undefined) await assertChannels(em, organizationId, body.channelIds);
    const before = presentRule(row);
    const { matchers, ...plain } = body;
    em.assign(row, definedOnly(plain));
    if (matchers !== undefined) row.matchers = readMatchers(matchers);
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
    row.deletedAt = now;
    return {};
  },
});

export const ruleEndpoints = [listRules, createRule, readRule, updateRule, deleteRule];
