import type { Classification } from './delivery.ts';
import type { HttpResponse, OutboundResponse, TransportFault } from './outbound.ts';
import { parseRetryAfter } from './retry.ts';
import { matchesEventType } from './rule.ts';

/** Field rules of a webhook; the schemas at the edge read them from here. */
export const webhookRules = {
  urlBytes: 2_048,
  eventTypes: { min: 1, max: 100 },
  projectIds: { max: 100 },
  timeoutSeconds: { min: 1, max: 30, default: 15 },
  maxInFlight: { min: 1, max: 100, default: 20 },
  customDelays: { min: 1, max: 12, maxSeconds: 86_400 },
  rotationGraceSeconds: { max: 604_800, default: 86_400 },
  previousSecrets: 10,
} as const;

const patternSyntax = /^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*){0,3}(?:\.\*)?$/;

/** Whether it is written like an exact type, `alert.*`, or `*`. */
export function isPatternSyntax(pattern: string): boolean {
  return pattern === '*' || patternSyntax.test(pattern);
}

/** Whether a webhook may name this: an exact type, `alert.*`, or `*`; and it can match one of `knownTypes`. */
export function isEventTypePattern(pattern: string, knownTypes: Iterable<string>): boolean {
  if (pattern === '*') return true;
  if (!patternSyntax.test(pattern)) return false;
  for (const type of knownTypes) if (matchesEventType(pattern, type)) return true;
  return false;
}

/** An old secret that goes on signing until it expires, so that receivers can change theirs meanwhile. */
export interface PreviousSecret {
  readonly secret: string;
  readonly expiresAtMs: number;
}

/** The old secrets that still sign at `nowMs`, newest first as stored. Expiry is decided when signing, not by a sweep. */
export function liveSecrets<Previous extends { readonly expiresAtMs: number }>(previous: readonly Previous[], nowMs: number): Previous[] {
  return previous.filter(({ expiresAtMs }) => expiresAtMs > nowMs);
}

export interface RotateSecretInput {
  /** null: unsigned until now. */
  readonly current: string | null;
  /** Newest first. */
  readonly previous: readonly PreviousSecret[];
  readonly graceSeconds: number;
  readonly nowMs: number;
}

/** The old secrets to keep when a new one takes over, newest first. A grace of 0 drops all of them at once. */
export function retireSecret({
  current,
  previous,
  graceSeconds,
  nowMs,
}: RotateSecretInput): PreviousSecret[] | { fault: 'too_many_secrets' } {
  if (graceSeconds === 0) return [];
  const kept = liveSecrets(previous, nowMs);
  if (current !== null) kept.unshift({ secret: current, expiresAtMs: nowMs + graceSeconds * 1_000 });
  return kept.length > webhookRules.previousSecrets ? { fault: 'too_many_secrets' } : kept;
}

export interface WebhookClassificationInput {
  /** False: client errors that repeat will not cure are rejected at once. */
  readonly retryClientErrors: boolean;
  readonly nowMs: number;
}

/**
 * Judges the answer of a webhook endpoint. Total: every status and every fault has exactly one row here.
 * The status line decides; a body is never read for it.
 */
export function classifyWebhook(response: OutboundResponse, { retryClientErrors, nowMs }: WebhookClassificationInput): Classification {
  switch (response.kind) {
    case 'fault':
      return classifyFault(response);
    case 'http':
      return classifyAnswer(response, retryClientErrors, nowMs);
    case 'smtp':
      throw new Error('An SMTP session cannot answer a webhook');
  }
}

function classifyAnswer(response: HttpResponse, retryClientErrors: boolean, nowMs: number): Classification {
  const { status } = response;
  const wish = headerValue(response, 'webhook-delivery')?.trim().toLowerCase();
  const disable = wish === 'disable' ? ({ disableDestination: 'receiver_request' } as const) : {};
  if (isSuccess(status)) return { outcome: 'delivered', ...disable };
  if (!isFinalStatus(status)) return { outcome: 'retryable', errorCode: 'protocol_error', detail: `status ${status}` };
  const detail = `the receiver answered ${status}`;
  if (wish === 'disable') return { outcome: 'rejected', errorCode: 'receiver_request', detail, scope: 'destination', ...disable };
  if (wish === 'abort-message') return { outcome: 'rejected', errorCode: 'aborted_by_receiver', detail, scope: 'message' };
  if (status === 410) return { outcome: 'rejected', errorCode: 'gone', detail, scope: 'destination', disableDestination: 'gone' };
  if (status === 413) return { outcome: 'rejected', errorCode: 'payload_too_large', detail, scope: 'message' };

  const retryAfterMs = retryAfterOf(response, nowMs);
  if (status < 400) {
    const location = headerValue(response, 'location');
    const target = location === undefined ? '' : ` to ${location.slice(0, 2_048)}`;
    return { outcome: 'retryable', errorCode: 'redirect_refused', detail: `${detail}${target}; redirects are not followed`, retryAfterMs };
  }
  if (status === 429) return { outcome: 'retryable', errorCode: 'rate_limited', detail, retryAfterMs };
  if (status >= 500) return { outcome: 'retryable', errorCode: 'http_5xx', detail, retryAfterMs };
  // 408 Request Timeout and 425 Too Early say by themselves that the same request may succeed later
  if (retryClientErrors || status === 408 || status === 425) return { outcome: 'retryable', errorCode: 'http_4xx', detail, retryAfterMs };
  return { outcome: 'rejected', errorCode: 'http_4xx', detail, scope: 'message' };
}

/** What an attempt without an answer means, for every kind of destination. */
export function classifyFault(fault: TransportFault): Classification {
  const { code, detail } = fault;
  const possibleDuplicate = fault.bytesWritten;
  switch (code) {
    case 'blocked_address':
    case 'config_invalid':
      return { outcome: 'rejected', errorCode: code, detail, scope: 'destination' };
    case 'interrupted':
    case 'proxy_error':
      return { outcome: 'retryable', errorCode: code, detail, possibleDuplicate, sparesSchedule: true };
    case 'dns_error':
    case 'connect_refused':
    case 'connect_timeout':
    case 'tls_error':
    case 'reset':
    case 'timeout':
    case 'protocol_error':
      return { outcome: 'retryable', errorCode: code, detail, possibleDuplicate };
  }
}

function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299;
}

/** Statuses that can end an exchange and have a meaning (RFC 9110 section 15). */
export function isFinalStatus(status: number): boolean {
  return Number.isInteger(status) && status >= 200 && status <= 599;
}

/** The first value of a response header, by lower-case name. */
function headerValue(response: HttpResponse, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** The wait a response asks for, in milliseconds; undefined when it asks for none that can be understood. */
export function retryAfterOf(response: HttpResponse, nowMs: number): number | undefined {
  return parseRetryAfter(headerValue(response, 'retry-after'), nowMs);
}
