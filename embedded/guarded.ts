/** Starting a server under its guardian (guardian.ts), and ending it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describeExit, endProcess, identify, type ProcessIdentity } from './process-identity.ts';

/** Crosses a command line as JSON: no secrets in it. */
export type GuardedCommand = {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** What asks the server to end: PostgreSQL ends its sessions on SIGINT and would wait for them on SIGTERM. */
  readonly stopSignal: 'SIGINT' | 'SIGTERM';
  /** From the stop signal to SIGKILL. */
  readonly graceMs: number;
  /** Whom to run the server as, when the supervisor is root. */
  readonly account?: { readonly uid: number; readonly gid: number };
  /** Filled in by {@link startGuarded}. */
  readonly parentDeathSignalTool?: string;
};

export type GuardianMessage =
  | { kind: 'started'; pid: number }
  | { kind: 'failed'; message: string }
  | { kind: 'exited'; code: number | null; signal: NodeJS.Signals | null };

export type GuardedProcess = {
  /** The server itself, not its guardian. */
  readonly identity: ProcessIdentity;
  readonly guardianPid: number;
  /** Resolves, never rejects, with a few words on how it ended, when the server is gone. */
  readonly exited: Promise<string>;
  /** Ends the server politely, by force after its grace time. Resolves when it is gone. */
  stop(): Promise<void>;
};

/**
 * Starts `command` under a guardian. Its standard output and error go to the file descriptor `output`.
 * Rejects when it cannot be executed at all; a server that starts and then fails shows in `exited`.
 */
export async function startGuarded(command: GuardedCommand, output: number | 'ignore'): Promise<GuardedProcess> {
  const tool = findParentDeathSignalTool();
  const complete: GuardedCommand = { ...command, ...(tool !== undefined && { parentDeathSignalTool: tool }) };
  const guardian = spawn(process.execPath, [join(import.meta.dirname, 'guardian.ts'), JSON.stringify(complete)], {
    detached: true,
    stdio: ['ignore', output, output, 'ipc'],
    env: { ...command.env, NODE_OPTIONS: '' },
  });
  const started = Promise.withResolvers<ProcessIdentity>();
  const exited = Promise.withResolvers<string>();
  let server: ProcessIdentity | undefined;
  let ending: string | undefined;
  guardian.on('message', (message: GuardianMessage) => {
    if (message.kind === 'started') {
      // Already gone: its exit is reported next, and no process has this identity.
      server = identify(message.pid) ?? { pid: message.pid, startedAt: 'gone' };
      started.resolve(server);
    } else {
      ending = message.kind === 'failed' ? message.message : describeExit(message.code, message.signal);
    }
  });
  guardian.once('error', (error) => started.reject(error));
  guardian.once('exit', (code, signal) => {
    void finish().then(exited.resolve, (error: Error) => exited.resolve(error.message));

    async function finish(): Promise<string> {
      if (server === undefined) {
        started.reject(
          new Error(`${command.file} could not be started: ${ending ?? `its guardian ended with ${describeExit(code, signal)}`}`),
        );
        return ending ?? 'never started';
      }
      if (ending !== undefined) return ending;
      // The guardian was killed: nobody watches the server any more, so it must not live on.
      await endProcess(server, command.stopSignal, command.graceMs);
      return `its guardian ended with ${describeExit(code, signal)}`;
    }
  });
  const identity = await started.promise;
  return {
    identity,
    guardianPid: guardian.pid!,
    exited: exited.promise,
    async stop() {
      askToStop(guardian);
      await exited.promise;
    },
  };
}

/** What a server of ours inherits: none of our settings or secrets, and no PGOPTIONS or LC_ALL from somebody's shell. */
export function serverEnvironment(own: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const inherited = ['PATH', 'HOME', 'TMPDIR', 'SYSTEMROOT', 'TEMP'].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(inherited), ...own };
}

function askToStop(guardian: ChildProcess): void {
  if (guardian.connected) guardian.send('stop', () => undefined);
}

let parentDeathSignalTool: string | undefined | null = null;

/** setpriv of util-linux >= 2.33; BusyBox has one without the option. */
function findParentDeathSignalTool(): string | undefined {
  if (parentDeathSignalTool === null) {
    const works =
      process.platform === 'linux' && spawnSync('setpriv', ['--pdeathsig', 'TERM', '--', 'true'], { stdio: 'ignore' }).status === 0;
    parentDeathSignalTool = works ? 'setpriv' : undefined;
  }
  return parentDeathSignalTool;
}
