import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { dutyAt, handOff, shiftAt } from '../../domain/rotation.ts';
import type { Rotation } from '../../domain/schedule.ts';
import { nextTransition } from '../../domain/zone.ts';

const hour = 3_600_000;
const day = 24 * hour;

function rotation(start: string, unit: Rotation['unit'], length = 1, change: Partial<Rotation> = {}): Rotation {
  return { participants: ['ann', 'ben', 'cat'], start, unit, length, restriction: null, ...change };
}

/** Hand-offs from number `first`, in universal time. */
function handOffs(turns: Rotation, zone: string, first: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => new Date(handOff(turns, zone, first + index)).toISOString().slice(0, 16));
}

/** Who is on call at an instant of universal time. */
function onDuty(turns: Rotation, zone: string, at: string): string | null {
  return dutyAt(turns, zone, Date.parse(at)).userId;
}

test('hand-offs are at the same local time, also across a change of offset', () => {
  expect(handOffs(rotation('2027-03-27T09:00', 'day'), 'Europe/Berlin', 0, 3)).toEqual([
    '2027-03-27T08:00',
    '2027-03-28T07:00',
    '2027-03-29T07:00',
  ]);
  expect(handOffs(rotation('2027-03-22T09:00', 'week', 2), 'Europe/Berlin', 0, 2)).toEqual(['2027-03-22T08:00', '2027-04-05T07:00']);
  expect(handOffs(rotation('2027-10-30T21:00', 'hour', 12), 'Europe/Berlin', 0, 3)).toEqual([
    '2027-10-30T19:00',
    '2027-10-31T08:00',
    '2027-10-31T20:00',
  ]);
});

test('months hand off on the day of the start, or on their last, and never slip', () => {
  expect(handOffs(rotation('2027-10-31T09:00', 'month'), 'UTC', 0, 6)).toEqual([
    '2027-10-31T09:00',
    '2027-11-30T09:00',
    '2027-12-31T09:00',
    '2028-01-31T09:00',
    '2028-02-29T09:00',
    '2028-03-31T09:00',
  ]);
  expect(handOffs(rotation('2026-12-30T23:59', 'month', 14), 'UTC', 0, 3)).toEqual([
    '2026-12-30T23:59',
    '2028-02-29T23:59',
    '2029-04-30T23:59',
  ]);
});

test('participants take turns, and nobody is on call before the start', () => {
  const daily = rotation('2026-10-05T09:00', 'day');
  expect(onDuty(daily, 'Europe/Berlin', '2026-10-05T06:59:59.999Z')).toBeNull();
  expect(onDuty(daily, 'Europe/Berlin', '2026-10-05T07:00:00.000Z')).toBe('ann');
  expect(onDuty(daily, 'Europe/Berlin', '2026-10-06T06:59:59.999Z')).toBe('ann');
  expect(onDuty(daily, 'Europe/Berlin', '2026-10-06T07:00:00.000Z')).toBe('ben');
  expect(onDuty(daily, 'Europe/Berlin', '2026-10-07T07:00:00.000Z')).toBe('cat');
  expect(onDuty(daily, 'Europe/Berlin', '2026-10-08T07:00:00.000Z')).toBe('ann');
});

test('a shift in the gap of the clocks has no length, and one in a repeated hour is longer', () => {
  const hourly = rotation('2027-03-28T00:00', 'hour');
  // 02:00 does not exist: the shift that would begin then ends as it begins
  expect(handOffs(hourly, 'Europe/Berlin', 1, 3)).toEqual(['2027-03-28T00:00', '2027-03-28T01:00', '2027-03-28T01:00']);
  expect(shiftAt(hourly, 'Europe/Berlin', Date.parse('2027-03-28T00:59:59.999Z'))).toBe(1);
  expect(shiftAt(hourly, 'Europe/Berlin', Date.parse('2027-03-28T01:00:00.000Z'))).toBe(3);
  const autumn = rotation('2027-10-31T00:00', 'hour');
  expect(handOffs(autumn, 'Europe/Berlin', 1, 3)).toEqual(['2027-10-30T23:00', '2027-10-31T00:00', '2027-10-31T02:00']);
  // when the clock shows 02:30 for the second time, and when it has gone back to 02:00
  for (const at of ['2027-10-31T00:30Z', '2027-10-31T01:00Z', '2027-10-31T01:30Z']) {
    expect(shiftAt(autumn, 'Europe/Berlin', Date.parse(at))).toBe(2);
  }
});

test('what has begun before the clocks go back is not undone by them', () => {
  // back from 03:00 to 01:00: at the second 01:00 the shift of 02:00 has already begun
  const hourly = rotation('2027-10-31T00:00', 'hour');
  expect(shiftAt(hourly, 'Antarctica/Troll', Date.parse('2027-10-31T01:00:00Z'))).toBe(2);
  // and a start in the repeated hour is its first occurrence
  const start = rotation('2027-10-31T02:30', 'day');
  expect(shiftAt(start, 'Antarctica/Troll', Date.parse('2027-10-31T00:29:59.999Z'))).toBe(-1);
  expect(shiftAt(start, 'Antarctica/Troll', Date.parse('2027-10-31T00:30:00Z'))).toBe(0);
  expect(shiftAt(start, 'Antarctica/Troll', Date.parse('2027-10-31T01:00:00Z'))).toBe(0);
});

test('a restriction leaves gaps, and does not move the hand-offs', () => {
  const nights = [{ times: [{ start: '00:00', end: '06:00' }] }, { times: [{ start: '18:00', end: '24:00' }] }];
  const weekly = rotation('2026-10-05T09:00', 'week', 1, { restriction: nights });
  expect(onDuty(weekly, 'UTC', '2026-10-05T10:00Z')).toBeNull();
  expect(onDuty(weekly, 'UTC', '2026-10-05T18:00Z')).toBe('ann');
  expect(onDuty(weekly, 'UTC', '2026-10-06T05:59Z')).toBe('ann');
  expect(onDuty(weekly, 'UTC', '2026-10-06T06:00Z')).toBeNull();
  expect(onDuty(weekly, 'UTC', '2026-10-12T18:00Z')).toBe('ben');
  expect(dutyAt(weekly, 'UTC', Date.parse('2026-10-05T20:00Z')).until).toBe(Date.parse('2026-10-06T06:00Z'));
});

test('a start that is no local time is a defect', () => {
  expect(() => handOff(rotation('2026-02-30T09:00', 'day'), 'UTC', 0)).toThrow('Not the start of a rotation');
});

const anyRotation = fc
  .tuple(
    fc.constantFrom('hour', 'day', 'week', 'month'),
    fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 366 })),
    fc.integer({ min: 0, max: 4 * 365 * 24 * 60 }),
  )
  .map(([unit, length, minutes]) => rotation(new Date(Date.UTC(2023, 0, 1) + minutes * 60_000).toISOString().slice(0, 16), unit, length));
const zone = fc.constantFrom('Europe/Berlin', 'Australia/Lord_Howe', 'Antarctica/Troll', 'Africa/Cairo', 'Pacific/Apia', 'Asia/Kathmandu');

test('an instant is in the last shift that has begun, whichever instant and rotation', () => {
  const input = fc.record({
    turns: anyRotation,
    zone,
    since: fc.integer({ min: 0, max: 3_000 }),
    distance: fc.integer({ min: -30 * hour, max: 30 * hour }),
  });
  fc.assert(
    fc.property(input, ({ turns, zone: name, since, distance }) => {
      const around = Date.UTC(2023, 0, 1) + since * day;
      const at = (nextTransition(name, around, around + 400 * day) ?? around) + distance;
      const shift = shiftAt(turns, name, at);
      if (shift >= 0) expect(handOff(turns, name, shift)).toBeLessThanOrEqual(at);
      expect(handOff(turns, name, shift + 1)).toBeGreaterThan(at);
      expect(dutyAt(turns, name, at).until).toBe(handOff(turns, name, shift + 1));
    }),
    { numRuns: 2_000 },
  );
});

test('finding the shift takes no longer years after the start', () => {
  // forty years of hours: a walk from the start would be 350,000 steps each time
  const hourly = rotation('1990-01-01T00:00', 'hour');
  const at = Date.UTC(2030, 0, 1);
  const before = process.cpuUsage();
  const found = Array.from({ length: 10_000 }, (_, index) => shiftAt(hourly, 'UTC', at + index * hour));
  const { user } = process.cpuUsage(before);
  expect(found).toEqual(Array.from({ length: 10_000 }, (_, index) => 350_640 + index));
  expect(user / 1_000).toBeLessThan(1_000);
});
