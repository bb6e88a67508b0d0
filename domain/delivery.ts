import { nextAttempt, type RetryConfiguration, type RetryPolicy } from './retry.ts';

export const deliveryStates = ['pending', 'in_flight', 'retrying', 'held', 'delivered', 'failed', 'cancelled'] as const;
export type DeliveryState = (typeof deliveryStates)[number];

/** States in which nothing more happens by itself. */
export const terminalStates = ['delivered', 'failed', 'cancelled'] as const satisfies readonly DeliveryState[];

export function isTerminal(state: DeliveryState): boolean {
  return terminalStates.some((terminal) => terminal === state);
}

/** How one attempt ended, in the terms of the retry policy. */
export type Outcome = 'delivered' | 'retryable' | 'rejected';

export const deliveryErrorCodes = [
  // the receiver answered
  'http_4xx',
  'http_5xx',
  'redirect_refused',
  'rate_limited',
  'gone',
  'payload_too_large',
  'aborted_by_receiver',
  'receiver_request',
  'provider_error',
  'message_rejected',
  'auth_failed',
  'destination_gone',
  'smtp_4yz',
  'smtp_5yz',
  // delivered, but not to everybody
  'partial',
  // it did not come to an answer
  'protocol_error',
  'dns_error',
  'connect_refused',
  'connect_timeout',
  'tls_error',
  'reset',
  'timeout',
  'blocked_address',
  'proxy_error',
  'interrupted',
  // nothing could be sent
  'secret_unavailable',
  'config_invalid',
  'render_failed',
] as const;
export type DeliveryErrorCode = (typeof deliveryErrorCodes)[number];

/** What an adapter makes of an answer, or of its absence. */
export interface Classification {
  readonly outcome: Outcome;
  readonly errorCode?: DeliveryErrorCode | undefined;
  /** For people; already free of secrets as far as Tocsin wrote it. */
  readonly detail?: string | undefined;
  /** The receiver's own wish; only on `retryable`. */
  readonly retryAfterMs?: number | undefined;
  /** What the fault says about later messages to the same destination. */
  readonly scope?: 'message' | 'destination' | 'auth' | undefined;
  /** The receiver wants nothing more: the destination is switched off with this reason and its open deliveries are cancelled. */
  readonly disableDestination?: 'gone' | 'receiver_request' | undefined;
  /** An answer may have been lost: the receiver may have the message already. */
  readonly possibleDuplicate?: boolean | undefined;
  /** The failure was not the message's: its place in the schedule is kept, within the bounds of `settleAttempt`. */
  readonly sparesSchedule?: boolean | undefined;
  /** What the provider needs to find the message again; replaces the stored one. */
  readonly providerRef?: Readonly<Record<string, unknown>> | undefined;
}

/** What a person can do to a delivery; `force` sends again what was delivered. */
export type DeliveryChange = { readonly kind: 'cancel' } | { readonly kind: 'retry'; readonly force: boolean };

/** Why a change is refused, as the API answers it. */
export type RefusedChange = 'delivery_in_flight' | 'already_delivered' | 'wrong_state';

/**
 * What a person's change makes of a delivery. Attempts change states too: those are begun and finished by statements that are conditional
 * on the state they follow, with what `settleAttempt` decides.
 */
export function nextState(from: DeliveryState, change: DeliveryChange): { to: DeliveryState } | { refused: RefusedChange } {
  if (from === 'in_flight') return { refused: 'delivery_in_flight' };
  switch (change.kind) {
    case 'cancel':
      return isTerminal(from) ? { refused: 'wrong_state' } : { to: 'cancelled' };
    case 'retry':
      return from === 'delivered' && !change.force ? { refused: 'already_delivered' } : { to: 'pending' };
  }
}

/**
 * Failures that keep their place in the schedule do so this often in a cycle before they count like any other: interruptions, and
 * waits for a provider's limit or our proxy, these also no longer than this after the delivery was accepted. So every delivery ends.
 */
const sparedInterruptions = 3;
const sparedWaits = 20;
const sparedWaitMs = 6 * 3_600_000;

/** A delivery as it stands when its attempt ends. Counters are those of the cycle. */
export interface DeliveryProgress {
  /** Index in the policy's delays of the attempt that ended. */
  readonly schedulePos: number;
  readonly interruptions: number;
  /** Waits that kept the place in the schedule. */
  readonly rateLimits: number;
  readonly acceptedAtMs: number;
  /** Somebody asked for cancelling while the attempt was under way. */
  readonly cancelRequested: boolean;
}

export interface SettleInput {
  readonly progress: DeliveryProgress;
  /** `not_sent`: the attempt was begun but never left; nothing is consumed. */
  readonly result: Classification | { readonly outcome: 'not_sent' };
  readonly policy: RetryPolicy;
  readonly configuration: RetryConfiguration;
  /** 0 <= u < 1, from `jitterFraction`. */
  readonly u: number;
  /** When the attempt ended. */
  readonly nowMs: number;
}

/** Named reasons for what follows an attempt; they reach the row, the log line and the timer's summary. */
export type SettleReason =
  | 'delivered'
  | 'retry_scheduled'
  | 'retry_after'
  | 'rate_limited'
  | 'proxy_error'
  | 'interrupted'
  | 'not_sent'
  | 'schedule_exhausted'
  | 'rejected'
  | 'cancel_requested';

interface Counters {
  readonly reason: SettleReason;
  readonly schedulePos: number;
  readonly interruptions: number;
  readonly rateLimits: number;
  readonly scheduleConsumed: boolean;
}

export type Settlement =
  | (Counters & { readonly state: 'delivered' | 'failed' | 'cancelled' })
  | (Counters & { readonly state: 'retrying'; readonly nextAttemptAtMs: number; readonly nextDelayMs: number });

/** What becomes of a delivery after an attempt. Delivered wins over a wish to cancel; everything else yields to it. */
export function settleAttempt({ progress, result, policy, configuration, u, nowMs }: SettleInput): Settlement {
  const { schedulePos, interruptions, rateLimits } = progress;
  const kept = { schedulePos, interruptions, rateLimits, scheduleConsumed: false };
  const consumed = { ...kept, scheduleConsumed: true };

  if (result.outcome === 'delivered') return { ...consumed, state: 'delivered', reason: 'delivered' };
  if (progress.cancelRequested) return { ...consumed, state: 'cancelled', reason: 'cancel_requested' };
  if (result.outcome === 'not_sent') return { ...kept, state: 'retrying', reason: 'not_sent', nextAttemptAtMs: nowMs, nextDelayMs: 0 };
  if (result.outcome === 'rejected') return { ...consumed, state: 'failed', reason: 'rejected' };

  const askedMs = result.retryAfterMs ?? (result.errorCode === 'rate_limited' ? configuration.rateLimitedWaitMs : undefined);
  const spared = result.sparesSchedule === true ? spare(progress, result, nowMs, askedMs ?? configuration.rateLimitedWaitMs) : undefined;
  if (spared !== undefined) return spared;

  const next = nextAttempt({ policy, configuration, schedulePos: schedulePos + 1, nowMs, u, retryAfterMs: askedMs });
  if (next === undefined) return { ...consumed, state: 'failed', reason: 'schedule_exhausted' };
  return {
    ...consumed,
    state: 'retrying',
    reason: askedMs !== undefined && next.delayMs === askedMs ? 'retry_after' : 'retry_scheduled',
    schedulePos: schedulePos + 1,
    nextAttemptAtMs: next.atMs,
    nextDelayMs: next.delayMs,
  };
}

/** The next attempt of a delivery that keeps its place in the schedule; undefined when it has kept it often or long enough. */
function spare(progress: DeliveryProgress, { errorCode }: Classification, nowMs: number, waitMs: number): Settlement | undefined {
  const { schedulePos, interruptions, rateLimits, acceptedAtMs } = progress;
  const kept = { state: 'retrying', schedulePos, interruptions, rateLimits, scheduleConsumed: false } as const;
  if (errorCode === 'rate_limited' || errorCode === 'proxy_error') {
    if (rateLimits >= sparedWaits || nowMs - acceptedAtMs >= sparedWaitMs) return undefined;
    return { ...kept, reason: errorCode, rateLimits: rateLimits + 1, nextAttemptAtMs: nowMs + waitMs, nextDelayMs: waitMs };
  }
  if (interruptions >= sparedInterruptions) return undefined;
  return { ...kept, reason: 'interrupted', interruptions: interruptions + 1, nextAttemptAtMs: nowMs, nextDelayMs: 0 };
}

/** A page that is not due again within this long is as good as lost. */
const failingAfterMs = 60_000;

/**
 * Whether a page, after an attempt, will not reach anybody soon, so that somebody else has to be paged: refused, tried twice in vain, or not
 * due again within a minute, whatever holds it. It is tried on all the same.
 */
export function isPageFailing(
  outcome: Outcome | 'not_sent',
  next: { readonly state: DeliveryState; readonly attemptCount: number; readonly nextAttemptAt: number | null },
  nowMs: number,
): boolean {
  switch (outcome) {
    case 'delivered':
    case 'not_sent':
      return false;
    case 'rejected':
      return true;
    case 'retryable':
      return next.nextAttemptAt === null || next.attemptCount >= 2 || next.nextAttemptAt - nowMs > failingAfterMs;
  }
}

/** What is recorded for an attempt whose worker died: the answer, if there was one, is lost. */
export const interruptedAttempt: Classification = {
  outcome: 'retryable',
  errorCode: 'interrupted',
  detail: 'The worker ended before the answer was recorded.',
  possibleDuplicate: true,
  sparesSchedule: true,
};

/** `http_503` where a status is known, else the code: for timer summaries and lists. */
export function describeFailure(errorCode: DeliveryErrorCode | null, statusCode: number | null): string {
  if (statusCode !== null && (errorCode === 'http_4xx' || errorCode === 'http_5xx')) return `http_${statusCode}`;
  return errorCode ?? 'unknown';
}
