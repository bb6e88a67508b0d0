import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  deliveryStates,
  describeFailure,
  interruptedAttempt,
  isPageFailing,
  nextState,
  settleAttempt,
  type Classification,
  type DeliveryChange,
  type DeliveryProgress,
  type DeliveryState,
  type SettleInput,
} from '../../domain/delivery.ts';
import { defaultRetryConfiguration as configuration } from '../../domain/retry.ts';

const now = Date.parse('2026-10-01T12:00:00Z');
const fresh: DeliveryProgress = { schedulePos: 0, interruptions: 0, rateLimits: 0, acceptedAtMs: now, cancelRequested: false };
const unavailable: Classification = { outcome: 'retryable', errorCode: 'http_5xx' };

function settle(result: SettleInput['result'], progress: Partial<DeliveryProgress> = {}) {
  return settleAttempt({ progress: { ...fresh, ...progress }, result, policy: { kind: 'standard' }, configuration, u: 0, nowMs: now });
}

const changes: Record<string, DeliveryChange> = {
  cancel: { kind: 'cancel' },
  retry: { kind: 'retry', force: false },
  force: { kind: 'retry', force: true },
};

/** Rows: state before. Columns: as `changes`. A word in angle brackets is the refusal. */
const table: Record<DeliveryState, string> = {
  pending: 'cancelled pending pending',
  retrying: 'cancelled pending pending',
  held: 'cancelled pending pending',
  in_flight: '<delivery_in_flight> <delivery_in_flight> <delivery_in_flight>',
  delivered: '<wrong_state> <already_delivered> pending',
  failed: '<wrong_state> pending pending',
  cancelled: '<wrong_state> pending pending',
};

test('every state has one answer to every change that a person can ask for', () => {
  for (const state of deliveryStates) {
    const row = Object.values(changes).map((change) => {
      const next = nextState(state, change);
      return 'to' in next ? next.to : `<${next.refused}>`;
    });
    expect(`${state}: ${row.join(' ')}`).toBe(`${state}: ${table[state]}`);
  }
});

test('a delivery that is never answered fails after the sixth attempt', () => {
  let progress = fresh;
  const states: string[] = [];
  for (let attempt = 1; attempt <= 6; attempt += 1) {
    const settled = settle(unavailable, progress);
    states.push(settled.state);
    progress = { ...progress, schedulePos: settled.schedulePos };
  }
  expect(states).toEqual(['retrying', 'retrying', 'retrying', 'retrying', 'retrying', 'failed']);
  expect(settle(unavailable, { schedulePos: 5 })).toMatchObject({ reason: 'schedule_exhausted', scheduleConsumed: true });
});

test('delivered ends it, even when somebody asked for cancelling meanwhile', () => {
  expect(settle({ outcome: 'delivered' }, { cancelRequested: true })).toMatchObject({ state: 'delivered', reason: 'delivered' });
});

test('a wish to cancel beats every other outcome', () => {
  for (const result of [unavailable, { outcome: 'rejected' }, { outcome: 'not_sent' }] as const) {
    expect(settle(result, { cancelRequested: true })).toMatchObject({ state: 'cancelled', reason: 'cancel_requested' });
  }
});

test('rejected fails at once, whatever the schedule has left', () => {
  expect(settle({ outcome: 'rejected', errorCode: 'payload_too_large' })).toMatchObject({ state: 'failed', reason: 'rejected' });
});

test('what was not sent is due at once and has consumed nothing', () => {
  expect(settle({ outcome: 'not_sent' }, { schedulePos: 2 })).toMatchObject({
    state: 'retrying',
    reason: 'not_sent',
    schedulePos: 2,
    scheduleConsumed: false,
    nextAttemptAtMs: now,
  });
});

test('a retryable outcome waits for the delay of the next attempt', () => {
  expect(settle(unavailable)).toMatchObject({
    state: 'retrying',
    reason: 'retry_scheduled',
    schedulePos: 1,
    nextAttemptAtMs: now + 60_000,
    nextDelayMs: 60_000,
  });
});

test('a longer Retry-After is kept to the millisecond and says so', () => {
  expect(settle({ ...unavailable, retryAfterMs: 600_001 })).toMatchObject({
    reason: 'retry_after',
    nextAttemptAtMs: now + 600_001,
    schedulePos: 1,
  });
});

test('a 429 that names no wait waits at least the configured one', () => {
  const limited = settleAttempt({
    progress: fresh,
    result: { outcome: 'retryable', errorCode: 'rate_limited' },
    policy: { kind: 'custom', delaysSeconds: [0, 5] },
    configuration,
    u: 0,
    nowMs: now,
  });
  expect(limited).toMatchObject({ state: 'retrying', nextDelayMs: 60_000 });
  const asked = settleAttempt({
    progress: fresh,
    result: { outcome: 'retryable', errorCode: 'rate_limited', retryAfterMs: 0 },
    policy: { kind: 'custom', delaysSeconds: [0, 5] },
    configuration,
    u: 0,
    nowMs: now,
  });
  expect(asked).toMatchObject({ state: 'retrying', nextDelayMs: 5_000 });
});

test('three interruptions of a cycle are free, the fourth counts', () => {
  let progress = fresh;
  for (let interruption = 1; interruption <= 3; interruption += 1) {
    const settled = settle(interruptedAttempt, progress);
    expect(settled).toMatchObject({
      state: 'retrying',
      reason: 'interrupted',
      schedulePos: 0,
      scheduleConsumed: false,
      nextAttemptAtMs: now,
      interruptions: interruption,
    });
    progress = { ...progress, interruptions: settled.interruptions };
  }
  expect(settle(interruptedAttempt, progress)).toMatchObject({ state: 'retrying', schedulePos: 1, scheduleConsumed: true });
});

test("a provider's rate limit keeps the place in the schedule twenty times or six hours", () => {
  const limited: Classification = { outcome: 'retryable', errorCode: 'rate_limited', retryAfterMs: 30_000, sparesSchedule: true };
  expect(settle(limited)).toMatchObject({
    reason: 'rate_limited',
    schedulePos: 0,
    rateLimits: 1,
    scheduleConsumed: false,
    nextDelayMs: 30_000,
  });
  expect(settle(limited, { rateLimits: 19 })).toMatchObject({ reason: 'rate_limited' });
  expect(settle(limited, { rateLimits: 20 })).toMatchObject({ schedulePos: 1, scheduleConsumed: true });
  expect(settle(limited, { acceptedAtMs: now - 6 * 3_600_000 })).toMatchObject({ schedulePos: 1, scheduleConsumed: true });
});

test("our proxy's failure keeps the place in the schedule and waits like a rate limit", () => {
  const proxied: Classification = { outcome: 'retryable', errorCode: 'proxy_error', sparesSchedule: true };
  expect(settle(proxied)).toMatchObject({
    reason: 'proxy_error',
    schedulePos: 0,
    rateLimits: 1,
    interruptions: 0,
    scheduleConsumed: false,
    nextDelayMs: 60_000,
  });
  expect(settle(proxied, { rateLimits: 20 })).toMatchObject({ schedulePos: 1, scheduleConsumed: true });
});

test('whatever happens, a delivery ends: no outcome is retried for ever', () => {
  const results: Array<SettleInput['result']> = [
    unavailable,
    interruptedAttempt,
    { outcome: 'retryable', errorCode: 'rate_limited', sparesSchedule: true },
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...results), { minLength: 40, maxLength: 40 }), (sequence) => {
      let progress = fresh;
      const ended = sequence.some((result) => {
        const settled = settle(result, progress);
        progress = { ...progress, schedulePos: settled.schedulePos, interruptions: settled.interruptions, rateLimits: settled.rateLimits };
        return settled.state === 'failed';
      });
      // 20 rate limits, 3 interruptions and 6 places of the schedule
      expect(ended).toBe(true);
    }),
  );
});

test('a failure is named by its status where there is one', () => {
  expect(describeFailure('http_5xx', 503)).toBe('http_503');
  expect(describeFailure('timeout', null)).toBe('timeout');
  expect(describeFailure('gone', 410)).toBe('gone');
});

test.each<[string, Parameters<typeof isPageFailing>[0], DeliveryState, number, number | null, boolean]>([
  ['refused', 'rejected', 'failed', 1, null, true],
  ['in vain once, due again within a minute', 'retryable', 'retrying', 1, 60_000, false],
  ['in vain once, due again later than that', 'retryable', 'retrying', 1, 60_001, true],
  ['in vain twice', 'retryable', 'retrying', 2, 1_000, true],
  ['in vain, and for the last time', 'retryable', 'failed', 1, null, true],
  ['not sent', 'not_sent', 'retrying', 0, 0, false],
  ['taken', 'delivered', 'delivered', 3, null, false],
])('a page that was %s: %s, %s after attempt %d, due in %p ms, is failing: %p', (_, outcome, state, attemptCount, inMs, failing) => {
  const nextAttemptAt = inMs === null ? null : now + inMs;
  expect(isPageFailing(outcome, { state, attemptCount, nextAttemptAt }, now)).toBe(failing);
});
