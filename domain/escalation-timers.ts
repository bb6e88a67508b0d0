import { climbRound, exhaust, repeatRound } from './escalation-climb.ts';
import { enter, escalationOf, hardStopAt, note, policyOf, suspendedSince, type Draft } from './escalation-draft.ts';
import { resolve, restart } from './escalation-lifecycle.ts';
import { releaseHeld, unmute } from './escalation-members.ts';
import { reach } from './escalation-wait.ts';
import type { DueReason, NextStep, Phase } from './escalation-state.ts';

/** What a group does by itself, and when. */

export interface Timer {
  at: number;
  why: DueReason;
}

/** How long before the timeout the acknowledger is reminded, at most. */
const reminderLeadMs = 300_000;

/** What comes next; null: nothing comes by itself. */
export function nextTimer(draft: Draft): Timer | null {
  return timers(draft).reduce<Timer | null>((first, timer) => (first === null || timer.at < first.at ? timer : first), null);
}

/**
 * Of equal instants the first listed counts: the hard stop outranks all, and what was hidden comes after what was known. A
 * silence may have hidden that what a cooldown hides became worse: that is told first, or it would be told twice.
 */
function timers(draft: Draft): Timer[] {
  const { escalation, members, held } = draft.state;
  const muted = members.flatMap(({ firing, mutedUntil }) => (firing && mutedUntil !== null ? [mutedUntil] : []));
  return [
    ...(escalation === null ? [] : phaseTimers(draft, escalation.phase)),
    ...(held.length > 0 ? [{ at: Math.min(...held.map(({ until }) => until)), why: 'silence_end' } as const] : []),
    ...(muted.length > 0 ? [{ at: Math.min(...muted), why: 'cooldown_end' } as const] : []),
  ];
}

function phaseTimers(draft: Draft, phase: Phase): Timer[] {
  switch (phase.status) {
    case 'triggered': {
      const step: Timer = { at: phase.next.at, why: stepReason(phase.next) };
      return suspendedSince(phase) === null ? [{ at: hardStopAt(draft), why: 'hard_stop' }, step] : [step];
    }
    case 'acknowledged': {
      const hardStop: Timer = { at: hardStopAt(draft), why: 'hard_stop' };
      const { acknowledgementTimeoutMs: timeoutMs, acknowledgementReminder } = policyOf(draft);
      if (timeoutMs === null) return [hardStop];
      const timeout: Timer = { at: phase.timeoutFrom + timeoutMs, why: 'acknowledgement_timeout' };
      if (!acknowledgementReminder || phase.reminded) return [hardStop, timeout];
      return [hardStop, timeout, { at: timeout.at - Math.min(reminderLeadMs, timeoutMs / 2), why: 'acknowledgement_reminder' }];
    }
    case 'snoozed':
      return [
        { at: hardStopAt(draft), why: 'hard_stop' },
        { at: phase.until, why: 'snooze_end' },
      ];
    case 'exhausted':
      return [{ at: phase.since + policyOf(draft).hardStopMs, why: 'hard_stop' }];
    case 'resolved':
      return [];
  }
}

function stepReason(next: NextStep): DueReason {
  switch (next.kind) {
    case 'tier':
      return next.wait?.why ?? 'tier';
    case 'round':
      return 'round';
    case 'end':
      return 'last_round_over';
  }
}

/** Does what the timer stands for. One at a time: what is due after it is in the next plan. */
export function elapse(draft: Draft, { at: due, why }: Timer): void {
  switch (why) {
    case 'hard_stop':
      return stopHard(draft, due);
    case 'tier':
    case 'deferred_hours':
    case 'deferred_silence': {
      const { phase } = escalationOf(draft);
      if (phase.status === 'triggered' && phase.next.kind === 'tier') climbRound(draft, phase.next.tier, due, phase.next.reason);
      return;
    }
    case 'round':
      return repeatRound(draft, due);
    case 'last_round_over':
      return exhaust(draft, due);
    case 'acknowledgement_timeout':
      return restart(draft, 'ack_timeout', due);
    case 'acknowledgement_reminder':
      return remind(draft);
    case 'snooze_end':
      return restart(draft, 'snooze_end', due);
    case 'cooldown_end':
      return unmute(draft, due);
    case 'silence_end':
      releaseHeld(draft);
  }
}

/**
 * Does what the escalation itself has due by now, and tells whether there was anything. Not a hard stop that resolves it, nor what is due
 * after that: whoever asks need not hold the locks of the problems that it ends.
 */
export function elapseDue(draft: Draft): boolean {
  for (let hasElapsed = false; ; hasElapsed = true) {
    const timer = nextTimer(draft);
    if (timer === null || timer.at > draft.at || !isOwn(draft, timer)) return hasElapsed;
    elapse(draft, timer);
  }
}

function isOwn(draft: Draft, { why }: Timer): boolean {
  if (why === 'hard_stop') return exhaustsAtHardStop(draft);
  return why !== 'cooldown_end' && why !== 'silence_end';
}

function exhaustsAtHardStop(draft: Draft): boolean {
  const { status } = escalationOf(draft).phase;
  return status === 'triggered' || status === 'snoozed';
}

function stopHard(draft: Draft, due: number): void {
  if (exhaustsAtHardStop(draft)) exhaust(draft, due);
  else resolve(draft, 'expired');
}

function remind(draft: Draft): void {
  const { id: escalationId, phase, round, tier } = escalationOf(draft);
  const timeoutMs = policyOf(draft).acknowledgementTimeoutMs;
  if (phase.status !== 'acknowledged' || timeoutMs === null) return;
  enter(draft, { ...phase, reminded: true });
  const timeoutAt = phase.timeoutFrom + timeoutMs;
  // So late that the timeout itself is next: a reminder would only confuse.
  if (phase.userId === null || draft.at >= timeoutAt) return;
  const recipients = reach(draft, [{ kind: 'user', id: phase.userId }]);
  note(draft, 'acknowledgement_reminder');
  draft.effects.push({ kind: 'remind', escalationId, round, tier, userId: phase.userId, timeoutAt, recipients });
}
