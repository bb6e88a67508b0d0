import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  type Aggregate,
  aggregateFaults,
  changeGroup,
  defaultAggregate,
  type GroupNotice,
  type GroupState,
  nextTickAt,
  openGroup,
  tick,
} from '../../domain/aggregation.ts';
import { severities, type Severity } from '../../domain/severity.ts';
import { modelGroup, type TimedChange } from './aggregation-model.ts';

const midnight = Date.parse('2026-10-01T00:00:00Z');
/** `HH:MM:SS` or with milliseconds, of that day. */
const clock = (text: string) => Date.parse(`2026-10-01T${text}Z`);
const time = (at: number) => new Date(at).toISOString().slice(11, 19);
const minute = 60_000;
const hour = 60 * minute;

const fired = (at: string, id: string, severity: Severity = 'high'): TimedChange => ({
  at: clock(at),
  kind: 'fired',
  member: { id, kind: 'problem', severity },
});
const occurred = (at: string, id: string): TimedChange => ({
  at: clock(at),
  kind: 'fired',
  member: { id, kind: 'occurrence', severity: 'low' },
});
const change = (at: string, kind: 'resolved' | 'expired' | 'muted' | 'unmuted', id: string): TimedChange => ({ at: clock(at), kind, id });

interface Run {
  aggregate?: Partial<Aggregate>;
  until?: string;
  /** How late the tick that is due at an instant runs. */
  lateMs?: (dueAt: number) => number;
}

/** What comes of changes when ticks run when the group asks for them. */
function run(changes: readonly TimedChange[], { aggregate = {}, until = '23:59:59', lateMs = () => 0 }: Run = {}) {
  return runGroup({ ...defaultAggregate, ...aggregate }, changes, { until: clock(until), lateMs });
}

function runGroup(
  aggregate: Aggregate,
  changes: readonly TimedChange[],
  { until, lateMs }: { until: number; lateMs: (dueAt: number) => number },
) {
  const notices: GroupNotice[] = [];
  const untold: string[] = [];
  let ticks = 0;
  let closedAt: number | null = null;
  const [opening, ...others] = changes;
  if (opening?.kind !== 'fired') throw new Error('a group is opened by something that fires');
  let state: GroupState = openGroup(aggregate, opening.member, opening.at);
  const runTicks = (before: number) => {
    for (;;) {
      const dueAt = nextTickAt(state);
      if (dueAt === null) return;
      const at = dueAt + lateMs(dueAt);
      if (at >= before) return;
      const ticked = tick(state, at);
      // plain data: what the row gives back is the same
      state = JSON.parse(JSON.stringify(ticked.state)) as GroupState;
      expect(state).toEqual(ticked.state);
      if (ticked.notice !== null) notices.push(ticked.notice);
      if (state.closed) closedAt = at;
      ticks += 1;
    }
  };
  for (const each of others) {
    runTicks(each.at);
    if (state.closed) break;
    const changed = changeGroup(state, each, each.at);
    state = changed.state;
    if (changed.resolvedBeforeNotice && each.kind !== 'fired') untold.push(each.id);
  }
  runTicks(until + 1);
  return { notices, untold, ticks, closedAt, state };
}

const ids = (members: ReadonlyArray<{ id: string }>) => members.map(({ id }) => id).join('');
const told = ({ notices }: { notices: readonly GroupNotice[] }) =>
  notices.map(
    ({ at, reason, firing, resolved }) => `${time(at)} ${reason} {${ids(firing)}}${resolved.length > 0 ? ` -${ids(resolved)}` : ''}`,
  );

const day = [
  fired('00:00:00.000', 'A'),
  fired('00:00:10.000', 'B'),
  fired('00:02:00.000', 'C'),
  change('00:07:00.000', 'resolved', 'A'),
  change('04:12:00.000', 'resolved', 'B'),
  change('04:12:00.000', 'resolved', 'C'),
];
const notices = [
  '00:00:30 first {AB}',
  '00:05:30 new {ABC}',
  '00:10:30 resolved {BC} -A',
  '04:10:30 repeat {BC}',
  '04:15:30 all_resolved {} -BC',
];

describe('a day of a group that waits 30 s, then 5 min, and repeats after 4 h', () => {
  test('has five notices, to the millisecond', () => {
    const day1 = run(day);
    expect(told(day1)).toEqual(notices);
    expect(day1.notices.map(({ at }) => at - midnight)).toEqual([
      30_000,
      5 * minute + 30_000,
      10 * minute + 30_000,
      4 * hour + 10 * minute + 30_000,
      4 * hour + 15 * minute + 30_000,
    ]);
    expect(day1.notices.map(({ tick }) => tick)).toEqual([0, 1, 2, 50, 51]);
    expect(day1.closedAt).toBe(clock('04:15:30.000'));
  });

  test('wakes only when there is something to do', () => {
    expect(run(day).ticks).toBe(5);
  });

  test('is the same when every tick runs late: the grid does not move', () => {
    expect(run(day, { lateMs: () => 4_999 }).notices).toEqual(run(day).notices);
    const late = run(day, { lateMs: () => 5 * minute - 1 });
    expect(told(late)).toEqual(['00:00:30 first {ABC}', '00:10:30 resolved {BC} -A', '04:10:30 all_resolved {} -BC']);
  });

  test('is told once of what an outage missed', () => {
    // nothing runs from 00:01 to 00:12
    const outage = run(day, { lateMs: (dueAt) => Math.max(0, clock('00:12:00') - dueAt) * Number(dueAt > clock('00:01:00')) });
    expect(told(outage)).toEqual(['00:00:30 first {AB}', '00:10:30 new {BC} -A', '04:10:30 repeat {BC}', '04:15:30 all_resolved {} -BC']);
  });

  test('ends without a word where resolves are not sent', () => {
    expect(told(run(day, { aggregate: { sendResolved: false } }))).toEqual([
      '00:00:30 first {AB}',
      '00:05:30 new {ABC}',
      '04:05:30 repeat {BC}',
    ]);
  });

  test('has no repetition where none is wanted', () => {
    expect(told(run(day, { aggregate: { repeatMs: null } }))).toEqual(notices.filter((notice) => !notice.includes('repeat')));
  });
});

describe('the first notice', () => {
  test('comes at once with a wait of 0, and the next a whole interval later', () => {
    const group = openGroup({ ...defaultAggregate, waitMs: 0 }, { id: 'A', kind: 'problem', severity: 'high' }, midnight);
    expect(nextTickAt(group)).toBe(midnight);
    const { state, notice } = tick(group, midnight);
    expect(notice).toEqual({
      tick: 0,
      at: midnight,
      reason: 'first',
      firing: [{ id: 'A', kind: 'problem', severity: 'high', muted: false }],
      resolved: [],
    });
    expect(tick(state, midnight).notice).toBeNull();
    // accepted in the same millisecond, but after that tick: it is in the next one
    const later = changeGroup(state, { kind: 'fired', member: { id: 'B', kind: 'problem', severity: 'high' } }, midnight).state;
    expect(nextTickAt(later)).toBe(midnight + 5 * minute);
    expect(told(run([fired('00:00:00', 'A'), fired('00:00:00.001', 'B')], { aggregate: { waitMs: 0 }, until: '00:10:00' }))).toEqual([
      '00:00:00 first {A}',
      '00:05:00 new {AB}',
    ]);
  });

  test('is not sent of what was over by then', () => {
    const group = run([
      fired('00:00:00', 'A'),
      fired('00:00:10', 'B'),
      change('00:00:20', 'resolved', 'A'),
      change('00:00:30', 'resolved', 'B'),
    ]);
    expect(group).toMatchObject({ notices: [], untold: ['A', 'B'], closedAt: clock('00:00:30') });
  });

  test('leaves out what was over by then', () => {
    const group = run([fired('00:00:00', 'A'), fired('00:00:10', 'B'), change('00:00:20', 'resolved', 'A')], { until: '01:00:00' });
    expect(told(group)).toEqual(['00:00:30 first {B}']);
    expect(group.untold).toEqual(['A']);
  });
});

describe('a later notice', () => {
  test('is not sent of a problem that opened and was resolved between two ticks', () => {
    const group = run([fired('00:00:00', 'A'), fired('00:02:00', 'B'), change('00:03:00', 'resolved', 'B')], { until: '03:00:00' });
    expect(told(group)).toEqual(['00:00:30 first {A}']);
    expect(group.untold).toEqual(['B']);
  });

  test('tells of a change at the very instant of its tick, and of one a millisecond later an interval later', () => {
    const changes = (at: string) => [fired('00:00:00', 'A'), fired(at, 'B')];
    expect(told(run(changes('00:05:30.000'), { until: '01:00:00' }))[1]).toBe('00:05:30 new {AB}');
    expect(told(run(changes('00:05:30.001'), { until: '01:00:00' }))[1]).toBe('00:10:30 new {AB}');
  });

  test('tells of a problem that got worse, not of one that was reported anew', () => {
    const group = run([fired('00:00:00', 'A'), fired('00:06:00', 'A'), fired('00:12:00', 'A', 'critical')], { until: '03:00:00' });
    expect(told(group)).toEqual(['00:00:30 first {A}', '00:15:30 new {A}']);
    expect(group.notices.map(({ firing }) => firing[0]?.severity)).toEqual(['high', 'critical']);
  });

  test('names new problems rather than ended ones, and shows both', () => {
    const group = run([fired('00:00:00', 'A'), fired('00:02:00', 'B'), change('00:03:00', 'resolved', 'A')], { until: '03:00:00' });
    expect(told(group)).toEqual(['00:00:30 first {A}', '00:05:30 new {B} -A']);
  });

  test('counts the time to a repetition from the last notice of any kind', () => {
    const group = run([fired('00:00:00', 'A'), fired('03:00:00', 'B')], { until: '12:00:00' });
    expect(told(group)).toEqual(['00:00:30 first {A}', '03:00:30 new {AB}', '07:00:30 repeat {AB}', '11:00:30 repeat {AB}']);
  });

  test('repeats at the first tick at which the time has passed', () => {
    const group = run([fired('00:00:00', 'A')], { aggregate: { repeatMs: 12 * minute }, until: '00:31:00' });
    expect(told(group)).toEqual(['00:00:30 first {A}', '00:15:30 repeat {A}', '00:30:30 repeat {A}']);
  });

  test('is not sent of problems that expired: nobody said that they ended', () => {
    const group = run([
      fired('00:00:00', 'A'),
      fired('00:00:01', 'B'),
      change('00:06:00', 'expired', 'A'),
      change('00:12:00', 'expired', 'B'),
    ]);
    expect(told(group)).toEqual(['00:00:30 first {AB}']);
    expect(group.closedAt).toBe(clock('00:15:30'));
  });
});

describe('an occurrence', () => {
  test('is in one notice, after which the group ends', () => {
    const group = run([occurred('00:00:00', 'a'), occurred('00:00:10', 'b')]);
    expect(told(group)).toEqual(['00:00:30 first {ab}']);
    expect(group.closedAt).toBe(clock('00:05:30'));
  });

  test('does not make the end of problems less of an end, nor repeat', () => {
    const group = run([fired('00:00:00', 'A'), occurred('00:00:10', 'b'), change('05:00:00', 'resolved', 'A')]);
    expect(told(group)).toEqual(['00:00:30 first {Ab}', '04:00:30 repeat {A}', '05:00:30 all_resolved {} -A']);
  });
});

describe('a silenced member', () => {
  test('changes nothing when it falls silent, and is news when it no longer is', () => {
    const group = run(
      [fired('00:00:00', 'A'), fired('00:00:10', 'B'), change('00:10:00', 'muted', 'A'), change('01:00:00', 'unmuted', 'A')],
      { until: '03:00:00' },
    );
    expect(told(group)).toEqual(['00:00:30 first {AB}', '01:00:30 new {AB}']);
  });

  test('is not shown, nor is its worsening told', () => {
    const group = run(
      [
        fired('00:00:00', 'A'),
        fired('00:00:10', 'B'),
        change('00:00:20', 'muted', 'A'),
        occurred('00:02:00', 'c'),
        change('01:00:00', 'unmuted', 'A'),
      ],
      { until: '03:00:00' },
    );
    expect(told(group)).toEqual(['00:00:30 first {B}', '00:05:30 new {Bc}', '01:00:30 new {AB}']);
  });

  test('keeps the group open and quiet, also when it is alone', () => {
    const group = run([fired('00:00:00', 'A'), change('00:00:20', 'muted', 'A')]);
    expect(group).toMatchObject({ notices: [], closedAt: null });
    expect(nextTickAt(group.state)).toBeNull();
    const later = run([fired('00:00:00', 'A'), change('00:00:20', 'muted', 'A'), change('09:00:00', 'unmuted', 'A')], {
      until: '10:00:00',
    });
    expect(told(later)).toEqual(['09:00:30 first {A}']);
  });

  test('is told to have ended if it was told to have begun', () => {
    const muted = [fired('00:00:00', 'A'), change('00:10:00', 'muted', 'A'), change('00:20:00', 'resolved', 'A')];
    expect(told(run(muted))).toEqual(['00:00:30 first {A}', '00:20:30 all_resolved {} -A']);
    const unheard = run([fired('00:00:00', 'A'), change('00:00:20', 'muted', 'A'), change('00:20:00', 'resolved', 'A')]);
    expect(unheard).toMatchObject({ notices: [], untold: ['A'], closedAt: clock('00:20:30') });
  });

  test('is told to have ended also when notices went out meanwhile that did not show it', () => {
    const group = run(
      [
        fired('00:00:00', 'A'),
        fired('00:00:10', 'B'),
        change('00:04:00', 'muted', 'A'),
        fired('00:05:00', 'C'),
        change('00:06:00', 'resolved', 'A'),
      ],
      { until: '03:00:00' },
    );
    expect(told(group)).toEqual(['00:00:30 first {AB}', '00:05:30 new {BC}', '00:10:30 resolved {BC} -A']);
  });

  test('goes on firing: what ends beside it is not the end of all', () => {
    const group = run([
      fired('00:00:00', 'A'),
      fired('00:00:10', 'B'),
      change('00:04:00', 'muted', 'A'),
      change('00:05:00', 'resolved', 'B'),
    ]);
    expect(told(group)).toEqual(['00:00:30 first {AB}', '00:05:30 resolved {} -B']);
    expect(group.closedAt).toBeNull();
  });

  test('is heard again by getting so much worse that no silence covers it', () => {
    const group = run([fired('00:00:00', 'A'), change('00:10:00', 'muted', 'A'), fired('00:20:00', 'A', 'critical')], {
      until: '03:00:00',
    });
    expect(told(group)).toEqual(['00:00:30 first {A}', '00:20:30 new {A}']);
  });
});

test('a closed group takes nothing more: what fires is lost to it loudly', () => {
  const { state } = run([fired('00:00:00', 'A'), change('00:00:10', 'resolved', 'A')]);
  expect(state.closed).toBe(true);
  expect(() => changeGroup(state, { kind: 'fired', member: { id: 'B', kind: 'problem', severity: 'low' } }, clock('01:00:00'))).toThrow(
    'closed',
  );
  expect(changeGroup(state, { kind: 'resolved', id: 'A' }, clock('01:00:00')).state).toBe(state);
  expect(tick(state, clock('02:00:00'))).toEqual({ state, notice: null });
});

test.each<[string, Partial<Aggregate>, string[]]>([
  ['as they are by default', {}, []],
  ['at their least', { waitMs: 0, intervalMs: minute, repeatMs: minute }, []],
  ['at their most', { waitMs: 10 * minute, intervalMs: 24 * hour, repeatMs: null }, []],
  ['below and above', { waitMs: -1, intervalMs: minute - 1 }, ['/wait', '/interval']],
  ['above', { waitMs: 10 * minute + 1, intervalMs: 24 * hour + 1, repeatMs: null }, ['/wait', '/interval']],
  ['with repetitions more often than notices', { repeatMs: 5 * minute - 1 }, ['/repeat']],
])('durations %s', (_, durations, pointers) => {
  expect(aggregateFaults({ ...defaultAggregate, ...durations }, { minIntervalMs: minute }).map(({ pointer }) => pointer)).toEqual(pointers);
});

describe('whatever happens', () => {
  const seconds = fc.integer({ min: 1, max: 400 });
  /** The story of one member: when it fires, and what happens how long after. */
  const story = fc.record({
    from: fc.nat(200),
    kind: fc.constantFrom('problem' as const, 'occurrence' as const),
    severity: fc.constantFrom(...severities.slice(0, 3)),
    raised: fc.option(seconds, { freq: 3 }),
    muted: fc.option(fc.tuple(seconds, seconds), { freq: 2 }),
    end: fc.option(fc.tuple(fc.constantFrom('resolved' as const, 'resolved' as const, 'expired' as const), seconds), { freq: 1 }),
  });
  const aggregate = fc.record({
    groupBy: fc.constant<string[]>([]),
    waitMs: fc.constantFrom(0, 1, 7).map((value) => value * 1_000),
    intervalMs: fc.constantFrom(5, 20, 60).map((value) => value * 1_000),
    repeatMs: fc.constantFrom(null, 60_000, 90_000),
    sendResolved: fc.boolean(),
  });
  const changes = fc.array(story, { minLength: 1, maxLength: 5 }).map((stories) => {
    const all = stories.flatMap(({ from, kind, severity, raised, muted, end }, i): TimedChange[] => {
      const id = `m${i}`;
      const at = (after: number) => midnight + (from + after) * 1_000;
      const own: TimedChange[] = [{ at: at(0), kind: 'fired', member: { id, kind, severity } }];
      if (kind === 'problem' && raised !== null) own.push({ at: at(raised), kind: 'fired', member: { id, kind, severity: 'critical' } });
      if (muted !== null) own.push({ at: at(muted[0]), kind: 'muted', id }, { at: at(muted[0] + muted[1]), kind: 'unmuted', id });
      if (kind === 'problem' && end !== null) own.push({ at: at(end[1]), kind: end[0], id });
      const endedAt = own.find((each) => each.kind === 'resolved' || each.kind === 'expired')?.at ?? Number.POSITIVE_INFINITY;
      return own.filter((each) => each.at < endedAt || each.kind === 'resolved' || each.kind === 'expired');
    });
    return all.toSorted((left, right) => left.at - right.at);
  });
  const until = midnight + 2_000_000;

  test('a group says what the rules say, although it wakes only when it must', () => {
    fc.assert(
      fc.property(aggregate, changes, (settings, timed) => {
        const { notices: actual, closedAt } = runGroup(settings, timed, { until, lateMs: () => 0 });
        expect({ notices: actual, closedAt }).toEqual(modelGroup(settings, timed, until));
      }),
      { numRuns: 500 },
    );
  });

  test('late ticks keep to the grid, never go back, and in the end people know the same', () => {
    fc.assert(
      fc.property(aggregate, changes, fc.array(fc.nat(150), { minLength: 1 }), (settings, timed, delays) => {
        const { notices: actual, state } = runGroup(settings, timed, { until, lateMs: (dueAt) => delays[dueAt % delays.length]! * 1_000 });
        const firstTick = timed[0]!.at + settings.waitMs;
        actual.forEach(({ tick: number, at }, i) => {
          expect(at).toBe(firstTick + number * settings.intervalMs);
          expect(number).toBeGreaterThan(actual[i - 1]?.tick ?? -1);
        });
        // everything shown still stands as it was last shown
        for (const member of state.members.filter(({ firing, muted }) => firing && !muted)) {
          const lastly = actual.findLast(({ firing }) => firing.some(({ id }) => id === member.id));
          expect(lastly?.firing.find(({ id }) => id === member.id)?.severity).toBe(member.severity);
        }
      }),
      { numRuns: 500 },
    );
  });
});
