import type { Calendar } from './calendar.ts';
import type { AcknowledgementProof, EscalationPolicy, Target } from './escalation-policy.ts';
import type { RestartReason } from './escalation-state.ts';
import type { Severity } from './severity.ts';

/** Everything that can happen to a group. Commands and pages name their escalation: the group may be at a newer one by then. */
export type GroupInput =
  /** A problem was opened, or an open one is worse than it ever was. Duplicates need not come here; they change nothing. */
  | { kind: 'problem'; key: string; severity: Severity }
  | { kind: 'occurrence'; key: string; severity: Severity }
  /** Also for a problem that expired, before the one that takes its place. */
  | { kind: 'problem_resolved'; key: string }
  | { kind: 'command'; escalationId: string; command: GroupCommand; by: CommandAuthor }
  /** What the plan of this version waits for. A stale one, or one before its time, changes nothing. */
  | { kind: 'due'; version: number }
  /** No page of this firing will reach anybody outside the app soon: rejected, tried twice in vain, or held. */
  | { kind: 'firing_failing'; escalationId: string; firing: number }
  /** Silences were made, changed or cancelled. */
  | { kind: 'silences_changed' };

export type GroupCommand =
  /** `extend`: of one acknowledged already, the timeout runs from now. */
  | { name: 'acknowledge'; extend: boolean }
  | { name: 'unacknowledge' }
  /** Refused when the escalation is no longer at `expected`, so that two presses advance one tier. Tiers from 1; null: the next. */
  | { name: 'escalate'; expected: { round: number; tier: number }; toTier: number | null }
  | { name: 'snooze'; until: number }
  | { name: 'reassign'; to: { policyId: string } | { targets: readonly Target[] } }
  /** To a version of the policy that it runs on. */
  | { name: 'rebase'; version: number }
  | { name: 'resolve' };

export interface CommandAuthor {
  /** Null: not a person (a service account, an integration). */
  userId: string | null;
  proof: AcknowledgementProof;
}

/**
 * What the reducer cannot know by itself, all of it as of the instant of the step. Lookups MUST NOT wait and MUST answer alike for the
 * length of a step, so the caller loads before it steps.
 */
export interface EscalationFacts {
  /** Null as version: the newest. Undefined: there is none; for what a state has pinned there MUST be one. */
  policy: (id: string, version: number | null) => EscalationPolicy | undefined;
  calendar: (id: string, version: number | null) => Calendar | undefined;
  /** Whom the target reaches outside the app. */
  recipients: (target: Target) => readonly Recipient[];
  /** The first instant at which the member is no longer silenced, later than now; null: it is not. */
  silencedUntil: (key: string) => number | null;
  newId: (at: number) => string;
}

/** Where one page goes: a person's contact method, a channel or a webhook. */
export interface Recipient {
  kind: 'contact' | 'channel' | 'webhook';
  id: string;
  /** Whose contact method it is. */
  userId: string | null;
}

/** Why an acknowledgement ends by itself or by a person, of which the provider's is one too. */
export function unacknowledgedBy({ proof }: CommandAuthor): RestartReason {
  return proof === 'provider_signature' || proof === 'provider_unsigned' ? 'provider' : 'manual';
}
