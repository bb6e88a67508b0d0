import {
  type OccurrenceRecord,
  occurrenceText,
  type ProblemRecord,
  problemText,
  type StandingKey,
  type Standings,
  type StoredProblem,
} from '../db/queries/problem.ts';
import type { AcceptedEvent } from '../domain/event.ts';
import { newId } from '../domain/id.ts';
import { applyToProblem, type ProblemChange, type ProblemOutcome } from '../domain/problem.ts';

/** Keys that Tocsin derived begin so (`api/events.ts`); equal ones are merely alike. */
const derivedPrefix = 'auto:';

type Keyed = Pick<AcceptedEvent, 'projectId' | 'family' | 'type' | 'dedupKey' | 'effect'>;

/** What must be locked and read before an event can be decided about; undefined: nothing. */
export function standingKeyOf({ projectId, family, type, dedupKey, effect }: Keyed): StandingKey | undefined {
  if (effect === 'occur' && dedupKey.startsWith(derivedPrefix)) return undefined;
  return { projectId, family, type, dedupKey };
}

/** What an event did. Ids are UUIDs. */
export interface Standing {
  change: ProblemChange;
  /** The problem that it is about. */
  problemId: string | null;
  /** The one that it ended, or found expired. */
  endedId: string | null;
}

/** What the events of one transaction make of the problems that they are about: each event sees what those before it did. */
export interface IntakeStandings {
  apply(event: AcceptedEvent): Standing;
  /** What has to be written. */
  changed(): { problems: ProblemRecord[]; occurrences: OccurrenceRecord[] };
}

/** @param stored every problem and occurrence that is stored under the events' keys, locked */
export function createStandings({ problems: open, occurrences }: Standings, settings: { problemTtlMs: number }): IntakeStandings {
  const problems = new Map<string, ProblemRecord>();
  const changedOccurrences = new Map<string, OccurrenceRecord>();

  const store = (event: AcceptedEvent, before: StoredProblem | null, outcome: ProblemOutcome): string | null => {
    const { id: eventId, acceptedAt, projectId, family, dedupKey } = event;
    const key = problemText(event);
    if (before !== null && outcome.ended !== null) {
      const by = outcome.ended;
      const last = by === 'resolved' ? eventId : before.lastEventId;
      problems.set(before.id, { ...before, lastEventId: last, ended: { at: acceptedAt, by } });
      open.delete(key);
    }
    if (outcome.problem === null) return before?.id ?? null;
    if (before !== null && outcome.ended === null && outcome.problem === before) return before.id;
    const kept = outcome.ended === null ? before : null;
    const row: StoredProblem = {
      ...outcome.problem,
      ...(kept === null ? { id: newId(acceptedAt), firstEventId: eventId } : { id: kept.id, firstEventId: kept.firstEventId }),
      projectId,
      family,
      dedupKey,
      lastEventId: eventId,
    };
    open.set(key, row);
    problems.set(row.id, { ...row, ended: null });
    return row.id;
  };

  return {
    apply(event) {
      if (standingKeyOf(event) === undefined) return { change: 'occurred', problemId: null, endedId: null };
      const before = open.get(problemText(event)) ?? null;
      const occurrenceKey = occurrenceText(event);
      const last = occurrences.get(occurrenceKey) ?? null;
      const hasExplicitDedupKey = !event.dedupKey.startsWith(derivedPrefix);
      const outcome = applyToProblem({ problem: before, occurrence: last }, { ...event, hasExplicitDedupKey }, settings);
      if (outcome.occurrence !== null && outcome.occurrence !== last) {
        occurrences.set(occurrenceKey, outcome.occurrence);
        const { projectId, type, dedupKey } = event;
        changedOccurrences.set(occurrenceKey, { ...outcome.occurrence, projectId, type, dedupKey });
      }
      const endedId = outcome.ended === null ? null : (before?.id ?? null);
      return { change: outcome.change, problemId: store(event, before, outcome), endedId };
    },
    changed: () => ({ problems: [...problems.values()], occurrences: [...changedOccurrences.values()] }),
  };
}
