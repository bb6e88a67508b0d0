import { describe, expect, test } from '@jest/globals';
import { defaultAggregate } from '../../domain/aggregation.ts';
import type { AcceptedEvent } from '../../domain/event.ts';
import {
  decide,
  decideUnmuted,
  type EventStanding,
  type RoutedChannel,
  type RoutingFacts,
  type RoutingReason,
} from '../../domain/routing.ts';
import type { Rule } from '../../domain/rule.ts';
import type { Silence } from '../../domain/silence.ts';
import { buildEvent } from '../channels/views.ts';

const noFacts: RoutingFacts = { webhooks: [], channels: new Map(), rules: [], activeMemberIds: new Set(), silences: [] };
const opened: EventStanding = { change: 'opened', muted: null };
const silence: Silence = {
  id: 's1',
  version: 4,
  matchers: [{ key: 'type', op: 'exists', value: true }],
  startsAt: 0,
  endsAt: Number.MAX_SAFE_INTEGER,
  comment: 'moving',
  createdBy: 'u1',
};
const webhook = { id: 'w1', version: 3, active: true, eventTypes: ['alert.*'], projectIds: [] };
const channel: RoutedChannel = { id: 'c1', version: 1, type: 'slack', active: true };
const rule: Rule = {
  id: 'r1',
  version: 2,
  name: 'rule',
  enabled: true,
  position: 1,
  types: [],
  categories: [],
  projectIds: [],
  minSeverity: null,
  matchers: [],
  channelIds: ['c1'],
  policyId: null,
  aggregate: null,
  stop: false,
};
const bundling = { ...rule, aggregate: defaultAggregate };
const channels = new Map([
  ['c1', channel],
  ['c2', { ...channel, id: 'c2', type: 'email' }],
]);
const about = (id: string): Partial<AcceptedEvent> => ({
  category: 'operations',
  type: 'webhook.failing',
  resource: { type: 'webhook', id },
});

/** One line a decision: `webhook:w1 send subscribed`. */
function lines(event: Partial<AcceptedEvent>, facts: Partial<RoutingFacts>, standing: Partial<EventStanding> = {}): string[] {
  return decide(buildEvent(event), { ...noFacts, ...facts }, { ...opened, ...standing }).map(
    ({ target, verdict, reason }) => `${target.kind}${target.id === null ? '' : `:${target.id}`} ${verdict} ${reason}`,
  );
}

describe('every reason', () => {
  const cases: Record<
    Exclude<RoutingReason, 'unmuted'>,
    [Partial<AcceptedEvent>, Partial<RoutingFacts>, string, Partial<EventStanding>?]
  > = {
    subscribed: [{}, { webhooks: [webhook] }, 'webhook:w1 send subscribed'],
    rule_match: [{}, { rules: [rule], channels }, 'channel:c1 send rule_match'],
    group_wait: [{}, { rules: [bundling], channels }, 'channel:c1 group group_wait'],
    builtin_default: [{}, {}, 'in_app send builtin_default'],
    destination_inactive: [{}, { webhooks: [{ ...webhook, active: false }] }, 'webhook:w1 suppress destination_inactive'],
    destination_deleted: [{}, { rules: [{ ...rule, channelIds: ['gone'] }], channels }, 'channel:gone suppress destination_deleted'],
    no_channels: [{}, { rules: [{ ...rule, channelIds: [] }] }, 'rule:r1 suppress no_channels'],
    own_operations: [about('w1'), { webhooks: [{ ...webhook, eventTypes: ['*'] }] }, 'webhook:w1 suppress own_operations'],
    user_inactive: [{ audience: ['u1'] }, {}, 'user:u1 suppress user_inactive'],
    severity_raised: [{}, { rules: [rule], channels }, 'channel:c1 send severity_raised', { change: 'raised' }],
    deduplicated: [{}, { rules: [rule], channels }, 'channel:c1 suppress deduplicated', { change: 'duplicate' }],
    no_open_problem: [{}, {}, 'in_app suppress no_open_problem', { change: 'no_open_problem' }],
    silenced: [{}, { silences: [silence] }, 'in_app suppress silenced'],
    cooldown: [{}, { rules: [rule], channels }, 'channel:c1 suppress cooldown', { muted: 'cooldown' }],
    snoozed: [{}, { rules: [rule], channels }, 'channel:c1 suppress snoozed', { muted: 'snoozed' }],
  };
  test.each(Object.entries(cases))('%s is given where it applies', (_, [event, facts, expected, standing]) => {
    expect(lines(event, facts, standing)).toContain(expected);
  });
});

describe('a rule that bundles what it sends', () => {
  const facts = { rules: [bundling], channels };

  test('has a worsening and the end of a silence in its notices too', () => {
    expect(lines({}, facts, { change: 'raised' })).toContain('channel:c1 group group_wait');
    const decided = decideUnmuted(buildEvent(), { ...noFacts, ...facts }, { at: 1, muted: null });
    expect(decided[0]).toMatchObject({ verdict: 'group', reason: 'group_wait' });
  });

  test('bundles nothing that is suppressed, and nothing that is told in the app or by Tocsin itself', () => {
    expect(lines({}, facts, { change: 'duplicate' })).toContain('channel:c1 suppress deduplicated');
    expect(lines({}, { ...facts, silences: [silence] })).toContain('channel:c1 suppress silenced');
    expect(lines({}, facts, { muted: 'cooldown' })).toContain('channel:c1 suppress cooldown');
    const inApp = new Map([['c1', { ...channel, type: 'in_app' }]]);
    expect(lines({}, { ...facts, channels: inApp })).toContain('channel:c1 send rule_match');
    expect(lines(about('w1'), facts)).toContain('channel:c1 send rule_match');
  });
});

test('every decision names the version of the row that decided', () => {
  const [first, second, third] = decide(buildEvent(), { ...noFacts, webhooks: [webhook], rules: [rule], channels }, opened);
  expect([first, second, third].map((decision) => decision!.winner)).toEqual(['webhook:w1@3', 'rule:r1@2', null]);
});

test.each(['duplicate', 'occurrence_duplicate', 'no_open_problem'] as const)(
  'a webhook gets what tells nobody else anything (%s)',
  (change) => {
    const facts = { webhooks: [webhook], rules: [rule], channels };
    expect(lines({}, facts, { change }).filter((line) => line.includes(' send '))).toEqual(['webhook:w1 send subscribed']);
  },
);

test('a worsening problem does not reach a destination that is off', () => {
  const off = new Map([['c1', { ...channel, active: false }]]);
  expect(lines({}, { rules: [rule], channels: off }, { change: 'raised' })).toContain('channel:c1 suppress destination_inactive');
});

test('a silence names itself as the winner, and what it outranks as losers', () => {
  const [decision] = decide(buildEvent(), { ...noFacts, rules: [rule], channels, silences: [silence] }, opened);
  expect(decision).toMatchObject({ verdict: 'suppress', reason: 'silenced', winner: 'silence:s1@4', losers: ['rule:r1@2'] });
});

describe('at the end of a silence', () => {
  const facts = { ...noFacts, webhooks: [webhook], rules: [rule], channels, silences: [silence] };
  const reasons = (at: number, muted: 'cooldown' | null = null) =>
    decideUnmuted(buildEvent(), facts, { at, muted }).map(({ target, verdict, reason }) => `${target.kind} ${verdict} ${reason}`);

  test('those whom it kept a problem from are told, webhooks had it already', () => {
    expect(reasons(silence.endsAt)).toEqual(['channel send unmuted', 'in_app send unmuted']);
  });

  test('nobody is told of what another silence mutes by then', () => {
    expect(reasons(silence.endsAt - 1)).toEqual(['channel suppress silenced', 'in_app suppress silenced']);
  });

  test('a cooldown that it came into hides it for longer, but in the app', () => {
    expect(reasons(silence.endsAt, 'cooldown')).toEqual(['channel suppress cooldown', 'in_app send unmuted']);
  });
});

test('the resolve of a problem that people know of is told during a silence and a cooldown', () => {
  const facts = { rules: [rule], channels, silences: [silence] };
  expect(lines({}, facts, { change: 'resolved', muted: 'cooldown' })).toEqual([
    'channel:c1 send rule_match',
    'in_app send builtin_default',
  ]);
});

test('a cooldown or a snooze leaves the app alone', () => {
  expect(lines({}, {}, { muted: 'cooldown' })).toEqual(['in_app send builtin_default']);
});

test('a webhook of some projects gets events of those, and none without a project', () => {
  const webhooks = [{ ...webhook, projectIds: ['p1'] }];
  expect(lines({ projectId: 'p1' }, { webhooks })).toContain('webhook:w1 send subscribed');
  for (const projectId of ['p2', null]) expect(lines({ projectId }, { webhooks })).toEqual(['in_app send builtin_default']);
});

test('an event about another destination, or of another category, reaches a destination as usual', () => {
  const webhooks = [{ ...webhook, eventTypes: ['*'] }];
  expect(lines(about('w2'), { webhooks })).toContain('webhook:w1 send subscribed');
  expect(lines({ ...about('w1'), category: 'alert' }, { webhooks })).toContain('webhook:w1 send subscribed');
});

test('a channel chosen twice belongs to the first rule, and the second is named as a loser', () => {
  const rules = [rule, { ...rule, id: 'r2', channelIds: ['c2', 'c1'] }];
  const decisions = decide(buildEvent(), { ...noFacts, rules, channels }, opened);
  expect(decisions.map(({ target, winner, losers }) => [target.id, winner, losers])).toEqual([
    ['c1', 'rule:r1@2', ['rule:r2@2']],
    ['c2', 'rule:r2@2', []],
    [null, null, []],
  ]);
});

test('a rule that stops ends the asking, but only when it matches', () => {
  const rules = [
    { ...rule, id: 'misses', enabled: false, stop: true },
    { ...rule, id: 'stops', stop: true },
    { ...rule, id: 'never asked', channelIds: ['c2'] },
  ];
  expect(lines({}, { rules, channels })).toEqual(['channel:c1 send rule_match', 'in_app send builtin_default']);
});

test('an audience replaces everybody: its active members are told, the others are named with the reason', () => {
  expect(lines({ audience: ['u1', 'u2'] }, { activeMemberIds: new Set(['u2']) })).toEqual([
    'user:u1 suppress user_inactive',
    'user:u2 send builtin_default',
  ]);
});

test('deciding changes neither the event nor the facts, and gives the same answer again', () => {
  const facts = { ...noFacts, webhooks: [webhook], rules: [rule, { ...rule, id: 'r2' }], channels };
  const before = structuredClone({ ...facts, channels: [...channels] });
  const first = decide(buildEvent(), facts, opened);
  expect(decide(buildEvent(), facts, opened)).toEqual(first);
  expect({ ...facts, channels: [...channels] }).toEqual(before);
});
