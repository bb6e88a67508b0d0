import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatDuration, leastDuration, parseDuration } from '../../domain/duration.ts';

describe('a duration', () => {
  test.each([
    ['PT0S', 0],
    ['PT0.5S', 500],
    ['PT90S', 90_000],
    ['PT1H30M', 5_400_000],
    ['P1W', 604_800_000],
    ['P1DT1S', 86_401_000],
  ])('%s is %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(['', 'P', 'PT', 'P1Y', 'P1M', '10m', 'PT1.5H', 'PT1S2M', '-PT1S', 'pt1s', 'PT1.0005S', ' PT1S'])('%j is none', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  test('is written in one way, which reads as the same', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 * 86_400_000 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
    expect([600_000, 5_400_000, 604_800_000, 86_401_000].map(formatDuration)).toEqual(['PT10M', 'PT1H30M', 'P7D', 'P1DT1S']);
  });
});

test.each([
  ['the default', 60_000, 60_000, 60_000],
  ['the default', 3_600_000, 60_000, 3_600_000],
  ['lowered', 3_600_000, 1_000, 1_000],
  ['raised', 60_000, 300_000, 300_000],
  ['raised below what is stated', 3_600_000, 300_000, 3_600_000],
])('with the minimum %s, %i ms stated and %i configured make %i', (_, stated, configured, least) => {
  expect(leastDuration(stated, configured)).toBe(least);
});
