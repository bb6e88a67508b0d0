import type { Logger } from '../log.ts';

/** Work that follows an answer. A process that ends waits for it; one that dies does not, so it MUST be repeatable by others. */
export interface Background {
  run(name: string, work: () => Promise<unknown> | void): void;
  /** Resolves when nothing is under way. */
  settled(): Promise<void>;
}

export function createBackground(log: Logger): Background {
  const pending = new Set<Promise<unknown>>();
  return {
    run(name, work) {
      const done = (async () => work())().catch((error: unknown) => log.warn('background', { work: name, error }));
      pending.add(done);
      void done.finally(() => pending.delete(done));
    },
    async settled() {
      while (pending.size > 0) await Promise.all(pending);
    },
  };
}
