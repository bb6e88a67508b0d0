import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { EscalationPolicyTestEntity, type EscalationPolicyTestRow } from '../db/entities/escalation-policy-test.ts';
import { policyOf } from '../db/queries/policy.ts';
import { readInOrganization } from '../db/tenant.ts';
import { notFound, validationFailed } from '../domain/errors.ts';
import type { EscalationPolicy } from '../domain/escalation-policy.ts';
import { fromWireId, newId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import { expectMessages, type PolicyTest } from '../domain/policy-test.ts';
import { simulatePolicy } from '../domain/policy-simulation.ts';
import { endpoint, ownTransactionEndpoint, type TransactionContext } from './endpoint.ts';
import { findPolicy, policyParams } from './escalation-policies.ts';
import { inspectPatterns } from './event-pattern.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { runInSlices } from './pace.ts';
import { projectsOf } from './policy-simulations.ts';
import { policyTestInput, policyTestResult, presentPolicyTest, presentPolicyTestResult, shownPolicyTest } from './policy-test-fields.ts';
import { type ForcedTests, judgeTests, mostTests, readTestBench, runTests } from './policy-test-runs.ts';
import { assertProjects } from './projects.ts';
import { assertReferences } from './references.ts';
import { presentedId } from './schema.ts';
import { planOf, planReferences } from './simulation-fields.ts';
import { assertVersion, versionHeaders } from './version.ts';

const nobody = '00000000-0000-0000-0000-000000000000';
const testParams = policyParams.extend({
  testId: presentedId('policy_test').transform((given) => fromWireId('policy_test', given) ?? nobody),
});
const forcing = z.strictObject({
  force: z.stringbool().default(false).meta({ description: 'Saves a test that the policy fails; the audit entry says so.' }),
});

async function findTest(
  em: EntityManager,
  { orgId, policyId, id }: { orgId: string; policyId: string; id: string },
  lockMode: LockMode = LockMode.NONE,
): Promise<EscalationPolicyTestRow> {
  const row = await em.findOne(EscalationPolicyTestEntity, { orgId, policyId, id, deletedAt: null }, { lockMode });
  if (row === null) throw notFound();
  return row;
}

/** What a body says, checked and tried: the test, and why it was saved all the same when the policy fails it. */
async function readTest(
  { em, principal: { organizationId }, now, deps }: Pick<TransactionContext, 'em' | 'principal' | 'now' | 'deps'>,
  policy: EscalationPolicy,
  { id, body, force }: { id: string; body: z.output<typeof policyTestInput>; force: boolean },
): Promise<{ test: PolicyTest; forced: ForcedTests | undefined }> {
  const { types } = await deps.facts.read(em, organizationId);
  const plan = planOf(body, types);
  await assertProjects(em, organizationId, projectsOf(plan, { trigger: null }));
  await assertReferences(em, organizationId, planReferences(plan));
  const named: PolicyTest = { id, name: body.name, plan, expected: body.expected ?? [] };
  const bench = (await readTestBench(em, deps.facts, { organizationId, policyId: policy.id, now, others: [named] }))!;
  if (body.expected === undefined) {
    const { messages } = await runInSlices(simulatePolicy({ ...bench.facts, policy }, plan));
    const test = { ...named, expected: expectMessages(messages, plan.startAt) };
    return { test, forced: undefined };
  }
  const results = await runTests({ ...bench, tests: [named] }, policy);
  return { test: named, forced: judgeTests(results, force) };
}

const listTests = endpoint({
  name: 'policy_test.list',
  method: 'get',
  path: '/escalation-policies/{id}/tests',
  tag: 'Escalation policies',
  summary: "List a policy's tests, newest first",
  permission: 'monitoring.view',
  params: policyParams,
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of tests.', schema: pageOf(shownPolicyTest) } },
  handler: async ({ em, input: { params, query }, ...context }) => {
    const { organizationId: orgId } = context.principal;
    const { id: policyId } = await findPolicy(em, orgId, params.id);
    const page = openPageById(context, query, `policy_test.list ${policyId}`);
    const rows = await em.find(EscalationPolicyTestEntity, { orgId, policyId, deletedAt: null, ...page.where }, page.options);
    return { body: page.present(rows, presentPolicyTest) };
  },
});

const createTest = endpoint({
  name: 'policy_test.create',
  method: 'post',
  path: '/escalation-policies/{id}/tests',
  tag: 'Escalation policies',
  summary: 'Keep a simulation as a test of the policy',
  description: `Run at each save of the policy, which it refuses when it sends anything else. A policy has at most ${mostTests}, which together take at most 10,000 steps. 422 \`policy_test_failed\` when the policy fails it already, unless forced.`,
  permission: 'monitoring.manage',
  idempotent: true,
  inspect: inspectPatterns('events/*/type'),
  params: policyParams,
  query: forcing,
  body: policyTestInput,
  responses: { 201: { description: 'The test.', schema: shownPolicyTest } },
  handler: async ({ input: { params, query, body }, ...context }) => {
    const { em, principal, now, audit } = context;
    const { organizationId: orgId } = principal;
    // Whoever saves the policy meanwhile waits, and then runs this one too.
    const policy = await findPolicy(em, orgId, params.id, LockMode.PESSIMISTIC_WRITE);
    if ((await em.count(EscalationPolicyTestEntity, { orgId, policyId: policy.id, deletedAt: null })) >= mostTests)
      throw validationFailed([{ pointer: '', code: 'too_many_tests', detail: `a policy has at most ${mostTests} tests` }]);
    const { test, forced } = await readTest(context, policyOf(policy), { id: newId(now.getTime()), body, force: query.force });
    const { id, name, plan, expected } = test;
    const known = { id, orgId, policyId: policy.id, name, nameKey: foldName(name), plan, expected };
    const row = em.create(EscalationPolicyTestEntity, { ...known, version: 1, createdAt: now, updatedAt: now });
    audit({
      resource: { type: 'policy_test', id, name },
      targets: [{ type: 'escalation_policy', id: policy.id, name: policy.name }],
      after: presentPolicyTest(row),
      ...(forced === undefined ? {} : { details: { ...forced } }),
    });
    return { body: presentPolicyTest(row), headers: versionHeaders(row) };
  },
});

const readPolicyTest = endpoint({
  name: 'policy_test.view',
  method: 'get',
  path: '/escalation-policies/{id}/tests/{testId}',
  tag: 'Escalation policies',
  summary: 'Read a test of a policy',
  permission: 'monitoring.view',
  params: testParams,
  responses: { 200: { description: 'The test.', schema: shownPolicyTest } },
  handler: async ({ em, principal: { organizationId: orgId }, input: { params } }) => {
    const policy = await findPolicy(em, orgId, params.id);
    const row = await findTest(em, { orgId, policyId: policy.id, id: params.testId });
    return { body: presentPolicyTest(row), headers: versionHeaders(row) };
  },
});

const replaceTest = endpoint({
  name: 'policy_test.replace',
  method: 'put',
  path: '/escalation-policies/{id}/tests/{testId}',
  tag: 'Escalation policies',
  summary: 'Replace a test of a policy',
  description: 'As when it is created: 422 `policy_test_failed` when the policy fails it, unless forced.',
  permission: 'monitoring.manage',
  conditional: true,
  inspect: inspectPatterns('events/*/type'),
  params: testParams,
  query: forcing,
  body: policyTestInput,
  responses: { 200: { description: 'The test as it is now.', schema: shownPolicyTest } },
  handler: async ({ input: { params, query, body }, ...context }) => {
    const { em, principal, ifMatch, now, audit } = context;
    const { organizationId: orgId } = principal;
    const policy = await findPolicy(em, orgId, params.id, LockMode.PESSIMISTIC_WRITE);
    const row = await findTest(em, { orgId, policyId: policy.id, id: params.testId }, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    const before = presentPolicyTest(row);
    const { test, forced } = await readTest(context, policyOf(policy), { id: row.id, body, force: query.force });
    const { name, plan, expected } = test;
    em.assign(row, { name, nameKey: foldName(name), plan, expected, version: row.version + 1, updatedAt: now });
    audit({
      resource: { type: 'policy_test', id: row.id, name },
      targets: [{ type: 'escalation_policy', id: policy.id, name: policy.name }],
      before,
      after: presentPolicyTest(row),
      ...(forced === undefined ? {} : { details: { ...forced } }),
    });
    return { body: presentPolicyTest(row), headers: versionHeaders(row) };
  },
});

const deleteTest = endpoint({
  name: 'policy_test.delete',
  method: 'delete',
  path: '/escalation-policies/{id}/tests/{testId}',
  tag: 'Escalation policies',
  summary: 'Delete a test of a policy',
  permission: 'monitoring.manage',
  conditional: true,
  params: testParams,
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal: { organizationId: orgId }, input: { params }, ifMatch, now, audit }) => {
    const policy = await findPolicy(em, orgId, params.id);
    const row = await findTest(em, { orgId, policyId: policy.id, id: params.testId }, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    audit({
      resource: { type: 'policy_test', id: row.id, name: row.name },
      targets: [{ type: 'escalation_policy', id: policy.id, name: policy.name }],
      before: presentPolicyTest(row),
    });
    row.deletedAt = now;
    return {};
  },
});

const runAllTests = ownTransactionEndpoint({
  name: 'policy_test.run',
  method: 'post',
  path: '/escalation-policies/{id}/tests/run',
  tag: 'Escalation policies',
  summary: "Run a policy's tests as things are now",
  description: 'Schedules, people and calendars may have changed since the policy was saved. Nothing is written.',
  permission: 'monitoring.view',
  audited: false,
  params: policyParams,
  responses: {
    200: {
      description: 'What came of each, oldest first.',
      schema: z.strictObject({ passed: z.boolean(), data: z.array(policyTestResult) }),
    },
  },
  handler: async ({ principal: { organizationId }, input: { params }, now, deps }) => {
    const { policy, bench } = await readInOrganization(deps.orm, organizationId, async (em) => {
      const row = await findPolicy(em, organizationId, params.id);
      return { policy: policyOf(row), bench: await readTestBench(em, deps.facts, { organizationId, policyId: row.id, now }) };
    });
    const results = await runTests(bench, policy);
    return { body: { passed: results.every(({ passed }) => passed), data: results.map(presentPolicyTestResult) } };
  },
});

// the fixed path first: an id would match it too
export const policyTestEndpoints = [listTests, createTest, runAllTests, readPolicyTest, replaceTest, deleteTest];
