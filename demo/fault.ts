/** Something that the demo promises did not happen; the message is one sentence for people. */
export class DemoFault extends Error {
  override name = 'DemoFault';
}

/** Ends the demo unless `condition` holds. */
export function demand(condition: boolean, sentence: string): asserts condition {
  if (!condition) throw new DemoFault(sentence);
}

/** Nobody watches a demo that waits for longer. */
const timeoutMs = 30_000;

/** Polls until `probe` answers something other than undefined. */
export async function until<T>(what: string, probe: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined) return answer;
    demand(Date.now() < deadline, `Waited ${timeoutMs / 1_000} s in vain until ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
