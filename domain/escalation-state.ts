import type { Target } from './escalation-policy.ts';
import type { Severity } from './severity.ts';

/**
 * What is stored of an escalation group: all problems of one policy with one group key, and the escalation that is about them.
 * Plain JSON; ids are UUIDs, instants Unix milliseconds. Only `stepGroup` makes a new one.
 */
export interface GroupState {
  policyId: string;
  /** Inputs applied so far. Whoever acts on an older one (a timer, a page) acts on what is no longer so. */
  version: number;
  /** The newest; it stays after its end, for the cooldown may outlive it. */
  escalation: Escalation | null;
  /** Of the newest escalation, also those that have ended. */
  members: readonly Member[];
  held: readonly HeldProblem[];
  cooldown: Cooldown | null;
}

export interface Escalation {
  id: string;
  /** The one whose cooldown hid the problems that this one began with. */
  previousId: string | null;
  phase: Phase;
  openedAt: number;
  /** The worst that any member ever had: only what is above it is news to those who know of the escalation. */
  severity: Severity;
  /** The version of the group's policy that was pinned at the opening: whatever the climb runs on later, the cooldown is its. */
  homeVersion: number;
  snapshot: Snapshot;
  /** T0: when tier 1 is first due. */
  t0: number;
  /** The hard stop is this plus the policy's length of it: T0, moved by what suspends it. */
  hardStopFrom: number;
  /** When it last began anew, or T0 once it was exhausted; null: the first climb goes on. */
  restartedAt: number | null;
  /** From 1. */
  round: number;
  /** S(round), once a tier of it has fired. */
  roundStartedAt: number;
  /** Rounds that the policy's `repeat` began in this climb. */
  repeats: number;
  /** The last tier that fired in this round, from 1; 0: none yet. With `round` this is the position that commands expect. */
  tier: number;
  /** T of the last tier that fired; null before the first. */
  firedAt: number | null;
  /** Firings so far, fallbacks included: their numbers are unique within the escalation. */
  firing: number;
}

/** The configuration that an escalation runs on, pinned until somebody rebases or reassigns it. */
export interface Snapshot {
  readonly policyId: string;
  readonly version: number;
  /** Version by id of the calendars that the policy names. */
  readonly calendars: Readonly<Record<string, number>>;
  /** Instead of the policy's tiers: one, after a reassignment to targets. */
  readonly only: { readonly targets: readonly Target[]; readonly timeoutMs: number } | null;
}

export type EscalationStatus = Phase['status'];

/** The state of an escalation with what only that state has. Only `resolved` is final. */
export type Phase =
  | { readonly status: 'triggered'; readonly next: NextStep }
  | {
      readonly status: 'acknowledged';
      readonly since: number;
      /** The acknowledgement timeout runs from here: `since`, or the last extension. */
      readonly timeoutFrom: number;
      /** Who is reminded of it; null: not a person. */
      readonly userId: string | null;
      readonly reminded: boolean;
    }
  | { readonly status: 'snoozed'; readonly since: number; readonly until: number }
  | { readonly status: 'exhausted'; readonly since: number }
  | { readonly status: 'resolved'; readonly since: number; readonly reason: ResolveReason };

/** What a triggered escalation waits for. */
export type NextStep =
  | {
      readonly kind: 'tier';
      /** From 1; the first of this tier and those after it that reaches anybody fires. */
      readonly tier: number;
      readonly at: number;
      readonly reason: FiringReason;
      /** Why it did not fire when it was due, and since when it waits. */
      readonly wait: { readonly why: WaitReason; readonly since: number } | null;
    }
  /** S of the next round. */
  | { readonly kind: 'round'; readonly at: number }
  /** E of the last round. */
  | { readonly kind: 'end'; readonly at: number };

export type WaitReason = 'deferred_hours' | 'deferred_silence';

export type RestartReason =
  | 'manual'
  | 'provider'
  | 'ack_timeout'
  | 'snooze_end'
  | 'severity_raised'
  | 'new_after_cooldown'
  | 'new_problem'
  /** A problem that the cooldown or a silence hid is still there at its end. */
  | 'unmuted'
  | 'escalate'
  | 'reassign';

export type OpenReason = 'opened' | 'unmuted' | 'severity_raised';
export type FiringReason = OpenReason | RestartReason | 'timeout' | 'repeat' | 'tier_unreachable';
export type ResolveReason = 'members_resolved' | 'manual' | 'expired';

/** A problem or an occurrence that the escalation is about. One that a step does not change is the same object afterwards. */
export interface Member {
  readonly key: string;
  readonly kind: MemberKind;
  readonly severity: Severity;
  readonly firing: boolean;
  readonly attached: Attachment;
  /** Nobody was told of it and, if it is still firing then, the escalation begins anew. Null: there is nothing to make up for. */
  readonly mutedUntil: number | null;
}

/** An occurrence never resolves: only a command ends its membership. */
export type MemberKind = 'problem' | 'occurrence';
export type Attachment = 'opened' | 'grouped' | 'cooldown' | 'snoozed';

/** What a silence keeps from the group; it is no member. When the silence ends it comes as if it were new. */
export interface HeldProblem {
  readonly key: string;
  readonly severity: Severity;
  readonly until: number;
}

/** After an acknowledgement, in [from, until), problems of the group page nobody. */
export interface Cooldown {
  readonly from: number;
  readonly until: number;
  /** Whose acknowledgement it was. */
  readonly escalationId: string;
}

export type DueReason =
  | 'hard_stop'
  | 'tier'
  | WaitReason
  | 'round'
  | 'last_round_over'
  | 'acknowledgement_timeout'
  | 'acknowledgement_reminder'
  | 'snooze_end'
  | 'cooldown_end'
  | 'silence_end';

/** The next instant at which the group does something by itself. */
export interface Plan {
  dueAt: number;
  why: DueReason;
  /** The group's. */
  version: number;
}

/** A group that nothing happened to yet. */
export function emptyGroup(policyId: string): GroupState {
  return { policyId, version: 0, escalation: null, members: [], held: [], cooldown: null };
}
