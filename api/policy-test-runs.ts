import type { EntityManager } from '@mikro-orm/postgresql';
import { EscalationPolicyTestEntity } from '../db/entities/escalation-policy-test.ts';
import type { FactsCache } from '../db/queries/routing-facts.ts';
import { readPolicyVersions, readSimulationFacts } from '../db/queries/simulation-facts.ts';
import { type Fault, validationFailed } from '../domain/errors.ts';
import type { EscalationPolicy } from '../domain/escalation-policy.ts';
import { toWireId } from '../domain/id.ts';
import { type PolicyTest, type PolicyTestResult, runPolicyTests } from '../domain/policy-test.ts';
import type { SimulationFacts, SimulationPlan } from '../domain/simulation-plan.ts';
import { runInSlices } from './pace.ts';
import { describeFailure, policyTestOf } from './policy-test-fields.ts';

export const mostTests = 20;

/** What a policy's tests are run with, whatever the policy will be. */
export interface TestBench {
  readonly tests: readonly PolicyTest[];
  readonly facts: Omit<SimulationFacts, 'policy'>;
}

/**
 * Reads the tests of a policy and what they find around it; run in the organization, and before the transaction changes any configuration.
 * @param others tests that are not saved yet
 */
export async function readTestBench(
  em: EntityManager,
  facts: FactsCache,
  { organizationId, policyId, now, others = [] }: { organizationId: string; policyId: string; now: Date; others?: readonly PolicyTest[] },
): Promise<TestBench | undefined> {
  const rows = await em.find(
    EscalationPolicyTestEntity,
    { orgId: organizationId, policyId, deletedAt: null, id: { $nin: others.map(({ id }) => id) } },
    { orderBy: { id: 'asc' } },
  );
  const tests = [...rows.map(policyTestOf), ...others];
  if (tests.length === 0) return undefined;
  const startAt = Math.min(...tests.map(({ plan }) => plan.startAt));
  return {
    tests,
    facts: {
      ...(await readSimulationFacts(em, facts, organizationId, { startAt, now: now.getTime() })),
      versions: await readPolicyVersions(em, policyId, rebasedTo(tests.map(({ plan }) => plan))),
    },
  };
}

/** The versions that actors rebase to. */
export function rebasedTo(plans: readonly SimulationPlan[]): number[] {
  return plans.flatMap(({ actors }) => actors.flatMap(({ command }) => (command.name === 'rebase' ? [command.version] : [])));
}

export async function runTests(bench: TestBench | undefined, policy: EscalationPolicy): Promise<PolicyTestResult[]> {
  return bench === undefined ? [] : runInSlices(runPolicyTests(bench.tests, { ...bench.facts, policy }));
}

/** What the audit entry says when something is saved although tests fail. */
export interface ForcedTests {
  forced: 'policy_tests';
  failedTests: Array<{ id: string; name: string }>;
}

/**
 * @returns undefined when all pass
 * @throws DomainError `validation_failed` with a `policy_test_failed` for each test that does not, unless forced
 */
export function judgeTests(results: readonly PolicyTestResult[], force: boolean): ForcedTests | undefined {
  const failed = results.filter(({ passed }) => !passed);
  if (failed.length === 0) return undefined;
  if (force) return { forced: 'policy_tests', failedTests: failed.map(({ test: { id, name } }) => ({ id, name })) };
  throw validationFailed(
    failed.map((result): Fault => {
      return { pointer: `/tests/${toWireId('policy_test', result.test.id)}`, code: 'policy_test_failed', detail: describeFailure(result) };
    }),
  );
}
