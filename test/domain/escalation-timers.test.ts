import { beforeEach, describe, expect, test } from '@jest/globals';
import type { GroupInput } from '../../domain/escalation-input.ts';
import {
  acknowledge,
  at,
  beginGroup,
  buildPolicy,
  hour,
  minute,
  openBetween,
  opened,
  resolved,
  summarize,
  tier,
  user,
} from './escalation-story.ts';

const policy = buildPolicy();

describe('timers', () => {
  test('what is due is done once: the version it was planned for is gone then', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    const { plan } = group.last;
    expect(plan).toEqual({ dueAt: at(10), why: 'tier', version: 1 });
    expect(group.elapse().outcome).toBe('applied');
    const again = group.send(10, { kind: 'due', version: 1 });
    expect(again).toEqual({ state: group.state, effects: [], plan: { dueAt: at(20), why: 'tier', version: 2 }, outcome: 'noop' });
  });

  test('nothing is done before its time, and the plan is told again', () => {
    const group = beginGroup();
    const { plan } = group.send(0, opened('A'));
    expect(group.send(9.99, { kind: 'due', version: 1 })).toMatchObject({ effects: [], plan, outcome: 'noop' });
  });

  test('a plan that a command has overtaken does nothing', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    group.command(9, acknowledge);
    expect(group.send(10, { kind: 'due', version: 1 })).toMatchObject({
      effects: [],
      outcome: 'noop',
      plan: { why: 'hard_stop', version: 2 },
    });
  });

  test('a group in which nothing is open or hidden waits for nothing', () => {
    const group = beginGroup();
    expect(group.send(0, { kind: 'due', version: 0 })).toMatchObject({ plan: null, outcome: 'noop' });
    group.send(0, opened('A'));
    group.command(1, acknowledge);
    expect(group.send(2, { kind: 'problem_resolved', key: 'A' }).plan).toBeNull();
    expect(group.send(3, opened('B')).plan).toEqual({ dueAt: at(31), why: 'cooldown_end', version: 4 });
  });

  test.each([
    // a page five seconds late changes nothing of what follows
    [10 * minute, 5_000, false],
    [10 * minute, 5_001, true],
    // half of a short timeout
    [6_000, 3_000, false],
    [6_000, 3_001, true],
  ])('with a timeout of %i ms, %i ms of lateness count: %s', (timeoutMs, lateMs, counts) => {
    const group = beginGroup([{ ...policy, tiers: [tier(user('u1')), tier(user('u2'), { timeoutMs }), tier(user('u3'))] }]);
    group.send(0, opened('A'));
    const { effects, plan } = group.elapse(10 + lateMs / minute);
    expect(effects).toContainEqual(expect.objectContaining({ kind: 'fire', tier: 2, scheduledAt: at(10), late: counts }));
    expect(plan?.dueAt).toBe(at(10) + timeoutMs + (counts ? lateMs : 0));
  });

  test('after an outage the overdue tier fires once, and the others a timeout apart from there', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    expect(summarize(group.elapse(35))).toBe('triggered late u2(1,2)');
    expect(group.last.plan).toMatchObject({ dueAt: at(45), why: 'tier' });
    expect(summarize(group.elapse())).toBe('triggered u3(1,3)');
    // the round began at 0, and its end is later than its repeat
    expect(group.last.plan).toMatchObject({ dueAt: at(55), why: 'round' });
    expect(summarize(group.elapse(65))).toBe('triggered late u1(2,1)');
    expect(group.last.plan).toMatchObject({ dueAt: at(75) });
  });

  test('an acknowledgement timeout that passed in an outage is not swallowed by the hard stop that passed after it', () => {
    const group = beginGroup([{ ...policy, acknowledgementTimeoutMs: 20 * minute, hardStopMs: hour }]);
    group.send(0, opened('A'));
    group.command(5, acknowledge);
    expect(summarize(group.elapse(70))).toBe('triggered restarted:ack_timeout late u1(1,1)');
    expect(group.last.plan).toMatchObject({ dueAt: at(80), why: 'tier' });
  });

  test('a reminder that comes after the timeout reminds of nothing', () => {
    const group = beginGroup([{ ...policy, acknowledgementTimeoutMs: hour, acknowledgementReminder: true }]);
    group.send(0, opened('A'));
    group.command(1, acknowledge);
    expect(group.last.plan).toMatchObject({ dueAt: at(56), why: 'acknowledgement_reminder' });
    expect(summarize(group.elapse(62))).toBe('acknowledged');
    expect(summarize(group.elapse(62))).toBe('triggered restarted:ack_timeout u1(1,1)'.replace(' u1', ' late u1'));
  });
});

describe('pages that cannot get through', () => {
  const failingFiring = (firing: number, escalationId = 'E1'): GroupInput => ({ kind: 'firing_failing', escalationId, firing });

  test('are diverted once: only the last firing counts, of this escalation', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    expect(group.send(1, failingFiring(1, 'E0')).outcome).toBe('noop');
    expect(summarize(group.send(1, failingFiring(1)))).toBe('triggered u2(1,2)');
    expect(group.send(1, failingFiring(1)).outcome).toBe('noop');
    expect(group.last.plan).toMatchObject({ dueAt: at(11) });
  });

  test('after the last tier the round is over, but the next one does not come sooner than it is due', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    group.elapse();
    group.elapse();
    expect(group.send(21, failingFiring(3))).toMatchObject({ outcome: 'noop', plan: { dueAt: at(30), why: 'round' } });
    const once = beginGroup([{ ...policy, tiers: policy.tiers.slice(0, 1) }]);
    once.send(0, opened('A'));
    expect(once.send(1, failingFiring(1)).plan).toMatchObject({ dueAt: at(1), why: 'last_round_over' });
    expect(summarize(once.elapse())).toBe('exhausted f');
  });

  test('do not make a tier fire that waits for a silence to end', () => {
    const group = beginGroup([policy], { silencedUntil: () => (group.state.version > 0 ? at(40) : null) });
    group.send(0, opened('A'));
    group.elapse();
    expect(group.last.plan).toMatchObject({ dueAt: at(40), why: 'deferred_silence' });
    expect(group.send(11, failingFiring(1)).outcome).toBe('noop');
  });
});

describe('silences that change', () => {
  const silences = new Map<string, number>();
  const silenced = { silencedUntil: (key: string) => silences.get(key) ?? null };
  const changed: GroupInput = { kind: 'silences_changed' };

  test('a cancelled one lets in what it kept back, the worst first', () => {
    silences.set('A', at(60)).set('B', at(60)).set('C', at(90));
    const group = beginGroup([policy], silenced);
    expect(group.send(0, opened('A', 'medium')).plan).toEqual({ dueAt: at(60), why: 'silence_end', version: 1 });
    group.send(0, opened('B', 'critical'));
    group.send(0, opened('C'));
    expect(group.send(5, opened('C')).outcome).toBe('noop');
    silences.delete('A');
    silences.delete('B');
    expect(summarize(group.send(10, changed))).toBe('triggered new u1(1,1) attached:grouped');
    expect(group.state.members.map(({ key }) => key)).toEqual(['B', 'A']);
    expect(group.state.held.map(({ key }) => key)).toEqual(['C']);
    expect(group.send(11, changed).outcome).toBe('noop');
  });

  test('an extended one keeps it back for longer', () => {
    silences.clear();
    silences.set('A', at(20));
    const group = beginGroup([policy], silenced);
    group.send(0, opened('A'));
    silences.set('A', at(30));
    expect(summarize(group.elapse())).toBe('none');
    silences.delete('A');
    expect(group.last.plan).toMatchObject({ dueAt: at(30), why: 'silence_end' });
    expect(summarize(group.elapse())).toBe('triggered new u1(1,1)');
  });

  test('a cancelled one lets the tier fire that waited for it, and what waited for it after the cooldown', () => {
    silences.clear();
    const group = beginGroup([policy], silenced);
    group.send(0, opened('A'));
    silences.set('A', at(60));
    group.elapse();
    expect(group.last.plan).toMatchObject({ dueAt: at(60), why: 'deferred_silence' });
    silences.delete('A');
    expect(summarize(group.send(15, changed))).toBe('triggered u2(1,2)');
    group.command(16, acknowledge);
    group.send(17, opened('B'));
    silences.set('B', at(90));
    group.elapse(46);
    expect(group.last.plan).toMatchObject({ dueAt: at(90), why: 'cooldown_end' });
    silences.delete('B');
    expect(group.send(50, changed).plan).toMatchObject({ dueAt: at(50), why: 'cooldown_end' });
    expect(summarize(group.elapse())).toBe('triggered restarted:unmuted u1(1,1)');
  });
});

describe('what a silence keeps back', () => {
  const silences = new Map<string, number>();
  const silenced = { silencedUntil: (key: string) => silences.get(key) ?? null };
  const silence = (key: string, until: number) => silences.set(key, at(until));
  beforeEach(() => silences.clear());

  test('ends with its problem: a resolved one is never told', () => {
    silence('A', 20);
    const group = beginGroup([policy], silenced);
    group.send(0, opened('A'));
    expect(group.send(5, { kind: 'problem_resolved', key: 'A' }).plan).toBeNull();
    expect(group.state).toMatchObject({ escalation: null, held: [] });
  });

  test('ends with the escalation that closes its problem', () => {
    const group = beginGroup([policy], silenced);
    group.send(0, opened('A', 'low'));
    silence('A', 20);
    group.send(5, opened('A', 'critical'));
    expect(group.state.held).toMatchObject([{ key: 'A', severity: 'critical' }]);
    group.command(6, { name: 'resolve' });
    expect(group.state.held).toEqual([]);
  });

  test('stays when the escalation that ends is about others', () => {
    const group = beginGroup([policy], silenced);
    group.send(0, opened('A', 'low'));
    silence('B', 20);
    group.send(5, opened('B'));
    group.command(6, { name: 'resolve' });
    expect(group.state.held).toMatchObject([{ key: 'B', until: at(20) }]);
  });

  test('is no occurrence: that is over when the silence ends', () => {
    silence('O', 20);
    const group = beginGroup([policy], silenced);
    expect(group.send(0, { kind: 'occurrence', key: 'O', severity: 'critical' })).toMatchObject({ outcome: 'noop', plan: null });
  });

  test('comes when the silence ended, though nobody looked until later', () => {
    silence('A', 20);
    const group = beginGroup([{ ...policy, groupWaitMs: 10 * minute }], silenced);
    group.send(0, opened('A'));
    silences.clear();
    group.send(20.05, { kind: 'silences_changed' });
    expect(group.state.escalation).toMatchObject({ t0: at(20), firedAt: at(20) });
  });

  test('is not told sooner by a duplicate, and by a raise comes as of the end of the silence', () => {
    silence('A', 20);
    const group = beginGroup([{ ...policy, groupWaitMs: 10 * minute }], silenced);
    group.send(0, opened('A', 'medium'));
    silences.clear();
    expect(group.send(20, opened('A', 'medium')).outcome).toBe('noop');
    group.send(20, opened('A', 'high'));
    expect(group.state.escalation).toMatchObject({ t0: at(20), severity: 'high', tier: 1 });
  });

  test('leaves the severity as people know it, and what waits for that waiting', () => {
    const group = beginGroup([policy], silenced);
    group.send(0, opened('A', 'low'));
    silence('A', 20);
    group.send(5, opened('A', 'critical'));
    expect(group.state.members).toMatchObject([{ key: 'A', severity: 'low' }]);
    expect(group.state.escalation).toMatchObject({ severity: 'low' });
  });

  test('does not count against the time that a snooze has until the hard stop', () => {
    const group = beginGroup([{ ...policy, hardStopMs: 60 * minute }], silenced);
    group.send(0, opened('A'));
    silence('A', 59);
    group.elapse();
    expect(group.last.plan).toMatchObject({ dueAt: at(59), why: 'deferred_silence' });
    expect(group.command(55, { name: 'snooze', until: at(100) }).outcome).toBe('applied');
    expect(group.command(56, { name: 'snooze', until: at(105) }).outcome).toEqual({ refused: 'after_hard_stop' });
  });
});

describe('hidden problems', () => {
  const changed: GroupInput = { kind: 'silences_changed' };

  test('wait for the first of their ends', () => {
    const ends = new Map([
      ['A', at(20)],
      ['B', at(30)],
    ]);
    const group = beginGroup([policy], { silencedUntil: (key) => ends.get(key) ?? null });
    group.send(0, opened('B'));
    expect(group.send(1, opened('A')).plan).toMatchObject({ dueAt: at(20), why: 'silence_end' });
    expect(group.last.effects).toMatchObject([{ kind: 'timeline', what: 'held', key: 'A', escalationId: null, status: null }]);
    ends.delete('A');
    group.elapse();
    expect(group.last.effects[0]).toMatchObject({ kind: 'opened', reason: 'unmuted', previousId: null });
    group.command(21, acknowledge);
    group.send(22, opened('C'));
    group.send(23, opened('D'));
    ends.set('C', at(90)).set('D', at(80));
    ends.delete('B');
    // the cooldown hides B too, until minute 51
    group.elapse(30);
    ends.set('B', at(70));
    group.elapse(51);
    expect(group.last.plan).toMatchObject({ dueAt: at(70), why: 'cooldown_end' });
  });

  test('stay hidden by the cooldown when silences change', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    group.command(1, acknowledge);
    group.send(2, opened('B'));
    expect(group.send(3, changed)).toMatchObject({ outcome: 'noop', plan: { dueAt: at(31), why: 'cooldown_end' } });
  });

  test('that repeat when their cooldown ends leave it to the timer to tell', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    group.command(1, acknowledge);
    group.send(2, resolved('A'));
    group.send(4, opened('B'));
    expect(group.send(31, opened('B')).outcome).toBe('noop');
    expect(summarize(group.elapse())).toBe('triggered new after E1 u1(1,1)');
    expect(group.last.effects[0]).toMatchObject({ kind: 'opened', reason: 'unmuted', previousId: 'E1' });
  });

  test('are told under the reason that is theirs, once a silence ends after the cooldown', () => {
    const ends = new Map<string, number>();
    const group = beginGroup([policy], { silencedUntil: (key) => ends.get(key) ?? null });
    group.send(0, opened('A'));
    group.command(1, acknowledge);
    ends.set('A', at(50)).set('B', at(40));
    group.send(2, opened('B'));
    ends.delete('B');
    expect(summarize(group.elapse())).toBe('triggered attached:grouped restarted:unmuted u1(1,1)');
    group.command(41, acknowledge);
    group.send(42, opened('A', 'critical'));
    ends.delete('A');
    expect(summarize(group.elapse())).toBe('triggered severity_raised restarted:severity_raised u1(1,1)');
  });

  test('are no longer made up for once somebody acted on what includes them', () => {
    for (const act of [
      { name: 'unacknowledge' },
      { name: 'escalate', expected: { round: 1, tier: 1 }, toTier: null },
      { name: 'snooze', until: at(300) },
    ] as const) {
      const group = beginGroup();
      group.send(0, opened('A'));
      group.command(1, acknowledge);
      group.send(2, opened('B'));
      group.command(3, act);
      group.command(4, acknowledge);
      expect([act.name, group.last.plan?.why]).toEqual([act.name, 'hard_stop']);
    }
  });

  test('are those that came in a cooldown, not those that came while it was snoozed', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    group.command(1, acknowledge);
    group.command(2, { name: 'snooze', until: at(300) });
    expect(group.send(3, opened('B')).plan).toMatchObject({ why: 'snooze_end' });
  });
});

describe('the cooldown', () => {
  test('is half-open: at its end a new problem is answered as one after it', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    group.command(1, acknowledge);
    expect(summarize(group.send(31, opened('B')))).toBe('triggered attached:grouped restarted:new_after_cooldown u1(1,1)');
  });

  test('takes no problem for worse that is as bad as one that broke it', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    group.command(1, acknowledge);
    expect(summarize(group.send(2, opened('B', 'critical')))).toContain('restarted:severity_raised');
    group.command(3, acknowledge);
    expect(summarize(group.send(4, opened('C', 'critical')))).toBe('acknowledged attached:cooldown');
  });

  test('ends with a new escalation', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    group.command(1, acknowledge);
    group.send(2, resolved('A'));
    group.send(3, opened('B', 'critical'));
    group.send(4, resolved('B'));
    expect(summarize(group.send(5, opened('A')))).toBe('triggered new u1(1,1)');
  });

  test('hides the next of an occurrence that people know', () => {
    const group = beginGroup();
    const occurred: GroupInput = { kind: 'occurrence', key: 'A', severity: 'high' };
    group.send(0, occurred);
    group.command(1, acknowledge);
    expect(group.send(2, occurred).plan).toMatchObject({ dueAt: at(31), why: 'cooldown_end' });
    expect(group.send(3, occurred).outcome).toBe('noop');
  });
});

describe('a climb that begins again', () => {
  const twice = { ...policy, tiers: policy.tiers.slice(0, 1), repeat: { everyMs: 20 * minute, max: 1 } };

  test('has all its rounds again, counted from there', () => {
    const group = beginGroup([twice]);
    group.send(0, opened('A'));
    expect(summarize(group.elapse())).toBe('triggered u1(2,1)');
    group.command(25, acknowledge);
    expect(summarize(group.command(27, { name: 'unacknowledge' }))).toBe('triggered restarted:manual u1(1,1)');
    expect(group.last.plan).toMatchObject({ dueAt: at(47), why: 'round' });
    expect(summarize(group.elapse())).toBe('triggered u1(2,1)');
    expect(group.last.plan).toMatchObject({ dueAt: at(57), why: 'last_round_over' });
  });

  test('is over at once when a round of it reaches nobody any more', () => {
    let isGone = false;
    const group = beginGroup([twice], { recipients: ({ id }) => (isGone && id === 's' ? [] : [{ kind: 'contact', id, userId: id }]) });
    group.send(0, opened('A'));
    isGone = true;
    expect(summarize(group.elapse())).toBe('exhausted f');
    expect(summarize(group.command(21, { name: 'reassign', to: { policyId: 'P' } }))).toBe('exhausted restarted:reassign f');
  });

  test('says that it began before it says what came of it', () => {
    const group = beginGroup([twice], { recipients: () => [] });
    group.send(0, opened('A'));
    const told = group.last.effects.flatMap((effect) => (effect.kind === 'timeline' ? [`${effect.what} ${effect.status}`] : []));
    expect(told).toEqual(['opened triggered', 'tier_skipped triggered', 'exhausted exhausted']);
    group.command(1, acknowledge);
    group.command(2, { name: 'escalate', expected: { round: 1, tier: 0 }, toTier: null });
    const then = group.last.effects.flatMap((effect) => (effect.kind === 'timeline' ? [`${effect.what} ${effect.status}`] : []));
    expect(then.at(0)).toBe('escalated triggered');
    expect(then.at(-1)).toBe('exhausted exhausted');
  });
});

describe('the hard stop', () => {
  const hours = openBetween('18:00', '20:00');
  const deferring = { ...policy, hardStopMs: hour, calendarId: 'hours', defer: { maxSeverity: 'medium' } } as const;

  test('is counted from T0: after the wait for more problems, and from when the calendar opened', () => {
    const waiting = beginGroup([{ ...policy, hardStopMs: hour, groupWaitMs: 5 * minute }]);
    waiting.send(0, opened('A'));
    expect(waiting.state.escalation).toMatchObject({ t0: at(5), hardStopFrom: at(5) });
    const deferred = beginGroup([deferring], { calendar: () => hours });
    deferred.send(0, opened('A', 'medium'));
    expect(deferred.last.plan).toMatchObject({ dueAt: at(360), why: 'deferred_hours' });
    expect(deferred.state.escalation).toMatchObject({ t0: at(360), hardStopFrom: at(360) });
    // nothing new
    expect(deferred.send(1, opened('A', 'medium'))).toMatchObject({ outcome: 'noop', effects: [] });
    expect(deferred.command(2, acknowledge).plan).toEqual({ dueAt: at(420), why: 'hard_stop', version: 2 });
  });

  test('is counted from a first tier that came sooner', () => {
    const group = beginGroup([deferring], { calendar: () => hours });
    group.send(0, opened('A', 'medium'));
    expect(summarize(group.send(60, opened('B', 'high')))).toBe('triggered severity_raised attached:grouped u1(1,1)');
    expect(group.state.escalation).toMatchObject({ t0: at(60), hardStopFrom: at(60), roundStartedAt: at(60) });
  });

  test('stands still while a silence holds up a tier, whichever way that ends', () => {
    const ends = new Map<string, number>();
    const group = beginGroup([{ ...policy, hardStopMs: hour, groupWaitMs: 5 * minute }], { silencedUntil: (key) => ends.get(key) ?? null });
    group.send(0, opened('A'));
    ends.set('A', at(200));
    group.elapse();
    expect(group.last.plan).toMatchObject({ dueAt: at(200), why: 'deferred_silence' });
    expect(group.command(105, acknowledge).plan).toMatchObject({ dueAt: at(5 + 60 + 100), why: 'hard_stop' });
  });

  test('does not wait for a tier that is put off later on', () => {
    const group = beginGroup([{ ...deferring, hardStopMs: 3 * hour }], { calendar: () => openBetween('11:00', '12:05') });
    group.send(0, opened('A', 'medium'));
    group.elapse();
    expect(group.state.escalation?.phase).toMatchObject({ next: { wait: { why: 'deferred_hours' } } });
    expect(group.last.plan).toMatchObject({ dueAt: at(180), why: 'hard_stop' });
  });

  test('that has passed is counted anew when somebody acknowledges', () => {
    const group = beginGroup([{ ...policy, hardStopMs: hour, repeat: { everyMs: 10 * minute, max: null } }]);
    group.send(0, opened('A'));
    while (group.state.escalation?.phase.status !== 'exhausted') group.elapse();
    expect(group.last.plan).toMatchObject({ dueAt: at(120) });
    expect(group.command(100, acknowledge).plan).toMatchObject({ dueAt: at(160), why: 'hard_stop' });
    // nothing ran meanwhile: one who is told of it all late still gets the tier that he asks for
    group.command(170, { name: 'escalate', expected: { round: 2, tier: 3 }, toTier: null });
    expect(group.state.escalation).toMatchObject({ hardStopFrom: at(170), phase: { status: 'triggered' } });
  });

  test('comes after commands of its instant, which get the escalation its time again', () => {
    const group = beginGroup([{ ...policy, hardStopMs: hour }]);
    group.send(0, opened('A'));
    group.command(5, acknowledge);
    expect(summarize(group.command(60, { name: 'unacknowledge' }))).toBe('triggered restarted:manual u1(1,1)');
    expect(group.last.plan).toMatchObject({ dueAt: at(70), why: 'tier' });
    group.command(65, acknowledge);
    expect(group.last.plan).toMatchObject({ dueAt: at(120), why: 'hard_stop' });
  });
});

test('what was put off is counted from when it should have fired, also when an event comes first', () => {
  const calendar = openBetween('18:00', '20:00');
  const group = beginGroup([{ ...policy, calendarId: 'hours', defer: { maxSeverity: 'medium' } }], { calendar: () => calendar });
  group.send(0, opened('A', 'medium'));
  group.send(360 + 2 / 60, opened('B', 'low'));
  expect(group.last.effects).toContainEqual(expect.objectContaining({ kind: 'fire', scheduledAt: at(360), late: false }));
  expect(group.last.plan).toMatchObject({ dueAt: at(370) });
});
