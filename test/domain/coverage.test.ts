import { isDeepStrictEqual } from 'node:util';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isOpen, type Calendar } from '../../domain/calendar.ts';
import { evaluateCoverage, type Coverage, type CoverageFacts, type CoverageGap } from '../../domain/coverage.ts';
import type { Target, Tier } from '../../domain/escalation-policy.ts';
import { onCallUserIds, type Override, type Rotation, type Schedule } from '../../domain/schedule.ts';

const hour = 3_600_000;
const week = 7 * 24 * hour;
/** A Monday. */
const from = Date.parse('2026-10-05T00:00:00Z');

function tier(targets: Target[], change: Partial<Tier> = {}): Tier {
  return { name: null, targets, timeoutMs: 600_000, when: 'always', calendarId: null, ...change };
}

const user = (id: string): Target => ({ kind: 'user', id });
const schedule = (id: string): Target => ({ kind: 'schedule', id });

function calendar(id: string, timeZone = 'UTC'): Calendar {
  const intervals = [{ weekdays: ['monday:friday'], times: [{ start: '09:00', end: '17:00' }] }];
  return { id, version: 1, name: id, timeZone, intervals, holidays: ['2026-10-06'] };
}

function roster(id: string, rotations: Array<Partial<Rotation>>, timeZone = 'UTC'): Schedule {
  const complete = rotations.map((rotation) => ({
    participants: ['ann', 'ben'],
    start: '2026-09-28T09:00',
    unit: 'day' as const,
    length: 1,
    restriction: null,
    ...rotation,
  }));
  return { id, version: 1, name: id, timeZone, layers: [{ name: null, rotations: complete }] };
}

function factsOf(schedules: Schedule[], change: Partial<CoverageFacts> = {}, overrides: Override[] = []): CoverageFacts {
  return {
    schedules: new Map(schedules.map((one) => [one.id, { schedule: one, overrides }])),
    calendars: new Map([['hours', calendar('hours')]]),
    users: new Map([
      ['ann', { active: true, pageMethods: 1 }],
      ['ben', { active: true, pageMethods: 2 }],
      ['gone', { active: false, pageMethods: 1 }],
      ['mute', { active: true, pageMethods: 0 }],
    ]),
    channels: new Map([
      ['on', { active: true }],
      ['off', { active: false }],
    ]),
    webhooks: new Map([
      ['on', { active: true }],
      ['off', { active: false }],
    ]),
    ...change,
  };
}

function evaluate(tiers: Tier[], facts: CoverageFacts, weeks = 1, calendarId: string | null = null): Coverage {
  return evaluateCoverage({ tiers, calendarId }, facts, from, weeks);
}

/** `10-05T09:00/10-05T17:00 1 gap schedule:ops`, with a part for each cause. */
function told(gaps: readonly CoverageGap[]): string[] {
  const time = (at: number): string => new Date(at).toISOString().slice(5, 16);
  return gaps.map(({ start, end, because }) => {
    const causes = because.map(({ tier: number, reason, target, userId, calendarId }) =>
      [number, reason, target === null ? calendarId : `${target.kind}:${target.id}`, userId].filter((part) => part !== null).join(' '),
    );
    return [`${time(start)}/${time(end)}`, ...causes].join(', ');
  });
}

test('a policy whose people can always be paged has no gaps', () => {
  const coverage = evaluate([tier([schedule('ops')]), tier([user('ann')])], factsOf([roster('ops', [{}])]));
  expect(coverage).toMatchObject({ from, to: from + week, tiers: [[], []], overall: [], reachesNobody: false });
});

test('a restricted rotation leaves gaps of its tier, and of the policy where the other tiers do not fill them', () => {
  const nights = [{ times: [{ start: '00:00', end: '08:00' }] }, { times: [{ start: '20:00', end: '24:00' }] }];
  const mondays = [{ weekdays: ['tuesday:sunday'] }];
  const facts = factsOf([roster('ops', [{ restriction: nights }]), roster('leads', [{ restriction: mondays }])]);
  const coverage = evaluate([tier([schedule('ops')]), tier([schedule('leads')])], facts);
  expect(told(coverage.tiers[0]!)).toHaveLength(7);
  expect(told(coverage.tiers[0]!)[1]).toBe('10-06T08:00/10-06T20:00, 1 gap schedule:ops');
  expect(told(coverage.tiers[1]!)).toEqual(['10-05T00:00/10-06T00:00, 2 gap schedule:leads']);
  expect(told(coverage.overall)).toEqual(['10-05T08:00/10-05T20:00, 1 gap schedule:ops, 2 gap schedule:leads']);
});

test.each<[string, Target, string]>([
  ['an inactive user', user('gone'), '1 inactive_user user:gone gone'],
  ['a user without page method', user('mute'), '1 no_page_method user:mute mute'],
  ['a deleted user', user('nobody'), '1 unknown_target user:nobody nobody'],
  ['a deleted schedule', schedule('nothing'), '1 unknown_target schedule:nothing'],
  ['an inactive channel', { kind: 'channel', id: 'off' }, '1 inactive_channel channel:off'],
  ['a deleted channel', { kind: 'channel', id: 'nothing' }, '1 unknown_target channel:nothing'],
  ['an inactive webhook', { kind: 'webhook', id: 'off' }, '1 inactive_webhook webhook:off'],
  ['a deleted webhook', { kind: 'webhook', id: 'nothing' }, '1 unknown_target webhook:nothing'],
])('%s is reached at no time', (_what, target, cause) => {
  const coverage = evaluate([tier([target])], factsOf([]));
  expect(told(coverage.overall)).toEqual([`10-05T00:00/10-12T00:00, ${cause}`]);
  expect(coverage.reachesNobody).toBe(true);
  expect(evaluate([tier([target, user('ann')])], factsOf([]))).toMatchObject({ tiers: [[]], overall: [], reachesNobody: false });
});

test.each<Target>([
  { kind: 'channel', id: 'on' },
  { kind: 'webhook', id: 'on' },
])('an active $kind counts as reached', (target) => {
  expect(evaluate([tier([target])], factsOf([])).overall).toEqual([]);
});

test('somebody on call who cannot be paged is a gap while nobody else is on call', () => {
  const facts = factsOf([roster('ops', [{ participants: ['gone', 'ann', 'mute'] }])]);
  const coverage = evaluate([tier([schedule('ops')])], facts);
  expect(told(coverage.tiers[0]!)).toEqual([
    '10-05T00:00/10-05T09:00, 1 inactive_user schedule:ops gone',
    '10-06T09:00/10-07T09:00, 1 no_page_method schedule:ops mute',
    '10-07T09:00/10-08T09:00, 1 inactive_user schedule:ops gone',
    '10-09T09:00/10-10T09:00, 1 no_page_method schedule:ops mute',
    '10-10T09:00/10-11T09:00, 1 inactive_user schedule:ops gone',
  ]);
});

test('people who only change places are the same gap', () => {
  const facts = factsOf([roster('ops', [{ participants: ['gone', 'mute'] }, { participants: ['mute', 'gone'] }])]);
  const { overall } = evaluate([tier([schedule('ops')])], facts);
  expect(told(overall)).toEqual(['10-05T00:00/10-12T00:00, 1 inactive_user schedule:ops gone, 1 no_page_method schedule:ops mute']);
});

test('an override counts, to the millisecond', () => {
  const leave: Override = {
    id: 'o1',
    kind: 'replace',
    userId: 'gone',
    insteadOf: null,
    startsAt: from + 12_345,
    endsAt: from + 12_346,
    reason: '',
  };
  const { overall } = evaluate([tier([schedule('ops')])], factsOf([roster('ops', [{}])], {}, [leave]));
  expect(overall).toMatchObject([{ start: from + 12_345, end: from + 12_346, because: [{ reason: 'inactive_user', userId: 'gone' }] }]);
});

test('a tier outside its hours reaches nobody; its own calendar goes before that of the policy', () => {
  const facts = factsOf([], {
    calendars: new Map([
      ['hours', calendar('hours')],
      ['berlin', calendar('berlin', 'Europe/Berlin')],
    ]),
  });
  const tiers = [tier([user('ann')], { when: 'open' }), tier([user('ann')], { when: 'open', calendarId: 'berlin' })];
  const coverage = evaluate(tiers, facts, 1, 'hours');
  expect(told(coverage.tiers[0]!).slice(0, 2)).toEqual([
    '10-05T00:00/10-05T09:00, 1 outside_hours hours',
    // the 6th is a holiday
    '10-05T17:00/10-07T09:00, 1 outside_hours hours',
  ]);
  expect(told(coverage.tiers[1]!)[0]).toBe('10-05T00:00/10-05T07:00, 2 outside_hours berlin');
  expect(told(coverage.overall)[1]).toBe('10-05T17:00/10-07T07:00, 1 outside_hours hours, 2 outside_hours berlin');
  expect(evaluate([tiers[0]!, tier([user('ben')], { when: 'closed' })], facts, 1, 'hours').overall).toEqual([]);
});

test('hours follow the clocks of their zone through a change of offset', () => {
  const facts = factsOf([], { calendars: new Map([['hours', calendar('hours', 'Europe/Berlin')]]) });
  const coverage = evaluate([tier([user('ann')], { when: 'open' })], facts, 4, 'hours');
  // summer time ended on Sunday, 10-25
  const weekends = told(coverage.overall).filter((gap) => /-(?:16|23)T/.test(gap.slice(0, 6)));
  expect(weekends).toEqual(['10-16T15:00/10-19T07:00, 1 outside_hours hours', '10-23T15:00/10-26T08:00, 1 outside_hours hours']);
});

test('where one person is all there is, it is told who', () => {
  const nights = [{ times: [{ start: '00:00', end: '09:00' }] }];
  const facts = factsOf([roster('ops', [{ participants: ['ann'] }, { participants: ['ben'], restriction: nights }])]);
  const { alone } = evaluate([tier([schedule('ops')]), tier([user('ann')])], facts);
  expect(alone).toHaveLength(7);
  expect(alone[0]).toEqual({ start: from + 9 * hour, end: from + 24 * hour, userId: 'ann' });
  expect(evaluate([tier([user('ann'), user('ben')])], facts).alone).toEqual([]);
  expect(evaluate([tier([user('ann')]), tier([{ kind: 'channel', id: 'on' }])], facts).alone).toEqual([]);
  expect(evaluate([tier([user('ann')]), tier([user('gone')])], facts).alone).toEqual([{ start: from, end: from + week, userId: 'ann' }]);
});

const person = fc.constantFrom('ann', 'ben', 'gone', 'mute');
const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'Australia/Lord_Howe');
const anyRotation = fc.record({
  participants: fc.array(person, { minLength: 1, maxLength: 3 }),
  start: fc.constantFrom('2026-09-28T09:00', '2026-10-07T02:30', '2026-10-01T23:15'),
  unit: fc.constantFrom('hour', 'day'),
  length: fc.integer({ min: 1, max: 9 }),
  restriction: fc.constantFrom(null, [{ times: [{ start: '01:00', end: '13:30' }] }]),
});
const anyRosters = fc
  .tuple(fc.array(anyRotation, { minLength: 1, maxLength: 2 }), fc.array(anyRotation, { minLength: 1, maxLength: 2 }), zone)
  .map(([ops, leads, timeZone]) => [roster('ops', ops, timeZone), roster('leads', leads)]);
const anyTarget: fc.Arbitrary<Target> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('ops', 'leads', 'deleted').map(schedule) },
  fc.constantFrom('ann', 'gone', 'mute').map(user),
  fc.constantFrom<Target>({ kind: 'channel', id: 'off' }, { kind: 'webhook', id: 'off' }, { kind: 'webhook', id: 'on' }),
);
const anyTier = fc
  .record({
    targets: fc.array(anyTarget, { minLength: 1, maxLength: 3 }),
    when: fc.constantFrom('always', 'open', 'closed'),
    calendarId: fc.constantFrom(null, 'berlin'),
  })
  .map(({ targets, ...change }) => tier(targets, change));
const anyOverride: fc.Arbitrary<Override> = fc
  .record({
    kind: fc.constantFrom('replace', 'add', 'remove'),
    userId: person,
    startsAt: fc.nat(4 * week),
    length: fc.integer({ min: 1, max: week }),
  })
  .map(({ kind, userId, startsAt, length }) => {
    return { id: 'o1', kind, userId, insteadOf: null, startsAt: from + startsAt, endsAt: from + startsAt + length, reason: '' };
  });

test('of every instant, coverage says what firing each tier at that instant would say', () => {
  const input = fc.record({
    rosters: anyRosters,
    tiers: fc.array(anyTier, { minLength: 1, maxLength: 3 }),
    overrides: fc.array(anyOverride, { maxLength: 1 }),
    instants: fc.array(fc.nat(4 * week - 1), { minLength: 10, maxLength: 10 }),
  });
  const calendars = new Map([
    ['hours', calendar('hours')],
    ['berlin', calendar('berlin', 'Europe/Berlin')],
  ]);
  fc.assert(
    fc.property(input, ({ rosters, tiers, overrides, instants }) => {
      const facts = factsOf(rosters, { calendars }, overrides);
      const coverage = evaluateCoverage({ tiers, calendarId: 'hours' }, facts, from, 4);
      const canBePaged = new Set(['ann', 'ben']);
      const pagedBy = ({ kind, id }: Target, at: number): string[] => {
        if (kind === 'user') return canBePaged.has(id) ? [id] : [];
        if (kind !== 'schedule') return id === 'on' ? [kind] : [];
        const known = rosters.find((one) => one.id === id);
        return known === undefined ? [] : onCallUserIds(known, overrides, canBePaged, at);
      };
      const fire = ({ targets, when, calendarId }: Tier, at: number): string[] => {
        if (when !== 'always' && isOpen(calendars.get(calendarId ?? 'hours')!, at) !== (when === 'open')) return [];
        return targets.flatMap((target) => pagedBy(target, at));
      };
      const all = [...coverage.tiers.flat(), ...coverage.overall, ...coverage.alone];
      const edges = all.slice(0, 25).flatMap(({ start, end }) => [start - 1, start, end - 1, end]);
      const looked = [...edges, ...instants.map((offset) => from + offset)].filter((at) => from <= at && at < coverage.to);
      const said = looked.map((at) => {
        const holds = ({ start, end }: { start: number; end: number }): boolean => start <= at && at < end;
        const alone = coverage.alone.filter(holds).map(({ userId }) => userId);
        return {
          at,
          tiers: coverage.tiers.map((gaps) => gaps.filter(holds).length),
          overall: coverage.overall.filter(holds).length,
          alone,
        };
      });
      const expected = looked.map((at) => {
        const paged = tiers.map((one) => fire(one, at));
        const people = [...new Set(paged.flat())];
        const alone = people.length === 1 && canBePaged.has(people[0]!) ? people : [];
        return { at, tiers: paged.map((reached) => (reached.length === 0 ? 1 : 0)), overall: people.length === 0 ? 1 : 0, alone };
      });
      expect(said).toEqual(expected);
      // neighbours differ in their reasons: what is equal is one gap
      const doubled = [...coverage.tiers, coverage.overall].flatMap((gaps) =>
        gaps.filter(({ end, because }, index) => end === gaps[index + 1]?.start && isDeepStrictEqual(because, gaps[index + 1]!.because)),
      );
      expect(doubled).toEqual([]);
      expect([...coverage.tiers.flat(), ...coverage.overall].filter(({ because }) => because.length === 0)).toEqual([]);
      expect(coverage.reachesNobody).toBe(
        told(coverage.overall).length > 0 && coverage.overall.reduce((sum, { start, end }) => sum + end - start, 0) === 4 * week,
      );
    }),
    { numRuns: 100 },
  );
});

test('a year of three hourly schedules takes a moment', () => {
  const zones = ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'];
  const hourly = { unit: 'hour', participants: ['ann', 'ben', 'gone'] } as const;
  const rosters = zones.map((name, index) => roster(name, [{ ...hourly, start: `2020-01-06T09:${index}0` }], name));
  const tiers = zones.map((name, index) => tier([schedule(name)], { when: index === 2 ? 'open' : 'always' }));
  // some 150 ms of processor time on an idle machine; walking from the start of each rotation would take minutes
  const before = process.cpuUsage();
  const coverage = evaluate(tiers, factsOf(rosters), 52, 'hours');
  expect(process.cpuUsage(before).user / 1_000).toBeLessThan(2_000);
  expect(coverage.overall.length).toBeGreaterThan(1_000);
});
