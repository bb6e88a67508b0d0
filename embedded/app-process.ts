/** The process with API and worker (all.ts), as the supervisor sees it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { badConfigurationExitCode } from '../config.ts';
import { StartFault } from './data-directory.ts';
import { describeExit, identify, type ProcessIdentity } from './process-identity.ts';
import type { SupervisedMessage } from './supervised.ts';

export type AppProcess = {
  readonly identity: ProcessIdentity;
  readonly apiUrl: string;
  readonly exited: Promise<string>;
  /** Lets it end by itself, with SIGKILL after its grace time. Resolves when it is gone. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): void;
};

export type AppOptions = {
  /** The entry file. */
  readonly file: string;
  readonly env: NodeJS.ProcessEnv;
  readonly stdout: number | 'inherit';
  readonly stderr: number | 'inherit';
  /** How long it may take to get ready; absent = as long as it must (it takes in events before it is). */
  readonly readyTimeoutMs?: number | undefined;
  /** Ends the process also while it is not ready yet. */
  readonly signal: AbortSignal;
};

/** Attempts in flight have 35 s (the worker's grace time); what is left after that is repeated elsewhere. */
const stopGraceMs = 40_000;

/** Starts the process and waits until it says that it is ready. Not detached: a terminal's Ctrl-C reaches it first. */
export async function startApp({ file, env, stdout, stderr, readyTimeoutMs, signal }: AppOptions): Promise<AppProcess> {
  const child = spawn(process.execPath, ['--enable-source-maps', file], { env, stdio: ['ignore', stdout, stderr, 'ipc'] });
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(describeExit(code, signal)));
    child.once('error', (error) => resolve(error.message));
  });
  const end = () => endPolitely(child);
  signal.addEventListener('abort', end, { once: true });
  const apiUrl = await waitUntilReady(child, exited, readyTimeoutMs)
    .catch((error: unknown) => {
      child.kill('SIGKILL');
      throw error;
    })
    .finally(() => signal.removeEventListener('abort', end));
  return {
    identity: identify(child.pid!) ?? { pid: child.pid!, startedAt: 'gone' },
    apiUrl,
    exited,
    async stop() {
      const timer = setTimeout(() => child.kill('SIGKILL'), stopGraceMs);
      endPolitely(child);
      await exited;
      clearTimeout(timer);
    },
    kill: () => void child.kill('SIGKILL'),
  };
}

/**
 * Closing the channel asks the process to end, as the supervisor's death would. Not by a signal: on a terminal Ctrl-C has reached it
 * already, and a second signal means "at once".
 */
function endPolitely(child: ChildProcess): void {
  if (child.connected) child.disconnect();
  else child.kill('SIGTERM');
}

async function waitUntilReady(child: ChildProcess, exited: Promise<string>, timeoutMs: number | undefined): Promise<string> {
  let fault: string | undefined;
  const ready = new Promise<string>((resolve) => {
    child.on('message', (message: SupervisedMessage) => {
      if ('ready' in message) resolve(message.apiUrl);
      if ('fault' in message) fault = message.fault;
    });
  });
  const ended = exited.then((how) => {
    if (child.exitCode === badConfigurationExitCode) throw new BadConfiguration(fault ?? 'The configuration is bad.');
    throw new StartFault(fault ?? `The process of API and worker ended while starting (${how}); its log says why.`);
  });
  if (timeoutMs === undefined) return Promise.race([ready, ended]);
  const late = sleep(timeoutMs, undefined, { ref: false }).then(() => {
    throw new StartFault(`API and worker were not ready within ${timeoutMs / 1000} s; their log says why.`);
  });
  return Promise.race([ready, ended, late]);
}

/** The process ended with exit code 78. */
export class BadConfiguration extends Error {
  override name = 'BadConfiguration';
}
