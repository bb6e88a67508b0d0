/** A whole instance as its operator runs it: `node embedded/start.ts` on a data directory and ports of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { identify, isRunning, type ProcessIdentity, signalProcess } from '../../embedded/process-identity.ts';

/** What `ready.json` says. */
export interface Ready {
  readonly apiUrl: string;
  readonly databaseUrl: string;
  readonly temporalAddress: string;
  readonly temporalNamespace: string;
  readonly pids: { readonly main: number; readonly postgres: number; readonly temporal: number; readonly worker: number };
}

export interface Instance {
  /** The owner's of the first organization. */
  readonly apiKey: string;
  /** As `ready.json` is now. */
  ready(): Ready;
  /** Starts it; resolves when it is ready, rejects when it ends before. */
  start(): Promise<void>;
  /** Every process of the instance, also those that lost their parent. */
  processes(): ProcessIdentity[];
  /** Sends one of the processes of `ready.json` SIGKILL; resolves when it is gone. */
  kill(name: keyof Ready['pids']): Promise<void>;
  /** Resolves when another process has taken the place of the one that had `pid`. */
  replaced(name: keyof Ready['pids'], pid: number): Promise<void>;
  /** Nothing is started again while `work` runs: the supervisor, which would do it, is stopped meanwhile. */
  whileUnsupervised<T>(work: () => Promise<T>): Promise<T>;
  /** SIGINT, as Ctrl-C sends it; the exit code. */
  interrupt(): Promise<number | null>;
  /** SIGKILL to every process at once; resolves when all are gone. */
  killAll(): Promise<void>;
  /** Ends what is left, however the test went, and removes the data directory. */
  remove(): Promise<void>;
  readonly dataDir: string;
  /** What its processes wrote: warnings, errors, and whatever the supervisor said. */
  complaints(): string[];
}

const startTimeoutMs = 120_000;

/** Nothing runs yet: see `start`. */
export function createInstance(settings: Record<string, string>): Instance {
  const scratch = mkdtempSync(join(tmpdir(), 'tocsin-scenario-'));
  // Under root, PostgreSQL's user passes through it.
  chmodSync(scratch, 0o711);
  const dataDir = join(scratch, 'data');
  const logFile = join(scratch, 'log');
  const apiKey = `tsn_${'scenario'.repeat(5)}`;
  let child: ChildProcess | undefined;
  let exited: Promise<number | null> = Promise.resolve(null);

  const readyFile = join(dataDir, 'ready.json');
  const ready = (): Ready => JSON.parse(readFileSync(readyFile, 'utf8')) as Ready;
  const complaints = (): string[] =>
    existsSync(logFile)
      ? readFileSync(logFile, 'utf8')
          .split('\n')
          .filter((line) => line !== '' && (line.includes('"process":"supervisor"') || !/"level":"(info|debug)"/.test(line)))
          .map((line) => line.slice(0, 500))
      : [];
  const processes = (): ProcessIdentity[] =>
    readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid && belongsTo(entry, dataDir))
      .flatMap((entry) => identify(Number(entry)) ?? []);

  const until = async (what: string, probe: () => boolean, timeoutMs = 60_000): Promise<void> => {
    const deadline = Date.now() + timeoutMs;
    while (!probe()) {
      if (Date.now() > deadline)
        throw new Error(`Waited ${timeoutMs / 1_000} s in vain until ${what}.\n${complaints().slice(-20).join('\n')}`);
      await sleep(20);
    }
  };

  const killAll = async (): Promise<void> => {
    // Again, for what one of them started while this list was made.
    for (let all = processes(); all.length > 0; all = processes()) {
      for (const victim of all) signalProcess(victim, 'SIGKILL');
      await until('every killed process is gone', () => !all.some(isRunning));
    }
  };

  return {
    apiKey,
    dataDir,
    ready,
    processes,
    complaints,
    killAll,
    async start() {
      const output = openSync(logFile, 'a');
      child = spawn(process.execPath, [join(import.meta.dirname, '../../embedded/start.ts')], {
        env: {
          ...process.env,
          ...settings,
          TOCSIN_PORT: '0',
          TOCSIN_DATA_DIR: dataDir,
          TOCSIN_BOOTSTRAP_KEY: apiKey,
          TOCSIN_EGRESS_ALLOW: '127.0.0.1',
          npm_lifecycle_event: undefined,
          NODE_OPTIONS: undefined,
        },
        stdio: ['ignore', output, output],
      });
      closeSync(output);
      let ended: string | undefined;
      exited = new Promise((resolve) =>
        child?.once('exit', (code, signal) => {
          ended = signal ?? `exit code ${code}`;
          resolve(code);
        }),
      );
      const mainPid = child.pid;
      await until(
        'npm start is ready',
        () => ended !== undefined || (existsSync(readyFile) && ready().pids.main === mainPid),
        startTimeoutMs,
      );
      if (ended !== undefined) throw new Error(`npm start ended before it was ready (${ended}).\n${complaints().slice(-20).join('\n')}`);
    },
    async kill(name) {
      const victim = identify(ready().pids[name]);
      if (victim === undefined) throw new Error(`The ${name} process is gone already.`);
      signalProcess(victim, 'SIGKILL');
      await until('the killed process is gone', () => !isRunning(victim));
    },
    replaced: async (name, pid) => until(`another ${name} process runs`, () => ready().pids[name] !== pid),
    async whileUnsupervised(work) {
      child?.kill('SIGSTOP');
      try {
        return await work();
      } finally {
        child?.kill('SIGCONT');
      }
    },
    async interrupt() {
      child?.kill('SIGINT');
      return exited;
    },
    async remove() {
      child?.kill('SIGCONT');
      await killAll();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}

/** The data directory is in its command line, its environment or where it works; nothing else of this machine knows its random name. */
function belongsTo(pid: string, dataDir: string): boolean {
  const read = (get: () => string): string => {
    try {
      return get();
    } catch {
      // Gone meanwhile, or another user's.
      return '';
    }
  };
  return (
    read(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8')).includes(dataDir) ||
    read(() => readFileSync(`/proc/${pid}/environ`, 'utf8')).includes(dataDir) ||
    read(() => readlinkSync(`/proc/${pid}/cwd`)).startsWith(dataDir)
  );
}
