import type { Effect as EventEffect } from './event-type.ts';
import type { MemberKind } from './escalation-state.ts';
import { applyToProblem, type Occurrence, type Problem, type ProblemChange } from './problem.ts';
import type { MatchedEvent } from './rule.ts';

/** An event of a simulation: what problems, policies and groups look at. */
export interface SimulatedEvent extends MatchedEvent {
  subject: string;
  effect: EventEffect;
  family: string;
  /** False: the dedup key was derived, so that equal occurrences are merely alike. */
  hasExplicitDedupKey: boolean;
}

/** What an event did. Keys are those of members of groups, unique within the simulation. */
export interface SimulatedChange {
  change: ProblemChange;
  /** What groups get of it; null: nothing new. */
  member: { kind: MemberKind; key: string } | null;
  /** Of the problem that it ended, or found expired. */
  endedKey: string | null;
  /** Of the problem that is open afterwards under the event's dedup key. */
  openKey: string | null;
}

/** The problems of a simulation: the rules of intake, in memory. */
export interface SimulatedProblems {
  apply: (event: SimulatedEvent, at: number) => SimulatedChange;
  /** These are over: what comes under their dedup keys is new. */
  close: (keys: readonly string[]) => void;
}

export function createSimulatedProblems(settings: { problemTtlMs: number }): SimulatedProblems {
  const problems = new Map<string, { key: string; problem: Problem }>();
  const occurrences = new Map<string, Occurrence>();
  let made = 0;
  return {
    apply(event, at) {
      const { projectId, family, type, dedupKey } = event;
      const place = JSON.stringify([projectId, family, dedupKey]);
      const repetition = JSON.stringify([projectId, type, dedupKey]);
      const before = problems.get(place);
      const standing = { problem: before?.problem ?? null, occurrence: occurrences.get(repetition) ?? null };
      const outcome = applyToProblem(standing, { ...event, acceptedAt: at }, settings);
      if (outcome.occurrence !== null) occurrences.set(repetition, outcome.occurrence);
      const kept = outcome.ended === null ? before : undefined;
      const open = outcome.problem === null ? null : { key: kept?.key ?? `problem ${(made += 1)}`, problem: outcome.problem };
      if (open === null) problems.delete(place);
      else problems.set(place, open);
      return {
        change: outcome.change,
        member: memberOf(outcome.change, event, open?.key ?? null, () => `occurrence ${(made += 1)}`),
        endedKey: outcome.ended === null ? null : (before?.key ?? null),
        openKey: open?.key ?? null,
      };
    },
    close(keys) {
      for (const [place, { key }] of problems) if (keys.includes(key)) problems.delete(place);
    },
  };
}

/** What `change` makes of the event; the good news of a problem is an occurrence of its own. */
function memberOf(
  change: ProblemChange,
  { effect }: SimulatedEvent,
  openKey: string | null,
  newKey: () => string,
): SimulatedChange['member'] {
  if (openKey !== null && (change === 'opened' || change === 'raised')) return { kind: 'problem', key: openKey };
  const occurs = change === 'occurred' || (change === 'resolved' && effect === 'occur_and_resolve');
  return occurs ? { kind: 'occurrence', key: newKey() } : null;
}
