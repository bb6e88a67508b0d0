import type { Effect } from './event-type.ts';
import { isAtLeast, type Severity } from './severity.ts';

/** How long an open problem of which nothing is heard stays open. */
export const problemTtlRules = { minMs: 3_600_000, maxMs: 30 * 86_400_000, defaultMs: 86_400_000 } as const;

/** How long an occurrence whose producer named a dedup key mutes its repetitions. */
export const occurrenceWindowMs = 600_000;

/** While open there is one of (organization, project or none, family, dedup key). Plain data; instants are Unix milliseconds. */
export interface Problem {
  openedAt: number;
  /** Of the last event that opened or repeated it: its life is counted from here. */
  lastAt: number;
  /** Events so far. */
  count: number;
  highestSeverity: Severity;
}

/** The last occurrence told of (organization, project or none, type, dedup key). */
export interface Occurrence {
  firstAt: number;
  /** Events since, itself included. */
  count: number;
}

/** What is stored under the event's two keys, at intake and locked. */
export interface Standing {
  problem: Problem | null;
  /** Needed for `occur` and `occur_and_resolve` with an explicit dedup key; else null. */
  occurrence: Occurrence | null;
}

export interface ProblemEvent {
  effect: Effect;
  severity: Severity;
  acceptedAt: number;
  /** False: the dedup key was derived, so that equal occurrences are merely alike. */
  hasExplicitDedupKey: boolean;
}

export type ProblemChange =
  | 'opened'
  | 'raised'
  | 'duplicate'
  | 'resolved'
  | 'no_open_problem'
  | 'occurred'
  | 'occurrence_duplicate'
  | 'acknowledged';

export interface ProblemOutcome extends Standing {
  change: ProblemChange;
  /** How the problem that was stored as open ended; then `problem` is null, or (`opened`) another one. Null: it did not end. */
  ended: 'resolved' | 'expired' | null;
}

/**
 * The reason that a change gives routing: `deduplicated` and `no_open_problem` suppress everything but webhooks, `severity_raised` is the
 * reason of what is sent. Null: routing finds its own.
 */
export const changeReasons: Readonly<Record<ProblemChange, 'deduplicated' | 'no_open_problem' | 'severity_raised' | null>> = {
  opened: null,
  raised: 'severity_raised',
  duplicate: 'deduplicated',
  resolved: null,
  no_open_problem: 'no_open_problem',
  occurred: null,
  occurrence_duplicate: 'deduplicated',
  acknowledged: null,
};

/** Whether the problem has not expired. Nothing sweeps: a problem that nobody repeats is found expired when next looked at. */
export function isProblemOpen(problem: Problem, at: number, problemTtlMs: number): boolean {
  return at < problem.lastAt + problemTtlMs;
}

/**
 * What an event does to the problem of its family and dedup key, and to its own repetition. The result is what to store from then on. A
 * clock that went back between two processes never takes back anything: it neither revives an occurrence's window nor lowers `lastAt`.
 */
export function applyToProblem(standing: Standing, event: ProblemEvent, { problemTtlMs }: { problemTtlMs: number }): ProblemOutcome {
  const isOpen = standing.problem !== null && isProblemOpen(standing.problem, event.acceptedAt, problemTtlMs);
  const open = isOpen ? standing.problem : null;
  const before = {
    problem: open,
    occurrence: standing.occurrence,
    ended: standing.problem !== null && !isOpen ? 'expired' : null,
  } as const;
  switch (event.effect) {
    case 'open':
      return open === null ? { ...before, change: 'opened', problem: openProblem(event) } : { ...before, ...repeatProblem(open, event) };
    case 'resolve':
      return open === null ? { ...before, change: 'no_open_problem' } : { ...before, change: 'resolved', problem: null, ended: 'resolved' };
    case 'occur':
      return { ...before, ...occur(standing.occurrence, event) };
    case 'occur_and_resolve':
      if (open === null) return { ...before, ...occur(standing.occurrence, event) };
      // The good news of a problem that people know of is never a repetition; being told, it begins a window of its own.
      return { change: 'resolved', problem: null, ended: 'resolved', occurrence: beginOccurrence(event) };
    case 'acknowledge':
      return { ...before, change: 'acknowledged' };
  }
}

function openProblem({ acceptedAt, severity }: ProblemEvent): Problem {
  return { openedAt: acceptedAt, lastAt: acceptedAt, count: 1, highestSeverity: severity };
}

function repeatProblem(open: Problem, { acceptedAt, severity }: ProblemEvent): { change: 'raised' | 'duplicate'; problem: Problem } {
  const raised = !isAtLeast(open.highestSeverity, severity);
  return {
    change: raised ? 'raised' : 'duplicate',
    problem: {
      ...open,
      lastAt: Math.max(open.lastAt, acceptedAt),
      count: open.count + 1,
      highestSeverity: raised ? severity : open.highestSeverity,
    },
  };
}

function occur(
  last: Occurrence | null,
  event: ProblemEvent,
): { change: 'occurred' | 'occurrence_duplicate'; occurrence: Occurrence | null } {
  if (event.hasExplicitDedupKey && last !== null && event.acceptedAt < last.firstAt + occurrenceWindowMs) {
    return { change: 'occurrence_duplicate', occurrence: { ...last, count: last.count + 1 } };
  }
  return { change: 'occurred', occurrence: beginOccurrence(event) };
}

function beginOccurrence({ acceptedAt, hasExplicitDedupKey }: ProblemEvent): Occurrence | null {
  return hasExplicitDedupKey ? { firstAt: acceptedAt, count: 1 } : null;
}
