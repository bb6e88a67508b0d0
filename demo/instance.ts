/** A whole Tocsin of the demo's own: the supervisor of `npm start` as a child, on a data directory that goes away with it. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFileSync, chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DemoFault } from './fault.ts';

export interface Instance {
  readonly apiUrl: string;
  readonly docsUrl: string;
  readonly temporalUiUrl: string;
  readonly temporalNamespace: string;
  /** The embedded superuser's. */
  readonly databaseUrl: string;
  readonly apiKey: string;
  /** The last lines of its log. */
  readLog(): string;
  /** Ends every process and removes the directory. */
  stop(): Promise<void>;
}

/** The standard schedule's six attempts with seconds for minutes, tiers a second apart at least, and loopback opened for deliveries. */
const demoSettings = {
  TOCSIN_RETRY_STANDARD: 'PT0S,PT1S,PT1S,PT1S,PT1S,PT1S',
  TOCSIN_RETRY_JITTER_MIN: 'PT0S',
  TOCSIN_MIN_INTERVAL: 'PT1S',
  TOCSIN_EGRESS_ALLOW: '127.0.0.1',
  TOCSIN_LOG_LEVEL: 'warn',
};

const lastLogLines = 20;

export interface InstanceOptions {
  /** Told what takes long. */
  readonly progress: (message: string) => void;
  /** Ends it while it still starts. */
  readonly signal: AbortSignal;
}

/** Resolves when everything is up; rejects with what made that impossible, and then nothing is left of it. */
export async function startInstance({ progress, signal }: InstanceOptions): Promise<Instance> {
  const directory = mkdtempSync(join(tmpdir(), 'tocsin-demo-'));
  // Under root, PostgreSQL runs as another user, who has to pass through.
  chmodSync(directory, 0o711);
  const dataDir = join(directory, 'data');
  const logFile = join(directory, 'tocsin.log');
  const apiKey = `tsn_${randomBytes(24).toString('hex')}`;
  const readLog = (): string => readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-lastLogLines).join('\n');
  const child = spawn(process.execPath, [join(import.meta.dirname, '../embedded/start.ts')], {
    env: { ...withoutOwnSettings(process.env), ...demoSettings, TOCSIN_PORT: '0', TOCSIN_DATA_DIR: dataDir, TOCSIN_BOOTSTRAP_KEY: apiKey },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  signal.addEventListener('abort', () => child.kill('SIGTERM'));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await closed;
    removeData(directory, dataDir);
  };

  const ready = new Promise<void>((resolve, reject) => {
    let fault = 'Tocsin ended before it was up.';
    const read = (line: string): void => {
      appendFileSync(logFile, `${line}\n`);
      const { unit, message } = parseLine(line);
      if (unit === 'progress') progress(message);
      else if (unit === 'fault') fault = message;
      else if (unit === 'ready') resolve();
    };
    createInterface({ input: child.stdout }).on('line', read);
    createInterface({ input: child.stderr }).on('line', read);
    child.once('error', reject);
    void closed.then(() => reject(new DemoFault(fault)));
  });
  try {
    await ready;
  } catch (error) {
    const log = existsSync(logFile) ? readLog() : '';
    await stop();
    throw new DemoFault(`${error instanceof Error ? error.message : String(error)}\n${log}`, { cause: error });
  }
  const facts = JSON.parse(readFileSync(join(dataDir, 'ready.json'), 'utf8')) as Omit<Instance, 'apiKey' | 'readLog' | 'stop'>;
  return { ...facts, apiKey, readLog, stop };
}

/** Whatever this shell is configured for is none of the demo's business, least of all its database. */
function withoutOwnSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const own = /^(TOCSIN_|DATABASE_URL|TEMPORAL_(?!CLI_PATH)|npm_lifecycle_event$)/;
  return Object.fromEntries(Object.entries(env).filter(([name]) => !own.test(name)));
}

function parseLine(line: string): { unit: string; message: string } {
  try {
    const { unit, message } = JSON.parse(line) as { unit?: unknown; message?: unknown };
    return { unit: String(unit), message: String(message) };
  } catch {
    return { unit: '', message: line };
  }
}

/** Below a directory that PostgreSQL's user cannot reach, its data is elsewhere; a note says where. */
function removeData(directory: string, dataDir: string): void {
  const note = join(dataDir, 'postgres-is-in');
  if (existsSync(note)) rmSync(readFileSync(note, 'utf8').trim(), { recursive: true, force: true });
  rmSync(directory, { recursive: true, force: true });
}
