import { intervalFaults, zoneFaults, type CalendarInterval } from './calendar.ts';
import type { Fault } from './errors.ts';
import { onCallPieces, type TimeRange } from './on-call.ts';
import { dayMs, parseWall } from './zone.ts';

export interface Rotation {
  /** User ids, 1 to 100, in turn. */
  participants: readonly string[];
  /** Local time of the first hand-off, `YYYY-MM-DDTHH:MM`. */
  start: string;
  unit: 'hour' | 'day' | 'week' | 'month';
  /** Units of a shift, 1 to 366. */
  length: number;
  /** On call only while one of these holds. */
  restriction: readonly CalendarInterval[] | null;
}

/** The rotations of a layer add up; the highest layer with anyone on call wins. */
export interface Layer {
  name: string | null;
  rotations: readonly Rotation[];
}

export interface Override {
  id: string;
  /** `replace` without `insteadOf` replaces everybody. */
  kind: 'replace' | 'add' | 'remove';
  userId: string;
  insteadOf: string | null;
  /** Unix milliseconds, [startsAt, endsAt). */
  startsAt: number;
  endsAt: number;
  reason: string;
}

export interface Schedule {
  id: string;
  version: number;
  name: string;
  timeZone: string;
  /** Lowest first, 1 to 10. */
  layers: readonly Layer[];
}

/** Somebody who is on call at an instant. */
export interface Watch {
  userId: string;
  /** When this person came on call, by whatever reasons, and will cease to be; null: more than 92 days away, if ever. */
  since: number | null;
  until: number | null;
  /** At the instant: `layer 2 "weekday"`, `rotation 1 shift 14`, `override <id>`; layers, rotations and shifts count from 1. */
  because: string[];
}

/** Somebody's time on call for the same reasons throughout. */
export interface Shift {
  userId: string;
  start: number;
  end: number;
  because: string[];
}

/** How far `onCallAt` looks for the beginning and the end of a watch, and the most that `shifts` is meant to be asked for. */
export const shiftsHorizonMs = 92 * dayMs;

const layersMost = 10;
const rotationsMost = 20;
const participantsMost = 100;
const lengthMost = 366;

/** Everything that is wrong with a schedule, none: it can be used. Pointers are those of a request body with these fields. */
export function scheduleFaults({ timeZone, layers }: Pick<Schedule, 'timeZone' | 'layers'>): Fault[] {
  const faults = [...zoneFaults(timeZone), ...countFaults(layers, '/layers', layersMost, 'layers')];
  for (const [layer, { rotations }] of layers.entries()) {
    faults.push(...countFaults(rotations, `/layers/${layer}/rotations`, rotationsMost, 'rotations'));
    faults.push(...rotations.flatMap((rotation, index) => rotationFaults(rotation, `/layers/${layer}/rotations/${index}`)));
  }
  return faults;
}

function rotationFaults({ participants, start, length, restriction }: Rotation, pointer: string): Fault[] {
  const faults = countFaults(participants, `${pointer}/participants`, participantsMost, 'users');
  if (parseWall(start) === undefined) {
    const detail = `must be a local time as 2026-10-05T09:00, not ${JSON.stringify(start)}`;
    faults.push({ pointer: `${pointer}/start`, code: 'invalid_local_time', detail });
  }
  if (!Number.isInteger(length) || length < 1 || length > lengthMost) {
    faults.push({ pointer: `${pointer}/length`, code: 'out_of_range', detail: `must be a whole number from 1 to ${lengthMost}` });
  }
  if (restriction !== null) faults.push(...intervalFaults(restriction, `${pointer}/restriction`));
  return faults;
}

function countFaults(items: readonly unknown[], pointer: string, most: number, noun: string): Fault[] {
  if (items.length >= 1 && items.length <= most) return [];
  return [{ pointer, code: 'wrong_count', detail: `must have 1 to ${most} ${noun}` }];
}

/** Everything that is wrong with an override by itself. */
export function overrideFaults({ kind, userId, insteadOf, startsAt, endsAt }: Omit<Override, 'id' | 'reason'>): Fault[] {
  const faults: Fault[] = [];
  if (endsAt <= startsAt) faults.push({ pointer: '/endsAt', code: 'wrong_order', detail: 'must be after startsAt' });
  if (insteadOf === null) return faults;
  if (kind !== 'replace') faults.push({ pointer: '/insteadOf', code: 'only_replace', detail: `has no meaning when kind is ${kind}` });
  else if (insteadOf === userId) faults.push({ pointer: '/insteadOf', code: 'same_user', detail: 'must be another user than userId' });
  return faults;
}

/**
 * The existing overrides of a schedule that the candidate cannot be beside: they overlap in time, and name the same user in any place or
 * one of the two replaces everybody. Without such pairs the outcome does not depend on an order. The candidate's own former self is no conflict.
 */
export function overrideConflicts(existing: readonly Override[], candidate: Override): Override[] {
  const named = namedUsers(candidate);
  return existing.filter((other) => {
    if (other.id === candidate.id || other.endsAt <= candidate.startsAt || candidate.endsAt <= other.startsAt) return false;
    return replacesEverybody(candidate) || replacesEverybody(other) || namedUsers(other).some((userId) => named.includes(userId));
  });
}

function replacesEverybody({ kind, insteadOf }: Override): boolean {
  return kind === 'replace' && insteadOf === null;
}

function namedUsers({ userId, insteadOf }: Override): string[] {
  return insteadOf === null ? [userId] : [userId, insteadOf];
}

/** The active users on call at `at`, in no particular order. Quicker than `onCallAt`, which also says since and until when, and why. */
export function onCallUserIds(
  schedule: Schedule,
  overrides: readonly Override[],
  activeUserIds: ReadonlySet<string>,
  at: number,
): string[] {
  const [piece] = onCallPieces(schedule, overrides, { from: at, to: at + 1 });
  return [...piece!.onCall.keys()].filter((userId) => activeUserIds.has(userId));
}

/** The active users on call at `at`, why, and since and until when: hand-offs to the same person do not count as a change. */
export function onCallAt(schedule: Schedule, overrides: readonly Override[], activeUserIds: ReadonlySet<string>, at: number): Watch[] {
  const watches: Watch[] = [];
  const began = beginnings(schedule, overrides, at);
  const open = new Map<string, Watch>();
  for (const { start, onCall } of onCallPieces(schedule, overrides, { from: at, to: at + shiftsHorizonMs + 1 })) {
    if (start === at) {
      for (const [userId, because] of onCall) {
        if (!activeUserIds.has(userId)) continue;
        const watch: Watch = { userId, since: began.get(userId) ?? null, until: null, because: [...because] };
        watches.push(watch);
        open.set(userId, watch);
      }
    }
    for (const [userId, watch] of open) {
      if (onCall.has(userId)) continue;
      watch.until = start;
      open.delete(userId);
    }
    if (open.size === 0) break;
  }
  return watches;
}

/** Since when those on call at `at` are; null: already 92 days before. */
function beginnings(schedule: Schedule, overrides: readonly Override[], at: number): Map<string, number | null> {
  const from = at - shiftsHorizonMs;
  let began = new Map<string, number | null>();
  for (const { start, onCall } of onCallPieces(schedule, overrides, { from: from - 1, to: at + 1 })) {
    const still = new Map<string, number | null>();
    for (const userId of onCall.keys()) still.set(userId, began.has(userId) ? began.get(userId)! : start < from ? null : start);
    began = still;
  }
  return began;
}

/**
 * Who is on call in the range, ordered by start: the shifts of one user do not overlap, and together they are exactly the time that the
 * user is on call, cut at the range's ends. A shift ends where its reasons change. Gaps are where no shift is.
 */
export function shifts(schedule: Schedule, overrides: readonly Override[], activeUserIds: ReadonlySet<string>, range: TimeRange): Shift[] {
  const all: Shift[] = [];
  let open = new Map<string, Shift>();
  for (const { start, end, onCall } of onCallPieces(schedule, overrides, range)) {
    const still = new Map<string, Shift>();
    for (const [userId, because] of onCall) {
      if (!activeUserIds.has(userId)) continue;
      let shift = open.get(userId);
      if (shift === undefined || shift.because.join() !== because.join()) {
        shift = { userId, start, end, because: [...because] };
        all.push(shift);
      }
      shift.end = end;
      still.set(userId, shift);
    }
    open = still;
  }
  return all;
}
