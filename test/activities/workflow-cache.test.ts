import { totalmem } from 'node:os';
import { expect, test } from '@jest/globals';
import { availableMemory, cachedWorkflowsFor } from '../../activities/workflow-cache.ts';

const gib = 2 ** 30;

test.each([
  [0.5, 500],
  [2, 1_310],
  [8, 5_242],
  [24, 15_728],
  [64, 20_000],
])('%d GiB keep %d workflows: an eighth of the memory, within bounds', (gibibytes, expected) => {
  expect(cachedWorkflowsFor(gibibytes * gib)).toBe(expected);
});

test('a process without a limit of its own has what the machine has', () => {
  expect(availableMemory()).toBeGreaterThan(0);
  expect(availableMemory()).toBeLessThanOrEqual(totalmem());
});
