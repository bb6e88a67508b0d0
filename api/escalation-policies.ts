import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { EscalationPolicyEntity } from '../db/entities/escalation-policy.ts';
import type { EscalationPolicyRow } from '../db/entities/escalation-policy.ts';
import { RuleEntity } from '../db/entities/rule.ts';
import { policyOf } from '../db/queries/policy.ts';
import { readInOrganization } from '../db/tenant.ts';
import { DomainError, validationFailed } from '../domain/errors.ts';
import { fromWireId, newId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import type { AuditPart } from './audit-trail.ts';
import { inspectLeast } from './duration.ts';
import { endpoint, ownTransactionEndpoint } from './endpoint.ts';
import {
  changeDefinition,
  definitionOf,
  leastDurations,
  policyFields as fields,
  policyInput,
  policyWithWarnings,
  presentPolicy,
  shownPolicy,
} from './escalation-policy-fields.ts';
import { definitionFaults, referencesOf } from './escalation-policy-rules.ts';
import { coverPolicy, evaluatePolicy, type PolicyCoverage, readFacts, warningsOf } from './escalation-policy-warnings.ts';
import { holdTriggerTypes, inspectPatterns } from './event-pattern.ts';
import { assertUnused } from './in-use.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { definedOnly } from './patch.ts';
import { type ForcedTests, judgeTests, readTestBench, runTests } from './policy-test-runs.ts';
import { assertProjects } from './projects.ts';
import { assertReferences } from './references.ts';
import { presentedId } from './schema.ts';
import { inspectAll } from './validation.ts';
import { assertVersion, versionHeaders } from './version.ts';

/** An id that nothing has: what is no id at all is as unknown as an id of nobody's. */
const nobody = '00000000-0000-0000-0000-000000000000';
/** `{id}` in a path. */
export const policyParams = z.object({
  id: presentedId('escalation_policy').transform((text) => fromWireId('escalation_policy', text) ?? nobody),
});

/** A policy of the organization that is not deleted; throws `policy_not_found`. */
export async function findPolicy(
  em: EntityManager,
  organizationId: string,
  id: string,
  lockMode: LockMode = LockMode.NONE,
): Promise<EscalationPolicyRow> {
  const row = await em.findOne(EscalationPolicyEntity, { orgId: organizationId, id, deletedAt: null }, { lockMode });
  if (row === null) throw new DomainError('policy_not_found', 'notification policy not found');
  return row;
}

/** A policy with what whoever looks at it should know. */
async function showPolicy(row: EscalationPolicyRow, coverage: PolicyCoverage) {
  return { ...presentPolicy(row), warnings: await warningsOf(row.definition, coverage) };
}

/**
 * @returns the code when a policy that pages nobody is saved all the same; undefined: it pages somebody
 * @throws DomainError `validation_failed` with `nobody_reachable` unless forced
 */
function judgeReach({ reachesNobody }: PolicyCoverage, enabled: boolean, force: boolean): 'nobody_reachable' | undefined {
  if (!enabled || !reachesNobody) return undefined;
  const code = 'nobody_reachable';
  if (force) return code;
  const detail = 'neither a tier nor the fallback would reach anybody within the next year; `force` saves it all the same';
  throw validationFailed([{ pointer: '/tiers', code, detail }]);
}

/** What the audit entry says of a policy that was saved all the same. */
function forcedDetails(reach: string | undefined, tests?: ForcedTests): Pick<AuditPart, 'details'> {
  const forced = [...(reach === undefined ? [] : [reach]), ...(tests === undefined ? [] : [tests.forced])];
  if (forced.length === 0) return {};
  return { details: { forced: forced.join(' '), ...(tests === undefined ? {} : { failedTests: tests.failedTests }) } };
}

const forcing = z.strictObject({
  force: z
    .stringbool()
    .default(false)
    .meta({ description: 'Saves a policy that would page nobody, or that fails its tests; the audit entry says so.' }),
});

const listPolicies = endpoint({
  name: 'escalation_policy.list',
  method: 'get',
  path: '/escalation-policies',
  tag: 'Escalation policies',
  summary: 'List escalation policies, newest first',
  permission: 'monitoring.view',
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of policies.', schema: pageOf(shownPolicy) } },
  handler: async ({ em, input, ...context }) => {
    const page = openPageById(context, input.query, 'escalation_policy.list');
    const where = { orgId: context.principal.organizationId, deletedAt: null, ...page.where };
    return { body: page.present(await em.find(EscalationPolicyEntity, where, page.options), presentPolicy) };
  },
});

const createPolicy = endpoint({
  name: 'escalation_policy.create',
  method: 'post',
  path: '/escalation-policies',
  tag: 'Escalation policies',
  summary: 'Create an escalation policy',
  description:
    'Tiers are paged in turn until somebody acknowledges. 422 `nobody_reachable` when nobody would be paged within a year, unless forced; gaps are `warnings`.',
  permission: 'monitoring.manage',
  idempotent: true,
  inspect: inspectAll(inspectLeast(leastDurations), inspectPatterns('trigger/types/*')),
  query: forcing,
  body: policyInput,
  responses: { 201: { description: 'The policy.', schema: policyWithWarnings } },
  handler: async ({ input: { query, body }, ...context }) => {
    const { em, principal, now, audit } = context;
    const { organizationId } = principal;
    const { name, enabled, ownerUserId = principal.type === 'user' ? principal.id : null, ...rest } = body;
    const trigger = rest.trigger && (await holdTriggerTypes(em, organizationId, rest.trigger));
    const definition = definitionOf({ ...rest, trigger });
    await assertProjects(em, organizationId, definition.trigger?.projectIds ?? []);
    await assertReferences(em, organizationId, referencesOf({ ...definition, ownerUserId }), definitionFaults(definition));
    const coverage = await coverPolicy(em, organizationId, definition, { from: now.getTime() });
    const reach = judgeReach(coverage, enabled, query.force);
    const row = em.create(EscalationPolicyEntity, {
      id: newId(now.getTime()),
      orgId: organizationId,
      name,
      nameKey: foldName(name),
      enabled,
      ownerUserId,
      definition,
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    audit({ resource: { type: 'escalation_policy', id: row.id, name: row.name }, after: presentPolicy(row), ...forcedDetails(reach) });
    return { body: await showPolicy(row, coverage), headers: versionHeaders(row) };
  },
});

const readPolicy = ownTransactionEndpoint({
  name: 'escalation_policy.view',
  method: 'get',
  path: '/escalation-policies/{id}',
  tag: 'Escalation policies',
  summary: 'Read an escalation policy',
  permission: 'monitoring.view',
  params: policyParams,
  responses: { 200: { description: 'The policy.', schema: policyWithWarnings } },
  handler: async ({ principal: { organizationId }, input: { params }, now, deps }) => {
    const looking = { from: now.getTime() };
    const { row, facts } = await readInOrganization(deps.orm, organizationId, async (em) => {
      const found = await findPolicy(em, organizationId, params.id);
      return { row: found, facts: await readFacts(em, organizationId, found.definition, looking) };
    });
    return { body: await showPolicy(row, await evaluatePolicy(row.definition, facts, looking)), headers: versionHeaders(row) };
  },
});

/** Without a change to these a policy reaches whom it reached before. */
const reaching = ['enabled', 'tiers', 'fallback', 'calendarId'] as const;

const updatePolicy = endpoint({
  name: 'escalation_policy.update',
  method: 'patch',
  path: '/escalation-policies/{id}',
  tag: 'Escalation policies',
  summary: 'Change an escalation policy',
  description:
    'Escalations that are open keep the version that they began with. Absent fields stay; `tiers`, `trigger` and `repeat` are replaced as a whole. Disabled, it opens none. Its tests are run: 422 `policy_test_failed` unless forced.',
  permission: 'monitoring.manage',
  conditional: true,
  inspect: inspectAll(inspectLeast(leastDurations), inspectPatterns('trigger/types/*')),
  params: policyParams,
  query: forcing,
  body: z
    .strictObject({
      name: fields.name.optional(),
      enabled: fields.enabled.optional(),
      ownerUserId: fields.ownerUserId.optional(),
      trigger: fields.trigger.optional(),
      groupBy: fields.groupBy.optional(),
      groupWait: fields.groupWait.optional(),
      tiers: fields.tiers.optional(),
      calendarId: fields.calendarId.optional(),
      defer: fields.defer.optional(),
      repeat: fields.repeat.optional(),
      acknowledgementTimeout: fields.acknowledgementTimeout.optional(),
      acknowledgementReminder: fields.acknowledgementReminder.optional(),
      cooldown: fields.cooldown.optional(),
      cooldownScope: fields.cooldownScope.optional(),
      hardStop: fields.hardStop.optional(),
      fallback: fields.fallback.optional(),
      followUp: fields.followUp.optional(),
      autoResolve: fields.autoResolve.optional(),
      minProof: fields.minProof.optional(),
    })
    .meta({ id: 'EscalationPolicyPatch' }),
  responses: { 200: { description: 'The policy as it is now.', schema: policyWithWarnings } },
  handler: async ({ input: { params, query, body }, ...context }) => {
    const { em, principal, ifMatch, now, audit, deps } = context;
    const { organizationId } = principal;
    const row = await findPolicy(em, organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    const before = presentPolicy(row);
    const bench = await readTestBench(em, deps.facts, { organizationId, policyId: row.id, now });
    // whom it names already may stay, whatever became of them: coverage tells
    const known = new Set(referencesOf({ ...row.definition, ownerUserId: row.ownerUserId }).map(({ id }) => id));
    const { name, enabled, ownerUserId, ...change } = body;
    if (change.trigger) change.trigger = await holdTriggerTypes(em, organizationId, change.trigger);
    em.assign(row, definedOnly({ name, enabled, ownerUserId, definition: changeDefinition(row.definition, change) }));
    await assertProjects(em, organizationId, body.trigger?.projectIds ?? []);
    const added = referencesOf({ ...row.definition, ownerUserId: row.ownerUserId }).filter(({ id }) => !known.has(id));
    await assertReferences(em, organizationId, added, definitionFaults(row.definition));
    const coverage = await coverPolicy(em, organizationId, row.definition, { from: now.getTime() });
    const reach = reaching.some((field) => body[field] !== undefined) ? judgeReach(coverage, row.enabled, query.force) : undefined;
    const tests = judgeTests(await runTests(bench, { ...policyOf(row), version: row.version + 1 }), query.force);
    row.nameKey = foldName(row.name);
    row.version += 1;
    row.updatedAt = now;
    audit({
      resource: { type: 'escalation_policy', id: row.id, name: row.name },
      before,
      after: presentPolicy(row),
      ...forcedDetails(reach, tests),
    });
    return { body: await showPolicy(row, coverage), headers: versionHeaders(row) };
  },
});

const deletePolicy = endpoint({
  name: 'escalation_policy.delete',
  method: 'delete',
  path: '/escalation-policies/{id}',
  tag: 'Escalation policies',
  summary: 'Delete an escalation policy',
  description: '409 `in_use` while rules name it, unless forced; forced, the rules lose it. Escalations that are open go on.',
  permission: 'monitoring.manage',
  conditional: true,
  params: policyParams,
  query: z.strictObject({ force: z.stringbool().default(false) }),
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal, input: { params, query }, ifMatch, now, audit }) => {
    const { organizationId } = principal;
    const row = await findPolicy(em, organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    const rules = await em.find(
      RuleEntity,
      { orgId: organizationId, deletedAt: null, policyId: row.id },
      { orderBy: { id: 'asc' }, lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    if (!query.force) {
      assertUnused(
        'policy',
        rules.map(({ id, name }) => ({ kind: 'rule', id, name })),
      );
    }
    for (const rule of rules) {
      rule.policyId = null;
      rule.version += 1;
      rule.updatedAt = now;
      audit({ action: 'rule.update', resource: { type: 'rule', id: rule.id, name: rule.name }, changed: ['policyId'] });
    }
    audit({ resource: { type: 'escalation_policy', id: row.id, name: row.name }, before: presentPolicy(row) });
    row.deletedAt = now;
    return {};
  },
});

export const escalationPolicyEndpoints = [listPolicies, createPolicy, readPolicy, updatePolicy, deletePolicy];
