import { isOpen, nextOpen, type Calendar } from './calendar.ts';
import { currentSeverity, escalationOf, firingMembers, policyOf, type Draft } from './escalation-draft.ts';
import type { Recipient } from './escalation-input.ts';
import type { Target, Tier } from './escalation-policy.ts';
import type { WaitReason } from './escalation-state.ts';
import { isAtLeast } from './severity.ts';

/** What is asked at each firing: may anybody be paged at this moment, does the tier apply, and whom does it reach. */

export interface Wait {
  why: WaitReason;
  until: number;
}

/** Why nothing may fire at `moment`, and until when; null: it may. Whoever waits asks again then. */
export function findWait(draft: Draft, moment: number): Wait | null {
  const ends = firingMembers(draft).map(({ key }) => draft.facts.silencedUntil(key));
  const silent = ends.filter((end) => end !== null);
  if (silent.length > 0 && silent.length === ends.length) return { why: 'deferred_silence', until: Math.min(...silent) };
  const { defer, calendarId } = policyOf(draft);
  if (defer === null || !isAtLeast(defer.maxSeverity, currentSeverity(draft))) return null;
  const calendar = findCalendar(draft, calendarId);
  if (calendar === undefined || isOpen(calendar, moment)) return null;
  const until = nextOpen(calendar, moment);
  // A calendar that never opens again must not hold back a page for ever.
  return until === null ? null : { why: 'deferred_hours', until };
}

/** Whether the calendar excludes the tier at `moment`. Without one there are no hours to be outside of. */
export function isOutsideHours(draft: Draft, tier: Tier, moment: number): boolean {
  if (tier.when === 'always') return false;
  const calendar = findCalendar(draft, tier.calendarId ?? policyOf(draft).calendarId);
  return calendar !== undefined && isOpen(calendar, moment) !== (tier.when === 'open');
}

function findCalendar(draft: Draft, id: string | null): Calendar | undefined {
  return id === null ? undefined : draft.facts.calendar(id, escalationOf(draft).snapshot.calendars[id] ?? null);
}

/** Whom the targets reach, each once. */
export function reach({ facts }: Draft, targets: readonly Target[]): Recipient[] {
  const recipients = targets.flatMap((target) => facts.recipients(target));
  return [...new Map(recipients.map((recipient) => [`${recipient.kind} ${recipient.id}`, recipient])).values()];
}
