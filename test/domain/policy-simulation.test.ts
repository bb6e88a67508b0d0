import { describe, expect, test } from '@jest/globals';
import { DomainError } from '../../domain/errors.ts';
import type { EscalationPolicy } from '../../domain/escalation-policy.ts';
import { complete } from '../../domain/gradual.ts';
import { simulatePolicy } from '../../domain/policy-simulation.ts';
import type { EscalationConfiguration } from '../../domain/recipients.ts';
import { simulate } from '../../domain/simulation.ts';
import type { PlannedCommand, SimulatedCommand, SimulationFacts, SimulationPlan } from '../../domain/simulation-plan.ts';
import type { SimulatedEvent } from '../../domain/simulation-problems.ts';
import { at, buildPolicy, hour, minute, opens, acks, snoozes, reach, start, tier, user, when } from './escalation-story.ts';

const people = ['u1', 'u2', 'u3', 'f', 'q1'];
const configuration: EscalationConfiguration = {
  policies: new Map([['Q', buildPolicy({ id: 'Q', tiers: [tier(user('q1'))] })]]),
  calendars: new Map(),
  schedules: new Map(),
  pageMethods: new Map(people.map((id) => [id, [{ id: `${id} mail`, channelType: 'email' }]])),
  activeUserIds: new Set(people),
  senders: new Map([['email', 'sender']]),
  activeChannels: new Map(),
  activeWebhookIds: new Set(),
  adminIds: [],
  emailContacts: new Map(),
  hasFallbackEmail: false,
  silences: [],
};
const policy = buildPolicy({
  tiers: [tier(user('u1')), tier(user('u2')), tier(user('u3'))],
  repeat: { everyMs: 30 * minute, max: 1 },
  groupBy: ['type'],
});

function event(fields: Partial<SimulatedEvent> = {}): SimulatedEvent {
  return {
    type: 'alert.fired',
    category: 'alert',
    severity: 'high',
    subject: 'A',
    effect: 'open',
    family: 'alert',
    projectId: null,
    tenantId: null,
    environment: null,
    source: 'api',
    resource: null,
    dedupKey: 'A',
    groupKey: null,
    labels: {},
    hasExplicitDedupKey: true,
    ...fields,
  };
}
const solved = event({ type: 'alert.resolved', effect: 'resolve' });

const command = (minutes: number, asked: SimulatedCommand, about = 0): PlannedCommand => ({
  afterMs: minutes * minute,
  event: about,
  userId: 'u1',
  proof: 'session',
  command: asked,
});
const ack = (minutes: number, about = 0) => command(minutes, { name: 'acknowledge', extend: false }, about);

type Story = Partial<Omit<SimulationPlan, 'events'>> & Partial<SimulationFacts>;

function play(events: ReadonlyArray<readonly [minutes: number, event: SimulatedEvent]>, story: Story = {}) {
  const facts: SimulationFacts = { policy, versions: [], rules: [], configuration, problemTtlMs: 24 * hour, ...story };
  const planned = events.map(([minutes, one]) => ({ afterMs: minutes * minute, event: one }));
  return complete(simulatePolicy(facts, { startAt: start, horizonMs: 4 * hour, actors: [], rejections: [], ...story, events: planned }));
}

/** As `u1@0 f@60`, with the escalation's number before it when there are several. */
function tell(...args: Parameters<typeof play>): string {
  const { messages, final } = play(...args);
  const number = (escalation: number) => (final.length === 1 ? '' : `${escalation}:`);
  return messages.map((one) => `${number(one.escalation)}${one.recipient.userId}@${when(one.at)}`).join(' ');
}

describe('a simulated policy', () => {
  test('pages whom the reducer of production pages, at its instants, and ends where it ends', () => {
    expect(tell([[0, event()]])).toBe('u1@0 u2@10 u3@20 u1@30 u2@40 u3@50 f@60');
    expect(play([[0, event()]]).final).toEqual([
      expect.objectContaining({ escalation: 1, status: 'exhausted', round: 2, tier: 3, openedAt: start, events: [0], why: 'hard_stop' }),
    ]);
  });

  test.each<[string, PlannedCommand[], Parameters<typeof opens>[]]>([
    ['acknowledged', [ack(5)], []],
    ['snoozed', [command(5, { name: 'snooze', forMs: 60 * minute })], []],
  ])('sends what the simulation of one group sends when it is %s', (name, actors) => {
    const script = [opens(0), name === 'acknowledged' ? acks(5) : snoozes(5, 65)];
    const one = simulate({ policies: [policy], calendars: new Map(), reach, failures: new Map(), silences: [], until: at(240), script });
    const { messages, timeline } = play([[0, event()]], { actors });
    expect(messages.map(({ at: sentAt, recipient, round, tier: number }) => [sentAt, recipient.userId, round, number])).toEqual(
      one.messages.map((message) => [message.at, message.recipientId, message.round, message.tier]),
    );
    expect(timeline).toContainEqual(
      expect.objectContaining({ kind: name, at: at(5), by: { userId: 'u1', proof: 'session' }, escalation: 1 }),
    );
  });

  test('takes an acknowledgement at the instant of a tier before the tier, whatever the order of the plan', () => {
    expect(tell([[0, event()]], { actors: [ack(10)] })).toBe('u1@0');
  });

  test('lets duplicates count only, a raised one join, and a resolve end it', () => {
    const events = [
      [0, event()],
      [1, event()],
      [2, event({ severity: 'critical' })],
      [3, solved],
      [4, solved],
    ] as const;
    const { verdicts, final } = play(events);
    expect(tell(events)).toBe('u1@0');
    expect(verdicts.map(({ verdict, reason }) => `${verdict} ${reason}`)).toEqual([
      'escalate policy_match',
      'none duplicate',
      'suppress grouped',
      'resolve resolved',
      'none no_open_problem',
    ]);
    expect(final).toMatchObject([{ status: 'resolved', severity: 'critical', dueAt: null }]);
  });

  test('groups as the policy says, and commands the escalation that holds the named event', () => {
    const grouped = { ...policy, groupBy: ['dedupKey'] };
    const events = [
      [0, event()],
      [5, event({ dedupKey: 'B' })],
    ] as const;
    expect(tell(events, { policy: grouped, actors: [ack(6, 1), ack(25)] })).toBe('1:u1@0 2:u1@5 1:u2@10 1:u3@20');
    expect(tell(events, { actors: [ack(6, 1)] })).toBe('u1@0');
  });

  test('gives what its trigger does not take to nobody, and without a trigger takes everything', () => {
    const trigger = { types: [], categories: [], projectIds: [], minSeverity: 'critical', matchers: [] } as const;
    expect(play([[0, event()]], { policy: { ...policy, trigger } })).toMatchObject({
      messages: [],
      final: [],
      verdicts: [{ verdict: 'none', reason: 'no_policy' }],
    });
    expect(tell([[0, event({ severity: 'critical' })]], { policy: { ...policy, trigger, enabled: false }, actors: [ack(1)] })).toBe('u1@0');
  });

  test('is silenced by the silences of the instants it simulates', () => {
    const silences = [{ id: 's', version: 1, matchers: [], startsAt: at(-5), endsAt: at(20), comment: '', createdBy: 'u1' }];
    expect(tell([[5, event()]], { configuration: { ...configuration, silences }, actors: [ack(21)] })).toBe('u1@20');
    expect(
      tell(
        [
          [5, event()],
          [15, solved],
        ],
        { configuration: { ...configuration, silences } },
      ),
    ).toBe('');
  });

  test('goes on to the next tier when all pages of a firing are rejected, and says which were', () => {
    const { messages } = play([[0, event()]], { rejections: [{ kind: 'contact', id: 'u1 mail', afterMs: 2_000 }], actors: [ack(1)] });
    expect(messages.map(({ at: sentAt, recipient, rejectedAt }) => [recipient.userId, sentAt, rejectedAt])).toEqual([
      ['u1', start, start + 2_000],
      ['u2', start + 2_000, null],
    ]);
  });

  test('escalates from where it is when no position is expected, and refuses what comes too early', () => {
    const escalate = (minutes: number) => command(minutes, { name: 'escalate', expected: null, toTier: null });
    const { timeline } = play([[5, event()]], { actors: [escalate(1), escalate(6), ack(7)] });
    expect(tell([[5, event()]], { actors: [escalate(6), ack(7)] })).toBe('u1@5 u2@6');
    expect(timeline[0]).toMatchObject({ kind: 'refused', reason: 'no_escalation', escalation: null, event: 0 });
  });

  test('reassigns to other policies of the organization and rebases to versions that it is given', () => {
    const toQ = command(5, { name: 'reassign', to: { policyId: 'Q' } });
    expect(tell([[0, event()]], { actors: [toQ, ack(6)] })).toBe('u1@0 q1@5');
    const older: EscalationPolicy = { ...policy, tiers: [tier(user('u1')), tier(user('f'))] };
    const rebase = command(5, { name: 'rebase', version: 1 });
    const facts = { policy: { ...policy, version: 2 }, versions: [older], actors: [rebase, ack(11)] };
    expect(tell([[0, event()]], facts)).toBe('u1@0 f@10');
  });

  test('shows a problem of the cooldown tail as an escalation of its own, after which nothing is due for the first', () => {
    const events = [
      [0, event()],
      [10, solved],
      [20, event()],
    ] as const;
    const { final } = play(events, { actors: [ack(5)], horizonMs: 40 * minute });
    expect(final).toMatchObject([
      { escalation: 1, status: 'resolved', dueAt: null, why: null },
      { escalation: 2, status: 'triggered', openedAt: at(35), events: [2] },
    ]);
  });

  test('stops with an error that says how far it came when it takes more than ten thousand steps', () => {
    const restless: EscalationPolicy = { ...policy, hardStopMs: 30 * 24 * hour, repeat: { everyMs: minute, max: null } };
    const short = { ...restless, tiers: [tier(user('u1'), { timeoutMs: minute })] };
    const run = () => play([[0, event()]], { policy: short, horizonMs: 30 * 24 * hour });
    expect(run).toThrow(DomainError);
    let fault: unknown;
    try {
      run();
    } catch (error) {
      fault = (error as DomainError).faults?.[0];
    }
    expect(fault).toMatchObject({
      pointer: '/horizon',
      code: 'too_many_steps',
      detail: expect.stringMatching(/10000 steps.* minutes after/),
    });
  });
});
