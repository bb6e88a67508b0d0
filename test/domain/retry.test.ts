import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  defaultRetryConfiguration as configuration,
  delaysSeconds,
  dueAtMs,
  jitterMs,
  nextAttempt,
  pagePolicy,
  parseRetryAfter,
  roundingStepMs,
  type RetryPolicy,
} from '../../domain/retry.ts';

const minute = 60_000;
const start = Date.parse('2026-10-01T12:00:00Z');
const standard: RetryPolicy = { kind: 'standard' };

/** Attempt instants when every attempt fails at once, relative to `start`. */
function instants(policy: RetryPolicy, u: number): number[] {
  const made: number[] = [];
  let nowMs = start;
  for (let schedulePos = 0; ; schedulePos += 1) {
    const next = nextAttempt({ policy, configuration, schedulePos, nowMs, u });
    if (next === undefined) return made;
    nowMs = next.atMs;
    made.push(nowMs - start);
  }
}

test('the standard policy makes six attempts, 0 1 6 21 81 321 minutes after the first, when there is no jitter', () => {
  expect(instants(standard, 0).map((ms) => ms / minute)).toEqual([0, 1, 6, 21, 81, 321]);
});

test.each([
  [{ kind: 'urgent' }, [0, 10, 40, 100, 400, 1_300]],
  [{ kind: 'none' }, [0]],
  [{ kind: 'custom', delaysSeconds: [30, 0, 5] }, [30, 30, 35]],
] as Array<[RetryPolicy, number[]]>)('%j attempts at the seconds %j', (policy, seconds) => {
  const made = instants(policy, 0);
  expect(made).toHaveLength(seconds.length);
  // due times are rounded up, by at most 5 % of the delay or a second
  for (const [index, expected] of seconds.entries()) {
    expect(made[index]! / 1_000).toBeGreaterThanOrEqual(expected);
    expect(made[index]! / 1_000).toBeLessThanOrEqual(expected * 1.06 + seconds.length);
  }
});

test('jitter and rounding never make a retry early, and never later than their bounds', () => {
  const input = fc.record({
    delayMs: fc.integer({ min: 1, max: 86_400_000 }),
    nowMs: fc.integer({ min: 0, max: 2 ** 42 }),
    u: fc.double({ min: 0, max: 0.999_999, noNaN: true }),
  });
  fc.assert(
    fc.property(input, ({ delayMs, nowMs, u }) => {
      const at = dueAtMs(delayMs, nowMs, u, 2_000);
      expect(at).toBeGreaterThanOrEqual(nowMs + delayMs);
      const jitterBound = Math.min(900_000, Math.max(2_000, 0.1 * delayMs));
      expect(at).toBeLessThanOrEqual(nowMs + delayMs + jitterBound + roundingStepMs(delayMs) + 1);
      expect(Number.isInteger(at)).toBe(true);
    }),
  );
});

test.each([
  [0, 0],
  [10_000, 2_000],
  [minute, 6_000],
  [60 * minute, 360_000],
  [86_400_000, 900_000],
])('a delay of %i ms gets less than %i ms of jitter', (delayMs, bound) => {
  expect(jitterMs(delayMs, 0, 2_000)).toBe(0);
  expect(jitterMs(delayMs, 0.5, 2_000)).toBe(bound / 2);
});

test('the least jitter is configuration', () => {
  expect(jitterMs(1_000, 0.5, 0)).toBe(50);
});

test('deliveries that fail within one rounding step are due at the same instant', () => {
  const due = [0, 100, 1_000, 2_000].map((later) => dueAtMs(5 * minute, start + later, 0, 2_000));
  expect(due[0]! % roundingStepMs(5 * minute)).toBe(0);
  expect(new Set(due).size).toBeLessThanOrEqual(2);
});

test('a delay under a second is at most doubled by rounding', () => {
  expect(dueAtMs(200, start + 1, 0, 0)).toBeLessThanOrEqual(start + 1 + 400);
});

test('every policy is a readable list of seconds', () => {
  expect(delaysSeconds(standard, configuration)).toEqual([0, 60, 300, 900, 3_600, 14_400]);
  expect(delaysSeconds(standard, { ...configuration, standardSeconds: [0, 1] })).toEqual([0, 1]);
});

test.each([
  ['120', 120_000],
  ['0', 0],
  ['1.5', 1_500],
  [' 7 ', 7_000],
  ['99999', 14_400_000],
  ['14400', 14_400_000],
  ['Thu, 01 Oct 2026 12:00:30 GMT', 30_000],
  ['Thursday, 01-Oct-26 12:00:30 GMT', 30_000],
  ['Thu Oct  1 12:00:30 2026', 30_000],
  ['Thu, 01 Oct 2026 11:00:00 GMT', 0],
  ['Fri, 01 Jan 2100 00:00:00 GMT', 14_400_000],
])('Retry-After %j is %i ms', (value, ms) => {
  expect(parseRetryAfter(value, start)).toBe(ms);
});

test.each([
  undefined,
  '',
  '-1',
  '1e3',
  'soon',
  '1,5',
  '0x10',
  '2026-10-01T12:00:30Z',
  'Thu, 32 Foo 2026 12:00:30 GMT',
  'NaN',
  'Infinity',
  '+5',
])('Retry-After %j is ignored', (value) => {
  expect(parseRetryAfter(value, start)).toBeUndefined();
});

test('Retry-After 600 on the 1 minute step waits exactly 600 s', () => {
  const next = nextAttempt({ policy: standard, configuration, schedulePos: 1, nowMs: start, u: 0.5, retryAfterMs: 600_000 });
  expect(next).toEqual({ atMs: start + 600_000, delayMs: 600_000 });
});

test('a shorter Retry-After does not shorten the schedule', () => {
  const without = nextAttempt({ policy: standard, configuration, schedulePos: 2, nowMs: start, u: 0.5 });
  expect(nextAttempt({ policy: standard, configuration, schedulePos: 2, nowMs: start, u: 0.5, retryAfterMs: 1_000 })).toEqual(without);
});

test('no Retry-After makes an attempt beyond the last one', () => {
  expect(nextAttempt({ policy: standard, configuration, schedulePos: 6, nowMs: start, u: 0, retryAfterMs: 1_000 })).toBeUndefined();
});

test("a page goes by the urgent schedule where a channel has the standard one; another policy is the channel's own choice", () => {
  expect(pagePolicy('channel', standard)).toEqual({ kind: 'urgent' });
  expect(pagePolicy('webhook', standard)).toEqual(standard);
  for (const own of [{ kind: 'none' }, { kind: 'custom', delaysSeconds: [0, 5] }] as const) expect(pagePolicy('channel', own)).toEqual(own);
});
