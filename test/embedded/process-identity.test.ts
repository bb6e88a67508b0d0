import { spawn } from 'node:child_process';
import { expect, test } from '@jest/globals';
import { endProcess, identify, isRunning, signalProcess } from '../../embedded/process-identity.ts';

test('a pid that now belongs to another process is not signalled', async () => {
  const child = spawn('node', ['-e', 'setInterval(() => {}, 1000)']);
  const identity = identify(child.pid!)!;
  const earlier = { ...identity, startedAt: 'another boot/1' };
  expect(isRunning(earlier)).toBe(false);
  expect(signalProcess(earlier, 'SIGKILL')).toBe(false);
  await endProcess(earlier, 'SIGKILL', 100);
  expect(isRunning(identity)).toBe(true);
  await endProcess(identity, 'SIGTERM', 5000);
  expect(isRunning(identity)).toBe(false);
});

test('no process, no identity', () => {
  expect(identify(2 ** 30)).toBeUndefined();
  expect(identify(process.pid)).toEqual(identify(process.pid));
});
