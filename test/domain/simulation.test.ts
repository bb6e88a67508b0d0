import { describe, expect, test } from '@jest/globals';
import {
  acks,
  at,
  buildPolicy,
  commands,
  edits,
  escalates,
  hour,
  minute,
  occurs,
  openBetween,
  opens,
  P,
  play,
  reach,
  rebases,
  resolves,
  snoozes,
  start,
  tell,
  tellStates,
  tier,
  user,
} from './escalation-story.ts';
import { simulate, type ScriptStep } from '../../domain/simulation.ts';

const all = 'u1@0 u2@10 u3@20';

describe('the acceptance table', () => {
  test('1: nobody acknowledges', () => {
    const sixty = `${all} u1@30 u2@40 u3@50 f@60`;
    expect(tell([opens(0)])).toBe(sixty);
    expect(tell([opens(0)], { policy: { ...P, repeat: { everyMs: 20 * minute, max: 1 } } })).toBe(sixty);
    expect(tell([opens(0)], { policy: { ...P, repeat: { everyMs: 30 * minute, max: null }, hardStopMs: hour } })).toBe(sixty);
  });

  test.each([5, 10])('2: acknowledged at minute %i, the very instant of tier 2 included', (minutes) => {
    expect(tell([opens(0), acks(minutes)])).toBe('u1@0');
  });

  test('4: nobody on the schedule; nobody anywhere', () => {
    const withoutSchedule = { reach: (target: Parameters<typeof reach>[0]) => (target.kind === 'schedule' ? [] : reach(target)) };
    expect(tell([opens(0)], withoutSchedule)).toBe('u2@0 u3@10 u2@30 u3@40 f@50');
    expect(tell([opens(0)], { reach: (target) => (target.id === 'f' ? reach(target) : []) })).toBe('f@0');
  });

  test('5: one tier, repeated twice', () => {
    const policy = buildPolicy({ tiers: [tier(user('u1'))], repeat: { everyMs: 30 * minute, max: 2 } });
    expect(tell([opens(0)], { policy })).toBe('u1@0 u1@30 u1@60 f@70');
  });

  test('6: no repeat', () => {
    expect(tell([opens(0)], { policy: buildPolicy() })).toBe(`${all} f@30`);
  });

  test('7: an acknowledgement that times out', () => {
    const policy = { ...P, acknowledgementTimeoutMs: 15 * minute };
    expect(tell([opens(0), acks(5), resolves(35)], { policy })).toBe('u1@0 u1@20 u2@30');
  });

  test('8: a snooze, resolved before and after its end', () => {
    expect(tell([opens(0), snoozes(5, 65), resolves(61)])).toBe('u1@0');
    expect(tell([opens(0), snoozes(5, 65), resolves(70)])).toBe('u1@0 u1@65');
  });

  test('9: two people press escalate at the same time', () => {
    const script = [opens(0), escalates(3, 1, 1), escalates(3, 1, 1), acks(4)];
    expect(tell(script)).toBe('u1@0 u2@3');
    expect(play(script, {}).refusals).toEqual([{ step: 2, code: 'tier_mismatch' }]);
  });

  test('10: acknowledged, escalated, acknowledged', () => {
    expect(tell([opens(0), acks(4), escalates(5, 1, 1), acks(6)])).toBe('u1@0 u2@5');
  });

  test('11: reassigned to another policy', () => {
    expect(tell([opens(0), commands(5, { name: 'reassign', policyId: 'Q' }), acks(6)])).toBe('u1@0 q1@5');
  });

  test('12: the page of tier 1 is rejected', () => {
    const failures = new Map([['u1', { rejectedAfterMs: 2_000 }]]);
    expect(tell([opens(0), acks(1)], { failures })).toBe('u1@0 u2@2s');
  });

  test('14: deferred to the opening hours', () => {
    // noon + 14 h = 02:00
    const [two, three, nine] = [14 * 60, 15 * 60, 21 * 60];
    const story = {
      policy: { ...P, calendarId: 'hours', defer: { maxSeverity: 'medium' } } as const,
      calendars: new Map([['hours', openBetween('09:00', '17:00')]]),
      until: at(48 * 60),
    };
    expect(tell([opens(two, 'A', 'medium'), resolves(nine - 1)], story)).toBe('');
    expect(tell([opens(two, 'A', 'medium'), acks(nine + 5)], story)).toBe(`u1@${nine}`);
    for (const key of ['A', 'B'])
      expect(tell([opens(two, 'A', 'medium'), opens(three, key, 'high'), acks(three + 1)], story)).toBe(`u1@${three}`);
  });

  test('15: a tier for the opening hours, outside of them', () => {
    const [first, second, third] = P.tiers;
    const policy = { ...P, tiers: [first!, { ...second!, when: 'open', calendarId: 'hours' } as const, third!] };
    expect(tell([opens(0), acks(11)], { policy, calendars: new Map([['hours', openBetween('01:00', '02:00')]]) })).toBe('u1@0 u3@10');
  });

  test('16: 10,000 equal events in a minute', () => {
    const flood = Array.from({ length: 10_000 }, (_, index): ScriptStep => ({ ...opens(0), at: start + index * 6 }));
    expect(tell([...flood, acks(5)])).toBe('u1@0');
    expect(tellStates([...flood, acks(5)])).toBe('triggered@0 acknowledged@5');
  });

  test('17: 50 problems of one group', () => {
    const problems = Array.from({ length: 50 }, (_, index) => opens(0, `problem ${index}`));
    expect(tell([...problems, acks(5)])).toBe('u1@0');
  });

  test('19: a new problem after the cooldown', () => {
    expect(tell([opens(0), acks(5), opens(36, 'B'), acks(37)])).toBe('u1@0 u1@36');
  });

  test('20: silenced from the start', () => {
    const silences = [{ startsAt: at(0), endsAt: at(20), keys: ['A'] }];
    expect(tell([opens(5), acks(21)], { silences })).toBe('u1@20');
    expect(tell([opens(5), resolves(15)], { silences })).toBe('');
  });

  test('21: a policy that is edited runs on as it was, until it is rebased', () => {
    const edited = { ...P, version: 2, tiers: P.tiers.with(1, tier(user('u9'))) };
    expect(tell([opens(0), edits(5, edited), resolves(11)])).toBe('u1@0 u2@10');
    expect(tell([opens(0), edits(5, edited), rebases(6, 2), resolves(11)])).toBe('u1@0 u9@10');
  });
});

describe('cooldown, the timeline of section 3.3', () => {
  // 10:00 is minute 0
  const story = [opens(0), acks(5), opens(10, 'B'), resolves(20), resolves(20, 'B'), opens(25)];

  test('what came back in the tail pages at its end, in a new escalation', () => {
    expect(tell([...story, acks(36)])).toBe('u1@0 u1@35');
    expect(tellStates([...story, acks(36)])).toBe('triggered@0 acknowledged@5 resolved@20 triggered@35 acknowledged@36');
  });

  test('what came back and went away again pages nobody', () => {
    expect(tell([...story, resolves(34)])).toBe('u1@0');
    expect(tell([...story, resolves(35)])).toBe('u1@0');
  });

  test('what came back worse than anything before pages at once', () => {
    expect(tell([...story.slice(0, -1), opens(25, 'A', 'critical'), acks(26)])).toBe('u1@0 u1@25');
    expect(tell([...story, opens(27, 'A', 'critical'), acks(28)])).toBe('u1@0 u1@27');
  });

  test('a cooldown until resolved ends with the escalation', () => {
    expect(tell([...story, acks(26)], { policy: { ...P, cooldownScope: 'until_resolved' } })).toBe('u1@0 u1@25');
  });

  test('what came during the cooldown and is still there restarts an acknowledged escalation at its end', () => {
    expect(tell([opens(0), acks(5), opens(10, 'B'), acks(36)])).toBe('u1@0 u1@35');
    expect(tell([opens(0), acks(5), opens(10, 'B'), resolves(34, 'B')])).toBe('u1@0');
  });

  test('unless somebody acknowledged again having seen it', () => {
    expect(tell([opens(0), acks(5), opens(10, 'B'), acks(12)])).toBe('u1@0');
    expect(tell([opens(0), acks(5), opens(10, 'B'), acks(12), opens(13, 'C'), acks(36)])).toBe('u1@0 u1@35');
  });

  test('it is half-open: at its end a new problem restarts at once', () => {
    expect(tell([opens(0), acks(5), opens(35, 'B'), acks(36)])).toBe('u1@0 u1@35');
    expect(tell([opens(0), acks(5), resolves(6), opens(35, 'B'), acks(36)])).toBe('u1@0 u1@35');
  });

  test('a duplicate never restarts, not even after it', () => {
    expect(tell([opens(0), acks(5), opens(10), opens(40), opens(41, 'A', 'low')])).toBe('u1@0');
  });

  test('a restart ends it', () => {
    const script = [opens(0), acks(5), commands(6, { name: 'unacknowledge' }), resolves(7), opens(8, 'B'), acks(9)];
    expect(tell(script)).toBe('u1@0 u1@6 u1@8');
  });

  test('what the cooldown hid is part of the restart that a worse problem causes', () => {
    const script = [opens(0), acks(5), opens(10, 'B'), opens(15, 'C', 'critical'), acks(16), resolves(17), resolves(17, 'C')];
    // B is still there, and was acknowledged: nothing is to be made up for
    expect(tell(script)).toBe('u1@0 u1@15');
    expect(tellStates(script)).toBe('triggered@0 acknowledged@5 triggered@15 acknowledged@16');
  });

  test('of an escalation that ended, the new one takes over all that came in the tail', () => {
    const script = [opens(0), acks(5), resolves(6), opens(10, 'B'), opens(15, 'C', 'critical'), resolves(16, 'C'), resolves(17, 'B')];
    expect(tellStates(script)).toBe('triggered@0 acknowledged@5 resolved@6 triggered@15 resolved@17');
    expect(tell(script)).toBe('u1@0 u1@15');
  });

  test('an occurrence that repeats after it is news', () => {
    expect(tell([occurs(0), acks(5), occurs(10), resolves(11), acks(12), occurs(36), acks(37)])).toBe('u1@0 u1@36');
  });
});

describe('silences, section 3.6', () => {
  const from = (startsAt: number, endsAt: number, ...keys: string[]) => ({ startsAt: at(startsAt), endsAt: at(endsAt), keys });

  test('a due tier waits for the first silence to end when all that fires is silenced', () => {
    expect(tell([opens(0), acks(26)], { silences: [from(5, 25, 'A')] })).toBe('u1@0 u2@25');
    expect(tell([opens(0), opens(1, 'B'), acks(21)], { silences: [from(5, 25, 'A'), from(5, 20, 'B')] })).toBe('u1@0 u2@20');
  });

  test('it does not wait when something else fires, and no longer when something else comes', () => {
    expect(tell([opens(0), opens(1, 'B'), acks(11)], { silences: [from(5, 25, 'A')] })).toBe('u1@0 u2@10');
    expect(tell([opens(0), opens(15, 'B'), acks(16)], { silences: [from(5, 25, 'A')] })).toBe('u1@0 u2@15');
  });

  test('where one silence ends in another, that one goes on', () => {
    expect(tell([opens(5), acks(41)], { silences: [from(0, 20, 'A'), from(10, 40, 'A')] })).toBe('u1@40');
  });

  test('it stops the clock of the hard stop', () => {
    const policy = buildPolicy({ tiers: [tier(user('u1')), tier(user('u2'), { timeoutMs: 40 * minute })], hardStopMs: hour });
    expect(tell([opens(0)], { policy })).toBe('u1@0 u2@10 f@50');
    expect(tell([opens(0)], { policy, silences: [from(5, 90, 'A')] })).toBe('u1@0 u2@90 f@130');
    const slow = { ...policy, tiers: [tier(user('u1')), tier(user('u2'), { timeoutMs: 2 * hour })] };
    expect(tell([opens(0)], { policy: slow, silences: [from(5, 90, 'A')] })).toBe('u1@0 u2@90 f@140');
  });

  test('a silenced problem neither joins nor ends an escalation, and comes as new when the silence ends', () => {
    const silences = [from(0, 50, 'B')];
    expect(tellStates([opens(0), opens(1, 'B'), resolves(5), acks(51)], { silences })).toBe(
      'triggered@0 resolved@5 triggered@50 acknowledged@51',
    );
    expect(tell([opens(0), acks(5), opens(6, 'B'), acks(51)], { silences })).toBe('u1@0 u1@50');
    expect(tell([opens(0), acks(5), opens(6, 'B'), resolves(49, 'B')], { silences })).toBe('u1@0');
  });

  test('a known problem that becomes worse while silenced says so when the silence ends', () => {
    expect(tell([opens(0), acks(5), opens(10, 'A', 'critical'), acks(21)], { silences: [from(6, 20, 'A')] })).toBe('u1@0 u1@20');
  });

  test('what the cooldown hid and a silence mutes at its end is told when that ends too', () => {
    expect(tell([opens(0), acks(5), opens(10, 'B'), acks(61)], { silences: [from(20, 60, 'B')] })).toBe('u1@0 u1@60');
  });

  test('a silence that ends in the cooldown gives way to it', () => {
    expect(tell([opens(0), acks(5), opens(6, 'B'), acks(36)], { silences: [from(0, 20, 'B')] })).toBe('u1@0 u1@35');
  });
});

describe('calendars, section 3.4', () => {
  test('a medium on Friday pages at 16:55, and the second tier on Monday', () => {
    const hours = openBetween('09:00', '17:00', {
      intervals: [{ weekdays: ['monday:friday'], times: [{ start: '09:00', end: '17:00' }] }],
    });
    const policy = { ...P, calendarId: 'hours', defer: { maxSeverity: 'medium' } } as const;
    const friday = (Date.parse('2026-10-02T16:55:00Z') - start) / minute;
    const monday = (Date.parse('2026-10-05T09:00:00Z') - start) / minute;
    const story = { policy, calendars: new Map([['hours', hours]]), until: at(7 * 24 * 60) };
    expect(tell([opens(friday, 'A', 'medium'), acks(monday + 1)], story)).toBe(`u1@${friday} u2@${monday}`);
  });

  test('the start of a round moves with its first tier', () => {
    const policy = { ...P, calendarId: 'hours', defer: { maxSeverity: 'medium' } } as const;
    const story = { policy, calendars: new Map([['hours', openBetween('12:45', '24:00')]]) };
    expect(tell([opens(0, 'A', 'medium')], story)).toBe('u1@45 u2@55 u3@65 u1@75 u2@85 u3@95 f@105');
  });
});

describe('commands', () => {
  test('escalate after the last tier begins a round that does not count', () => {
    const story = { policy: buildPolicy({ repeat: { everyMs: 30 * minute, max: 1 } }) };
    const script = [opens(0), escalates(1, 1, 1), escalates(2, 1, 2), escalates(3, 1, 3)];
    expect(tell(script, story)).toBe('u1@0 u2@1 u3@2 u1@3 u2@13 u3@23 u1@33 u2@43 u3@53 f@63');
  });

  test('escalate to a tier fires it, and climbs on from there', () => {
    expect(tell([opens(0), escalates(1, 1, 1, 3), acks(12)])).toBe('u1@0 u3@1');
    // a tier that has fired already fires in a new round
    const script = [opens(0), escalates(1, 1, 1, 1), escalates(2, 1, 1), escalates(3, 2, 1), acks(4)];
    expect(tell(script)).toBe('u1@0 u1@1 u2@3');
    expect(play(script, {}).refusals).toEqual([{ step: 2, code: 'tier_mismatch' }]);
  });

  test('escalate during the wait for more problems fires tier 1, and the next is counted from there', () => {
    const policy = { ...P, groupWaitMs: 5 * minute };
    expect(tell([opens(0), escalates(1, 1, 0), acks(12)], { policy })).toBe('u1@1 u2@11');
    expect(tell([opens(0), acks(6)], { policy })).toBe('u1@5');
    expect(tell([opens(0), resolves(4)], { policy })).toBe('');
  });

  test('escalate passes over tiers that reach nobody, into the next round if need be', () => {
    const policy = { ...P, tiers: [tier(user('u1')), tier(user('nobody')), tier(user('nobody'))] };
    expect(tell([opens(0), escalates(1, 1, 1), acks(2)], { policy })).toBe('u1@0 u1@1');
  });

  test('reassigned to people, they are one tier with the timeout of the current one', () => {
    const targets = [user('x'), user('y'), user('x')];
    expect(tell([opens(0), commands(5, { name: 'reassign_targets', targets })], { policy: buildPolicy() })).toBe('u1@0 x@5 y@5 f@15');
  });

  test('an extended acknowledgement times out later, and reminds again', () => {
    const policy = { ...P, acknowledgementTimeoutMs: 20 * minute, acknowledgementReminder: true };
    expect(tell([opens(0), acks(5), acks(28)], { policy, until: at(27) })).toBe('u1@0 u1!@20 u1@25');
    const extended = [opens(0), acks(5), commands(24, { name: 'acknowledge', extend: true })];
    expect(tell(extended, { policy, until: at(44) })).toBe('u1@0 u1!@20 u1!@39 u1@44');
  });

  test('a reminder comes half the timeout before, when that is less than five minutes', () => {
    const policy = { ...P, acknowledgementTimeoutMs: 4 * minute, acknowledgementReminder: true };
    expect(tell([opens(0), acks(5)], { policy, until: at(9) })).toBe('u1@0 u1!@7 u1@9');
  });

  test('a rebase past the end of the policy goes on from its last tier, and what is overdue by it is due at once', () => {
    const shorter = { ...buildPolicy(), version: 2, tiers: [tier(user('u8'), { timeoutMs: minute }), tier(user('u9'))] };
    expect(tell([opens(0), edits(4, shorter), rebases(5, 2)], { policy: buildPolicy() })).toBe('u1@0 u9@5 f@15');
    expect(tell([opens(0), edits(4, shorter), rebases(25, 2)], { policy: buildPolicy() })).toBe('u1@0 u2@10 u3@20 f@30');
  });

  test('what goes against the state is refused', () => {
    const script = [escalates(0, 1, 0), opens(1), resolves(2), snoozes(3, 60), rebases(4, 1), acks(5), commands(6, { name: 'resolve' })];
    expect(play(script, {}).refusals).toEqual([
      { step: 0, code: 'wrong_state' },
      { step: 3, code: 'wrong_state' },
      { step: 4, code: 'wrong_state' },
    ]);
  });
});

test('of equal instants resolves come first, then acknowledgements, other commands, events, and timers', () => {
  expect(tell([opens(0), opens(10, 'A', 'critical'), acks(10)])).toBe('u1@0 u1@10 u2@20 u3@30 u1@40 u2@50 u3@60 f@70');
  expect(tell([opens(0), escalates(10, 1, 1), acks(10)])).toBe('u1@0 u2@10 u3@20 u1@30 u2@40 u3@50 f@60');
  expect(tell([opens(0), acks(10), resolves(10)])).toBe('u1@0');
  expect(tellStates([opens(0), acks(10), resolves(10)])).toBe('triggered@0 resolved@10');
});

test('every tier rejected at once leads to the fallback, round by round', () => {
  const failures = new Map(['u1', 'u2', 'u3'].map((id) => [id, { rejectedAfterMs: 1_000 }]));
  expect(tell([opens(0)], { failures })).toBe('u1@0 u2@1s u3@2s u1@30 u2@1801s u3@1802s f@1803s');
});

test('a firing is failing only when all its pages are', () => {
  const policy = buildPolicy({ tiers: [tier([user('u1'), user('u2')]), tier(user('u3'))] });
  const one = new Map([['u1', { rejectedAfterMs: 1_000 }]]);
  expect(tell([opens(0), acks(5)], { policy, failures: one })).toBe('u1@0 u2@0');
  const both = new Map([...one, ['u2', { rejectedAfterMs: 3_000 }]]);
  expect(tell([opens(0), acks(5)], { policy, failures: both })).toBe('u1@0 u2@0 u3@3s');
});

test('the hard stop ends everything that nobody ends: told while it was open, quietly once it was acknowledged or exhausted', () => {
  const policy = buildPolicy({ hardStopMs: hour, repeat: { everyMs: 30 * minute, max: null } });
  expect(tellStates([opens(0)], { policy })).toBe('triggered@0 exhausted@60 resolved@120');
  expect(tellStates([opens(0), acks(5)], { policy })).toBe('triggered@0 acknowledged@5 resolved@60');
  expect(tell([opens(0), acks(5), opens(61), acks(62)], { policy })).toBe('u1@0 u1@61');
  expect(tell([opens(0), acks(50), opens(61), acks(62)], { policy })).toBe('u1@0 u2@10 u3@20 u1@30 u2@40 u1@61');
});

test('a policy that is switched off opens nothing, and lets finish what is open', () => {
  expect(tell([opens(0)], { policy: { ...P, enabled: false } })).toBe('');
  expect(tell([opens(0), edits(5, { ...P, version: 2, enabled: false }), acks(11), resolves(12), opens(60)])).toBe('u1@0 u2@10');
});

test('nothing after the end is looked at', () => {
  expect(tell([opens(0), opens(11, 'B')], { until: at(10) })).toBe('u1@0 u2@10');
});

test('a simulation needs a policy', () => {
  const nothing = { policies: [], calendars: new Map(), reach, failures: new Map(), script: [], silences: [], until: at(1) };
  expect(() => simulate(nothing)).toThrow('needs a policy');
});
