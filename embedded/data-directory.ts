/** The data directory of one instance: who holds it, what it keeps beside the servers' data, and what a killed supervisor left running. */
import { randomBytes, randomUUID } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type Lock, tryLock } from './lock.ts';
import { endProcess, type ProcessIdentity } from './process-identity.ts';

/** A fault that is told in one sentence and ends the process with exit code 1. */
export class StartFault extends Error {
  override name = 'StartFault';
}

/** Makes the directory if needed and holds it until the process ends. One supervisor per directory. */
export function holdDataDirectory(dataDir: string): Lock {
  try {
    mkdirSync(dataDir, { recursive: true });
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
    // Under root, PostgreSQL's user passes through it to its own part; whatever is secret has its own mode.
    if (statSync(dataDir).uid === process.getuid?.()) chmodSync(dataDir, process.getuid?.() === 0 ? 0o711 : 0o700);
    const lock = tryLock(join(dataDir, 'lock'));
    if (lock !== undefined) return lock;
  } catch (error) {
    throw new StartFault(
      `The data directory ${dataDir} cannot be used (${(error as Error).message}): set TOCSIN_DATA_DIR to another one.`,
      { cause: error },
    );
  }
  const holder = readProcesses(dataDir).main?.pid;
  throw new StartFault(
    `Tocsin already runs on ${dataDir}${holder === undefined ? '' : ` (process ${holder})`}: stop that one first, or set TOCSIN_DATA_DIR to another directory.`,
  );
}

/** The file of keys for encryption at rest, in the form of TOCSIN_SECRET_KEYS; made on the first start. */
export function provideSecretKeys(dataDir: string): string {
  const file = join(dataDir, 'secret-keys');
  if (!existsSync(file)) writeWhole(file, `k1:${randomBytes(32).toString('base64')}\n`);
  return file;
}

/**
 * The name of this directory's instance: its worker is the only one alive under it. Not the path, which two machines on one database may
 * have in common.
 */
export function provideInstanceName(dataDir: string): string {
  const file = join(dataDir, 'instance');
  if (!existsSync(file)) writeWhole(file, `${randomUUID()}\n`);
  return readFileSync(file, 'utf8').trim();
}

/**
 * An API key for the owner of the first organization, kept until it was shown or not needed, so that a start killed between making
 * the organization and showing the key does not lock everybody out. `pending` = it is from such a start.
 */
export function provideFirstApiKey(dataDir: string): { key: string; pending: boolean; forget(): void } {
  const file = join(dataDir, 'first-api-key');
  const pending = existsSync(file);
  if (!pending) writeWhole(file, `tsn_${randomBytes(24).toString('hex')}\n`);
  return { key: readFileSync(file, 'utf8').trim(), pending, forget: () => rmSync(file, { force: true }) };
}

export type ProcessName = 'main' | 'postgres' | 'temporal' | 'app' | 'watchdog';
export type Processes = { readonly [Name in ProcessName]?: ProcessIdentity | undefined };

/** Notes who runs, for the next start. */
export function recordProcesses(dataDir: string, processes: Processes): void {
  writeWhole(join(dataDir, 'processes.json'), JSON.stringify(processes));
}

/**
 * Ends what a killed supervisor left behind: app and Temporal; PostgreSQL sees to its own (postgres.ts). Both are already ending by
 * themselves, having lost their supervisor; this is the net under that. The app gets little time: the servers that it would record its last
 * answers in are ending too.
 */
export async function endLeftoverProcesses(dataDir: string): Promise<void> {
  const { app, temporal, watchdog } = readProcesses(dataDir);
  await Promise.all([
    watchdog === undefined ? undefined : endProcess(watchdog, 'SIGTERM', 2000),
    app === undefined ? undefined : endProcess(app, 'SIGTERM', 2000),
    temporal === undefined ? undefined : endProcess(temporal, 'SIGTERM', 3000),
  ]);
}

function readProcesses(dataDir: string): Processes {
  try {
    return JSON.parse(readFileSync(join(dataDir, 'processes.json'), 'utf8')) as Processes;
  } catch {
    return {};
  }
}

/** Replaces a file of mode 0600 as a whole: a reader sees the old content or the new, also after a crash. */
export function writeWhole(file: string, content: string): void {
  writeFileSync(`${file}.new`, content, { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
}

const logLimitBytes = 64 * 1024 * 1024;

/** Opens `log/<name>.log` for appending. */
export function openLog(dataDir: string, name: string): number {
  const directory = join(dataDir, 'log');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = join(directory, `${name}.log`);
  limitLog(file);
  // Its writers keep the descriptor, so a full file is copied and emptied instead of renamed.
  setInterval(() => limitLog(file), 60_000).unref();
  return openSync(file, 'a', 0o600);
}

function limitLog(file: string): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size < logLimitBytes) return;
  copyFileSync(file, `${file}.1`);
  truncateSync(file);
}
