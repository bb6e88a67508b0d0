import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { tryLock, waitForLock } from '../../embedded/lock.ts';
import { makeScratch } from './scratch.ts';

const lockModule = join(import.meta.dirname, '../../embedded/lock.ts');

/** A process that takes the lock, says so, and stays. */
async function holdElsewhere(path: string): Promise<{ kill(): Promise<void> }> {
  const script = `import { tryLock } from ${JSON.stringify(lockModule)}; console.log(tryLock(${JSON.stringify(path)}) === undefined ? 'no' : 'yes'); setInterval(() => {}, 1000);`;
  const child = spawn('node', ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said = await new Promise<string>((resolve) => child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString().trim())));
  expect(said).toBe('yes');
  return {
    kill: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGKILL');
      }),
  };
}

test('one holder at a time; a release lets the next one in', () => {
  const path = join(makeScratch(), 'deep', 'lock');
  const first = tryLock(path);
  expect(first).toBeDefined();
  expect(tryLock(path)).toBeUndefined();
  first?.release();
  first?.release();
  const second = tryLock(path);
  expect(second).toBeDefined();
  second?.release();
});

test('the lock of a process killed with -9 is free at once', async () => {
  const path = join(makeScratch(), 'lock');
  const holder = await holdElsewhere(path);
  expect(tryLock(path)).toBeUndefined();
  await holder.kill();
  const lock = tryLock(path);
  expect(lock).toBeDefined();
  lock?.release();
});

test('a waiter is told once that it waits, and gets the lock when its holder dies', async () => {
  const path = join(makeScratch(), 'lock');
  const holder = await holdElsewhere(path);
  let told = 0;
  const waiting = waitForLock(path, () => (told += 1));
  setTimeout(() => void holder.kill(), 600);
  const lock = await waiting;
  expect(told).toBe(1);
  lock.release();
});

test('a directory that cannot be written is an error, not a held lock', () => {
  expect(() => tryLock('/proc/self/status/lock')).toThrow();
});
