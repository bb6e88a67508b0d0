import { describe, expect, test } from '@jest/globals';
import type { GroupInput } from '../../domain/escalation-input.ts';
import type { DueReason } from '../../domain/escalation-state.ts';
import { stepGroup } from '../../domain/escalation.ts';
import {
  acknowledge,
  at,
  beginGroup,
  buildPolicy,
  type Group,
  hour,
  minute,
  opened,
  P,
  Q,
  reach,
  summarize,
  tier,
  user,
} from './escalation-story.ts';

/** P without repeat, as it is when nothing in a row is about something else. */
const policy = buildPolicy({ version: 1 });
const policies = [policy, { ...policy, version: 2 }, { ...policy, version: 3, hardStopMs: hour }, Q];

/** The five states, reached before minute 5, with A (high) as their problem; exhausted when its time comes. */
const states = {
  triggered: (group: Group) => group.send(0, opened('A')),
  acknowledged: (group: Group) => {
    group.send(0, opened('A'));
    group.command(1, acknowledge);
  },
  snoozed: (group: Group) => {
    group.send(0, opened('A'));
    group.command(1, { name: 'snooze', until: at(65) });
  },
  exhausted: (group: Group) => {
    group.send(0, opened('A'));
    while (group.state.escalation!.phase.status !== 'exhausted') group.elapse();
  },
  resolved: (group: Group) => {
    group.send(0, opened('A'));
    group.command(1, acknowledge);
    group.send(2, { kind: 'problem_resolved', key: 'A' });
  },
} as const;
type State = keyof typeof states;
const stateNames = Object.keys(states) as State[];

/** What a row of the table does at a minute when every state has been reached. */
type Act = (group: Group) => void;
type Row = readonly [name: string, act: Act, outcomes: Readonly<Record<State, string>>, policy?: typeof policy];

const sends =
  (input: GroupInput): Act =>
  (group) =>
    group.send(33, input);
const orders =
  (command: Parameters<Group['command']>[1]): Act =>
  (group) =>
    group.command(33, command);
/** Escalate from wherever it is. */
const escalate: Act = (group) => {
  const { round, tier } = group.state.escalation!;
  group.command(33, { name: 'escalate', expected: { round, tier }, toTier: null });
};
/** Waits until the group's own time for `why` has come; what has another, or none, does not know it. */
const awaits =
  (why: DueReason): Act =>
  (group) => {
    if (group.last.plan?.why === why) group.elapse();
    else group.send(33, { kind: 'due', version: group.state.version - 1 });
  };
const failing: Act = (group) => {
  const { id, firing } = group.state.escalation!;
  group.send(2, { kind: 'firing_failing', escalationId: id, firing });
};

const no = { triggered: '-', acknowledged: '-', snoozed: '-', exhausted: '-', resolved: '-' };

const table: readonly Row[] = [
  [
    'new problem',
    sends(opened('B')),
    {
      triggered: 'triggered attached:grouped',
      acknowledged: 'triggered attached:grouped restarted:new_after_cooldown u1(1,1)',
      snoozed: 'snoozed attached:snoozed',
      exhausted: 'triggered attached:grouped restarted:new_problem u1(1,1)',
      resolved: 'triggered new u1(1,1)',
    },
  ],
  [
    'new problem in the cooldown',
    (group) => group.send(4, opened('B')),
    {
      triggered: 'triggered attached:grouped',
      acknowledged: 'acknowledged attached:cooldown',
      snoozed: 'snoozed attached:snoozed',
      exhausted: 'triggered attached:grouped restarted:new_problem u1(1,1)',
      resolved: 'resolved attached:cooldown',
    },
  ],
  [
    'severity raised, by a new problem',
    (group) => group.send(4, opened('B', 'critical')),
    {
      triggered: 'triggered severity_raised attached:grouped',
      acknowledged: 'triggered severity_raised attached:grouped restarted:severity_raised u1(1,1)',
      snoozed: 'triggered severity_raised attached:grouped restarted:severity_raised u1(1,1)',
      exhausted: 'triggered severity_raised attached:grouped restarted:severity_raised u1(1,1)',
      resolved: 'triggered new after E1 u1(1,1)',
    },
  ],
  [
    'severity raised, by a known problem',
    sends(opened('A', 'critical')),
    {
      triggered: 'triggered severity_raised',
      acknowledged: 'triggered severity_raised restarted:severity_raised u1(1,1)',
      snoozed: 'triggered severity_raised restarted:severity_raised u1(1,1)',
      exhausted: 'triggered severity_raised restarted:severity_raised u1(1,1)',
      // nothing of it is known any more
      resolved: 'triggered new u1(1,1)',
    },
  ],
  ['duplicate', sends(opened('A')), { ...no, resolved: 'triggered new u1(1,1)' }],
  [
    'last member resolves',
    sends({ kind: 'problem_resolved', key: 'A' }),
    { triggered: 'resolved', acknowledged: 'resolved', snoozed: 'resolved', exhausted: 'resolved', resolved: '-' },
  ],
  [
    'resolve',
    orders({ name: 'resolve' }),
    {
      triggered: 'resolved closes:A',
      acknowledged: 'resolved closes:A',
      snoozed: 'resolved closes:A',
      exhausted: 'resolved closes:A',
      resolved: '- noop',
    },
  ],
  [
    'acknowledge',
    orders(acknowledge),
    {
      triggered: 'acknowledged',
      acknowledged: '- noop',
      snoozed: 'acknowledged',
      exhausted: 'acknowledged',
      resolved: '- noop',
    },
  ],
  [
    'acknowledge to extend',
    orders({ name: 'acknowledge', extend: true }),
    { triggered: 'acknowledged', acknowledged: 'acknowledged', snoozed: 'acknowledged', exhausted: 'acknowledged', resolved: '- noop' },
  ],
  [
    'unacknowledge',
    orders({ name: 'unacknowledge' }),
    {
      triggered: '- noop',
      acknowledged: 'triggered restarted:manual u1(1,1)',
      snoozed: '- noop',
      exhausted: '- noop',
      resolved: '- noop',
    },
  ],
  [
    'snooze',
    orders({ name: 'snooze', until: at(90) }),
    { triggered: 'snoozed', acknowledged: 'snoozed', snoozed: 'snoozed', exhausted: '- wrong_state', resolved: '- wrong_state' },
  ],
  [
    'escalate',
    escalate,
    {
      triggered: 'triggered u2(1,2)',
      acknowledged: 'triggered u2(1,2)',
      snoozed: 'triggered u2(1,2)',
      exhausted: 'triggered restarted:escalate u1(1,1)',
      resolved: '- wrong_state',
    },
  ],
  [
    'reassign',
    orders({ name: 'reassign', to: { policyId: 'Q' } }),
    {
      triggered: 'triggered restarted:reassign q1(1,1)',
      acknowledged: 'triggered restarted:reassign q1(1,1)',
      snoozed: 'triggered restarted:reassign q1(1,1)',
      exhausted: 'triggered restarted:reassign q1(1,1)',
      resolved: '- wrong_state',
    },
  ],
  [
    'rebase',
    (group) => group.command(33, { name: 'rebase', version: 1 }),
    { triggered: 'triggered', acknowledged: 'acknowledged', snoozed: 'snoozed', exhausted: 'exhausted', resolved: '- wrong_state' },
    { ...policy, version: 2 },
  ],
  ['due: tier', awaits('tier'), { ...no, triggered: 'triggered u2(1,2)' }],
  ['firing failing', failing, { ...no, triggered: 'triggered u2(1,2)' }],
  ['due: last round over', awaits('last_round_over'), { ...no, triggered: 'exhausted f' }, { ...policy, tiers: policy.tiers.slice(0, 1) }],
  ['due: next round', awaits('round'), { ...no, triggered: 'triggered u1(2,1)' }, { ...P, tiers: P.tiers.slice(0, 1) }],
  [
    'due: acknowledgement timeout',
    awaits('acknowledgement_timeout'),
    { ...no, acknowledged: 'triggered restarted:ack_timeout u1(1,1)' },
    { ...policy, acknowledgementTimeoutMs: hour },
  ],
  [
    'due: acknowledgement reminder',
    awaits('acknowledgement_reminder'),
    { ...no, acknowledged: 'acknowledged u1!' },
    { ...policy, acknowledgementTimeoutMs: hour, acknowledgementReminder: true },
  ],
  ['due: snooze end', awaits('snooze_end'), { ...no, snoozed: 'triggered restarted:snooze_end u1(1,1)' }],
  [
    'due: hard stop',
    (group) => {
      // a snooze ends before the hard stop, but for a rebase to a shorter one
      if (group.state.escalation?.phase.status === 'snoozed') group.command(2, { name: 'rebase', version: 3 });
      awaits('hard_stop')(group);
    },
    {
      triggered: 'exhausted f',
      acknowledged: 'resolved closes:A',
      snoozed: 'exhausted f',
      exhausted: 'resolved closes:A',
      resolved: '-',
    },
    // long timeouts, and a hard stop before any of them but after the snooze was made
    { ...policy, hardStopMs: 66 * minute, tiers: [tier(user('u1'), { timeoutMs: 70 * minute })] },
  ],
  [
    'due: cooldown end',
    (group) => {
      group.send(4, opened('B'));
      awaits('cooldown_end')(group);
    },
    { ...no, acknowledged: 'triggered restarted:unmuted u1(1,1)', resolved: 'triggered new after E1 u1(1,1)' },
  ],
];

describe('the transition table', () => {
  for (const [name, act, outcomes, own = policy] of table) {
    test.each(stateNames)(`${name}: %s`, (state) => {
      const group = beginGroup([{ ...own, version: 1 }, ...policies, own]);
      states[state](group);
      expect(group.state.escalation?.phase.status).toBe(state);
      act(group);
      const summary = summarize(group.last);
      expect(group.last.outcome === 'applied' ? summary : summary.replace(/^\w+/, '-')).toBe(outcomes[state]);
    });
  }
});

test('a policy that leaves ending to people pages on when all is well again', () => {
  const group = beginGroup([{ ...policy, autoResolve: false }]);
  group.send(0, opened('A'));
  group.send(1, { kind: 'problem_resolved', key: 'A' });
  expect(summarize(group.last)).toBe('triggered');
  expect(summarize(group.elapse())).toBe('triggered u2(1,2)');
});

test('an occurrence is no problem: only a command ends its membership', () => {
  const group = beginGroup();
  group.send(0, { kind: 'occurrence', key: 'A', severity: 'high' });
  expect(group.send(1, { kind: 'problem_resolved', key: 'A' }).outcome).toBe('noop');
  expect(summarize(group.command(2, { name: 'resolve' }))).toBe('resolved');
});

test('a pinned version that is not given is a defect, not a decision', () => {
  const group = beginGroup([policy]);
  group.send(0, opened('A'));
  const state = {
    ...group.state,
    escalation: { ...group.state.escalation!, snapshot: { ...group.state.escalation!.snapshot, version: 7 } },
  };
  const facts = { policy: () => undefined, calendar: () => undefined, recipients: reach, silencedUntil: () => null, newId: () => '' };
  expect(() => stepGroup(state, opened('B'), at(1), facts)).toThrow('Version 7 of policy P is pinned');
});
