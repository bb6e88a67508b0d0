import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isTimeZone, nextTransition, offsetAt, offsetSpanAt, parseWall, resolveWall, wallTimeAt } from '../../domain/zone.ts';
import { readClock } from './reference-clock.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** Skips and repeats of an hour, of half of one, of two and of a day, odd offsets, and one zone without any. */
const zone = fc.constantFrom(
  'Europe/Berlin',
  'America/New_York',
  'Australia/Lord_Howe',
  'Antarctica/Troll',
  'Africa/Casablanca',
  'Pacific/Chatham',
  'Pacific/Apia',
  'America/Santiago',
  'Asia/Kathmandu',
  'Asia/Tehran',
  'Pacific/Kwajalein',
  'America/Caracas',
  'Pacific/Kiritimati',
  'Africa/Monrovia',
  'UTC',
);

/** Any second since clocks follow zones. */
const instant = fc.integer({ min: -2_000_000_000, max: 4_000_000_000 }).map((seconds) => seconds * 1_000);

/** A zone, an instant around a change of its offset, and what its clocks would show then without the change: half of it is gaps and repetitions. */
const nearTransition = fc
  .tuple(zone, instant, fc.oneof(fc.integer({ min: -hour, max: hour }), fc.integer({ min: -day, max: day })))
  .map(([name, since, distance]) => {
    const transition = nextTransition(name, since, since + 800 * day) ?? since;
    return { name, at: transition + distance, wall: transition + offsetAt(name, transition - 1) + distance };
  });

test.each(['Europe/Berlin', 'America/Argentina/Buenos_Aires', 'America/Port-au-Prince', 'Asia/Calcutta', 'Asia/Kolkata', 'Etc/GMT+5'])(
  '%s is a time zone',
  (text) => {
    expect(isTimeZone(text)).toBe(true);
  },
);

test.each(['UTC', 'GMT', 'EST', 'NZ', 'EST5EDT', 'Singapore'])('%s is a time zone', (text) => {
  expect(isTimeZone(text)).toBe(true);
});

test('every zone that Intl lists is a time zone', () => {
  expect(Intl.supportedValuesOf('timeZone').filter((name) => !isTimeZone(name))).toEqual([]);
});

test.each([
  '+01:00',
  '-05',
  'GMT+1',
  'UTC+1',
  'Z',
  'IST',
  'PST',
  'CST',
  'SystemV/EST5',
  'Europe/Berlin ',
  'Mars/Olympus',
  'Etc/Unknown',
  '',
])('%j is not a time zone', (text) => {
  expect(isTimeZone(text)).toBe(false);
});

test('the offset is what the clock shows beyond universal time, in any year and close to changes', () => {
  fc.assert(
    fc.property(fc.oneof(nearTransition, fc.record({ name: zone, at: instant })), ({ name, at }) => {
      const second = Math.floor(at / 1_000) * 1_000;
      expect(offsetAt(name, at)).toBe(readClock(name, second) - second);
    }),
    { numRuns: 1_000 },
  );
});

test('spans around an instant hold it, tile the line, and have one offset', () => {
  fc.assert(
    fc.property(nearTransition, ({ name, at }) => {
      const span = offsetSpanAt(name, at);
      expect(span.start <= at && at < span.end).toBe(true);
      expect(offsetSpanAt(name, span.end).start).toBe(span.end);
      for (const inside of [span.start, at, span.end - 1]) expect(offsetAt(name, inside)).toBe(span.offset);
    }),
  );
});

test('the next transition is the first instant with another offset', () => {
  expect(nextTransition('Europe/Berlin', Date.parse('2027-01-01T00:00:00Z'), Date.parse('2028-01-01T00:00:00Z'))).toBe(
    Date.parse('2027-03-28T01:00:00Z'),
  );
  // not the one that it begins at, but the one that it ends at
  expect(nextTransition('Europe/Berlin', Date.parse('2027-03-28T01:00:00Z'), Date.parse('2027-10-31T01:00:00Z'))).toBe(
    Date.parse('2027-10-31T01:00:00Z'),
  );
  expect(nextTransition('Europe/Berlin', Date.parse('2027-03-28T01:00:00Z'), Date.parse('2027-10-31T00:59:59.999Z'))).toBeNull();
  expect(nextTransition('UTC', 0, 10_000 * day)).toBeNull();
});

test('a change that is undone within a week is seen', () => {
  const [begins, ends] = [Date.parse('2000-10-08T03:00:00Z'), Date.parse('2000-10-15T02:00:00Z')];
  expect(nextTransition('America/Recife', Date.parse('2000-06-01T00:00:00Z'), ends)).toBe(begins);
  expect(nextTransition('America/Recife', begins, ends)).toBe(ends);
});

test('an offset may have seconds', () => {
  expect(offsetAt('Africa/Monrovia', 0)).toBe(-(44 * minute + 30_000));
  expect(offsetAt('Europe/Paris', Date.UTC(1900, 0, 1))).toBe(9 * minute + 21_000);
  expect(nextTransition('Africa/Monrovia', 0, 1_000 * day)).toBe(Date.UTC(1972, 0, 7, 0, 44, 30));
  expect(wallTimeAt('Africa/Monrovia', Date.UTC(1970, 0, 1, 0, 0, 0, 1))).toEqual({
    year: 1969,
    month: 12,
    day: 31,
    hour: 23,
    minute: 15,
    second: 30,
    millisecond: 1,
    weekday: 3,
  });
});

test('wall time has the fields of the clock', () => {
  expect(wallTimeAt('Asia/Kathmandu', Date.parse('2026-10-04T18:15:07.089Z'))).toEqual({
    year: 2026,
    month: 10,
    day: 5,
    hour: 0,
    minute: 0,
    second: 7,
    millisecond: 89,
    weekday: 1,
  });
  expect(wallTimeAt('UTC', Date.parse('2026-10-04T00:00:00Z')).weekday).toBe(7);
});

test.each([
  ['an ordinary time', 'Europe/Berlin', '2027-07-01T12:00', '2027-07-01T10:00:00Z'],
  ['the last minute before a gap', 'Europe/Berlin', '2027-03-28T01:59', '2027-03-28T00:59:00Z'],
  ['the first skipped time', 'Europe/Berlin', '2027-03-28T02:00', '2027-03-28T01:00:00Z'],
  ['the last skipped time', 'Europe/Berlin', '2027-03-28T02:59', '2027-03-28T01:00:00Z'],
  ['the first time after a gap', 'Europe/Berlin', '2027-03-28T03:00', '2027-03-28T01:00:00Z'],
  ['the first repeated time', 'Europe/Berlin', '2027-10-31T02:00', '2027-10-31T00:00:00Z'],
  ['the last repeated time', 'Europe/Berlin', '2027-10-31T02:59', '2027-10-31T00:59:00Z'],
  ['the first time after a repetition', 'Europe/Berlin', '2027-10-31T03:00', '2027-10-31T02:00:00Z'],
  ['half an hour skipped', 'Australia/Lord_Howe', '2027-10-03T02:15', '2027-10-02T15:30:00Z'],
  ['two hours skipped', 'Antarctica/Troll', '2027-03-28T02:30', '2027-03-28T01:00:00Z'],
  ['midnight skipped', 'Africa/Cairo', '2027-04-30T00:00', '2027-04-29T22:00:00Z'],
  ['a day skipped', 'Pacific/Apia', '2011-12-30T12:00', '2011-12-30T10:00:00Z'],
  ['a gap that ends between minutes', 'Africa/Monrovia', '1972-01-07T00:20', '1972-01-07T00:44:30Z'],
  ['the largest offset there is', 'Pacific/Kiritimati', '2027-01-01T00:00', '2026-12-31T10:00:00Z'],
])('%s resolves: %s %s', (_what, name, wall, expected) => {
  expect(new Date(resolveWall(parseWall(wall)!, name)).toISOString()).toBe(new Date(expected).toISOString());
});

test('a local time resolves to the first instant at which the clock shows it or later', () => {
  fc.assert(
    fc.property(nearTransition, ({ name, wall }) => {
      const resolved = resolveWall(wall, name);
      const shown = readClock(name, Math.floor(resolved / 1_000) * 1_000) + (((resolved % 1_000) + 1_000) % 1_000);
      expect(shown).toBeGreaterThanOrEqual(wall);
      // a clock that had shown it before would have gone on for longer than these steps
      const earlier = Array.from({ length: 192 }, (_, step) => Math.floor((resolved - 1 - step * 15 * minute) / 1_000) * 1_000);
      expect(earlier.filter((instant) => readClock(name, instant) >= wall)).toEqual([]);
    }),
    { numRuns: 120 },
  );
});

test('a time that occurs once is resolved to when it occurs', () => {
  fc.assert(
    fc.property(zone, instant, (name, at) => {
      const span = offsetSpanAt(name, at);
      // a day from both ends of the span nothing is repeated
      fc.pre(at - span.start > day && span.end - at > day);
      expect(resolveWall(at + span.offset, name)).toBe(at);
    }),
  );
});

test('a later local time is never an earlier instant', () => {
  fc.assert(
    fc.property(nearTransition, fc.integer({ min: 0, max: day }), ({ name, wall }, later) => {
      expect(resolveWall(wall + later, name)).toBeGreaterThanOrEqual(resolveWall(wall, name));
    }),
    { numRuns: 1_000 },
  );
});

test.each([
  '2026-02-30T10:00',
  '2026-02-28T24:00',
  '2026-02-28T10:60',
  '2026-13-01T10:00',
  '2026-02-28',
  '2026-02-28T10:00:00',
  '1899-12-31T23:59',
])('%s is not a local time', (text) => {
  expect(parseWall(text)).toBeUndefined();
});

test('a thousand zones and any number of years are read without keeping them all', () => {
  // spellings of the same few zones, and more chunks than are kept
  for (let index = 0; index < 2_200; index += 1) {
    const name = Array.from('europe/berlin', (letter, bit) => ((index >> bit) & 1 ? letter.toUpperCase() : letter)).join('');
    expect(offsetAt(name, 0)).toBe(hour);
  }
  for (let year = 1950; year < 2050; year += 1) {
    for (let date = Date.UTC(year, 0, 1); date < Date.UTC(year, 11, 31); date += 4 * day) offsetAt('Asia/Tokyo', date);
  }
  expect(offsetAt('Asia/Tokyo', Date.UTC(1951, 6, 1))).toBe(readClock('Asia/Tokyo', Date.UTC(1951, 6, 1)) - Date.UTC(1951, 6, 1));
});
