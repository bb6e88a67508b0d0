import type { CalendarInterval } from './calendar.ts';
import { intervalsStretch } from './calendar.ts';
import { readInterval, weekdayNames } from './calendar-interval.ts';
import type { Span } from './digest-window.ts';
import type { Fault } from './errors.ts';
import type { Severity } from './severity.ts';
import { dayMs } from './zone.ts';

/** Hours of a person's local time in which messages wait. One value is never changed. */
export interface QuietHours {
  /** Half-open `HH:MM`, `end` also `24:00`. An `end` before its `start` is of the next day, whose weekday need not be among `weekdays`. */
  readonly times: ReadonlyArray<{ start: string; end: string }>;
  /** On which they begin: `monday` or `monday:friday`, inclusive. Absent: every day. */
  readonly weekdays?: readonly string[] | undefined;
  /** From this severity on nothing waits. */
  readonly breakThrough: Severity;
}

export const defaultBreakThrough: Severity = 'critical';

/** Saved quiet hours end at some time of each week, which a clock may skip. */
const weekMs = 8 * dayMs;
const horizonMs = 64 * dayMs;

/** The stretch of quiet hours around `at`, joined where one follows the other at once; null: it is not quiet then. */
export function quietSpanAt(quiet: QuietHours, timeZone: string, at: number): Span | null {
  const intervals = intervalsOf(quiet);
  const now = intervalsStretch(intervals, timeZone, at, at + horizonMs);
  if (!now.open) return null;
  for (let back = dayMs; ; back *= 2) {
    let start = at - back;
    let stretch = intervalsStretch(intervals, timeZone, start, at + 1);
    if (stretch.open && stretch.until > at && back < horizonMs) continue;
    for (; stretch.until <= at; stretch = intervalsStretch(intervals, timeZone, start, at + 1)) start = stretch.until;
    return { start, end: now.until };
  }
}

/** Everything that is wrong with quiet hours, below `pointer`. */
export function quietHoursFaults(quiet: QuietHours, timeZone: string, at: number, pointer: string): Fault[] {
  const { times, weekdays } = quiet;
  const faults: Fault[] = times.flatMap((time, index) => {
    const { start, end } = time;
    const place = `${pointer}/times/${index}`;
    if (start === end) return [{ pointer: place, code: 'wrong_order', detail: 'start and end must differ; all day is 00:00 to 24:00' }];
    return partsOf(time).flatMap((part) => readInterval({ times: [part] }, '').faults.map((fault) => ({ ...fault, pointer: place })));
  });
  if (times.length === 0) faults.push({ pointer: `${pointer}/times`, code: 'empty', detail: 'must have an item' });
  if (weekdays !== undefined) faults.push(...readInterval({ weekdays }, pointer).faults);
  if (faults.length > 0) return faults;
  const { open, until } = intervalsStretch(intervalsOf(quiet), timeZone, at, at + weekMs);
  if (!open || until < at + weekMs) return [];
  return [{ pointer, code: 'never_open', detail: 'must end at some time of the week: what waits would never be told' }];
}

const known = new WeakMap<QuietHours, readonly CalendarInterval[]>();

/** As calendars have them: what goes past midnight is of two days. */
function intervalsOf(quiet: QuietHours): readonly CalendarInterval[] {
  let intervals = known.get(quiet);
  if (intervals === undefined) {
    const { times, weekdays } = quiet;
    const following = weekdays === undefined ? {} : { weekdays: namesAfter(weekdays) };
    const same = weekdays === undefined ? {} : { weekdays };
    intervals = times.flatMap((time) => {
      const [first, ...second] = partsOf(time);
      return [{ times: [first!], ...same }, ...second.map((part) => ({ times: [part], ...following }))];
    });
    known.set(quiet, intervals);
  }
  return intervals;
}

function partsOf({ start, end }: { start: string; end: string }): Array<{ start: string; end: string }> {
  if (start < end) return [{ start, end }];
  // What ends at midnight has no second part.
  return [{ start, end: '24:00' }, ...(end === '00:00' ? [] : [{ start: '00:00', end }])];
}

/** The days after those. */
function namesAfter(weekdays: readonly string[]): string[] {
  const days = readInterval({ weekdays }, '').rule.weekdays ?? [];
  // 1 is Monday there, and 0 here.
  return days.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => weekdayNames[(first + i) % 7]!));
}
