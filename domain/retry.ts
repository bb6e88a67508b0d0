/** When a delivery is tried again. Pure: the clock and the random fraction are arguments. */

/** `standard` is a configured list of delays, `urgent` and `none` are fixed, `custom` is the destination's own. */
export type RetryPolicy =
  | { readonly kind: 'standard' | 'urgent' | 'none' }
  | { readonly kind: 'custom'; readonly delaysSeconds: readonly number[] };

export interface RetryConfiguration {
  /** Seconds before attempt 1, 2, ... of the standard policy; one attempt per entry. */
  readonly standardSeconds: readonly number[];
  /** The least that jitter's upper bound can be, in milliseconds. */
  readonly jitterMinMs: number;
  /** The least wait after a 429 that names none, in milliseconds. */
  readonly rateLimitedWaitMs: number;
}

/** 0, 1, 5, 15, 60, 240 min: one attempt and five retries, the last 321 min after the first. */
export const defaultRetryConfiguration: RetryConfiguration = {
  standardSeconds: [0, 60, 300, 900, 3_600, 14_400],
  jitterMinMs: 2_000,
  rateLimitedWaitMs: 60_000,
};

const urgentSeconds: readonly number[] = [0, 10, 30, 60, 300, 900];
const noRetrySeconds: readonly number[] = [0];

/**
 * The policy of a page: what calls somebody cannot keep to a schedule that is made for news. A channel's own (`none`, `custom`) stays, and so
 * does whatever a webhook has.
 */
export function pagePolicy(kind: 'webhook' | 'channel', policy: RetryPolicy): RetryPolicy {
  return kind === 'channel' && policy.kind === 'standard' ? { kind: 'urgent' } : policy;
}

/** The largest jitter, and the longest wait that a receiver's Retry-After can ask for, in milliseconds. */
const jitterMaxMs = 900_000;
const retryAfterMaxMs = 14_400_000;

/** Seconds to wait before each attempt; its length is the number of attempts. */
export function delaysSeconds(policy: RetryPolicy, configuration: RetryConfiguration): readonly number[] {
  switch (policy.kind) {
    case 'standard':
      return configuration.standardSeconds;
    case 'urgent':
      return urgentSeconds;
    case 'none':
      return noRetrySeconds;
    case 'custom':
      return policy.delaysSeconds;
  }
}

/** What is added to a delay: never negative, so a retry is never early, and nothing for a delay of 0. `u` is 0 <= u < 1. */
export function jitterMs(delayMs: number, u: number, jitterMinMs: number): number {
  if (delayMs === 0) return 0;
  return u * Math.min(jitterMaxMs, Math.max(jitterMinMs, 0.1 * delayMs));
}

/**
 * Due times are rounded up to a multiple of this, so that deliveries of one run that failed together are due together and share a timer.
 * Delays under a second (shortened schedules) are not stretched beyond twice their length.
 */
export function roundingStepMs(delayMs: number): number {
  return Math.min(delayMs, Math.min(60_000, Math.max(1_000, 0.05 * delayMs)));
}

/** The instant (Unix ms) `delayMs` and its jitter after `nowMs`, rounded up to the step of that delay; `nowMs` itself for a delay of 0. */
export function dueAtMs(delayMs: number, nowMs: number, u: number, jitterMinMs: number): number {
  if (delayMs <= 0) return nowMs;
  const step = roundingStepMs(delayMs);
  return Math.ceil(Math.ceil((nowMs + delayMs + jitterMs(delayMs, u, jitterMinMs)) / step) * step);
}

/** The date forms of RFC 9110 section 5.6.7. Date.parse alone would also take "1", "2026" and dates without a zone. */
const httpDate = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*, .+ GMT$/;
const ascTime = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$/;

/**
 * A Retry-After header (RFC 9110 section 10.2.3) as milliseconds from `nowMs`: integer or decimal seconds, or an HTTP-date.
 * @returns undefined for anything else, negative numbers included; 0 for a past date; at most `retryAfterMaxMs`
 */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  const text = value?.trim();
  if (text === undefined || text === '') return undefined;
  if (/^\d+(?:\.\d+)?$/.test(text)) return Math.min(retryAfterMaxMs, Math.ceil(Number(text) * 1_000));
  const atMs = httpDate.test(text) ? Date.parse(text) : ascTime.test(text) ? Date.parse(`${text} GMT`) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : Math.min(retryAfterMaxMs, Math.max(0, atMs - nowMs));
}

export interface NextAttemptInput {
  readonly policy: RetryPolicy;
  readonly configuration: RetryConfiguration;
  /** Index, in the policy's delays, of the attempt to be made. */
  readonly schedulePos: number;
  /** When the last attempt ended, or when the delivery was accepted. */
  readonly nowMs: number;
  readonly u: number;
  /** What the receiver asked for; read with `parseRetryAfter`. */
  readonly retryAfterMs?: number | undefined;
}

export interface NextAttempt {
  readonly atMs: number;
  /** From `nowMs`. */
  readonly delayMs: number;
}

/**
 * When the attempt at `schedulePos` is made; undefined when the policy has no such attempt.
 * The receiver's own wait can only make it later, and is kept to the millisecond: it is this delivery's, not its run's.
 */
export function nextAttempt(input: NextAttemptInput): NextAttempt | undefined {
  const delay = delaysSeconds(input.policy, input.configuration)[input.schedulePos];
  if (delay === undefined) return undefined;
  const scheduledMs = dueAtMs(delay * 1_000, input.nowMs, input.u, input.configuration.jitterMinMs);
  const askedMs = input.nowMs + Math.min(retryAfterMaxMs, input.retryAfterMs ?? 0);
  const atMs = Math.max(scheduledMs, askedMs);
  return { atMs, delayMs: atMs - input.nowMs };
}
