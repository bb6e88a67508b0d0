import { expect, test } from '@jest/globals';
import { jitterFraction, problemKey } from '../../domain/hash.ts';

test('the jitter of an attempt is the first 48 bits of a hash, the same for everybody who computes it', () => {
  // printf 'jitter:0199:1' | sha256sum -> 12 hex digits / 2^48
  expect(jitterFraction('0199', 1)).toBe(0x20b360f03067 / 2 ** 48);
});

test('jitter fractions are spread over 0 to 1', () => {
  const fractions = Array.from({ length: 1_000 }, (_, index) => jitterFraction('run', index));
  expect(Math.min(...fractions)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...fractions)).toBeLessThan(1);
  const mean = fractions.reduce((sum, fraction) => sum + fraction, 0) / fractions.length;
  expect(mean).toBeGreaterThan(0.45);
  expect(mean).toBeLessThan(0.55);
});

test('the same dedup key of two organizations gives two problem keys', () => {
  const one = problemKey('0199a0f0-0000-7000-8000-000000000001', 'disk full');
  expect(one).toMatch(/^tocsin:[0-9a-f]{40}$/);
  expect(problemKey('0199a0f0-0000-7000-8000-000000000002', 'disk full')).not.toBe(one);
  expect(problemKey('0199a0f0-0000-7000-8000-000000000001', 'disk full')).toBe(one);
});
