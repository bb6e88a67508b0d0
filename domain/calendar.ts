import { rangesOfDay, readInterval, type IntervalRule, type Range } from './calendar-interval.ts';
import type { Fault } from './errors.ts';
import { dayMs, isTimeZone, offsetSpanAt, parseWall } from './zone.ts';

/** Every present field must hold, by one of its items. */
export interface CalendarInterval {
  /** Half-open, `start` < `end`; past midnight takes two. `HH:MM`, `end` also `24:00`. */
  times?: ReadonlyArray<{ start: string; end: string }>;
  /** `monday` or `monday:friday`, inclusive; weeks begin on Monday. */
  weekdays?: readonly string[];
  /** `1`, `1:5`, `-3:-1` (from the month's end). */
  daysOfMonth?: readonly string[];
  months?: readonly string[];
  years?: readonly string[];
}

/** Opening hours in a time zone. One version of it; ids are UUIDs. */
export interface Calendar {
  id: string;
  version: number;
  name: string;
  /** IANA. */
  timeZone: string;
  /** 1 to 50; open when one of them holds. */
  intervals: readonly CalendarInterval[];
  /** Local dates `YYYY-MM-DD`, closed all day; at most 400. */
  holidays: readonly string[];
}

/** What of a calendar says when it is open. */
export type OpeningHours = Pick<Calendar, 'timeZone' | 'intervals' | 'holidays'>;

/** Hours hold, or do not, from an instant up to `until`, which is the next change or the limit that was asked for. */
export interface Stretch {
  open: boolean;
  until: number;
}

/** How far `nextOpen` and `nextChange` look: a calendar that stays closed for longer is not waited for. */
const horizonMs = 400 * dayMs;

const intervalsMost = 50;
const holidaysMost = 400;

/**
 * Everything that is wrong with a calendar, none: it can be used. Pointers are those of a request body with these fields.
 * `now` decides whether it would ever open again (`never_open`), which is only asked of one without other faults.
 */
export function calendarFaults(calendar: OpeningHours, now: number): Fault[] {
  const faults = [...zoneFaults(calendar.timeZone), ...intervalFaults(calendar.intervals, '/intervals')];
  faults.push(...holidayFaults(calendar.holidays));
  if (faults.length === 0 && nextOpen(calendar, now) === null) {
    faults.push({ pointer: '/intervals', code: 'never_open', detail: 'the calendar would not be open within the next 400 days' });
  }
  return faults;
}

/** What is wrong with the intervals of a calendar or of a rotation's restriction, at `pointer`. */
export function intervalFaults(intervals: readonly CalendarInterval[], pointer: string): Fault[] {
  if (intervals.length < 1 || intervals.length > intervalsMost) {
    return [{ pointer, code: 'wrong_count', detail: `must have 1 to ${intervalsMost} intervals` }];
  }
  return intervals.flatMap((interval, index) => readInterval(interval, `${pointer}/${index}`).faults);
}

function holidayFaults(holidays: readonly string[]): Fault[] {
  if (holidays.length > holidaysMost) {
    return [{ pointer: '/holidays', code: 'too_many', detail: `must have at most ${holidaysMost} dates` }];
  }
  return holidays.flatMap((date, index) => {
    if (readDate(date) !== undefined) return [];
    return [{ pointer: `/holidays/${index}`, code: 'invalid_date', detail: `must be a date as 2026-12-25, not ${JSON.stringify(date)}` }];
  });
}

/** What is wrong with the body's `timeZone`. */
export function zoneFaults(timeZone: string): Fault[] {
  if (isTimeZone(timeZone)) return [];
  const detail = `must be a zone of the IANA database as Europe/Berlin, not ${JSON.stringify(timeZone)}`;
  return [{ pointer: '/timeZone', code: 'unknown_time_zone', detail }];
}

/** Whether clocks in the calendar's zone show a time of its hours at `at`. What they skip is never open, what they repeat is open twice. */
export function isOpen(calendar: OpeningHours, at: number): boolean {
  return stretchAt(hoursOfCalendar(calendar), calendar.timeZone, at, at + 1).open;
}

/** The first instant from `at` on at which the calendar is open; null: none within 400 days. */
export function nextOpen(calendar: OpeningHours, at: number): number | null {
  return isOpen(calendar, at) ? at : nextChange(calendar, at);
}

/** The first instant after `at` at which `isOpen` is no longer what it is at `at`; null: none within 400 days. */
export function nextChange(calendar: OpeningHours, at: number): number | null {
  const beyond = at + horizonMs + 1;
  const { until } = stretchAt(hoursOfCalendar(calendar), calendar.timeZone, at, beyond);
  return until < beyond ? until : null;
}

/** Whether one of the intervals holds in the zone at `at`. */
export function intervalsHold(intervals: readonly CalendarInterval[], zone: string, at: number): boolean {
  return stretchAt(hoursOf(intervals, intervals), zone, at, at + 1).open;
}

/** Whether one of the intervals holds in the zone at `at`, and the first instant after it, at most `limit`, at which that changes. */
export function intervalsStretch(intervals: readonly CalendarInterval[], zone: string, at: number, limit: number): Stretch {
  return stretchAt(hoursOf(intervals, intervals), zone, at, limit);
}

/** Whether the calendar is open at `at`, and the first instant after it, at most `limit`, at which that changes. */
export function openStretch(calendar: OpeningHours, at: number, limit: number): Stretch {
  return stretchAt(hoursOfCalendar(calendar), calendar.timeZone, at, limit);
}

/** A calendar, or a restriction, as it is evaluated. */
interface Hours {
  rules: readonly IntervalRule[];
  /** Days since 1970-01-01. */
  holidays: ReadonlySet<number>;
  /** What `rangesOfDay` said. */
  days: Map<number, readonly Range[]>;
}

/** By the value that they were read from: a calendar, or the intervals of a restriction. Neither is ever changed. */
const known = new WeakMap<object, Hours>();

function hoursOfCalendar(calendar: OpeningHours): Hours {
  return hoursOf(calendar, calendar.intervals, calendar.holidays);
}

function hoursOf(key: object, intervals: readonly CalendarInterval[], holidays: readonly string[] = []): Hours {
  let hours = known.get(key);
  if (hours === undefined) {
    const rules = intervals.map((interval) => readInterval(interval, '').rule);
    hours = { rules, holidays: new Set(holidays.flatMap((date) => readDate(date) ?? [])), days: new Map() };
    known.set(key, hours);
  }
  return hours;
}

/**
 * Goes from boundary to boundary of local time: of the hours, of days and of offsets. Within one offset local time runs as the instants
 * do, so nothing else can change.
 */
function stretchAt(hours: Hours, zone: string, at: number, limit: number): Stretch {
  let span = offsetSpanAt(zone, at);
  const { open, boundary } = wallStretch(hours, at + span.offset);
  let until = Math.min(boundary - span.offset, span.end);
  while (until < limit) {
    if (until === span.end) span = offsetSpanAt(zone, until);
    const next = wallStretch(hours, until + span.offset);
    if (next.open !== open) return { open, until };
    until = Math.min(next.boundary - span.offset, span.end);
  }
  return { open, until: limit };
}

/** Whether local time `wall` is within the hours, and how long at least that stays so: to the next boundary of the hours or of the day. */
function wallStretch(hours: Hours, wall: number): { open: boolean; boundary: number } {
  const day = Math.floor(wall / dayMs);
  const midnight = day * dayMs;
  for (const [start, end] of rangesOn(hours, day)) {
    if (wall < midnight + start) return { open: false, boundary: midnight + start };
    if (wall < midnight + end) return { open: true, boundary: midnight + end };
  }
  return { open: false, boundary: midnight + dayMs };
}

function rangesOn(hours: Hours, day: number): readonly Range[] {
  let ranges = hours.days.get(day);
  if (ranges === undefined) {
    ranges = hours.holidays.has(day) ? [] : rangesOfDay(hours.rules, day);
    // a calendar may live as long as its process
    if (hours.days.size >= 2_000) hours.days.clear();
    hours.days.set(day, ranges);
  }
  return ranges;
}

/** Days since 1970-01-01 of a `YYYY-MM-DD` that is a date. */
function readDate(text: string): number | undefined {
  const wall = parseWall(`${text}T00:00`);
  return wall === undefined ? undefined : wall / dayMs;
}
