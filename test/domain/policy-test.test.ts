import { describe, expect, test } from '@jest/globals';
import { complete } from '../../domain/gradual.ts';
import { type ExpectedMessage, expectMessages, runPolicyTests } from '../../domain/policy-test.ts';
import type { SimulationFacts, SimulationPlan } from '../../domain/simulation-plan.ts';
import { buildPolicy, hour, minute, start, tier, user } from './escalation-story.ts';

const facts: SimulationFacts = {
  policy: buildPolicy({ tiers: [tier([user('u1'), { kind: 'channel', id: 'c' }]), tier(user('u2'))], fallback: [] }),
  versions: [],
  rules: [],
  problemTtlMs: 24 * hour,
  configuration: {
    policies: new Map(),
    calendars: new Map(),
    schedules: new Map(),
    // two addresses of one person, one of the other
    pageMethods: new Map([
      [
        'u1',
        [
          { id: 'u1 mail', channelType: 'email' },
          { id: 'u1 chat', channelType: 'chat' },
        ],
      ],
      ['u2', [{ id: 'u2 mail', channelType: 'email' }]],
    ]),
    activeUserIds: new Set(['u1', 'u2']),
    senders: new Map([
      ['email', 's'],
      ['chat', 't'],
    ]),
    activeChannels: new Map([['c', 'slack']]),
    activeWebhookIds: new Set(),
    adminIds: [],
    emailContacts: new Map(),
    hasFallbackEmail: false,
    silences: [],
  },
};
const alert = {
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
} as const;
const plan: SimulationPlan = { startAt: start, horizonMs: hour, events: [{ afterMs: 0, event: alert }], actors: [], rejections: [] };

const page = (
  minutes: number,
  kind: ExpectedMessage['recipient']['kind'],
  id: string,
  rest: Partial<ExpectedMessage> = {},
): ExpectedMessage => ({
  afterMs: minutes * minute,
  kind: 'page',
  recipient: { kind, id },
  round: null,
  tier: null,
  ...rest,
});
const run = (expected: readonly ExpectedMessage[], overrides: Partial<SimulationPlan> = {}, world = facts) => {
  const [result] = complete(runPolicyTests([{ id: 't', name: 'T', plan: { ...plan, ...overrides }, expected }], world));
  return result!;
};

describe('a policy test', () => {
  test('passes when every message was expected, in any order, a user on all addresses at once', () => {
    const all = [page(10, 'user', 'u2'), page(0, 'channel', 'c'), page(0, 'user', 'u1')];
    expect(run(all)).toMatchObject({ passed: true, missing: [], unexpected: [], fault: null });
    const byAddress = [page(0, 'contact', 'u1 chat', { round: 1, tier: 1 }), page(0, 'contact', 'u1 mail'), ...all.slice(0, 2)];
    expect(run(byAddress).passed).toBe(true);
  });

  test.each<[string, ExpectedMessage[], number, number]>([
    ['one is missing', [page(0, 'user', 'u1'), page(0, 'channel', 'c')], 0, 1],
    ['one comes at another time', [page(0, 'user', 'u1'), page(0, 'channel', 'c'), page(11, 'user', 'u2')], 1, 1],
    ['one is of another tier', [page(0, 'user', 'u1'), page(0, 'channel', 'c'), page(10, 'user', 'u2', { tier: 1 })], 1, 1],
    ['one is of another round', [page(0, 'user', 'u1'), page(0, 'channel', 'c'), page(10, 'user', 'u2', { round: 2 })], 1, 1],
    ['one is of another kind', [page(0, 'user', 'u1'), page(0, 'channel', 'c'), page(10, 'user', 'u2', { kind: 'fallback' })], 1, 1],
    ['one is expected twice', [page(0, 'user', 'u1'), page(0, 'user', 'u1'), page(0, 'channel', 'c'), page(10, 'user', 'u2')], 1, 0],
    ['only one address of two is named', [page(0, 'contact', 'u1 mail'), page(0, 'channel', 'c'), page(10, 'user', 'u2')], 0, 1],
  ])('fails when %s', (_, expected, missing, unexpected) => {
    const result = run(expected);
    expect(result.passed).toBe(false);
    expect([result.missing.length, result.unexpected.length]).toEqual([missing, unexpected]);
  });

  test('is recorded as what was sent, and then passes', () => {
    const { messages } = run([]);
    const recorded = expectMessages(messages, start);
    expect(recorded.map(({ afterMs, recipient, tier: number }) => [afterMs, recipient.id, number])).toEqual([
      [0, 'u1', 1],
      [0, 'c', 1],
      [10 * minute, 'u2', 2],
    ]);
    expect(run(recorded).passed).toBe(true);
  });

  test('that takes too many steps fails with the reason, and so do those after it', () => {
    const policy = {
      ...facts.policy,
      tiers: [tier(user('u2'), { timeoutMs: minute })],
      repeat: { everyMs: minute, max: null },
      hardStopMs: 30 * 24 * hour,
    };
    const tests = ['a', 'b'].map((id) => ({ id, name: id, plan: { ...plan, horizonMs: 30 * 24 * hour }, expected: [] }));
    const results = complete(runPolicyTests(tests, { ...facts, policy }));
    expect(results.map(({ passed, fault }) => [passed, fault?.slice(0, 24)])).toEqual([
      [false, 'takes more than 10000 st'],
      [false, 'takes more than 0 steps '],
    ]);
  });
});
