import { expect, test } from '@jest/globals';
import { isOpen, nextChange, type OpeningHours } from '../../domain/calendar.ts';
import { handOff } from '../../domain/rotation.ts';
import { onCallAt, shifts, type Rotation, type Schedule, type Shift } from '../../domain/schedule.ts';
import { nextTransition, offsetAt } from '../../domain/zone.ts';
import { ReferenceZone, type Transition } from './reference-clock.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** All zones, all changes of offset of five years and more, and what every kind of rotation and a calendar make of them. */
const from = Date.UTC(2026, 0, 1);
const to = Date.UTC(2032, 0, 1);
const zones = Intl.supportedValuesOf('timeZone').map((name) => ({
  name,
  reference: new ReferenceZone(name, from - 14 * day, to + 14 * day),
}));

/** As `Date.UTC` of the local fields. */
type Wall = number;

interface Turns {
  rotation: Rotation;
  /** Local time of hand-off k, by other arithmetic than the domain's. */
  handOff: (k: number) => Wall;
  /** How far around a change of offset it is looked at. */
  reach: number;
}

function turns(start: string, unit: Rotation['unit'], length: number, reach: number, handOffAt: Turns['handOff']): Turns {
  return { rotation: { participants: ['ann', 'ben'], start, unit, length, restriction: null }, handOff: handOffAt, reach };
}

const rotations: Record<string, Turns> = {
  'daily 09:00': turns('2025-12-01T09:00', 'day', 1, 3 * day, (k) => Date.UTC(2025, 11, 1 + k, 9)),
  'daily 02:30': turns('2025-12-01T02:30', 'day', 1, 3 * day, (k) => Date.UTC(2025, 11, 1 + k, 2, 30)),
  '12 hours': turns('2025-12-01T02:00', 'hour', 12, 2 * day, (k) => Date.UTC(2025, 11, 1, 2 + 12 * k)),
  weekly: turns('2025-12-01T00:00', 'week', 1, 10 * day, (k) => Date.UTC(2025, 11, 1 + 7 * k)),
  'monthly on the 31st': turns('2025-12-31T00:30', 'month', 1, 40 * day, (k) =>
    Math.min(Date.UTC(2025, 11 + k, 31, 0, 30), Date.UTC(2025, 12 + k, 0, 0, 30)),
  ),
};

function scheduleOf(rotation: Rotation, timeZone: string): Schedule {
  return { id: 'schedule', version: 1, name: 'On call', timeZone, layers: [{ name: null, rotations: [rotation] }] };
}

/** The number of the shift that a reason names, from 0. */
function numberOf({ because }: Shift): number {
  return Number(/^rotation 1 shift (\d+)$/.exec(because[1] ?? '')?.[1]) - 1;
}

/** Around each change of offset, or the middle of the years where there is none. */
function windows({ transitions }: ReferenceZone, reach: number): Array<{ from: number; to: number }> {
  const centres = transitions.filter(({ at }) => at >= from && at < to).map(({ at }) => at);
  return (centres.length === 0 ? [(from + to) / 2] : centres).map((at) => ({ from: at - reach, to: at + reach }));
}

/** Fails by a plain comparison: there are millions of them, and an `expect` for each would take minutes. */
function assertEqual(actual: unknown, expected: unknown, what: () => string): void {
  if (actual !== expected) expect({ what: what(), actual }).toEqual({ what: what(), actual: expected });
}

test('every zone changes its offset when a clock read every week shows it, and to what it shows', () => {
  let changes = 0;
  for (const { name, reference } of zones) {
    const found: Transition[] = [];
    for (let at = nextTransition(name, from, to); at !== null; at = nextTransition(name, at, to)) {
      found.push({ at, before: offsetAt(name, at - 1), after: offsetAt(name, at) });
    }
    expect({ name, found }).toEqual({ name, found: reference.transitions.filter(({ at }) => at > from && at <= to) });
    changes += found.length;
  }
  // a test of nothing would pass too
  expect(changes).toBeGreaterThan(1_000);
});

test.each(Object.entries(rotations))(
  '%s: shifts tile the line in every zone, each from hand-off to hand-off',
  (_name, { rotation, handOff: wallOf, reach }) => {
    const everyone = new Set(rotation.participants);
    let seen = 0;
    for (const { name, reference } of zones) {
      for (const window of windows(reference, reach)) {
        const found = shifts(scheduleOf(rotation, name), [], everyone, window);
        let until = window.from;
        let previous = -1;
        for (const shift of found) {
          const where = (): string => `${name}, shift ${numberOf(shift)}, ${new Date(shift.start).toISOString()}`;
          const k = numberOf(shift);
          assertEqual(shift.start, until, where);
          assertEqual(shift.start, Math.max(window.from, reference.resolve(wallOf(k))), where);
          assertEqual(shift.end, Math.min(window.to, reference.resolve(wallOf(k + 1))), where);
          assertEqual(shift.userId, rotation.participants[k % 2], where);
          // only shifts that the clocks leave no time for may be missing
          if (previous >= 0)
            for (let left = previous + 1; left < k; left += 1) assertEqual(reference.resolve(wallOf(left)), shift.start, where);
          previous = k;
          until = shift.end;
          seen += 1;
        }
        assertEqual(until, window.to, () => `${name}, the end`);
      }
    }
    expect(seen).toBeGreaterThan(2_000);
  },
);

test.each(Object.entries(rotations))('%s: one person alone is on call all the time in every zone', (_name, { rotation, reach }) => {
  const alone = { ...rotation, participants: ['ann'] };
  for (const { name, reference } of zones) {
    const schedule = scheduleOf(alone, name);
    for (const window of windows(reference, reach)) {
      let until = window.from;
      for (const shift of shifts(schedule, [], new Set(['ann']), window)) {
        assertEqual(shift.start, until, () => name);
        until = shift.end;
      }
      assertEqual(until, window.to, () => name);
    }
    const [watch] = onCallAt(schedule, [], new Set(['ann']), (reference.transitions[0]?.at ?? from) + 100 * day);
    assertEqual(JSON.stringify([watch?.userId, watch?.since, watch?.until]), '["ann",null,null]', () => name);
  }
});

test('a calendar 01:00-03:00 is open in every zone exactly while clocks show these hours', () => {
  let opened = 0;
  for (const { name, reference } of zones) {
    const calendar: OpeningHours = { timeZone: name, intervals: [{ times: [{ start: '01:00', end: '03:00' }] }], holidays: [] };
    const shows = (at: number): boolean => {
      const time = (at + reference.offsetAt(at)) % day;
      return time >= hour && time < 3 * hour;
    };
    for (const window of windows(reference, 2 * day)) {
      const changes: number[] = [];
      for (let at = nextChange(calendar, window.from); at !== null && at < window.to; at = nextChange(calendar, at)) changes.push(at);
      const expected: number[] = [];
      // offsets and times of today are multiples of 15 minutes
      for (let at = window.from; at < window.to; at += 15 * minute) {
        assertEqual(isOpen(calendar, at), shows(at), () => `${name} ${new Date(at).toISOString()}`);
        if (at > window.from && shows(at) !== shows(at - 15 * minute)) expected.push(at);
      }
      assertEqual(changes.join(), expected.join(), () => `${name} ${new Date(window.from).toISOString()}`);
      opened += changes.length;
    }
  }
  expect(opened).toBeGreaterThan(4_000);
});

/** A daily rotation from the first local time on, and its hand-offs in universal time. */
test.each([
  ['Europe/Berlin skips 02:30', 'Europe/Berlin', '2027-03-27T02:30', ['2027-03-27T01:30', '2027-03-28T01:00', '2027-03-29T00:30']],
  ['Europe/Berlin repeats 02:30', 'Europe/Berlin', '2027-10-30T02:30', ['2027-10-30T00:30', '2027-10-31T00:30', '2027-11-01T01:30']],
  [
    'Europe/Berlin has a day of 23 hours',
    'Europe/Berlin',
    '2027-03-27T09:00',
    ['2027-03-27T08:00', '2027-03-28T07:00', '2027-03-29T07:00'],
  ],
  [
    'Europe/Berlin has a day of 25 hours',
    'Europe/Berlin',
    '2027-10-30T09:00',
    ['2027-10-30T07:00', '2027-10-31T08:00', '2027-11-01T08:00'],
  ],
  ['America/New_York skips 02:30', 'America/New_York', '2027-03-13T02:30', ['2027-03-13T07:30', '2027-03-14T07:00', '2027-03-15T06:30']],
  ['America/New_York repeats 01:30', 'America/New_York', '2027-11-06T01:30', ['2027-11-06T05:30', '2027-11-07T05:30', '2027-11-08T06:30']],
  [
    'Australia/Lord_Howe skips 02:15',
    'Australia/Lord_Howe',
    '2027-10-02T02:15',
    ['2027-10-01T15:45', '2027-10-02T15:30', '2027-10-03T15:15'],
  ],
  [
    'Australia/Lord_Howe repeats 01:45',
    'Australia/Lord_Howe',
    '2027-04-03T01:45',
    ['2027-04-02T14:45', '2027-04-03T14:45', '2027-04-04T15:15'],
  ],
  ['Antarctica/Troll skips 02:30', 'Antarctica/Troll', '2027-03-27T02:30', ['2027-03-27T02:30', '2027-03-28T01:00', '2027-03-29T00:30']],
  ['Antarctica/Troll repeats 02:30', 'Antarctica/Troll', '2027-10-30T02:30', ['2027-10-30T00:30', '2027-10-31T00:30', '2027-11-01T02:30']],
  ['America/Santiago skips midnight', 'America/Santiago', '2027-09-04T00:00', ['2027-09-04T04:00', '2027-09-05T04:00', '2027-09-06T03:00']],
  ['America/Santiago repeats 23:30', 'America/Santiago', '2027-04-02T23:30', ['2027-04-03T02:30', '2027-04-04T02:30', '2027-04-05T03:30']],
  ['Africa/Cairo skips midnight', 'Africa/Cairo', '2027-04-29T00:00', ['2027-04-28T22:00', '2027-04-29T22:00', '2027-04-30T21:00']],
  [
    'Africa/Cairo comes to midnight twice',
    'Africa/Cairo',
    '2027-10-28T00:00',
    ['2027-10-27T21:00', '2027-10-28T22:00', '2027-10-29T22:00'],
  ],
  [
    'Africa/Casablanca repeats 02:30',
    'Africa/Casablanca',
    '2026-02-14T02:30',
    ['2026-02-14T01:30', '2026-02-15T01:30', '2026-02-16T02:30'],
  ],
  ['Africa/Casablanca skips 02:30', 'Africa/Casablanca', '2026-03-21T02:30', ['2026-03-21T02:30', '2026-03-22T02:00', '2026-03-23T01:30']],
  ['Pacific/Chatham skips 03:00', 'Pacific/Chatham', '2027-09-25T03:00', ['2027-09-24T14:15', '2027-09-25T14:00', '2027-09-26T13:15']],
  ['Pacific/Chatham repeats 03:00', 'Pacific/Chatham', '2027-04-03T03:00', ['2027-04-02T13:15', '2027-04-03T13:15', '2027-04-04T14:15']],
  ['Pacific/Apia has no 2011-12-30', 'Pacific/Apia', '2011-12-29T09:00', ['2011-12-29T19:00', '2011-12-30T10:00', '2011-12-30T19:00']],
  [
    'Pacific/Apia goes from midnight to midnight',
    'Pacific/Apia',
    '2011-12-29T00:00',
    ['2011-12-29T10:00', '2011-12-30T10:00', '2011-12-30T10:00'],
  ],
])('%s', (_what, zone, start, expected) => {
  const rotation: Rotation = { participants: ['ann', 'ben', 'cat'], start, unit: 'day', length: 1, restriction: null };
  const instants = expected.map((_, k) => handOff(rotation, zone, k));
  expect(instants.map((at) => new Date(at).toISOString().slice(0, 16))).toEqual(expected);
  const found = shifts(scheduleOf(rotation, zone), [], new Set(rotation.participants), { from: instants[0]!, to: instants[2]! });
  // the skipped day has no shift; all else tiles
  expect(found.map(({ userId, start: began, end }) => [userId, began, end])).toEqual(
    [
      ['ann', instants[0], instants[1]],
      ['ben', instants[1], instants[2]],
    ].filter(([, began, end]) => began !== end),
  );
});
