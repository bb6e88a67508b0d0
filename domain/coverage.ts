import { openStretch, type Calendar } from './calendar.ts';
import type { EscalationPolicy, Target, Tier } from './escalation-policy.ts';
import { complete, type Gradual } from './gradual.ts';
import { onCallPieces, type OnCallPiece } from './on-call.ts';
import type { Override, Schedule } from './schedule.ts';
import { dayMs } from './zone.ts';

/** What coverage depends on besides the policy, by id. What a target names and is not here has been deleted. */
export interface CoverageFacts {
  schedules: ReadonlyMap<string, { schedule: Schedule; overrides: readonly Override[] }>;
  calendars: ReadonlyMap<string, Calendar>;
  /** `pageMethods`: contact methods on which a page to the user would go out. */
  users: ReadonlyMap<string, { active: boolean; pageMethods: number }>;
  channels: ReadonlyMap<string, { active: boolean }>;
  webhooks: ReadonlyMap<string, { active: boolean }>;
}

export type CoverageReason =
  | 'gap'
  | 'inactive_user'
  | 'no_page_method'
  | 'inactive_channel'
  | 'inactive_webhook'
  | 'unknown_target'
  | 'outside_hours';

/** Why a target, or all of a tier (`outside_hours`), reaches nobody. */
export interface CoverageCause {
  /** From 1. */
  tier: number;
  reason: CoverageReason;
  /** Null for `outside_hours`. */
  target: Target | null;
  /** Of a user target, or of somebody on call who cannot be reached. */
  userId: string | null;
  /** For `outside_hours`: the calendar that closes, or opens, the tier. */
  calendarId: string | null;
}

/** [start, end) in which nobody is reached, for the same reasons throughout. */
export interface CoverageGap {
  start: number;
  end: number;
  because: readonly CoverageCause[];
}

export interface Coverage {
  /** Unix milliseconds, [from, to). */
  from: number;
  to: number;
  /** Per tier, the first at 0. Tiers that are outside their hours are gaps of theirs. */
  tiers: CoverageGap[][];
  /** Where no tier reaches anybody: an escalation that begins there pages nobody in its first round. */
  overall: CoverageGap[];
  /** Where all tiers together reach one person and no channel or webhook. */
  alone: Array<{ start: number; end: number; userId: string }>;
  /** The whole time is an overall gap. */
  reachesNobody: boolean;
}

/**
 * When a page of the policy would reach nobody, in the `weeks` from `from`: evaluated from change to change of shifts, overrides and
 * calendars, so no gap is too short to be found. Users count by their page methods, channels and webhooks while active. A policy that
 * defers mild events is judged by those that it does not defer.
 */
export function* coverageOf(
  policy: Pick<EscalationPolicy, 'tiers' | 'calendarId'>,
  facts: CoverageFacts,
  from: number,
  weeks = 52,
): Gradual<Coverage> {
  const to = from + weeks * 7 * dayMs;
  const evaluation = beginEvaluation(facts, from, to);
  const tierStateAt = policy.tiers.map((tier, index) => watchTier(evaluation, tier, index + 1, policy.calendarId));
  const tiers = policy.tiers.map((): CoverageGap[] => []);
  const overall: CoverageGap[] = [];
  const alone: Coverage['alone'] = [];
  for (let start = from; start < to;) {
    yield;
    const states = tierStateAt.map((stateAt) => stateAt(start));
    const end = Math.min(to, ...states.map(({ until }) => until));
    for (const [index, state] of states.entries()) if (!isReached(state)) addGap(tiers[index]!, start, end, state.causes);
    if (!states.some(isReached)) addGap(overall, start, end, evaluation.causes.join(states.map(({ causes }) => causes)));
    const userId = onlyUser(states);
    if (userId !== undefined) addAlone(alone, start, end, userId);
    start = end;
  }
  return { from, to, tiers, overall, alone, reachesNobody: overall.reduce((sum, { start, end }) => sum + end - start, 0) === to - from };
}

/** `coverageOf`, at once. */
export function evaluateCoverage(...asked: Parameters<typeof coverageOf>): Coverage {
  return complete(coverageOf(...asked));
}

/** Whom a tier reaches, from the instant that was asked for up to `until`. */
interface TierState {
  userIds: readonly string[];
  /** An active channel or webhook. */
  destination: boolean;
  /** Why its other targets reach nobody. */
  causes: readonly CoverageCause[];
  until: number;
}

/** One evaluation. What it is asked about are instants that never go back. */
interface Evaluation {
  facts: CoverageFacts;
  /** Undefined: there is no such schedule. */
  pieceAt: (scheduleId: string, at: number) => OnCallPiece | undefined;
  causes: Causes;
  to: number;
}

/** Lists of causes. Equal ones are one object: a year has many gaps for few different reasons. */
interface Causes {
  list: (causes: readonly CoverageCause[]) => readonly CoverageCause[];
  /** Of lists made here. */
  join: (lists: ReadonlyArray<readonly CoverageCause[]>) => readonly CoverageCause[];
}

function createCauses(): Causes {
  const lists = new Map<string, readonly CoverageCause[]>();
  const numbers = new Map<readonly CoverageCause[], number>();
  const targets = new Map<Target | null, number>();
  const keep = (key: string, make: () => readonly CoverageCause[]): readonly CoverageCause[] => {
    let list = lists.get(key);
    if (list === undefined) {
      list = make();
      lists.set(key, list);
      numbers.set(list, numbers.size);
    }
    return list;
  };
  const numberOf = (target: Target | null): number => {
    if (!targets.has(target)) targets.set(target, targets.size);
    return targets.get(target)!;
  };
  return {
    list: (causes) =>
      keep(causes.map(({ tier, reason, target, userId }) => `${tier} ${reason} ${numberOf(target)} ${userId}`).join(), () => causes),
    join: (parts) => keep(`all ${parts.map((part) => numbers.get(part)).join()}`, () => parts.flat()),
  };
}

function beginEvaluation(facts: CoverageFacts, from: number, to: number): Evaluation {
  const sweeps = new Map<string, { pieces: Generator<OnCallPiece, undefined>; piece: OnCallPiece | undefined }>();
  const pieceAt = (scheduleId: string, at: number): OnCallPiece | undefined => {
    const known = facts.schedules.get(scheduleId);
    if (known === undefined) return undefined;
    let sweep = sweeps.get(scheduleId);
    if (sweep === undefined) {
      sweep = { pieces: onCallPieces(known.schedule, known.overrides, { from, to }), piece: undefined };
      sweeps.set(scheduleId, sweep);
    }
    while (sweep.piece === undefined || sweep.piece.end <= at) {
      const next = sweep.pieces.next();
      if (next.done === true) throw new RangeError(`Coverage ends at ${to}, and was asked for ${at}`);
      sweep.piece = next.value;
    }
    return sweep.piece;
  };
  return { facts, pieceAt, causes: createCauses(), to };
}

/**
 * The state of a tier at instants that never go back; evaluated anew only when it may have changed. Without the calendar that its hours
 * are of, nothing keeps it from firing.
 */
function watchTier(evaluation: Evaluation, tier: Tier, number: number, policyCalendarId: string | null): (at: number) => TierState {
  const calendarId = tier.calendarId ?? policyCalendarId;
  const calendar = tier.when === 'always' || calendarId === null ? undefined : evaluation.facts.calendars.get(calendarId);
  const outside = evaluation.causes.list([{ tier: number, reason: 'outside_hours', target: null, userId: null, calendarId }]);
  let state: TierState | undefined;
  return (at) => {
    if (state !== undefined && at < state.until) return state;
    const hours = calendar === undefined ? undefined : openStretch(calendar, at, evaluation.to);
    if (hours === undefined || hours.open === (tier.when === 'open')) {
      const reached = reachTier(evaluation, tier, number, at);
      state = { ...reached, until: Math.min(reached.until, hours?.until ?? evaluation.to) };
    } else {
      state = { userIds: [], destination: false, causes: outside, until: hours.until };
    }
    return state;
  };
}

function reachTier({ facts, pieceAt, causes: known, to }: Evaluation, tier: Tier, number: number, at: number): TierState {
  const userIds: string[] = [];
  const causes: CoverageCause[] = [];
  let destination = false;
  let until = to;
  const addCause = (reason: CoverageReason, target: Target, userId: string | null = null): void => {
    causes.push({ tier: number, reason, target, userId, calendarId: null });
  };
  const addUser = (userId: string, target: Target): void => {
    const reason = whyUnreachable(facts.users.get(userId));
    if (reason === null) userIds.push(userId);
    else addCause(reason, target, userId);
  };
  for (const target of tier.targets) {
    switch (target.kind) {
      case 'user':
        addUser(target.id, target);
        break;
      case 'schedule': {
        const piece = pieceAt(target.id, at);
        if (piece === undefined) addCause('unknown_target', target);
        else if (piece.onCall.size === 0) addCause('gap', target);
        // in one order, or equal pieces would seem to differ
        else for (const userId of [...piece.onCall.keys()].toSorted()) addUser(userId, target);
        until = Math.min(until, piece?.end ?? until);
        break;
      }
      case 'channel':
      case 'webhook': {
        const found = (target.kind === 'channel' ? facts.channels : facts.webhooks).get(target.id);
        if (found?.active === true) destination = true;
        else addCause(found === undefined ? 'unknown_target' : `inactive_${target.kind}`, target);
        break;
      }
    }
  }
  return { userIds, destination, causes: known.list(causes), until };
}

function whyUnreachable(user: { active: boolean; pageMethods: number } | undefined): CoverageReason | null {
  if (user === undefined) return 'unknown_target';
  if (!user.active) return 'inactive_user';
  return user.pageMethods > 0 ? null : 'no_page_method';
}

function isReached({ userIds, destination }: TierState): boolean {
  return destination || userIds.length > 0;
}

function onlyUser(states: readonly TierState[]): string | undefined {
  if (states.some(({ destination }) => destination)) return undefined;
  const userIds = new Set(states.flatMap((state) => state.userIds));
  return userIds.size === 1 ? userIds.values().next().value : undefined;
}

function addGap(gaps: CoverageGap[], start: number, end: number, because: CoverageGap['because']): void {
  const last = gaps.at(-1);
  if (last !== undefined && last.end === start && last.because === because) last.end = end;
  else gaps.push({ start, end, because });
}

function addAlone(alone: Coverage['alone'], start: number, end: number, userId: string): void {
  const last = alone.at(-1);
  if (last !== undefined && last.end === start && last.userId === userId) last.end = end;
  else alone.push({ start, end, userId });
}
