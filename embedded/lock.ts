/**
 * A lock on a file that dies with its holder. Node has no flock; SQLite takes the operating system's own file lock, which the kernel
 * releases however the process ends, so kill -9 leaves nothing stale behind and no pid is ever guessed at.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';

export type Lock = { release(): void };

const busy = 5;

/** Takes the lock on `path` (made if missing, with its directory) or answers undefined at once when another process holds it. */
export function tryLock(path: string): Lock | undefined {
  mkdirSync(dirname(path), { recursive: true });
  const database = new DatabaseSync(path);
  try {
    // Nothing is ever written, so there is nothing to keep a journal of.
    database.exec('pragma journal_mode = memory; begin exclusive');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode === busy) return undefined;
    throw error;
  }
  return { release: () => database.isOpen && database.close() };
}

/** Waits for the lock on `path`, as long as it takes. `onWait` is called once when it is held elsewhere. */
export async function waitForLock(path: string, onWait: () => void = () => undefined): Promise<Lock> {
  for (let attempt = 0; ; attempt += 1) {
    const lock = tryLock(path);
    if (lock !== undefined) return lock;
    if (attempt === 0) onWait();
    await sleep(250);
  }
}
