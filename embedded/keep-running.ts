/** Keeping one server up: when it ends although nobody stopped it, it is started again. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../log.ts';

type Server = { readonly exited: Promise<string>; stop(): Promise<void> };

export type Kept<T extends Server> = {
  /** The one that runs, or ran last. */
  current(): T;
  /** Ends it for good. Also while it is being started again. */
  stop(): Promise<void>;
};

export type KeepOptions<T extends Server> = {
  /** For the log. */
  readonly name: string;
  /** Starts it; `previous` is the one that ended, whose port and data go on. `signal` says that nobody wants it any more. */
  readonly start: (previous: T | undefined, signal: AbortSignal) => Promise<T>;
  /** After each start but the first. */
  readonly onRestart: (current: T) => void;
  readonly log: Logger;
};

const firstBackoffMs = 100;
const longestBackoffMs = 5000;
/** One that ran this long was well: the next failure is a new story. */
const settledMs = 30_000;

/** Starts a server and keeps it running. Rejects when the first start fails; later ones are tried for ever, 0.1 to 5 s apart. */
export async function keepRunning<T extends Server>({ name, start, onRestart, log }: KeepOptions<T>): Promise<Kept<T>> {
  const stopping = new AbortController();
  let current = await start(undefined, stopping.signal);
  const loop = watch();
  return {
    current: () => current,
    async stop() {
      stopping.abort();
      await current.stop();
      await loop;
    },
  };

  async function watch(): Promise<void> {
    let backoffMs = firstBackoffMs;
    for (;;) {
      const startedAt = Date.now();
      const how = await current.exited;
      const endedAt = Date.now();
      if (stopping.signal.aborted) return;
      if (endedAt - startedAt > settledMs) backoffMs = firstBackoffMs;
      log.warn('restart', { server: name, ended: how, waitMs: backoffMs });
      for (;;) {
        await sleep(backoffMs, undefined, { signal: stopping.signal }).catch(() => undefined);
        if (stopping.signal.aborted) return;
        backoffMs = Math.min(backoffMs * 2, longestBackoffMs);
        try {
          current = await start(current, stopping.signal);
          break;
        } catch (error) {
          log.error('restart', { server: name, error, waitMs: backoffMs });
        }
      }
      if (stopping.signal.aborted) return current.stop();
      log.info('restart', { server: name, downMs: Date.now() - endedAt });
      onRestart(current);
    }
  }
}
