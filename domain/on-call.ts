import { dutyAt, type Duty } from './rotation.ts';
import type { Layer, Override, Rotation, Schedule } from './schedule.ts';

/** Users who are on call, each with the reasons: the layer and the rotation's shift, then overrides. */
export type OnCall = ReadonlyMap<string, readonly string[]>;

/** Unix milliseconds, [from, to). */
export interface TimeRange {
  from: number;
  to: number;
}

/** Who is on call during all of [start, end). Neighbours may be equal. */
export interface OnCallPiece {
  start: number;
  end: number;
  /** Inactive users too: an inactive one leaves a gap, nobody of a lower layer steps in. */
  onCall: OnCall;
}

/**
 * Who is on call in [from, to), as pieces that tile it. Goes from change to change of the rotations and overrides that count, so that a
 * layer beneath one that has somebody costs nothing. Asked for one millisecond, it answers for an instant.
 */
export function* onCallPieces(
  schedule: Schedule,
  overrides: readonly Override[],
  { from, to }: TimeRange,
): Generator<OnCallPiece, undefined> {
  const duties = new Map<Rotation, Duty>();
  let changes: Changes = { active: [], until: from };
  for (let start = from; start < to;) {
    if (start >= changes.until) changes = changesAt(overrides, start, to);
    const { onCall, until } = layersAt(schedule, duties, start, changes.until);
    yield { start, end: until, onCall: applyOverrides(onCall, changes.active) };
    start = until;
  }
  return undefined;
}

interface Changes {
  /** The overrides in force, in an order that does not depend on that of the list. */
  active: readonly Override[];
  until: number;
}

function changesAt(overrides: readonly Override[], at: number, limit: number): Changes {
  let until = limit;
  for (const { startsAt, endsAt } of overrides) {
    if (startsAt > at && startsAt < until) until = startsAt;
    if (endsAt > at && endsAt < until) until = endsAt;
  }
  const active = overrides.filter(({ startsAt, endsAt }) => startsAt <= at && at < endsAt);
  return { active: active.toSorted((a, b) => a.startsAt - b.startsAt || (a.id < b.id ? -1 : 1)), until };
}

/** What the layers say at `at`, and until when, at most `limit`, they say it. `duties` are remembered from one call to the next, later one. */
function layersAt(
  { layers, timeZone }: Schedule,
  duties: Map<Rotation, Duty>,
  at: number,
  limit: number,
): { onCall: Map<string, string[]>; until: number } {
  const onCall = new Map<string, string[]>();
  let until = limit;
  for (let layer = layers.length - 1; layer >= 0 && onCall.size === 0; layer -= 1) {
    for (const [index, rotation] of layers[layer]!.rotations.entries()) {
      let duty = duties.get(rotation);
      if (duty === undefined || duty.until <= at) {
        duty = dutyAt(rotation, timeZone, at);
        duties.set(rotation, duty);
      }
      until = Math.min(until, duty.until);
      if (duty.userId === null) continue;
      addReasons(onCall, duty.userId, [layerReason(layers, layer), `rotation ${index + 1} shift ${duty.shift + 1}`]);
    }
  }
  return { onCall, until };
}

function layerReason(layers: readonly Layer[], index: number): string {
  const { name } = layers[index]!;
  return name === null ? `layer ${index + 1}` : `layer ${index + 1} ${JSON.stringify(name)}`;
}

/**
 * Removes and replaces what the layers said, then adds. All overrides see the layers' answer, not each other's: no order among them is
 * needed, and where one would be (`overrideConflicts`) they are refused.
 */
function applyOverrides(onCall: OnCall, active: readonly Override[]): OnCall {
  if (active.length === 0) return onCall;
  const changed = new Map<string, string[]>();
  const everybody = active.find(({ kind, insteadOf }) => kind === 'replace' && insteadOf === null);
  if (everybody !== undefined) changed.set(everybody.userId, [overrideReason(everybody)]);
  else {
    for (const [userId, because] of onCall) {
      const own = active.find((override) => relievedUser(override) === userId);
      if (own === undefined) addReasons(changed, userId, because);
      else if (own.kind === 'replace') addReasons(changed, own.userId, [...because, overrideReason(own)]);
    }
  }
  for (const override of active) if (override.kind === 'add') addReasons(changed, override.userId, [overrideReason(override)]);
  return changed;
}

/** Whom an override takes off call. */
function relievedUser({ kind, userId, insteadOf }: Override): string | null {
  switch (kind) {
    case 'remove':
      return userId;
    case 'replace':
      return insteadOf;
    case 'add':
      return null;
  }
}

function overrideReason({ id }: Override): string {
  return `override ${id}`;
}

function addReasons(onCall: Map<string, string[]>, userId: string, because: readonly string[]): void {
  const present = onCall.get(userId);
  if (present === undefined) onCall.set(userId, [...because]);
  else present.push(...because.filter((reason) => !present.includes(reason)));
}
