import { expect, test } from '@jest/globals';
import { describeNews, type EscalationNews, stateAfter } from '../../domain/escalation-news.ts';

type Change = Extract<EscalationNews, { kind: 'change' }>;

function news(change: Change['change'], reason: Change['reason'] = null): EscalationNews {
  return { kind: 'change', change, reason, by: null, round: 1, tier: 1 };
}

test.each<[EscalationNews, string, string]>([
  [news('acknowledged'), 'acknowledged', 'Acknowledged by Åsa: nobody else is paged'],
  [news('resolved', 'manual'), 'resolved', 'Resolved by Åsa'],
  [news('resolved', 'members_resolved'), 'resolved', 'Resolved: nothing is wrong any more'],
  [news('exhausted'), 'exhausted', 'Nobody has acknowledged, and everybody has been paged'],
  [news('restarted', 'manual'), 'triggered', 'The acknowledgement was taken back by Åsa: people are paged again'],
  [news('restarted', 'ack_timeout'), 'triggered', 'The acknowledgement has run out: people are paged again'],
  [news('restarted', 'severity_raised'), 'triggered', 'It has become worse: people are paged again'],
  [news('restarted', 'reassign'), 'triggered', 'Handed over by Åsa: people are paged again'],
])('%j leaves it %s and reads: %s', (told, state, text) => {
  expect(stateAfter(told)).toBe(state);
  expect(describeNews(told, 'Åsa')).toBe(text);
  expect(describeNews(told, null)).toBe(text.replace(' by Åsa', ''));
});

test('a reminder says until when', () => {
  const reminder: EscalationNews = { kind: 'reminder', timeoutAt: Date.parse('2026-10-01T12:00:00Z'), round: 1, tier: 2 };
  expect(stateAfter(reminder)).toBe('acknowledged');
  expect(describeNews(reminder, null)).toContain('runs out at 2026-10-01T12:00:00.000Z');
});
