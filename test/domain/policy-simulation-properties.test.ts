import { expect, test } from '@jest/globals';
import type { EscalationPolicy, Target } from '../../domain/escalation-policy.ts';
import { complete } from '../../domain/gradual.ts';
import { simulatePolicy } from '../../domain/policy-simulation.ts';
import type { EscalationConfiguration } from '../../domain/recipients.ts';
import type { Override, Schedule } from '../../domain/schedule.ts';
import { type ScriptCommand, type ScriptStep, simulate } from '../../domain/simulation.ts';
import type { PlannedCommand, SimulatedCommand, SimulationPlan } from '../../domain/simulation-plan.ts';
import type { SimulatedEvent } from '../../domain/simulation-problems.ts';
import { printSimulation } from '../reference/print-simulation.ts';
import { minute, type RandomSimulation, randomSimulation, start, toSimulation } from '../reference/random-simulation.ts';

/** The people of the random simulations, by whom they stand for. */
const contacts: Readonly<Record<string, string[]>> = { pair: ['u1', 'u2'], u1: ['u1'], u2: ['u2'], u3: ['u3'], u4: ['u4'], f: ['f'] };

/** Whom the target `on-call` of the random simulations reaches: u3 for 20 minutes, from minute 60 on u1. */
const schedule: Schedule = {
  id: 'on-call',
  version: 1,
  name: 'on call',
  timeZone: 'UTC',
  layers: [{ name: null, rotations: [{ participants: ['gone'], start: '2026-01-01T00:00', unit: 'day', length: 1, restriction: null }] }],
};
const override = (userId: string, from: number, to: number): Override => ({
  id: userId,
  kind: 'add',
  userId,
  insteadOf: null,
  startsAt: start + from * minute,
  endsAt: start + to * minute,
  reason: '',
});
const overrides = [override('u3', -10, 20), override('u1', 60, 100_000)];

function configurationOf({ policies, silences }: RandomSimulation): EscalationConfiguration {
  return {
    policies: new Map(policies.map((policy) => [policy.id, withSchedule(policy)])),
    calendars: new Map(toSimulation(randomSimulation(1)).calendars),
    schedules: new Map([['on-call', { schedule, overrides }]]),
    pageMethods: new Map(Object.entries(contacts).map(([id, ids]) => [id, ids.map((each) => ({ id: each, channelType: 'email' }))])),
    activeUserIds: new Set(Object.keys(contacts)),
    senders: new Map([['email', 'sender']]),
    activeChannels: new Map(),
    activeWebhookIds: new Set(),
    adminIds: [],
    emailContacts: new Map(),
    hasFallbackEmail: false,
    silences: silences.map(({ startsAt, endsAt, keys }, index) => ({
      id: `${index}`,
      version: 1,
      matchers: [{ key: 'dedupKey', op: 'in', value: [...keys] }],
      startsAt,
      endsAt,
      comment: '',
      createdBy: 'u1',
    })),
  };
}

function onSchedule(targets: readonly Target[]): Target[] {
  return targets.map((target) => (target.id === 'on-call' ? { kind: 'schedule', id: 'on-call' } : target));
}

function withSchedule(policy: EscalationPolicy): EscalationPolicy {
  const tiers = policy.tiers.map((tier) => ({ ...tier, targets: onSchedule(tier.targets) }));
  return { ...policy, tiers, trigger: null, fallback: onSchedule(policy.fallback) };
}

function eventOf(step: Extract<ScriptStep, { key: string }>): SimulatedEvent {
  const severity = step.kind === 'resolved' ? 'info' : step.severity;
  const effect = step.kind === 'problem' ? 'open' : step.kind === 'resolved' ? 'resolve' : 'occur';
  return {
    // all of one group
    type: 'alert.fired',
    category: 'alert',
    subject: step.key,
    family: 'alert',
    severity,
    effect,
    projectId: null,
    tenantId: null,
    environment: null,
    source: 'api',
    resource: null,
    dedupKey: step.key,
    groupKey: null,
    labels: {},
    hasExplicitDedupKey: step.kind !== 'occurrence',
  };
}

function commandOf(command: ScriptCommand, at: number): SimulatedCommand {
  switch (command.name) {
    case 'acknowledge':
      return { name: 'acknowledge', extend: command.extend ?? false };
    case 'escalate':
      return { name: 'escalate', expected: command.expected, toTier: command.toTier ?? null };
    case 'snooze':
      return { name: 'snooze', forMs: command.untilMs - at };
    case 'reassign':
      return { name: 'reassign', to: { policyId: command.policyId } };
    case 'reassign_targets':
      return { name: 'reassign', to: { targets: onSchedule(command.targets) } };
    case 'rebase':
      return { name: 'rebase', version: command.policyVersion };
    case 'unacknowledge':
    case 'resolve':
      return command;
  }
}

function planOf({ script, failures, until }: RandomSimulation): SimulationPlan {
  const events: Array<SimulationPlan['events'][number]> = [];
  const actors: PlannedCommand[] = [];
  for (const step of script) {
    const afterMs = step.at - start;
    if (step.kind === 'command')
      actors.push({ afterMs, event: 0, userId: step.actor, proof: 'session', command: commandOf(step.command, step.at) });
    else if (step.kind !== 'policy_changed') events.push({ afterMs, event: eventOf(step) });
  }
  const rejections = Object.entries(failures).map(([id, afterMs]) => ({ kind: 'contact' as const, id, afterMs }));
  return { startAt: start, horizonMs: until - start, events, actors, rejections };
}

/** A plan has no edits of the policy, and every occurrence of it is one of its own. */
function isPlannable({ script }: RandomSimulation): boolean {
  return script.every(({ kind }) => kind !== 'policy_changed') && script.filter(({ kind }) => kind === 'occurrence').length <= 1;
}

test('a policy simulated with events and people sends what its reducer sends to one group, whatever happens', () => {
  const randoms = Array.from({ length: 3_000 }, (_, index) => randomSimulation(index + 1)).filter(isPlannable);
  expect(randoms.length).toBeGreaterThan(1_000);
  for (const random of randoms) {
    const policy = withSchedule(random.policies[0]!);
    const facts = { policy, versions: [], rules: [], configuration: configurationOf(random), problemTtlMs: 30 * 24 * 60 * minute };
    const { messages } = complete(simulatePolicy(facts, planOf(random)));
    const told = messages.map(({ at, kind, recipient, round, tier }) =>
      [(at - start) / minute, kind, recipient.id, round, Math.max(1, tier)].join(' '),
    );
    const one = simulate(toSimulation(random));
    const expected = one.messages.map(({ at, kind, recipientId, round, tier }) =>
      [(at - start) / minute, kind, recipientId, round, tier].join(' '),
    );
    if (told.join() !== expected.join())
      throw new Error(`${printSimulation(random)}\nsimulated:\n${told.join('\n')}\nexpected:\n${expected.join('\n')}`);
  }
});
