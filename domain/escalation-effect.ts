import type { Target } from './escalation-policy.ts';
import type { Recipient } from './escalation-input.ts';
import type { EscalationStatus, FiringReason, GroupState, OpenReason, Plan, ResolveReason, RestartReason } from './escalation-state.ts';
import type { Severity } from './severity.ts';

/** What became of an input. */
export interface GroupStep {
  /** The same object when nothing was applied. */
  state: GroupState;
  /** To be carried out with the state, in one transaction. Not applied: timeline entries at most. */
  effects: Effect[];
  /** Null: the group waits for inputs alone. */
  plan: Plan | null;
  outcome: Outcome;
}

export type Outcome = 'applied' | 'noop' | { refused: RefusalCode };

export type RefusalCode =
  /** The command does not go with the escalation's state. */
  | 'wrong_state'
  /** The escalation is at another position than expected. */
  | 'tier_mismatch'
  | 'unknown_tier'
  | 'unknown_policy'
  /** The snooze would outlast the escalation. */
  | 'after_hard_stop'
  /** The policy asks for a stronger proof of who acknowledges. */
  | 'proof_too_weak';

/** All pages of an escalation are about it; a firing's pages are unique per (firing, recipient). */
export type Effect =
  | { kind: 'opened'; escalationId: string; previousId: string | null; policy: { id: string; version: number }; reason: OpenReason }
  | {
      kind: 'fire';
      escalationId: string;
      firing: number;
      round: number;
      tier: number;
      /** T: when it should have fired. */
      scheduledAt: number;
      /** So late that what follows is counted from the firing itself. */
      late: boolean;
      reason: FiringReason;
      severity: Severity;
      /** People among them, or behind them, are told in the app too. */
      targets: readonly Target[];
      /** Never empty, each once. */
      recipients: readonly Recipient[];
    }
  | {
      kind: 'fallback';
      escalationId: string;
      firing: number;
      round: number;
      tier: number;
      targets: readonly Target[];
      recipients: readonly Recipient[];
    }
  /** To the one who acknowledged, before the acknowledgement times out. */
  | {
      kind: 'remind';
      escalationId: string;
      round: number;
      tier: number;
      userId: string;
      timeoutAt: number;
      recipients: readonly Recipient[];
    }
  /** No page that has not begun may begin. */
  | { kind: 'cancel_pages'; escalationId: string; reason: CancelReason }
  /** Everyone told before, but the author of the change, learns of it. */
  | {
      kind: 'update';
      escalationId: string;
      change: UpdateChange;
      followUp: 'in_place' | 'all' | 'none';
      reason: RestartReason | ResolveReason | null;
    }
  /** An event of our own for webhooks and feeds. */
  | { kind: 'post'; escalationId: string; eventType: EscalationEventType; severity: Severity }
  /** The escalation gives these up; each that no other escalation holds is over. */
  | { kind: 'close_problems'; escalationId: string; keys: readonly string[] }
  | ({ kind: 'timeline' } & TimelineEntry);

export type CancelReason = 'cancelled_by_ack' | 'cancelled_by_resolve' | 'cancelled_by_snooze' | 'cancelled_by_reassign';
export type UpdateChange = 'acknowledged' | 'restarted' | 'resolved' | 'exhausted';
export type EscalationEventType =
  | 'escalation.triggered'
  | 'escalation.acknowledged'
  | 'escalation.snoozed'
  | 'escalation.resolved'
  | 'escalation.exhausted';

export interface TimelineEntry {
  what: TimelineKind;
  /** Null: the group has none yet. */
  escalationId: string | null;
  /** After what is told here; null with the escalation. */
  status: EscalationStatus | null;
  at: number;
  round: number;
  tier: number;
  firing: number;
  /** The code that says why, or how. */
  reason: string | null;
  /** Of the member that it is about. */
  key: string | null;
}

export type TimelineKind =
  | 'opened'
  | 'attached'
  | 'severity_raised'
  | 'member_resolved'
  /** A silence keeps a problem from the group. */
  | 'held'
  | 'acknowledged'
  /** An acknowledgement of what is acknowledged already: extended, or attached problems covered. */
  | 'acknowledged_again'
  | 'acknowledgement_reminder'
  | 'snoozed'
  | 'escalated'
  | 'reassigned'
  | 'rebased'
  | 'restarted'
  | 'tier_fired'
  | 'tier_skipped'
  | 'tier_deferred'
  | 'tier_unreachable'
  | 'late'
  | 'exhausted'
  | 'resolved'
  | 'noop'
  | 'refused'
  /** Nothing happened when it was due, and the watchdog told somebody. */
  | 'watchdog';
