import { setImmediate } from 'node:timers/promises';
import type { Gradual } from '../domain/gradual.ts';

/** No longer than this is computed without a look at what else there is to do: requests wait for it. */
const sliceMs = 5;

/** Runs long work to its end beside everything else that this process does. What the work throws, this rejects with. */
export async function runInSlices<T>(work: Gradual<T>): Promise<T> {
  for (let since = performance.now(); ;) {
    const piece = work.next();
    if (piece.done === true) return piece.value;
    if (performance.now() - since < sliceMs) continue;
    await setImmediate();
    since = performance.now();
  }
}
