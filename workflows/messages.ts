import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';

/**
 * The contract between workflows and those who start, signal and query them. Names and shapes live in histories: they never change,
 * new ones are added. Imports nothing but the SDK, so that the API loads no workflow code.
 */

export const taskQueues = {
  /** Workflows, local activities, short database activities. */
  main: 'tocsin',
  /** Sweeps and other long jobs: they must not take slots from deliveries. */
  jobs: 'tocsin-jobs',
  /** Channel I/O, a queue per channel type: one type that hangs holds no other. */
  channel: (channelType: string): string => `tocsin-ch-${channelType}`,
} as const;

export const workflowTypes = {
  deliver: 'deliver',
  destinationTest: 'destinationTest',
  sweepDeliveries: 'sweepDeliveries',
  escalation: 'escalation',
  silence: 'silence',
  notificationGroup: 'notificationGroup',
} as const;

export const workflowIds = {
  deliver: (runId: string): string => `deliver:${runId}`,
  destinationTest: (testId: string): string => `test:${testId}`,
  escalation: (escalationId: string): string => `esc:${escalationId}`,
  silence: (silenceId: string): string => `sil:${silenceId}`,
  notificationGroup: (groupId: string): string => `grp:${groupId}`,
} as const;

/** Ids only: deliveries are rows, and what a row says may change while the workflow waits. */
export interface DeliverInput {
  runId: string;
  organizationId: string;
  destinationId: string;
  channelType: string;
}

export interface DeliverResult {
  delivered: number;
  failed: number;
  cancelled: number;
}

/** "The rows changed, look again." Carries nothing: a lost or doubled signal is harmless. */
export const wake = defineSignal('wake');

/** What one step of a run made of its rows; the counts are of what ended since the step before, `open` are the deliveries (UUIDs) that did not. */
export type AttemptAnswer =
  | ({ kind: 'done' } & DeliverResult)
  | ({ kind: 'wait'; ms: number; summary: string; state: RunState; details: string; open: readonly string[] } & DeliverResult)
  /** Not begun: this attempt belongs in an activity of the channel's own queue. */
  | { kind: 'slow' };

/** How far a run has come when its history is full and it goes on with an empty one. */
export interface DeliverProgress {
  settled: DeliverResult;
  open: readonly string[];
  shown: RunState;
}

/** The worst state among the open members of a run, for the search attribute. */
export type RunState = 'in_flight' | 'retrying' | 'held';

/** Search attributes that this code writes; temporal/search-attributes.ts registers them. */
export const searchAttributes = {
  organization: defineSearchAttributeKey('TocsinOrg', SearchAttributeType.KEYWORD),
  destination: defineSearchAttributeKey('TocsinDestination', SearchAttributeType.KEYWORD),
  channelType: defineSearchAttributeKey('TocsinChannelType', SearchAttributeType.KEYWORD),
  eventType: defineSearchAttributeKey('TocsinEventType', SearchAttributeType.KEYWORD),
  state: defineSearchAttributeKey('TocsinState', SearchAttributeType.KEYWORD),
  policy: defineSearchAttributeKey('TocsinPolicy', SearchAttributeType.KEYWORD),
  severity: defineSearchAttributeKey('TocsinSeverity', SearchAttributeType.KEYWORD),
  tier: defineSearchAttributeKey('TocsinTier', SearchAttributeType.INT),
  dueAt: defineSearchAttributeKey('TocsinDueAt', SearchAttributeType.DATETIME),
} as const;

/** How far a sweep has come. */
export interface SweepInput {
  deleted: number;
  emptied: number;
}

export interface SweepResult extends SweepInput {
  more: boolean;
}

export interface DestinationTestInput {
  /** UUIDs. */
  testId: string;
  organizationId: string;
  /** `contact`: `destinationId` is the row of a verification code, which is made, and sent to its contact method. */
  kind: 'webhook' | 'channel' | 'contact';
  destinationId: string;
  channelType: string;
}

export interface EscalationInput {
  /** UUIDs. */
  organizationId: string;
  escalationId: string;
}

/** "The row of the escalation, or of the group, has this version now, look again." A lost, doubled or late signal is harmless. */
export const changed = defineSignal<[{ version: number }]>('changed');

/** What an on-call tool or an operator sends. `requestId` makes a repetition harmless; the actor is a claim, recorded as one. */
export interface EscalationRequest {
  requestId: string;
  actor: string;
  note?: string;
}

export const acknowledge = defineSignal<[EscalationRequest]>('acknowledge');
export const resolve = defineSignal<[EscalationRequest]>('resolve');

export type EscalationCommand = EscalationRequest & { command: 'acknowledge' | 'resolve' };

/** The same with an answer; the update's id SHOULD be the request's. */
export const command = defineUpdate<EscalationCommandAnswer, [EscalationCommand]>('command');

/** `refused`: an error code of the API. */
export type EscalationCommandAnswer = { state: EscalationView['state']; version: number; already: boolean } | { refused: string };

/** For an operator who looks at one escalation. */
export const plan = defineQuery<EscalationView | undefined>('plan');

export interface EscalationView {
  state: 'triggered' | 'acknowledged' | 'snoozed' | 'exhausted' | 'resolved';
  version: number;
  severity: string;
  round: number;
  tier: number;
  /** RFC 3339; null: nothing is due. */
  dueAt: string | null;
  /** What it waits for, in a few words. */
  why: string;
}

/** What an escalation's row says after what was due has been done. */
export type EscalationStep =
  | { kind: 'ended'; state: EscalationView['state'] }
  /** `details` is Markdown for the Temporal Web UI. */
  | { kind: 'wait'; ms: number | null; view: EscalationView; summary: string; details: string };

export interface SilenceInput {
  /** UUIDs. */
  organizationId: string;
  silenceId: string;
}

/** "The silence was changed, look again." A lost, doubled or late signal is harmless. */
export const silenceChanged = defineSignal('silenceChanged');

/** What a silence's row says after what was due has been done. */
export type SilenceStep = { kind: 'ended' } | { kind: 'wait'; ms: number; dueAt: string; summary: string; details: string };

export interface NotificationGroupInput {
  /** UUIDs. */
  organizationId: string;
  groupId: string;
}

/** What a group's row says after the tick that was due has been run; `ms` null: nothing happens by itself. */
export type NotificationGroupStep =
  | { kind: 'ended' }
  | { kind: 'wait'; ms: number | null; version: number; dueAt: string | null; summary: string; details: string };
