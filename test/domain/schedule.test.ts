import { isDeepStrictEqual } from 'node:util';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { intervalsHold } from '../../domain/calendar.ts';
import { onCallPieces } from '../../domain/on-call.ts';
import {
  onCallAt,
  onCallUserIds,
  overrideConflicts,
  overrideFaults,
  scheduleFaults,
  shifts,
  shiftsHorizonMs,
  type Layer,
  type Override,
  type Rotation,
  type Schedule,
} from '../../domain/schedule.ts';
import { ReferenceZone } from './reference-clock.ts';

const hour = 3_600_000;
const day = 24 * hour;
const everyone: ReadonlySet<string> = new Set(['ann', 'ben', 'cat', 'dan', 'eve']);

function rotation(participants: string[], change: Partial<Rotation> = {}): Rotation {
  return { participants, start: '2026-10-05T09:00', unit: 'day', length: 1, restriction: null, ...change };
}

function layer(name: string | null, ...rotations: Rotation[]): Layer {
  return { name, rotations };
}

function schedule(...layers: Layer[]): Schedule {
  return { id: 'schedule', version: 1, name: 'Operations', timeZone: 'UTC', layers };
}

function override(
  id: string,
  kind: Override['kind'],
  userId: string,
  hours: [from: string, to: string],
  insteadOf: string | null = null,
): Override {
  const [startsAt, endsAt] = [Date.parse(hours[0]), Date.parse(hours[1])];
  return { id, kind, userId, insteadOf, startsAt, endsAt, reason: 'leave' };
}

function whoAt(roster: Schedule, at: string, overrides: Override[] = [], active = everyone): string[] {
  return onCallUserIds(roster, overrides, active, Date.parse(at)).toSorted();
}

/** `ann 09:00-12:00`, in the range, on one day. */
function plan(roster: Schedule, overrides: Override[], range: [from: string, to: string], active = everyone): string[] {
  const time = (at: number): string => new Date(at).toISOString().slice(11, 16);
  const found = shifts(roster, overrides, active, { from: Date.parse(range[0]), to: Date.parse(range[1]) });
  return found.map(({ userId, start, end }) => `${userId} ${time(start)}-${time(end)}`);
}

const daytime = [{ weekdays: ['monday:friday'], times: [{ start: '09:00', end: '17:00' }] }];
const layered = schedule(
  layer(null, rotation(['ann', 'ben'], { unit: 'week' })),
  layer('weekday', rotation(['cat'], { restriction: daytime }), rotation(['dan'], { restriction: daytime, start: '2026-10-07T09:00' })),
);

test('the highest layer with anyone on call wins, and its rotations unite', () => {
  expect(whoAt(layered, '2026-10-05T08:59:59.999Z')).toEqual([]);
  expect(whoAt(layered, '2026-10-05T09:00Z')).toEqual(['cat']);
  expect(whoAt(layered, '2026-10-05T17:00Z')).toEqual(['ann']);
  // dan's rotation begins on Wednesday
  expect(whoAt(layered, '2026-10-07T09:00Z')).toEqual(['cat', 'dan']);
  expect(whoAt(layered, '2026-10-12T08:00Z')).toEqual(['ann']);
  expect(whoAt(layered, '2026-10-12T18:00Z')).toEqual(['ben']);
});

test('who is on call is told with the layer, the rotation, the shift, and since and until when', () => {
  expect(onCallAt(layered, [], everyone, Date.parse('2026-10-14T10:00Z'))).toEqual([
    {
      userId: 'cat',
      since: Date.parse('2026-10-14T09:00Z'),
      until: Date.parse('2026-10-14T17:00Z'),
      because: ['layer 2 "weekday"', 'rotation 1 shift 10'],
    },
    {
      userId: 'dan',
      since: Date.parse('2026-10-14T09:00Z'),
      until: Date.parse('2026-10-14T17:00Z'),
      because: ['layer 2 "weekday"', 'rotation 2 shift 8'],
    },
  ]);
  expect(onCallAt(layered, [], everyone, Date.parse('2026-10-13T08:00Z'))).toEqual([
    {
      userId: 'ben',
      since: Date.parse('2026-10-12T17:00Z'),
      until: Date.parse('2026-10-13T09:00Z'),
      because: ['layer 1', 'rotation 1 shift 2'],
    },
  ]);
});

test('a hand-off to the same person is no change of who is on call, but another shift', () => {
  const twice = schedule(layer(null, rotation(['ann', 'ann', 'ben'])));
  const [watch] = onCallAt(twice, [], everyone, Date.parse('2026-10-06T12:00Z'));
  expect(watch).toMatchObject({ since: Date.parse('2026-10-05T09:00Z'), until: Date.parse('2026-10-07T09:00Z') });
  const found = shifts(twice, [], everyone, { from: Date.parse('2026-10-05T09:00Z'), to: Date.parse('2026-10-08T09:00Z') });
  expect(found.map(({ userId, because }) => `${userId} ${because.join(', ')}`)).toEqual([
    'ann layer 1, rotation 1 shift 1',
    'ann layer 1, rotation 1 shift 2',
    'ben layer 1, rotation 1 shift 3',
  ]);
});

test('since and until are known up to 92 days away', () => {
  const alone = schedule(layer(null, rotation(['ann'])));
  const start = Date.parse('2026-10-05T09:00Z');
  const until = start + 300 * day;
  const leaves = [override('o1', 'remove', 'ann', [new Date(until).toISOString(), new Date(until + day).toISOString()])];
  const [early] = onCallAt(alone, leaves, everyone, start + shiftsHorizonMs);
  expect(early).toMatchObject({ since: start, until: null });
  const [later] = onCallAt(alone, leaves, everyone, start + shiftsHorizonMs + 1);
  expect(later).toMatchObject({ since: null, until: null });
  const [last] = onCallAt(alone, leaves, everyone, until - shiftsHorizonMs);
  expect(last).toMatchObject({ since: null, until });
  expect(onCallAt(alone, leaves, everyone, until - shiftsHorizonMs - 1)[0]!.until).toBeNull();
});

const daily = schedule(layer(null, rotation(['ann', 'ben'])), layer('second', rotation(['cat'], { start: '2026-10-08T09:00' })));
const monday: [string, string] = ['2026-10-05T09:00Z', '2026-10-06T09:00Z'];
const noon: [string, string] = ['2026-10-05T12:00Z', '2026-10-05T15:00Z'];

test('a replacement of one person takes the place of that person, and of nobody else', () => {
  expect(plan(daily, [override('o1', 'replace', 'eve', noon, 'ann')], monday)).toEqual([
    'ann 09:00-12:00',
    'eve 12:00-15:00',
    'ann 15:00-09:00',
  ]);
  expect(plan(daily, [override('o1', 'replace', 'eve', noon, 'ben')], monday)).toEqual(['ann 09:00-09:00']);
  const both = schedule(layer(null, rotation(['ann']), rotation(['ben'])));
  expect(whoAt(both, '2026-10-05T12:00Z', [override('o1', 'replace', 'eve', noon, 'ann')])).toEqual(['ben', 'eve']);
  // one who is on call already is not twice
  expect(whoAt(both, '2026-10-05T12:00Z', [override('o1', 'replace', 'ben', noon, 'ann')])).toEqual(['ben']);
});

test('a replacement of everybody leaves its user alone, also where nobody was on call', () => {
  const both = schedule(layer(null, rotation(['ann']), rotation(['ben'])));
  const sunday: [string, string] = ['2026-10-04T12:00Z', '2026-10-05T12:00Z'];
  expect(plan(both, [override('o1', 'replace', 'eve', sunday)], ['2026-10-04T09:00Z', '2026-10-05T13:00Z'])).toEqual([
    'eve 12:00-12:00',
    'ann 12:00-13:00',
    'ben 12:00-13:00',
  ]);
});

test('an addition stands beside the others, a removal leaves a gap', () => {
  expect(whoAt(daily, '2026-10-05T12:00Z', [override('o1', 'add', 'eve', noon)])).toEqual(['ann', 'eve']);
  expect(plan(daily, [override('o1', 'add', 'ann', noon)], monday)).toEqual(['ann 09:00-12:00', 'ann 12:00-15:00', 'ann 15:00-09:00']);
  expect(plan(daily, [override('o1', 'remove', 'ann', noon)], monday)).toEqual(['ann 09:00-12:00', 'ann 15:00-09:00']);
  expect(plan(daily, [override('o1', 'remove', 'ben', noon)], monday)).toEqual(['ann 09:00-09:00']);
});

test('the order in which overrides are listed means nothing', () => {
  const additions = [override('o1', 'add', 'eve', noon), override('o2', 'add', 'dan', noon)];
  const at = Date.parse(noon[0]);
  expect(onCallAt(daily, additions.toReversed(), everyone, at)).toEqual(onCallAt(daily, additions, everyone, at));
});

test('a removal in the highest layer does not call up the layer below', () => {
  const thursday: [string, string] = ['2026-10-08T12:00Z', '2026-10-08T15:00Z'];
  expect(whoAt(daily, '2026-10-08T12:00Z')).toEqual(['cat']);
  expect(whoAt(daily, '2026-10-08T12:00Z', [override('o1', 'remove', 'cat', thursday)])).toEqual([]);
});

test('an inactive user leaves a gap: nobody of a lower layer steps in', () => {
  const active = new Set(['ann', 'ben']);
  expect(whoAt(daily, '2026-10-08T12:00Z', [], active)).toEqual([]);
  expect(onCallAt(daily, [], active, Date.parse('2026-10-08T12:00Z'))).toEqual([]);
  expect(plan(daily, [], ['2026-10-08T06:00Z', '2026-10-08T12:00Z'], active)).toEqual(['ann 06:00-09:00']);
});

test('an override is among the reasons', () => {
  const at = Date.parse('2026-10-05T13:00Z');
  expect(onCallAt(daily, [override('o1', 'replace', 'eve', noon, 'ann'), override('o2', 'add', 'dan', noon)], everyone, at)).toEqual([
    { userId: 'eve', since: Date.parse(noon[0]), until: Date.parse(noon[1]), because: ['layer 1', 'rotation 1 shift 1', 'override o1'] },
    { userId: 'dan', since: Date.parse(noon[0]), until: Date.parse(noon[1]), because: ['override o2'] },
  ]);
});

test('two overrides conflict when they overlap and name one user, or one of them replaces everybody', () => {
  const candidate = override('new', 'replace', 'ann', ['2026-10-05T09:00Z', '2026-10-05T17:00Z'], 'ben');
  const conflicts = (other: Override): boolean => overrideConflicts([other], candidate).length === 1;
  expect(conflicts(override('o1', 'add', 'ann', noon))).toBe(true);
  expect(conflicts(override('o1', 'remove', 'ben', noon))).toBe(true);
  expect(conflicts(override('o1', 'replace', 'cat', noon, 'ben'))).toBe(true);
  expect(conflicts(override('o1', 'replace', 'cat', noon, 'ann'))).toBe(true);
  expect(conflicts(override('o1', 'replace', 'cat', noon))).toBe(true);
  expect(conflicts(override('o1', 'replace', 'cat', noon, 'dan'))).toBe(false);
  expect(conflicts(override('o1', 'add', 'cat', noon))).toBe(false);
  // they only meet
  expect(conflicts(override('o1', 'add', 'ann', ['2026-10-05T17:00Z', '2026-10-05T18:00Z']))).toBe(false);
  expect(conflicts(override('o1', 'replace', 'cat', ['2026-10-05T08:00Z', '2026-10-05T09:00Z']))).toBe(false);
  // its own former self
  expect(conflicts(override('new', 'add', 'ann', noon))).toBe(false);
  const everybody = override('new', 'replace', 'ann', noon);
  expect(
    overrideConflicts([override('o1', 'add', 'cat', noon), override('o2', 'add', 'dan', monday)], everybody).map(({ id }) => id),
  ).toEqual(['o1', 'o2']);
});

test('the faults of an override are named', () => {
  const codes = (faulty: Override): unknown => overrideFaults(faulty).map(({ pointer, code }) => [pointer, code]);
  expect(codes(override('o1', 'replace', 'eve', noon, 'ann'))).toEqual([]);
  expect(codes(override('o1', 'add', 'eve', [noon[1], noon[0]], 'ann'))).toEqual([
    ['/endsAt', 'wrong_order'],
    ['/insteadOf', 'only_replace'],
  ]);
  expect(codes(override('o1', 'replace', 'eve', [noon[0], noon[0]], 'eve'))).toEqual([
    ['/endsAt', 'wrong_order'],
    ['/insteadOf', 'same_user'],
  ]);
});

test('every fault of a schedule is named at its place, all at once', () => {
  const many = Array.from({ length: 101 }, () => 'ann');
  const faulty = schedule(
    layer('first', rotation(many), rotation([], { start: '2026-10-05', length: 0 })),
    layer(null),
    layer(null, rotation(['ann'], { start: '2026-02-30T09:00', length: 367, restriction: [{ weekdays: ['monday', 'Monday'] }] })),
    layer(null, rotation(['ann'], { length: 1.5, restriction: [] })),
  );
  expect(scheduleFaults({ ...faulty, timeZone: 'GMT+1' }).map(({ pointer, code }) => [pointer, code])).toEqual([
    ['/timeZone', 'unknown_time_zone'],
    ['/layers/0/rotations/0/participants', 'wrong_count'],
    ['/layers/0/rotations/1/participants', 'wrong_count'],
    ['/layers/0/rotations/1/start', 'invalid_local_time'],
    ['/layers/0/rotations/1/length', 'out_of_range'],
    ['/layers/1/rotations', 'wrong_count'],
    ['/layers/2/rotations/0/start', 'invalid_local_time'],
    ['/layers/2/rotations/0/length', 'out_of_range'],
    ['/layers/2/rotations/0/restriction/0/weekdays/1', 'unknown_weekday'],
    ['/layers/3/rotations/0/length', 'out_of_range'],
    ['/layers/3/rotations/0/restriction', 'wrong_count'],
  ]);
  expect(scheduleFaults(layered)).toEqual([]);
  expect(scheduleFaults(schedule()).map(({ pointer }) => pointer)).toEqual(['/layers']);
  expect(scheduleFaults(schedule(...Array.from({ length: 11 }, () => layered.layers[0]!))).map(({ pointer }) => pointer)).toEqual([
    '/layers',
  ]);
});

const first = Date.UTC(2026, 0, 1);
const references = new Map(
  ['Europe/Berlin', 'Australia/Lord_Howe', 'Antarctica/Troll', 'Africa/Cairo', 'UTC'].map((name) => [
    name,
    new ReferenceZone(name, first - 30 * day, first + 600 * day),
  ]),
);

const user = fc.constantFrom(...everyone);
const anyRotation: fc.Arbitrary<Rotation> = fc.record({
  participants: fc.array(user, { minLength: 1, maxLength: 4 }),
  start: fc.nat(200 * 24 * 4).map((quarters) => new Date(first + quarters * 15 * 60_000).toISOString().slice(0, 16)),
  unit: fc.constantFrom('hour', 'day', 'week', 'month'),
  length: fc.integer({ min: 1, max: 6 }),
  restriction: fc.option(
    fc.constantFrom(
      daytime,
      [{ times: [{ start: '00:00', end: '03:00' }] }, { times: [{ start: '20:00', end: '24:00' }] }],
      [{ weekdays: ['saturday:sunday'] }, { daysOfMonth: ['-2:-1'] }],
    ),
  ),
});
const anySchedule: fc.Arbitrary<Schedule> = fc
  .record({
    timeZone: fc.constantFrom(...references.keys()),
    layers: fc.array(fc.array(anyRotation, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 3 }),
  })
  .map(({ timeZone, layers }) => ({ ...schedule(...layers.map((rotations) => layer(null, ...rotations))), timeZone }));

/** As they can be stored: without conflicts. */
const anyOverrides: fc.Arbitrary<Override[]> = fc
  .array(
    fc.record({
      kind: fc.constantFrom('replace', 'add', 'remove'),
      userId: user,
      insteadOf: fc.option(user),
      startsAt: fc.integer({ min: 80, max: 290 }).map((days) => first + days * day),
      hours: fc.integer({ min: 1, max: 400 }),
    }),
    { maxLength: 8 },
  )
  .map((drafts) => {
    const stored: Override[] = [];
    for (const [index, { kind, userId, insteadOf, startsAt, hours }] of drafts.entries()) {
      const candidate = {
        id: `o${index}`,
        kind,
        userId,
        insteadOf: kind === 'replace' ? insteadOf : null,
        startsAt,
        endsAt: startsAt + hours * hour,
        reason: '',
      };
      if (overrideFaults(candidate).length === 0 && overrideConflicts(stored, candidate).length === 0) stored.push(candidate);
    }
    return stored;
  });

/** Hand-off k in local time, by the fields. */
function localHandOff({ start, unit, length }: Rotation, k: number): number {
  const date = new Date(`${start}Z`);
  const [year, month, dayOfMonth] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()];
  const [hours, minutes] = [date.getUTCHours(), date.getUTCMinutes()];
  switch (unit) {
    case 'hour':
      return Date.UTC(year, month, dayOfMonth, hours + k * length, minutes);
    case 'day':
      return Date.UTC(year, month, dayOfMonth + k * length, hours, minutes);
    case 'week':
      return Date.UTC(year, month, dayOfMonth + 7 * k * length, hours, minutes);
    case 'month': {
      const last = new Date(Date.UTC(year, month + k * length + 1, 0)).getUTCDate();
      return Date.UTC(year, month + k * length, Math.min(dayOfMonth, last), hours, minutes);
    }
  }
}

const walks = new WeakMap<Schedule, Map<Rotation, number[]>>();

/** The shift at an instant, by walking there from the start; -1 before it. */
function walkTo(roster: Schedule, turns: Rotation, at: number): number {
  const walked = walks.get(roster) ?? new Map<Rotation, number[]>();
  walks.set(roster, walked);
  const handOffs = walked.get(turns) ?? [];
  walked.set(turns, handOffs);
  const reference = references.get(roster.timeZone)!;
  while ((handOffs.at(-1) ?? -Infinity) <= at) handOffs.push(reference.resolve(localHandOff(turns, handOffs.length)));
  return handOffs.findLastIndex((handOff) => handOff <= at);
}

/** The rules of a schedule as they are told, for one instant. */
function saysOnCall(roster: Schedule, overrides: readonly Override[], at: number): string[] {
  const inLayer = ({ rotations }: Layer): string[] =>
    rotations.flatMap((turns) => {
      const k = walkTo(roster, turns, at);
      if (k < 0 || (turns.restriction !== null && !intervalsHold(turns.restriction, roster.timeZone, at))) return [];
      return [turns.participants[k % turns.participants.length]!];
    });
  let onCall = roster.layers.map(inLayer).findLast((users) => users.length > 0) ?? [];
  const inForce = overrides.filter(({ startsAt, endsAt }) => startsAt <= at && at < endsAt);
  for (const { kind, userId, insteadOf } of inForce) {
    if (kind === 'remove') onCall = onCall.filter((one) => one !== userId);
    if (kind === 'replace' && insteadOf === null) onCall = [userId];
    if (kind === 'replace' && insteadOf !== null) onCall = onCall.map((one) => (one === insteadOf ? userId : one));
  }
  const added = inForce.filter(({ kind }) => kind === 'add').map(({ userId }) => userId);
  return [...new Set([...onCall, ...added])].toSorted();
}

test('shifts say of every instant what the rules say of it, in any schedule and with any overrides', () => {
  const input = fc.record({
    roster: anySchedule,
    overrides: anyOverrides,
    gone: fc.option(user),
    from: fc.integer({ min: 60 * 24, max: 290 * 24 }).map((hours) => first + hours * hour),
    instants: fc.array(fc.nat(20 * day), { minLength: 5, maxLength: 5 }),
  });
  fc.assert(
    fc.property(input, ({ roster, overrides, gone, from, instants }) => {
      const active = new Set([...everyone].filter((one) => one !== gone));
      const to = from + 20 * day;
      const found = shifts(roster, overrides, active, { from, to });
      const edges = found.slice(0, 20).flatMap(({ start, end }) => [start - 1, start, end - 1, end]);
      const looked = [...edges, ...instants.map((offset) => from + offset)].filter((at) => from <= at && at < to);
      const said = looked.map((at) => saysOnCall(roster, overrides, at).filter((one) => active.has(one)));
      // one shift of each: they do not overlap
      const covering = looked.map((at) => found.filter(({ start, end }) => start <= at && at < end).map(({ userId }) => userId));
      expect(covering.map((users) => users.toSorted())).toEqual(said);
      expect(looked.map((at) => onCallUserIds(roster, overrides, active, at).toSorted())).toEqual(said);
      expect(found.filter(({ start, end }) => start >= end)).toEqual([]);
      expect(found.toSorted((a, b) => a.start - b.start)).toEqual(found);
      const doubled = found.filter(({ userId, end, because }) =>
        found.some((next) => next.userId === userId && next.start === end && isDeepStrictEqual(next.because, because)),
      );
      expect(doubled).toEqual([]);
      expect(shifts(roster, overrides.toReversed(), active, { from, to })).toEqual(found);
    }),
    { numRuns: 150 },
  );
});

test('since and until are the ends of the shifts that follow each other without a gap', () => {
  const input = fc.record({
    roster: anySchedule,
    overrides: anyOverrides,
    at: fc.integer({ min: 120 * 24, max: 250 * 24 }).map((hours) => first + hours * hour),
  });
  fc.assert(
    fc.property(input, ({ roster, overrides, at }) => {
      const found = shifts(roster, overrides, everyone, { from: at - shiftsHorizonMs - 1, to: at + shiftsHorizonMs + 1 });
      for (const { userId, since, until, because } of onCallAt(roster, overrides, everyone, at)) {
        const own = found.filter((shift) => shift.userId === userId);
        const current = own.findIndex(({ start, end }) => start <= at && at < end);
        let [earliest, latest] = [current, current];
        while (own[earliest - 1]?.end === own[earliest]!.start) earliest -= 1;
        while (own[latest + 1]?.start === own[latest]!.end) latest += 1;
        expect(because).toEqual(own[current]!.because);
        expect(since).toBe(own[earliest]!.start < at - shiftsHorizonMs ? null : own[earliest]!.start);
        expect(until).toBe(own[latest]!.end > at + shiftsHorizonMs ? null : own[latest]!.end);
      }
    }),
    { numRuns: 100 },
  );
});

test('pieces tile the range that was asked for', () => {
  fc.assert(
    fc.property(anySchedule, anyOverrides, fc.nat(300 * 24), (roster, overrides, hours) => {
      const range = { from: first + hours * hour + 1, to: first + (hours + 240) * hour };
      let until = range.from;
      for (const { start, end } of onCallPieces(roster, overrides, range)) {
        expect(start).toBe(until);
        expect(end).toBeGreaterThan(start);
        until = end;
      }
      expect(until).toBe(range.to);
    }),
  );
});
