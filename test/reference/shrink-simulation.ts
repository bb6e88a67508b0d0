import type { EscalationPolicy, Tier } from '../../domain/escalation-policy.ts';
import { minute, type RandomSimulation } from './random-simulation.ts';

/** Settings that mean as little as possible. */
const plain: Array<Partial<EscalationPolicy>> = [
  { repeat: null },
  { defer: null },
  { groupWaitMs: 0 },
  { acknowledgementReminder: false },
  { acknowledgementTimeoutMs: null },
  { cooldownMs: 0 },
  { cooldownScope: 'full' },
  { fallback: [] },
  { autoResolve: true },
  { hardStopMs: 180 * minute },
];

function* simplerTiers(tiers: readonly Tier[]): Generator<readonly Tier[]> {
  for (const [index, tier] of tiers.entries()) {
    if (tiers.length > 1) yield tiers.toSpliced(index, 1);
    if (tier.when !== 'always') yield tiers.with(index, { ...tier, when: 'always' });
    if (tier.targets.length > 1) yield tiers.with(index, { ...tier, targets: tier.targets.slice(1) });
    if (tier.targets.length > 1) yield tiers.with(index, { ...tier, targets: tier.targets.slice(0, 1) });
  }
}

/** The same change to every version of every policy, so that what they have in common stays in common. */
function changePolicies(random: RandomSimulation, change: Partial<EscalationPolicy>): RandomSimulation {
  return {
    ...random,
    policies: random.policies.map((policy) => ({ ...policy, ...change })),
    script: random.script.map((step) => (step.kind === 'policy_changed' ? { ...step, policy: { ...step.policy, ...change } } : step)),
  };
}

function* simpler(random: RandomSimulation): Generator<RandomSimulation> {
  const { policies, failures, script, silences } = random;
  for (const index of script.keys()) yield { ...random, script: script.toSpliced(index, 1) };
  for (const index of silences.keys()) yield { ...random, silences: silences.toSpliced(index, 1) };
  for (const id of Object.keys(failures)) {
    yield { ...random, failures: Object.fromEntries(Object.entries(failures).filter(([other]) => other !== id)) };
  }
  for (const change of plain) {
    const changed = changePolicies(random, change);
    if (JSON.stringify(changed) !== JSON.stringify(random)) yield changed;
  }
  for (const [index, policy] of policies.entries()) {
    for (const tiers of simplerTiers(policy.tiers)) yield { ...random, policies: policies.with(index, { ...policy, tiers }) };
  }
  for (const [index, step] of script.entries()) {
    if (step.kind !== 'policy_changed') continue;
    for (const tiers of simplerTiers(step.policy.tiers)) {
      yield { ...random, script: script.with(index, { ...step, policy: { ...step.policy, tiers } }) };
    }
  }
}

/** A rebase goes to a version that is there. */
function isPossible({ script }: RandomSimulation): boolean {
  const edit = script.findIndex(({ kind }) => kind === 'policy_changed');
  const rebase = script.findIndex((step) => step.kind === 'command' && step.command.name === 'rebase');
  return rebase === -1 || (edit !== -1 && edit < rebase);
}

/** The smallest simulation near `random` of which `fails` still holds, as `fails(random)` does. */
export async function shrink(
  random: RandomSimulation,
  fails: (simulation: RandomSimulation) => boolean | Promise<boolean>,
): Promise<RandomSimulation> {
  for (;;) {
    const smaller = await findFailing(random, fails);
    if (smaller === undefined) return random;
    random = smaller;
  }
}

async function findFailing(random: RandomSimulation, fails: Parameters<typeof shrink>[1]): Promise<RandomSimulation | undefined> {
  for (const simulation of simpler(random)) if (isPossible(simulation) && (await fails(simulation))) return simulation;
  return undefined;
}
