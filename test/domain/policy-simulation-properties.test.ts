import { expect, test } from '@jest/globals';
import { complete } from '../../domain/gradual.ts';
import { simulatePolicy } from '../../domain/policy-simulation.ts';
import type { EscalationConfiguration } from '../../domain/recipients.ts';
import type { Override, Rotation, Schedule } from '../../domain/schedule.ts';
import { type ScriptCommand, type ScriptStep, simulate } from '../../domain/simulation.ts';
import type { PlannedCommand, SimulatedCommand, SimulationPlan } from '../../domain/simulation-plan.ts';
import type { SimulatedEvent } from '../../domain/simulation-problems.ts';
import { printSimulation } from '../reference/print-simulation.ts';
import { minute, people, type RandomSimulation, randomSimulation, schedules, start, toSimulation } from '../reference/random-simulation.ts';

const reachable = people.filter((name) => name !== 'nobody');

const rotationOf = (userId: string): Rotation => ({
  participants: [userId],
  start: '2026-01-01T00:00',
  unit: 'day',
  length: 1,
  restriction: null,
});

/** A schedule of the random simulations; somebody has to be in it. */
function scheduleOf(id: string): { schedule: Schedule; overrides: Override[] } {
  const { always, added } = schedules[id]!;
  const rotations = (always.length === 0 ? ['gone'] : always).map(rotationOf);
  const schedule = { id, version: 1, name: id, timeZone: 'UTC', layers: [{ name: null, rotations }] };
  const overrides = added.map(({ userId, from, to }): Override => {
    const times = { startsAt: start + from * minute, endsAt: start + to * minute };
    return { id: userId, kind: 'add', userId, insteadOf: null, reason: '', ...times };
  });
  return { schedule, overrides };
}

function configurationOf({ policies, silences }: RandomSimulation): EscalationConfiguration {
  return {
    policies: new Map(policies.map((policy) => [policy.id, policy])),
    calendars: new Map(toSimulation(randomSimulation(1)).calendars),
    schedules: new Map(Object.keys(schedules).map((id) => [id, scheduleOf(id)])),
    pageMethods: new Map(reachable.map((id) => [id, [{ id, channelType: 'email' }]])),
    activeUserIds: new Set(reachable),
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
      return { name: 'reassign', to: { targets: command.targets } };
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

/** A plan has no edits of the policy. */
function isPlannable({ script }: RandomSimulation): boolean {
  return script.every(({ kind }) => kind !== 'policy_changed');
}

test('a policy simulated with events and people sends what its reducer sends to one group, whatever happens', () => {
  const randoms = Array.from({ length: 3_000 }, (_, index) => randomSimulation(index + 1)).filter(isPlannable);
  expect(randoms.length).toBeGreaterThan(1_000);
  for (const random of randoms) {
    const policy = { ...random.policies[0]!, trigger: null };
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
