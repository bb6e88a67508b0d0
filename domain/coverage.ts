import { openStretch, type Calendar } from './calendar.ts';
import type { EscalationPolicy, Target, Tier } from './escalation-policy.ts';
import { type TargetState, watchTarget } from './coverage-targets.ts';
import { complete, type Gradual } from './gradual.ts';
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
    for (const [index, state] of states.entries()) if (!isReached(state)) addGap(tiers[index]!, start, end, state.reached.causes);
    if (!states.some(isReached)) addGap(overall, start, end, evaluation.join(states.map(({ reached }) => reached.causes)));
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
  reached: Reached;
  until: number;
}

/** Equal ones of a tier are one object: a year has many changes between few different ones. */
interface Reached {
  /** Each once. */
  userIds: readonly string[];
  /** An active channel or webhook. */
  destination: boolean;
  /** Why its other targets reach nobody. */
  causes: readonly CoverageCause[];
}

/** One evaluation. What its watches are asked about are instants that never go back. */
interface Evaluation {
  facts: CoverageFacts;
  watchTarget: (target: Target) => (at: number) => TargetState;
  /** The causes of several tiers; equal ones as one object. */
  join: (lists: ReadonlyArray<readonly CoverageCause[]>) => readonly CoverageCause[];
  to: number;
}

function beginEvaluation(facts: CoverageFacts, from: number, to: number): Evaluation {
  const watches = new Map<string, (at: number) => TargetState>();
  const numbers = new Map<readonly CoverageCause[], number>();
  const joined = new Map<string, readonly CoverageCause[]>();
  const numberOf = (list: readonly CoverageCause[]): number => {
    if (!numbers.has(list)) numbers.set(list, numbers.size);
    return numbers.get(list)!;
  };
  return {
    facts,
    to,
    watchTarget(target) {
      const key = `${target.kind} ${target.id}`;
      const watch = watches.get(key) ?? watchTarget(target, facts, { from, to });
      watches.set(key, watch);
      return watch;
    },
    join(lists) {
      const key = lists.map(numberOf).join();
      const all = joined.get(key) ?? lists.flat();
      joined.set(key, all);
      return all;
    },
  };
}

/**
 * The state of a tier at instants that never go back; evaluated anew only when it may have changed. Without the calendar that its hours
 * are of, nothing keeps it from firing.
 */
function watchTier(evaluation: Evaluation, tier: Tier, number: number, policyCalendarId: string | null): (at: number) => TierState {
  const { facts, to } = evaluation;
  const calendarId = tier.calendarId ?? policyCalendarId;
  const calendar = tier.when === 'always' || calendarId === null ? undefined : facts.calendars.get(calendarId);
  const outside: CoverageCause = { tier: number, reason: 'outside_hours', target: null, userId: null, calendarId };
  const nobody: Reached = { userIds: [], destination: false, causes: [outside] };
  const watches = tier.targets.map((target) => ({ target, stateAt: evaluation.watchTarget(target) }));
  const known = new Map<string, Reached>();
  let state: TierState | undefined;

  const reach = (at: number): TierState => {
    const states = watches.map(({ stateAt }) => stateAt(at));
    const key = states.map((one) => one.number).join();
    const reached = known.get(key) ?? {
      userIds: [...new Set(states.flatMap(({ userIds }) => userIds))],
      destination: states.some(({ destination }) => destination),
      causes: states.flatMap(({ causes }, index) =>
        causes.map(({ reason, userId }) => ({ tier: number, reason, target: watches[index]!.target, userId, calendarId: null })),
      ),
    };
    known.set(key, reached);
    return { reached, until: Math.min(to, ...states.map(({ until }) => until)) };
  };

  return (at) => {
    if (state !== undefined && at < state.until) return state;
    const hours = calendar === undefined ? undefined : openStretch(calendar, at, to);
    if (hours === undefined || hours.open === (tier.when === 'open')) {
      const { reached, until } = reach(at);
      state = { reached, until: Math.min(until, hours?.until ?? to) };
    } else {
      state = { reached: nobody, until: hours.until };
    }
    return state;
  };
}

function isReached({ reached: { userIds, destination } }: TierState): boolean {
  return destination || userIds.length > 0;
}

function onlyUser(states: readonly TierState[]): string | undefined {
  let only: string | undefined;
  for (const { reached } of states) {
    if (reached.destination || reached.userIds.length > 1) return undefined;
    const [userId] = reached.userIds;
    if (userId !== undefined && only !== undefined && only !== userId) return undefined;
    only ??= userId;
  }
  return only;
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
