import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { type GuardedCommand, startGuarded } from '../../embedded/guarded.ts';
import { identify, isRunning, type ProcessIdentity } from '../../embedded/process-identity.ts';
import { makeScratch, until } from './scratch.ts';

const guardedModule = join(import.meta.dirname, '../../embedded/guarded.ts');

function commandOf(script: string, directory: string, graceMs = 5000): GuardedCommand {
  return { file: 'node', args: ['-e', script], cwd: directory, env: process.env, stopSignal: 'SIGTERM', graceMs };
}

const sleeper = 'setInterval(() => {}, 1000)';
const stubborn = `process.on('SIGTERM', () => {}); process.on('SIGINT', () => {}); ${sleeper}`;

type Supervisor = { child: ChildProcess; server: ProcessIdentity; guardian: ProcessIdentity };

/** A process that starts `command` guarded and stays. */
async function startSupervisor(command: GuardedCommand): Promise<Supervisor> {
  const script = `import { startGuarded } from ${JSON.stringify(guardedModule)};
    const started = await startGuarded(${JSON.stringify(command)}, 'ignore');
    console.log(JSON.stringify([started.identity.pid, started.guardianPid]));
    setInterval(() => {}, 1000);`;
  const child = spawn('node', ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const text = await new Promise<string>((resolve) => child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())));
  const [server, guardian] = (JSON.parse(text) as [number, number]).map((pid) => identify(pid)!) as [ProcessIdentity, ProcessIdentity];
  return { child, server, guardian };
}

const gone = (...processes: ProcessIdentity[]) => until('every process is gone', () => processes.every((each) => !isRunning(each)));

describe('a killed supervisor leaves no process behind', () => {
  test('neither the server nor its guardian outlives it', async () => {
    const { child, server, guardian } = await startSupervisor(commandOf(sleeper, makeScratch()));
    child.kill('SIGKILL');
    await gone(server, guardian);
  });

  test('a server that ignores its stop signal is killed after its grace time', async () => {
    const { child, server, guardian } = await startSupervisor(commandOf(stubborn, makeScratch(), 500));
    child.kill('SIGKILL');
    await gone(server, guardian);
  });

  test('the guardian leads a session of its own, so a terminal’s Ctrl-C passes it by', async () => {
    const { child, server, guardian } = await startSupervisor(commandOf(sleeper, makeScratch()));
    expect(() => process.kill(-guardian.pid, 0)).not.toThrow();
    child.kill('SIGKILL');
    await gone(server, guardian);
  });

  test('not even when its guardian is killed together with it', async () => {
    if (process.platform !== 'linux') return;
    const { child, server, guardian } = await startSupervisor(commandOf(sleeper, makeScratch()));
    process.kill(guardian.pid, 'SIGKILL');
    child.kill('SIGKILL');
    await gone(server, guardian);
  });
});

test('a supervisor that lost the guardian ends the server and hears why', async () => {
  const guarded = await startGuarded(commandOf(sleeper, makeScratch()), 'ignore');
  process.kill(guarded.guardianPid, 'SIGKILL');
  await expect(guarded.exited).resolves.toContain('guardian ended with signal SIGKILL');
  expect(isRunning(guarded.identity)).toBe(false);
});

test('how a server ended is told: its exit code, its signal', async () => {
  const [failed, killed] = await Promise.all([
    startGuarded(commandOf('setTimeout(() => process.exit(3), 200)', makeScratch()), 'ignore'),
    startGuarded(commandOf(sleeper, makeScratch()), 'ignore'),
  ]);
  process.kill(killed.identity.pid, 'SIGKILL');
  await expect(failed.exited).resolves.toBe('exit code 3');
  await expect(killed.exited).resolves.toBe('signal SIGKILL');
});

test('stop resolves when the server is gone, and may be called again', async () => {
  const guarded = await startGuarded(commandOf(sleeper, makeScratch()), 'ignore');
  await guarded.stop();
  expect(isRunning(guarded.identity)).toBe(false);
  await guarded.stop();
});

test('a program that does not exist is a rejection, not a crash', async () => {
  const command = { ...commandOf('', makeScratch()), file: '/nonexistent/server' };
  const started = startGuarded(command, 'ignore');
  // With setpriv in between, the program is found missing only after the start.
  const outcome = await started.then(
    (guarded) => guarded.exited,
    (error: Error) => error.message,
  );
  expect(outcome).toMatch(/exit code 127|could not be started/);
});
