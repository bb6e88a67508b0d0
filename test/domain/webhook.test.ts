import { expect, test } from '@jest/globals';
import type { Classification } from '../../domain/delivery.ts';
import type { HttpResponse, TransportFault, TransportFaultCode } from '../../domain/outbound.ts';
import { classifyWebhook, isEventTypePattern, liveSecrets, retireSecret } from '../../domain/webhook.ts';

const nowMs = Date.parse('2026-10-01T12:00:00Z');

function answer(status: number, headers: HttpResponse['headers'] = {}): HttpResponse {
  return { kind: 'http', status, headers, body: new Uint8Array(), bodyTruncated: false, timings: { total: 1 } };
}

function fault(code: TransportFaultCode, bytesWritten: boolean): TransportFault {
  return { kind: 'fault', code, detail: 'why', bytesWritten, timings: { total: 1 } };
}

function classify(response: HttpResponse | TransportFault, retryClientErrors = true): Classification {
  return classifyWebhook(response, { retryClientErrors, nowMs });
}

/** Every status once: from, to, outcome and code, and the same when client errors are not retried. */
const statuses: ReadonlyArray<[from: number, to: number, verdict: string, strict: string]> = [
  [0, 199, 'retryable protocol_error', 'retryable protocol_error'],
  [200, 299, 'delivered', 'delivered'],
  [300, 399, 'retryable redirect_refused', 'retryable redirect_refused'],
  [400, 407, 'retryable http_4xx', 'rejected http_4xx'],
  [408, 408, 'retryable http_4xx', 'retryable http_4xx'],
  [409, 409, 'retryable http_4xx', 'rejected http_4xx'],
  [410, 410, 'rejected gone', 'rejected gone'],
  [411, 412, 'retryable http_4xx', 'rejected http_4xx'],
  [413, 413, 'rejected payload_too_large', 'rejected payload_too_large'],
  [414, 424, 'retryable http_4xx', 'rejected http_4xx'],
  [425, 425, 'retryable http_4xx', 'retryable http_4xx'],
  [426, 428, 'retryable http_4xx', 'rejected http_4xx'],
  [429, 429, 'retryable rate_limited', 'retryable rate_limited'],
  [430, 499, 'retryable http_4xx', 'rejected http_4xx'],
  [500, 599, 'retryable http_5xx', 'retryable http_5xx'],
  [600, 999, 'retryable protocol_error', 'retryable protocol_error'],
];

test('every status from 0 to 999 has exactly one verdict', () => {
  let next = 0;
  for (const [from, to, verdict, strict] of statuses) {
    expect(from).toBe(next);
    for (let status = from; status <= to; status += 1) {
      const lenient = classify(answer(status));
      const firm = classify(answer(status), false);
      expect(`${status} ${[lenient.outcome, lenient.errorCode].join(' ').trim()}`).toBe(`${status} ${verdict}`);
      expect(`${status} ${[firm.outcome, firm.errorCode].join(' ').trim()}`).toBe(`${status} ${strict}`);
    }
    next = to + 1;
  }
  expect(next).toBe(1_000);
});

test.each([
  ['dns_error', 'retryable'],
  ['connect_refused', 'retryable'],
  ['connect_timeout', 'retryable'],
  ['tls_error', 'retryable'],
  ['reset', 'retryable'],
  ['timeout', 'retryable'],
  ['protocol_error', 'retryable'],
  ['interrupted', 'retryable'],
  ['proxy_error', 'retryable'],
  ['blocked_address', 'rejected'],
  ['config_invalid', 'rejected'],
] as Array<[TransportFaultCode, string]>)('%s is %s', (code, outcome) => {
  expect(classify(fault(code, false))).toMatchObject({ outcome, errorCode: code, detail: 'why' });
});

test('a lost answer may be a duplicate exactly when bytes were written', () => {
  for (const code of ['reset', 'timeout'] as const) {
    expect(classify(fault(code, true)).possibleDuplicate).toBe(true);
    expect(classify(fault(code, false)).possibleDuplicate).toBe(false);
  }
});

test('410 and webhook-delivery: disable switch the webhook off', () => {
  expect(classify(answer(410)).disableDestination).toBe('gone');
  expect(classify(answer(503, { 'webhook-delivery': 'disable' }))).toMatchObject({
    outcome: 'rejected',
    errorCode: 'receiver_request',
    disableDestination: 'receiver_request',
  });
  expect(classify(answer(200, { 'webhook-delivery': 'Disable' }))).toMatchObject({
    outcome: 'delivered',
    disableDestination: 'receiver_request',
  });
});

test('webhook-delivery: abort-message rejects the message and only the message', () => {
  const aborted = classify(answer(500, { 'webhook-delivery': 'abort-message' }));
  expect(aborted).toMatchObject({ outcome: 'rejected', errorCode: 'aborted_by_receiver', scope: 'message' });
  expect(aborted.disableDestination).toBeUndefined();
  expect(classify(answer(200, { 'webhook-delivery': 'abort-message' })).outcome).toBe('delivered');
});

test('Retry-After is read on every retryable answer and on no other', () => {
  for (const status of [301, 404, 429, 503]) expect(classify(answer(status, { 'retry-after': '30' })).retryAfterMs).toBe(30_000);
  for (const status of [200, 410, 413]) expect(classify(answer(status, { 'retry-after': '30' })).retryAfterMs).toBeUndefined();
});

test('where a redirect led is kept, and cut at 2 KiB', () => {
  expect(classify(answer(302, { location: 'http://127.0.0.1/' })).detail).toContain('http://127.0.0.1/');
  expect(classify(answer(302, { location: 'x'.repeat(10_000) })).detail!.length).toBeLessThan(2_200);
});

const known = ['alert.fired', 'alert.resolved', 'policy.violation.detect', 'release.create'];

test.each([
  ['*', true],
  ['alert.*', true],
  ['policy.violation.*', true],
  ['alert.fired', true],
  ['alert.unknown', false],
  ['alarm.*', false],
  ['alert', false],
  ['alert*', false],
  ['*.fired', false],
  ['alert.**', false],
  ['Alert.fired', false],
  ['', false],
])('the event type pattern %j is valid: %s', (pattern, valid) => {
  expect(isEventTypePattern(pattern, known)).toBe(valid);
});

test('a rotated secret goes on signing until its grace ends', () => {
  const previous = retireSecret({ current: 'first', previous: [], graceSeconds: 60, nowMs });
  expect(previous).toEqual([{ secret: 'first', expiresAtMs: nowMs + 60_000 }]);
  if ('fault' in previous) throw new Error();
  expect(liveSecrets(previous, nowMs + 59_999)).toHaveLength(1);
  expect(liveSecrets(previous, nowMs + 60_000)).toHaveLength(0);
});

test('old secrets are newest first, and a grace of 0 drops all of them', () => {
  const first = { secret: 'first', expiresAtMs: nowMs + 1 };
  expect(retireSecret({ current: 'second', previous: [first], graceSeconds: 60, nowMs })).toEqual([
    { secret: 'second', expiresAtMs: nowMs + 60_000 },
    first,
  ]);
  expect(retireSecret({ current: 'second', previous: [first], graceSeconds: 0, nowMs })).toEqual([]);
  expect(retireSecret({ current: null, previous: [first], graceSeconds: 60, nowMs })).toEqual([first]);
});

test('ten old secrets are kept and the eleventh is refused, expired ones not counted', () => {
  const live = Array.from({ length: 10 }, (_, index) => ({ secret: `old ${index}`, expiresAtMs: nowMs + 1 }));
  expect(retireSecret({ current: 'new', previous: live, graceSeconds: 1, nowMs })).toEqual({ fault: 'too_many_secrets' });
  expect(retireSecret({ current: 'new', previous: live.slice(1), graceSeconds: 1, nowMs })).toHaveLength(10);
  const expired = live.map((old) => ({ ...old, expiresAtMs: nowMs }));
  expect(retireSecret({ current: 'new', previous: expired, graceSeconds: 1, nowMs })).toHaveLength(1);
});
