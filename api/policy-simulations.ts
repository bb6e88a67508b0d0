import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { policyOf } from '../db/queries/policy.ts';
import { readNames, readPolicyVersions, readSimulationFacts } from '../db/queries/simulation-facts.ts';
import { readInOrganization } from '../db/tenant.ts';
import type { EventTypes } from '../domain/custom-event-type.ts';
import { validationFailed } from '../domain/errors.ts';
import type { EscalationPolicy } from '../domain/escalation-policy.ts';
import { newId } from '../domain/id.ts';
import { simulatePolicy } from '../domain/policy-simulation.ts';
import type { SimulationFacts, SimulationPlan } from '../domain/simulation-plan.ts';
import type { Dependencies } from './dependencies.ts';
import { inspectLeast } from './duration.ts';
import { ownTransactionEndpoint } from './endpoint.ts';
import { findPolicy } from './escalation-policies.ts';
import { definitionOf, leastDurations, policyInput } from './escalation-policy-fields.ts';
import { definitionFaults, referencesOf } from './escalation-policy-rules.ts';
import { inspectPatterns } from './event-pattern.ts';
import { runInSlices } from './pace.ts';
import { rebasedTo } from './policy-test-runs.ts';
import { assertProjects } from './projects.ts';
import { findBrokenReferences } from './references.ts';
import { wireId } from './schema.ts';
import { namedIds, presentSimulation, simulationAnswer } from './simulation-answer.ts';
import { checkActors, planFields, planOf, planReferences } from './simulation-fields.ts';
import { inspectAll } from './validation.ts';

type PolicyInput = z.output<typeof policyInput>;
/** Which policy: one that is written out, or a saved one at a version, by default its newest. */
interface Chosen {
  policy?: PolicyInput | undefined;
  policyId?: string | undefined;
  policyVersion?: number | undefined;
}

const body = z
  .strictObject({
    policy: policyInput.optional().meta({ description: 'As `POST /escalation-policies` takes it.' }),
    policyId: wireId('escalation_policy').optional(),
    policyVersion: z
      .int()
      .min(1)
      .max(2 ** 31 - 1)
      .optional()
      .meta({ description: 'Of `policyId`. Default: the newest.' }),
    ...planFields,
  })
  .superRefine((given, context) => {
    checkActors(given, context);
    const isOne = (given.policy === undefined) !== (given.policyId === undefined);
    const params = { code: 'exactly_one' };
    if (!isOne) context.addIssue({ code: 'custom', path: [], message: 'must have either policy or policyId', params });
    else if (given.policyVersion !== undefined && given.policyId === undefined)
      context.addIssue({ code: 'custom', path: ['policyVersion'], message: 'needs a policyId', params: { code: 'not_allowed' } });
  })
  .meta({ id: 'SimulationInput' });

const simulate = ownTransactionEndpoint({
  name: 'escalation_policy.simulate',
  method: 'post',
  path: '/escalation-policies/simulate',
  tag: 'Escalation policies',
  summary: 'Who would be told what, and when; nothing is written or sent',
  description:
    'The rules of production under a clock that jumps: from no escalation at all, with the schedules, calendars, silences, contact methods and rules as they are now. An event goes to the policy when its trigger or a rule says so; to one without a trigger all do. 422 `too_many_steps` beyond 10,000.',
  permission: 'monitoring.view',
  audited: false,
  inspect: inspectAll(
    inspectLeast(Object.fromEntries(Object.entries(leastDurations).map(([place, ms]) => [`policy/${place}`, ms]))),
    inspectPatterns('policy/trigger/types/*'),
    inspectPatterns('events/*/type'),
  ),
  body,
  responses: { 200: { description: 'What would happen.', schema: simulationAnswer } },
  handler: async ({ input, principal, now, deps }) => {
    const { organizationId } = principal;
    const types = await deps.intake.types(organizationId);
    const plan = planOf(input.body, types);
    const chosen = { ...input.body, policy: input.body.policy && withCanonicalTypes(input.body.policy, types) };
    const facts = await readInOrganization(deps.orm, organizationId, async (em) =>
      readFacts(em, deps, { organizationId, plan, chosen, now }),
    );
    const simulation = await runInSlices(simulatePolicy(facts, plan));
    const names = await readInOrganization(deps.orm, organizationId, async (em) => readNames(em, namedIds(simulation)));
    const { configuration, policy } = facts;
    const { startAt, horizonMs } = plan;
    const policyVersion = input.body.policyId === undefined ? null : policy.version;
    return { body: presentSimulation(simulation, { startAt, endAt: startAt + horizonMs, policyVersion, configuration, names }) };
  },
});

/** The policy as it would be saved: its trigger names types of the organization's own as events do. */
function withCanonicalTypes(policy: PolicyInput, { known }: EventTypes): PolicyInput {
  const { trigger } = policy;
  if (!trigger) return policy;
  return { ...policy, trigger: { ...trigger, types: trigger.types.map((pattern) => known(pattern)?.type ?? pattern) } };
}

async function readFacts(
  em: EntityManager,
  deps: Pick<Dependencies, 'facts'>,
  { organizationId, plan, chosen, now }: { organizationId: string; plan: SimulationPlan; chosen: Chosen; now: Date },
): Promise<SimulationFacts> {
  const { policy, faults } = await choosePolicy(em, organizationId, chosen, now);
  await assertProjects(em, organizationId, projectsOf(plan, policy));
  const named = chosen.policy === undefined ? [] : referencesOf(policy).map((one) => ({ ...one, pointer: `/policy${one.pointer}` }));
  const broken = await findBrokenReferences(em, organizationId, [...named, ...planReferences(plan)], { hold: false });
  if (faults.length + broken.length > 0) throw validationFailed([...faults, ...broken]);
  return {
    ...(await readSimulationFacts(em, deps.facts, organizationId, { startAt: plan.startAt, now: now.getTime() })),
    policy,
    versions: await readPolicyVersions(em, policy.id, rebasedTo([plan])),
  };
}

async function choosePolicy(em: EntityManager, organizationId: string, { policy: given, policyId, policyVersion }: Chosen, now: Date) {
  if (given !== undefined) {
    const { name, enabled, ownerUserId = null, ...rest } = given;
    const definition = definitionOf(rest);
    const policy: EscalationPolicy = { id: newId(now.getTime()), version: 1, name, enabled, ownerUserId, ...definition };
    return { policy, faults: definitionFaults(definition).map((fault) => ({ ...fault, pointer: `/policy${fault.pointer}` })) };
  }
  const row = await findPolicy(em, organizationId, policyId!);
  if (policyVersion === undefined || policyVersion === row.version) return { policy: policyOf(row), faults: [] };
  const [policy] = await readPolicyVersions(em, row.id, [policyVersion]);
  if (policy !== undefined) return { policy, faults: [] };
  throw validationFailed([{ pointer: '/policyVersion', code: 'unknown_version', detail: 'is no version of the policy' }]);
}

/** The projects that must be the organization's. */
export function projectsOf({ events }: SimulationPlan, { trigger }: Pick<EscalationPolicy, 'trigger'>): string[] {
  const posted = events.flatMap(({ event: { projectId } }) => (projectId === null ? [] : [projectId]));
  return [...posted, ...(trigger?.projectIds ?? [])];
}

export const policySimulationEndpoints = [simulate];
