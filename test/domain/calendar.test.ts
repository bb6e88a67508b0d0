import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  calendarFaults,
  intervalsHold,
  isOpen,
  nextChange,
  nextOpen,
  openStretch,
  type CalendarInterval,
  type OpeningHours,
} from '../../domain/calendar.ts';
import { nextTransition } from '../../domain/zone.ts';
import { readClock } from './reference-clock.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const now = Date.parse('2026-10-01T00:00:00Z');

const weekdays = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'];
const months = 'january february march april may june july august september october november december'.split(' ');

const businessHours: OpeningHours = {
  timeZone: 'Europe/Berlin',
  intervals: [{ weekdays: ['monday:friday'], times: [{ start: '09:00', end: '17:00' }] }],
  holidays: [],
};

function always(intervals: CalendarInterval[], timeZone = 'UTC', holidays: string[] = []): OpeningHours {
  return { timeZone, intervals, holidays };
}

function faultsOf(change: Partial<OpeningHours>): Array<[pointer: string, code: string | undefined]> {
  return calendarFaults({ ...businessHours, ...change }, now).map(({ pointer, code }) => [pointer, code]);
}

/** `nextOpen` of a UTC time, in UTC. */
function opensAt(calendar: OpeningHours, at: string): string | null {
  const opens = nextOpen(calendar, Date.parse(at));
  return opens === null ? null : new Date(opens).toISOString();
}

test('Monday to Friday 09:00-17:00: Friday 16:55 is open, what is due at 17:05 waits for Monday 09:00', () => {
  // Berlin is two hours ahead of UTC
  expect(opensAt(businessHours, '2026-10-02T14:55:00Z')).toBe('2026-10-02T14:55:00.000Z');
  expect(opensAt(businessHours, '2026-10-02T15:05:00Z')).toBe('2026-10-05T07:00:00.000Z');
});

test('hours begin at their start and have ended at their end', () => {
  const open = Date.parse('2026-10-02T07:00:00Z');
  const close = Date.parse('2026-10-02T15:00:00Z');
  expect([open - 1, open, close - 1, close].map((at) => isOpen(businessHours, at))).toEqual([false, true, true, false]);
  expect(nextChange(businessHours, open - 1)).toBe(open);
  expect(nextChange(businessHours, open)).toBe(close);
  expect(nextChange(businessHours, close)).toBe(open + 3 * day);
});

test('a holiday is closed all day, by the local date', () => {
  const calendar = { ...businessHours, holidays: ['2026-10-05', '2026-10-07'] };
  expect(opensAt(calendar, '2026-10-02T15:05:00Z')).toBe('2026-10-06T07:00:00.000Z');
  expect(opensAt(calendar, '2026-10-06T15:00:00Z')).toBe('2026-10-08T07:00:00.000Z');
  // the same intervals without holidays are another calendar
  expect(opensAt(businessHours, '2026-10-02T15:05:00Z')).toBe('2026-10-05T07:00:00.000Z');
  const auckland = always([{}], 'Pacific/Auckland', ['2026-10-05']);
  expect(nextChange(auckland, now)).toBe(Date.parse('2026-10-04T11:00:00Z'));
  expect(nextOpen(auckland, Date.parse('2026-10-04T11:00:00Z'))).toBe(Date.parse('2026-10-05T11:00:00Z'));
});

test('one of the intervals suffices, but all of its fields must hold', () => {
  const calendar = always([
    { weekdays: ['saturday'], months: ['october'], times: [{ start: '10:00', end: '12:00' }] },
    {
      weekdays: ['sunday'],
      times: [
        { start: '11:00', end: '11:30' },
        { start: '20:00', end: '24:00' },
      ],
    },
  ]);
  expect(opensAt(calendar, '2026-10-01T00:00:00Z')).toBe('2026-10-03T10:00:00.000Z');
  expect(opensAt(calendar, '2026-10-03T12:00:00Z')).toBe('2026-10-04T11:00:00.000Z');
  expect(opensAt(calendar, '2026-10-04T11:30:00Z')).toBe('2026-10-04T20:00:00.000Z');
  expect(opensAt(calendar, '2026-10-31T12:00:00Z')).toBe('2026-11-01T11:00:00.000Z');
  expect(opensAt(calendar, '2026-11-07T10:00:00Z')).toBe('2026-11-08T11:00:00.000Z');
});

test('hours that go on at midnight are one stretch', () => {
  const calendar = always([
    { weekdays: ['friday'], times: [{ start: '22:00', end: '24:00' }] },
    { weekdays: ['saturday'], times: [{ start: '00:00', end: '06:00' }] },
  ]);
  const opens = Date.parse('2026-10-02T22:00:00Z');
  expect(openStretch(calendar, opens, opens + day)).toEqual({ open: true, until: opens + 8 * hour });
  expect(openStretch(calendar, opens, opens + hour)).toEqual({ open: true, until: opens + hour });
});

test('days of the month are cut to the month, from its beginning and from its end', () => {
  const datesOf = (item: string, month: string): number[] => {
    const calendar = always([{ daysOfMonth: [item] }]);
    const first = Date.parse(`${month}-01T12:00:00Z`);
    const dates = Array.from({ length: 31 }, (_, index) => first + index * day);
    return dates
      .filter((at) => new Date(at).toISOString().startsWith(month) && isOpen(calendar, at))
      .map((at) => new Date(at).getUTCDate());
  };
  expect(datesOf('-3:-1', '2027-02')).toEqual([26, 27, 28]);
  expect(datesOf('-3:-1', '2028-02')).toEqual([27, 28, 29]);
  expect(datesOf('-1', '2026-10')).toEqual([31]);
  expect(datesOf('29:31', '2027-02')).toEqual([]);
  expect(datesOf('31', '2026-11')).toEqual([]);
  expect(datesOf('30:31', '2026-11')).toEqual([30]);
  expect(datesOf('-31:-30', '2026-11')).toEqual([1]);
  expect(datesOf('25:-3', '2027-02')).toEqual([25, 26]);
});

test('years end the opening for good', () => {
  const calendar = always([{ years: ['2026:2027'], months: ['december'], daysOfMonth: ['31'] }]);
  expect(opensAt(calendar, '2027-01-01T00:00:00Z')).toBe('2027-12-31T00:00:00.000Z');
  expect(opensAt(calendar, '2028-01-01T00:00:00Z')).toBeNull();
});

test('the next opening is looked for within 400 days, to the millisecond', () => {
  const calendar = always([{ years: ['2028'] }]);
  const opens = Date.parse('2028-01-01T00:00:00Z');
  expect(nextOpen(calendar, opens - 400 * day)).toBe(opens);
  expect(nextOpen(calendar, opens - 400 * day - 1)).toBeNull();
  expect(nextChange(calendar, opens - 400 * day - 1)).toBeNull();
});

test('skipped minutes are never open, repeated ones are open twice', () => {
  const night = always([{ times: [{ start: '02:00', end: '02:30' }] }], 'Europe/Berlin');
  // 2027-03-28 has no 02:00 in Berlin
  expect(opensAt(night, '2027-03-27T01:30:00Z')).toBe('2027-03-29T00:00:00.000Z');
  // 2027-10-31 has it at 00:00 and at 01:00 UTC
  expect(opensAt(night, '2027-10-30T00:30:00Z')).toBe('2027-10-31T00:00:00.000Z');
  expect(opensAt(night, '2027-10-31T00:30:00Z')).toBe('2027-10-31T01:00:00.000Z');
  expect(opensAt(night, '2027-10-31T01:30:00Z')).toBe('2027-11-01T01:00:00.000Z');
});

test('a skipped day has no hours, and a repeated midnight belongs to two dates', () => {
  const apia = always([{ weekdays: ['friday'] }], 'Pacific/Apia');
  // Friday, 2011-12-30, was left out
  expect(opensAt(apia, '2011-12-24T10:00:00Z')).toBe('2012-01-05T10:00:00.000Z');
  const cairo = always([{ weekdays: ['friday'] }], 'Africa/Cairo');
  // Thursday ends, 23:00 to 24:00 come again, and only then it is Friday
  expect(opensAt(cairo, '2027-10-28T20:00:00Z')).toBe('2027-10-28T22:00:00.000Z');
});

test('what is right has no faults', () => {
  const intervals = [
    {},
    {
      times: [
        { start: '00:00', end: '24:00' },
        { start: '23:59', end: '24:00' },
      ],
    },
    {
      weekdays: ['sunday', 'saturday:sunday'],
      daysOfMonth: ['1', '31', '-31:-1', '1:-1', '31:-1', '2:31'],
      months: ['may', 'january:december'],
    },
    { years: ['2026', '2026:2999'] },
  ];
  expect(faultsOf({ intervals, holidays: ['2028-02-29', '2026-12-25'], timeZone: 'UTC' })).toEqual([]);
});

test('every fault is named at its place, all at once', () => {
  const intervals: CalendarInterval[] = [
    {
      times: [
        { start: '9:00', end: '17:00' },
        { start: '24:00', end: '24:00' },
        { start: '09:00', end: '17:60' },
        { start: '17:00', end: '09:00' },
        { start: '09:00', end: '09:00' },
      ],
      weekdays: ['Monday', 'monday:', 'monday:friday:sunday', 'friday:monday', 'sunday:monday', 'mon'],
      daysOfMonth: ['0', '32', '-32', '5:1', '-1:-3', '-3:1', '31:-2', 'x', '01', '1.5', ''],
      months: ['january:march:may', 'december:january', '1'],
      years: ['26', '2030:2026', '2026:2030:2031', '3000'],
    },
    { times: [], weekdays: [], daysOfMonth: [], months: [], years: [] },
  ];
  const faults = faultsOf({ timeZone: '+01:00', intervals, holidays: ['2026-12-25', '2027-02-29', '2026-1-1', 'Christmas'] });
  expect(faults).toEqual([
    ['/timeZone', 'unknown_time_zone'],
    ['/intervals/0/times/0', 'invalid_time'],
    ['/intervals/0/times/1', 'invalid_time'],
    ['/intervals/0/times/2', 'invalid_time'],
    ['/intervals/0/times/3', 'wrong_order'],
    ['/intervals/0/times/4', 'wrong_order'],
    ['/intervals/0/weekdays/0', 'unknown_weekday'],
    ['/intervals/0/weekdays/1', 'unknown_weekday'],
    ['/intervals/0/weekdays/2', 'unknown_weekday'],
    ['/intervals/0/weekdays/3', 'wrong_order'],
    ['/intervals/0/weekdays/4', 'wrong_order'],
    ['/intervals/0/weekdays/5', 'unknown_weekday'],
    ['/intervals/0/daysOfMonth/0', 'invalid_day_of_month'],
    ['/intervals/0/daysOfMonth/1', 'invalid_day_of_month'],
    ['/intervals/0/daysOfMonth/2', 'invalid_day_of_month'],
    ['/intervals/0/daysOfMonth/3', 'wrong_order'],
    ['/intervals/0/daysOfMonth/4', 'wrong_order'],
    ['/intervals/0/daysOfMonth/5', 'wrong_order'],
    ['/intervals/0/daysOfMonth/6', 'wrong_order'],
    ['/intervals/0/daysOfMonth/7', 'invalid_day_of_month'],
    ['/intervals/0/daysOfMonth/8', 'invalid_day_of_month'],
    ['/intervals/0/daysOfMonth/9', 'invalid_day_of_month'],
    ['/intervals/0/daysOfMonth/10', 'invalid_day_of_month'],
    ['/intervals/0/months/0', 'unknown_month'],
    ['/intervals/0/months/1', 'wrong_order'],
    ['/intervals/0/months/2', 'unknown_month'],
    ['/intervals/0/years/0', 'invalid_year'],
    ['/intervals/0/years/1', 'wrong_order'],
    ['/intervals/0/years/2', 'invalid_year'],
    ['/intervals/0/years/3', 'invalid_year'],
    ['/intervals/1/times', 'empty'],
    ['/intervals/1/weekdays', 'empty'],
    ['/intervals/1/daysOfMonth', 'empty'],
    ['/intervals/1/months', 'empty'],
    ['/intervals/1/years', 'empty'],
    ['/holidays/1', 'invalid_date'],
    ['/holidays/2', 'invalid_date'],
    ['/holidays/3', 'invalid_date'],
  ]);
});

test('intervals, their items and holidays have limits', () => {
  const dates = Array.from({ length: 401 }, (_, index) => new Date(now + index * day).toISOString().slice(0, 10));
  expect(faultsOf({ intervals: [] })).toEqual([['/intervals', 'wrong_count']]);
  expect(faultsOf({ intervals: Array.from({ length: 51 }, () => ({})) })).toEqual([['/intervals', 'wrong_count']]);
  expect(faultsOf({ intervals: Array.from({ length: 50 }, () => ({})) })).toEqual([]);
  expect(faultsOf({ intervals: [{ weekdays: Array.from({ length: 101 }, () => 'monday') }] })).toEqual([
    ['/intervals/0/weekdays', 'too_many'],
  ]);
  expect(faultsOf({ holidays: dates })).toEqual([['/holidays', 'too_many']]);
  expect(faultsOf({ holidays: dates.slice(1), intervals: [{}] })).toEqual([]);
});

test('a calendar that would not open within 400 days is refused', () => {
  expect(faultsOf({ intervals: [{ years: ['2025'] }] })).toEqual([['/intervals', 'never_open']]);
  expect(faultsOf({ intervals: [{ months: ['february'], daysOfMonth: ['30'] }] })).toEqual([['/intervals', 'never_open']]);
});

const zone = fc.constantFrom(
  'Europe/Berlin',
  'America/Santiago',
  'Australia/Lord_Howe',
  'Antarctica/Troll',
  'Africa/Cairo',
  'Asia/Kathmandu',
  'UTC',
);

/** Around an offset's change, or anywhere in six years. */
const placed = fc
  .tuple(zone, fc.integer({ min: 0, max: 6 * 365 * 24 * 60 }), fc.boolean(), fc.integer({ min: -2 * 24 * 60, max: 24 * 60 }))
  .map(([timeZone, minutes, close, distance]) => {
    const at = Date.UTC(2024, 0, 1) + minutes * minute;
    return { timeZone, at: close ? (nextTransition(timeZone, at, at + 400 * day) ?? at) + distance * minute : at };
  });

function rangeOf<T>(items: readonly T[]): fc.Arbitrary<string> {
  const index = fc.nat(items.length - 1);
  return fc.tuple(index, index, fc.boolean()).map(([a, b, single]) => {
    if (single) return String(items[a]);
    return `${String(items[Math.min(a, b)])}:${String(items[Math.max(a, b)])}`;
  });
}

const clockMinute = fc.oneof(fc.nat(24 * 60), fc.constantFrom(0, 60, 90, 120, 150, 180, 24 * 60 - 30, 24 * 60));
const timeRange = fc
  .tuple(clockMinute, clockMinute)
  .filter(([a, b]) => a !== b)
  .map(([a, b]) => ({ start: formatTime(Math.min(a, b)), end: formatTime(Math.max(a, b)) }));
const someOf = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(item, { minLength: 1, maxLength: 3 });
const interval: fc.Arbitrary<CalendarInterval> = fc.record(
  {
    times: someOf(timeRange),
    weekdays: someOf(rangeOf(weekdays)),
    daysOfMonth: someOf(
      fc.oneof(rangeOf(Array.from({ length: 31 }, (_, index) => index + 1)), rangeOf(Array.from({ length: 31 }, (_, index) => index - 31))),
    ),
    months: someOf(rangeOf(months)),
    years: someOf(rangeOf([2024, 2025, 2026, 2027, 2028, 2029, 2030])),
  },
  { requiredKeys: [] },
);

function formatTime(minutes: number): string {
  return `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`;
}

/** The rule as it is told, word by word: names and texts are compared, and every range is written out. */
function saysOpen({ timeZone, intervals, holidays }: OpeningHours, at: number): boolean {
  const clock = new Date(readClock(timeZone, at));
  const [date = '', time = ''] = clock.toISOString().split('T');
  const lastOfMonth = new Date(Date.UTC(clock.getUTCFullYear(), clock.getUTCMonth() + 1, 0)).getUTCDate();
  const writeOut = (item: string, all: readonly string[]): string[] => {
    const [first = '', last = first] = item.split(':');
    return all.slice(all.indexOf(first), all.indexOf(last) + 1);
  };
  const holds = (items: readonly string[] | undefined, all: readonly string[], actual: string): boolean =>
    items === undefined || items.some((item) => writeOut(item, all).includes(actual));
  const days = Array.from({ length: 31 }, (_, index) => String(index + 1));
  const daysFromEnd = Array.from({ length: 31 }, (_, index) => String(index - 31));
  if (holidays.includes(date)) return false;
  return intervals.some(
    ({ times, weekdays: onWeekdays, daysOfMonth, months: inMonths, years }) =>
      (times === undefined || times.some(({ start, end }) => start <= time.slice(0, 5) && time.slice(0, 5) < end)) &&
      holds(onWeekdays, weekdays, weekdays[(clock.getUTCDay() + 6) % 7]!) &&
      (daysOfMonth === undefined ||
        daysOfMonth.some((item) =>
          item.startsWith('-')
            ? writeOut(item, daysFromEnd).includes(String(clock.getUTCDate() - lastOfMonth - 1))
            : writeOut(item, days).includes(String(clock.getUTCDate())),
        )) &&
      holds(inMonths, months, months[clock.getUTCMonth()]!) &&
      holds(
        years,
        Array.from({ length: 10 }, (_, index) => String(2022 + index)),
        date.slice(0, 4),
      ),
  );
}

test('a calendar is open when the words of an interval say so, whatever the zone does', () => {
  fc.assert(
    fc.property(fc.array(interval, { minLength: 1, maxLength: 3 }), placed, fc.boolean(), (intervals, { timeZone, at }, isHoliday) => {
      const today = new Date(readClock(timeZone, at)).toISOString().slice(0, 10);
      const calendar = always(intervals, timeZone, isHoliday ? [today] : []);
      const instants = Array.from({ length: 36 }, (_, index) => at + (index - 18) * 10 * minute);
      expect(instants.map((instant) => isOpen(calendar, instant))).toEqual(instants.map((instant) => saysOpen(calendar, instant)));
      expect(intervalsHold(intervals, timeZone, at)).toBe(saysOpen({ ...calendar, holidays: [] }, at));
    }),
    { numRuns: 400 },
  );
});

test('the next change is a change, and nothing changes before it', () => {
  fc.assert(
    fc.property(fc.array(interval, { minLength: 1, maxLength: 3 }), placed, (intervals, { timeZone, at }) => {
      const calendar = always(intervals, timeZone);
      const open = isOpen(calendar, at);
      const change = nextChange(calendar, at);
      if (change !== null) {
        expect(change).toBeGreaterThan(at);
        expect(saysOpen(calendar, change)).toBe(!open);
        expect(nextOpen(calendar, at)).toBe(open ? at : change);
      }
      // the first and the last minutes until then, as many as can be looked at
      const end = change ?? at + 400 * day;
      const steps = Array.from({ length: Math.min(80, (end - at) / minute) }, (_, step) => step * minute);
      const looked = steps.flatMap((distance) => [at + distance, end - minute - distance, end - 1_000 - distance]);
      expect(looked.filter((instant) => saysOpen(calendar, instant) !== open)).toEqual([]);
    }),
    { numRuns: 100 },
  );
});
