import { describe, expect, test } from '@jest/globals';
import { answerOf } from '../../activities/delivery.ts';
import { describeMembers, type MemberProgress } from '../../activities/run-details.ts';

const now = 1_700_000_000_000;
const member = (fields: Partial<MemberProgress>): MemberProgress => ({
  deliveryId: '0198c0de-0000-7000-8000-000000000001',
  eventType: 'job.failed',
  attempt: 1,
  state: 'retrying',
  nextAttemptAt: now + 5_000,
  failure: 'http_503',
  ...fields,
});

describe('what a run does next', () => {
  test('it ends when none of its deliveries is open, and says what became of them', () => {
    const members = (['delivered', 'delivered', 'failed', 'cancelled'] as const).map((state) => member({ state, nextAttemptAt: null }));
    expect(answerOf(members, now)).toEqual({ kind: 'done', delivered: 2, failed: 1, cancelled: 1 });
    expect(answerOf([], now)).toEqual({ kind: 'done', delivered: 0, failed: 0, cancelled: 0 });
  });

  test('it counts what ended without it, and names what is still open', () => {
    const ended = { delivered: 0, failed: 1, cancelled: 2 };
    const members = [member({ state: 'delivered', nextAttemptAt: null }), member({ deliveryId: '0198c0de-0000-7000-8000-000000000002' })];
    expect(answerOf(members, now, ended)).toMatchObject({
      kind: 'wait',
      delivered: 1,
      failed: 1,
      cancelled: 2,
      open: ['0198c0de-0000-7000-8000-000000000002'],
    });
    expect(answerOf([], now, ended)).toEqual({ kind: 'done', ...ended });
  });

  test('it waits for the earliest of its open deliveries, at least a millisecond', () => {
    const members = [member({ nextAttemptAt: now + 9_000 }), member({}), member({ state: 'delivered', nextAttemptAt: null })];
    expect(answerOf(members, now)).toMatchObject({
      kind: 'wait',
      ms: 5_000,
      state: 'retrying',
      delivered: 1,
      summary: 'attempt 2: http_503',
    });
    expect(answerOf([member({ nextAttemptAt: now - 1 })], now)).toMatchObject({ ms: 1 });
  });

  test('it looks again soon when somebody else is attempting one', () => {
    const answer = answerOf([member({ state: 'in_flight', failure: null })], now);
    expect(answer).toMatchObject({ kind: 'wait', ms: 2_000, state: 'in_flight', summary: 'attempt 1 is under way elsewhere' });
  });

  test('it shows the worst state of its open deliveries', () => {
    expect(answerOf([member({ state: 'in_flight' }), member({}), member({ state: 'held' })], now)).toMatchObject({ state: 'held' });
  });
});

test('details show the first fifty deliveries and how many more there are', () => {
  const members = Array.from({ length: 60 }, () => member({}));
  const { details } = describeMembers(members[0]!, members);
  const lines = details.split('\n');
  expect(lines).toHaveLength(2 + 50 + 1);
  expect(lines.at(-1)).toBe('and 10 more');
});
