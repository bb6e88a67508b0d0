/** Directories and processes that tests make, gone when they are over. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach } from '@jest/globals';

const directories: Record<'test' | 'file', string[]> = { test: [], file: [] };

afterEach(() => remove('test'));
afterAll(() => remove('file'));

function remove(life: keyof typeof directories): void {
  for (const directory of directories[life].splice(0)) rmSync(directory, { recursive: true, force: true });
}

/** A directory for one test, or for the rest of its file, which PostgreSQL's user can pass through when the test runs as root. */
export function makeScratch(life: keyof typeof directories = 'test'): string {
  const directory = mkdtempSync(join(tmpdir(), 'tocsin-embedded-'));
  chmodSync(directory, 0o711);
  directories[life].push(directory);
  return directory;
}

/** Polls until `probe` answers something other than undefined or false. */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 20_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== false) return answer;
    if (Date.now() > deadline) throw new Error(`Waited ${timeoutMs} ms in vain until ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Pids of processes that name `text` in their command line or work in that directory. */
export function findProcesses(text: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .filter((entry) => {
      try {
        return readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);
}
