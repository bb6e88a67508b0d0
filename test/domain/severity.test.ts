import { expect, test } from '@jest/globals';
import { findSeverity, isAtLeast, severities } from '../../domain/severity.ts';

test.each([
  ['critical', ['critical', 'fatal', 'p1', 'CRITICAL']],
  ['high', ['high', 'error', 'p2', 'Error']],
  ['medium', ['medium', 'warning', 'warn', 'p3']],
  ['low', ['low', 'notice', 'p4']],
  ['info', ['info', 'ok', 'debug', 'p5']],
])('%s is what %j mean', (severity, words) => {
  for (const word of words) expect(findSeverity(word)).toBe(severity);
});

test('no other word means anything, however an object would read it', () => {
  for (const word of ['', 'p6', 'emergency', 'constructor', '__proto__', 'toString']) expect(findSeverity(word)).toBeUndefined();
});

test('each severity is at least itself and everything below it', () => {
  for (const [i, one] of severities.entries()) for (const [k, other] of severities.entries()) expect(isAtLeast(one, other)).toBe(i <= k);
});
