import { expect, test } from '@jest/globals';
import { runInSlices } from '../../api/pace.ts';
import type { Gradual } from '../../domain/gradual.ts';

/** Work of so many milliseconds, in pieces of about a tenth of one. */
function* busy(ms: number): Gradual<string> {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    const pieceEnd = performance.now() + 0.1;
    while (performance.now() < pieceEnd);
    yield;
  }
  return 'done';
}

test('long work leaves turns to everything else, of a few milliseconds each', async () => {
  let turns = 0;
  let running = true;
  const count = (): void => {
    turns += 1;
    if (running) setImmediate(count);
  };
  setImmediate(count);
  expect(await runInSlices(busy(200))).toBe('done');
  running = false;
  expect(turns).toBeGreaterThan(15);
});

test('short work ends within the turn that it began in', async () => {
  let turns = 0;
  setImmediate(() => (turns += 1));
  await runInSlices(busy(0));
  expect(turns).toBe(0);
});

test('what the work throws, its caller gets', async () => {
  // oxlint-disable-next-line require-yield
  function* failing(): Gradual<never> {
    throw new Error('No such thing.');
  }
  await expect(runInSlices(failing())).rejects.toThrow('No such thing.');
});
