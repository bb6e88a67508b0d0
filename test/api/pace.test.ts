import { expect, test } from '@jest/globals';
import { runInSlices } from '../../api/pace.ts';
import type { Gradual } from '../../domain/gradual.ts';

/** Work in pieces that take so long each. */
function* busy(pieces: number, ms: number): Gradual<string> {
  for (let piece = 0; piece < pieces; piece += 1) {
    const end = performance.now() + ms;
    while (performance.now() < end);
    yield;
  }
  return 'done';
}

test('long work leaves a turn to everything else every few milliseconds', async () => {
  let turns = 0;
  let running = true;
  const count = (): void => {
    turns += 1;
    if (running) setImmediate(count);
  };
  setImmediate(count);
  expect(await runInSlices(busy(10, 8))).toBe('done');
  running = false;
  expect(turns).toBeGreaterThanOrEqual(9);
});

test('short work ends within the turn that it began in', async () => {
  let turns = 0;
  setImmediate(() => (turns += 1));
  await runInSlices(busy(2, 0));
  expect(turns).toBe(0);
});

test('what the work throws, its caller gets', async () => {
  // oxlint-disable-next-line require-yield
  function* failing(): Gradual<never> {
    throw new Error('No such thing.');
  }
  await expect(runInSlices(failing())).rejects.toThrow('No such thing.');
});
