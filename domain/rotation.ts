import { intervalsStretch } from './calendar.ts';
import { daysInMonth } from './calendar-interval.ts';
import type { Rotation } from './schedule.ts';
import { dayMs, offsetAt, parseWall, resolveWall } from './zone.ts';

/** Who of a rotation is on call. */
export interface Duty {
  /** Null: nobody, before the start or outside the restriction. */
  userId: string | null;
  /** From 0; -1 before the start. */
  shift: number;
  /** The first later instant at which this may be different. */
  until: number;
}

const hourMs = 3_600_000;

/**
 * When shift `k` (from 0) begins, Unix milliseconds: `k` times the length after the start in local time, then resolved in the zone. Always
 * counted from the start, so that a month end or a change of offset shifts one hand-off and none after it. A later shift never begins earlier;
 * one that would begin in a gap of local time may have no length.
 */
export function handOff(rotation: Rotation, zone: string, k: number): number {
  return resolveWall(handOffWall(rotation, startOf(rotation), k), zone);
}

/** The shift that an instant lies in, from 0; of those without length none; -1 before the start. */
export function shiftAt(rotation: Rotation, zone: string, at: number): number {
  return locate(rotation, zone, at).shift;
}

/** Who of the rotation is on call at `at`. */
export function dutyAt(rotation: Rotation, zone: string, at: number): Duty {
  const { shift, next: until } = locate(rotation, zone, at);
  if (shift < 0) return { userId: null, shift, until };
  const userId = rotation.participants[shift % rotation.participants.length] ?? null;
  if (rotation.restriction === null) return { userId, shift, until };
  const restricted = intervalsStretch(rotation.restriction, zone, at, until);
  return { userId: restricted.open ? userId : null, shift, until: restricted.until };
}

/** The shift at an instant, and when the next one begins. */
function locate(rotation: Rotation, zone: string, at: number): { shift: number; next: number } {
  const start = startOf(rotation);
  // what the clock shows has been reached; so the shift that it names has begun, and only a repeated hour can have begun more of them
  let shift = Math.max(-1, shiftShown(rotation, start, at + offsetAt(zone, at)));
  for (;;) {
    const next = resolveWall(handOffWall(rotation, start, shift + 1), zone);
    if (next > at) return { shift, next };
    shift += 1;
  }
}

/** The last shift whose hand-off is at or before `wall` in local time; negative before the start. */
function shiftShown(rotation: Rotation, start: number, wall: number): number {
  if (rotation.unit !== 'month') return Math.floor((wall - start) / (rotation.length * unitMs[rotation.unit]));
  const shift = Math.floor((monthNumber(wall) - monthNumber(start)) / rotation.length);
  return handOffWall(rotation, start, shift) <= wall ? shift : shift - 1;
}

const unitMs = { hour: hourMs, day: dayMs, week: 7 * dayMs } as const;

/** Wall milliseconds of the beginning of shift `k`. Months keep the day of the start, or have it on their last. */
function handOffWall(rotation: Rotation, start: number, k: number): number {
  if (rotation.unit !== 'month') return start + k * rotation.length * unitMs[rotation.unit];
  const months = monthNumber(start) + k * rotation.length;
  const year = Math.floor(months / 12);
  const month = months - year * 12;
  const day = Math.min(new Date(start).getUTCDate(), daysInMonth(year, month + 1));
  return Date.UTC(year, month, day) + (((start % dayMs) + dayMs) % dayMs);
}

function monthNumber(wall: number): number {
  const date = new Date(wall);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

/** A sweep asks for the start at every hand-off, and reading it is most of the work. */
const starts = new WeakMap<Rotation, number>();

/** Wall milliseconds of the start. @throws RangeError when it is none, which `scheduleFaults` has ruled out */
function startOf(rotation: Rotation): number {
  const known = starts.get(rotation);
  if (known !== undefined) return known;
  const wall = parseWall(rotation.start);
  if (wall === undefined) throw new RangeError(`Not the start of a rotation: ${rotation.start}`);
  starts.set(rotation, wall);
  return wall;
}
