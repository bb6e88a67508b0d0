import type { CalendarInterval } from './calendar.ts';
import type { Fault } from './errors.ts';
import { dayMs } from './zone.ts';

/** Inclusive; those of times are half-open and in milliseconds from midnight. */
export type Range = readonly [first: number, last: number];

/** An interval that was read. Null: the field is absent and does not restrict. */
export interface IntervalRule {
  times: readonly Range[] | null;
  /** 1 is Monday. */
  weekdays: readonly Range[] | null;
  /** 1 to 31, or -31 to -1 from the month's end. */
  daysOfMonth: readonly Range[] | null;
  /** 1 to 12. */
  months: readonly Range[] | null;
  years: readonly Range[] | null;
}

/** Items of one field. People read calendars, and every step of an escalation evaluates them. */
const itemsMost = 100;

export const weekdayNames: readonly string[] = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'];
const monthNames = [
  'january',
  'february',
  'march',
  'april',
  'may',
  'june',
  'july',
  'august',
  'september',
  'october',
  'november',
  'december',
];

type Reading = Range | Omit<Fault, 'pointer'>;

/**
 * Reads an interval. `pointer` is its place in the request, to which the faults add theirs.
 * An item with a fault is left out of the rule: it never holds.
 */
export function readInterval(interval: CalendarInterval, pointer: string): { rule: IntervalRule; faults: Fault[] } {
  const faults: Fault[] = [];
  function readItems<T>(field: keyof CalendarInterval, items: readonly T[] | undefined, read: (item: T) => Reading): Range[] | null {
    if (items === undefined) return null;
    const place = `${pointer}/${field}`;
    if (items.length === 0)
      faults.push({ pointer: place, code: 'empty', detail: 'must have an item, or be left out: an empty list never holds' });
    if (items.length > itemsMost) faults.push({ pointer: place, code: 'too_many', detail: `must have at most ${itemsMost} items` });
    return items.slice(0, itemsMost).flatMap((item, index) => {
      const reading = read(item);
      if (isRange(reading)) return [reading];
      faults.push({ pointer: `${place}/${index}`, ...reading });
      return [];
    });
  }
  const rule = {
    times: readItems('times', interval.times, readTimes),
    weekdays: readItems('weekdays', interval.weekdays, readWeekdays),
    daysOfMonth: readItems('daysOfMonth', interval.daysOfMonth, readDaysOfMonth),
    months: readItems('months', interval.months, readMonths),
    years: readItems('years', interval.years, readYears),
  };
  return { rule, faults };
}

/**
 * When the rules hold on a local date, `day` days after 1970-01-01: half-open ranges of milliseconds from its midnight, ascending and
 * apart from each other.
 */
export function rangesOfDay(rules: readonly IntervalRule[], day: number): Range[] {
  const date = new Date(day * dayMs);
  const year = date.getUTCFullYear();
  const month = date.getUTCMonth() + 1;
  const weekday = date.getUTCDay() === 0 ? 7 : date.getUTCDay();
  const dayOfMonth = date.getUTCDate();
  const lastOfMonth = daysInMonth(year, month);
  const ranges: Range[] = [];
  for (const rule of rules) {
    if (!holds(rule.years, year) || !holds(rule.months, month) || !holds(rule.weekdays, weekday)) continue;
    if (!holdsOnDay(rule.daysOfMonth, dayOfMonth, lastOfMonth)) continue;
    ranges.push(...(rule.times ?? [[0, dayMs]]));
  }
  return unite(ranges);
}

/** Days in a month, 1 to 12, of a year. */
export function daysInMonth(year: number, month: number): number {
  if (month !== 2) return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
}

function holds(ranges: readonly Range[] | null, value: number): boolean {
  return ranges === null || ranges.some(([first, last]) => first <= value && value <= last);
}

/** Negative days become days of this month. What lies outside it is cut off: `29:31` is nothing in most Februaries, `1:31` all of them. */
function holdsOnDay(ranges: readonly Range[] | null, day: number, lastOfMonth: number): boolean {
  if (ranges === null) return true;
  const fromStart = (end: number): number => (end < 0 ? lastOfMonth + 1 + end : end);
  return ranges.some(([first, last]) => fromStart(first) <= day && day <= fromStart(last));
}

function unite(ranges: Range[]): Range[] {
  const united: Range[] = [];
  for (const [start, end] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const last = united.at(-1);
    if (last !== undefined && start <= last[1]) united[united.length - 1] = [last[0], Math.max(last[1], end)];
    else united.push([start, end]);
  }
  return united;
}

function isRange(reading: Reading): reading is Range {
  return Array.isArray(reading);
}

function readTimes({ start, end }: { start: string; end: string }): Reading {
  const from = readTime(start);
  const to = end === '24:00' ? dayMs : readTime(end);
  if (from === undefined) return { code: 'invalid_time', detail: `start must be a time from 00:00 to 23:59, not ${JSON.stringify(start)}` };
  if (to === undefined) return { code: 'invalid_time', detail: `end must be a time from 00:01 to 24:00, not ${JSON.stringify(end)}` };
  if (from < to) return [from, to];
  return { code: 'wrong_order', detail: 'start must be before end; past midnight takes two items, to 24:00 and from 00:00' };
}

/** Milliseconds from midnight of `HH:MM`. */
function readTime(text: string): number | undefined {
  if (!/^(?:[01]\d|2[0-3]):[0-5]\d$/.test(text)) return undefined;
  return Number(text.slice(0, 2)) * 3_600_000 + Number(text.slice(3)) * 60_000;
}

function readWeekdays(text: string): Reading {
  return readNames(text, weekdayNames, 'weekday');
}

function readMonths(text: string): Reading {
  return readNames(text, monthNames, 'month');
}

function readNames(text: string, names: readonly string[], noun: string): Reading {
  const [first, last] = splitRange(text, (name) => names.indexOf(name) + 1);
  if (!(first > 0 && last > 0)) {
    return {
      code: `unknown_${noun}`,
      detail: `must be a ${noun} in lower case, or two as ${names[0]}:${names[4]}, not ${JSON.stringify(text)}`,
    };
  }
  if (first <= last) return [first, last];
  return { code: 'wrong_order', detail: `must not wrap: ${names[0]} is first and ${names.at(-1)} last; across them takes two items` };
}

function readDaysOfMonth(text: string): Reading {
  const [first, last] = splitRange(text, (part) => (/^-?(?:[1-9]|[12]\d|3[01])$/.test(part) ? Number(part) : Number.NaN));
  if (Number.isNaN(first) || Number.isNaN(last)) {
    return { code: 'invalid_day_of_month', detail: `must be a day from 1 to 31 or -1 to -31, or two as 1:5, not ${JSON.stringify(text)}` };
  }
  // in the longest month; what begins at the end and ends at the beginning would mean other days in each month
  const runsForward = first < 0 === last < 0 ? first <= last : first > 0 && first <= last + 32;
  return runsForward ? [first, last] : { code: 'wrong_order', detail: 'must not wrap: across the month end takes two items' };
}

function readYears(text: string): Reading {
  const [first, last] = splitRange(text, (part) => (/^(?:19|2\d)\d\d$/.test(part) ? Number(part) : Number.NaN));
  if (Number.isNaN(first) || Number.isNaN(last)) {
    return { code: 'invalid_year', detail: `must be a year from 1900 to 2999, or two as 2026:2030, not ${JSON.stringify(text)}` };
  }
  return first <= last ? [first, last] : { code: 'wrong_order', detail: 'the first year must not be after the last' };
}

/** `a` as [a, a], `a:b` as [a, b]; NaN for a missing or a third part. */
function splitRange(text: string, read: (part: string) => number): Range {
  const parts = text.split(':');
  const [first = '', last = first] = parts;
  return parts.length > 2 ? [Number.NaN, Number.NaN] : [read(first), read(last)];
}
