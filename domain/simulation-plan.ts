import type { GroupCommand, Recipient } from './escalation-input.ts';
import type { TimelineEntry } from './escalation-effect.ts';
import type { AcknowledgementProof, EscalationPolicy } from './escalation-policy.ts';
import type { DueReason, EscalationStatus } from './escalation-state.ts';
import type { EscalationConfiguration } from './recipients.ts';
import type { Rule } from './rule.ts';
import type { Severity } from './severity.ts';
import type { SimulatedEvent } from './simulation-problems.ts';

/** What is supposed to happen. Instants are milliseconds after the start, ids UUIDs. */
export interface SimulationPlan {
  readonly startAt: number;
  readonly horizonMs: number;
  readonly events: ReadonlyArray<{ readonly afterMs: number; readonly event: SimulatedEvent }>;
  readonly actors: readonly PlannedCommand[];
  /** Whose messages are rejected, and how long after they were sent; all others arrive. */
  readonly rejections: ReadonlyArray<Pick<Recipient, 'kind' | 'id'> & { readonly afterMs: number }>;
}

export interface PlannedCommand {
  readonly afterMs: number;
  /** The place in `events` of an event that the escalation is about. */
  readonly event: number;
  readonly userId: string;
  readonly proof: AcknowledgementProof;
  readonly command: SimulatedCommand;
}

/** A command whose instants are relative. `expected` null: the position that the escalation has then. */
export type SimulatedCommand =
  | Exclude<GroupCommand, { name: 'escalate' | 'snooze' }>
  | { name: 'escalate'; expected: { round: number; tier: number } | null; toTier: number | null }
  | { name: 'snooze'; forMs: number };

/** What production would find: read once, asked at virtual instants. */
export interface SimulationFacts {
  /** Simulated as if it were enabled. */
  readonly policy: EscalationPolicy;
  /** Other versions of it, for a rebase. */
  readonly versions: readonly EscalationPolicy[];
  readonly rules: readonly Rule[];
  readonly configuration: EscalationConfiguration;
  readonly problemTtlMs: number;
}

/** Escalations are numbered from 1 in the order of their opening, events by their places in the plan. Instants are Unix milliseconds. */
export interface PolicySimulation {
  /** What became of each event, in the order of their instants. */
  verdicts: Array<{ event: number; at: number; verdict: 'escalate' | 'suppress' | 'resolve' | 'none'; reason: string }>;
  messages: SimulatedPage[];
  timeline: SimulatedEntry[];
  final: SimulatedEscalation[];
  /** Of the reducer; the most are `mostSteps`. */
  steps: number;
}

export interface SimulatedPage {
  at: number;
  kind: 'page' | 'fallback' | 'reminder';
  escalation: number;
  round: number;
  tier: number;
  /** Null: of none. */
  firing: number | null;
  recipient: Recipient;
  /** Null: it arrives. */
  rejectedAt: number | null;
}

export interface SimulatedEntry {
  at: number;
  kind: TimelineEntry['what'];
  escalation: number | null;
  status: EscalationStatus | null;
  round: number;
  tier: number;
  firing: number;
  reason: string | null;
  /** The event that brought the member that the entry is about. */
  event: number | null;
  /** Of a command. */
  by: { userId: string | null; proof: AcknowledgementProof } | null;
}

export interface SimulatedEscalation {
  escalation: number;
  status: EscalationStatus;
  severity: Severity;
  round: number;
  tier: number;
  dueAt: number | null;
  why: DueReason | null;
  openedAt: number;
  events: number[];
}
