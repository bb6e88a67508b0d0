/**
 * The servers of one test run: one PostgreSQL and one Temporal server, started when the first test file asks for them and ended with
 * the run, however it ends (embedded/guardian.ts). Lives in Jest's own process; test files reach it over a socket (servers.ts).
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { migrate } from '../../db/mikro-orm.config.ts';
import { holdDataDirectory } from '../../embedded/data-directory.ts';
import { tryLock } from '../../embedded/lock.ts';
import { type Postgres, startPostgres } from '../../embedded/postgres.ts';
import { provisionTemporalCli } from '../../embedded/temporal-provision.ts';
import { startTemporalServer, type TemporalServer } from '../../embedded/temporal-server.ts';

export type Broker = { readonly socketPath: string; close(): Promise<void> };

/** Whether a Temporal server runs; the reason is for people. */
export type TemporalAnswer = { readonly address: string } | { readonly unavailable: string };

const prefix = 'tocsin-test-';
const template = 'tocsin_template';

/** Opens the broker. `progress` gets lines for people while a Temporal server is fetched or built. */
export function openBroker(progress: (line: string) => void): Broker {
  sweepLeftDirectories();
  const directory = mkdtempSync(join(tmpdir(), prefix));
  const lock = holdDataDirectory(directory);
  const socketPath = join(directory, 'broker.sock');
  const postgres = once(() => startTemplatedPostgres(directory));
  const temporal = once(() => startTemporal(directory, progress));

  const server = createServer((request, response) => void answer(request, response));
  server.listen(socketPath).unref();
  return { socketPath, close };

  async function answer({ method, url }: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      response.end(JSON.stringify(await handle(`${method} ${url}`)));
    } catch (error) {
      response.statusCode = 500;
      response.end(JSON.stringify({ error: (error as Error).stack }));
    }
  }

  async function handle(request: string): Promise<unknown> {
    if (request === 'POST /databases') return createDatabase(await postgres.get());
    if (request.startsWith('DELETE /databases/')) return dropDatabase(await postgres.get(), request.slice('DELETE /databases/'.length));
    if (request === 'GET /temporal') return temporal.get();
    throw new Error(`The broker does not know ${request}.`);
  }

  async function close(): Promise<void> {
    server.close();
    // A server that never came up has nothing to stop, and its fault was told to whoever asked.
    const [startedPostgres, startedTemporal] = await Promise.allSettled([postgres.started(), temporal.started()]);
    if (startedTemporal.status === 'fulfilled' && startedTemporal.value !== undefined && 'stop' in startedTemporal.value)
      await startedTemporal.value.stop();
    if (startedPostgres.status === 'fulfilled') await startedPostgres.value?.stop();
    lock.release();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Runs that were killed leave their directory, and nobody holds its lock any more. */
function sweepLeftDirectories(): void {
  for (const name of readdirSync(tmpdir()).filter((each) => each.startsWith(prefix))) {
    const directory = join(tmpdir(), name);
    try {
      const lock = tryLock(join(directory, 'lock'));
      lock?.release();
      if (lock !== undefined) rmSync(directory, { recursive: true, force: true });
    } catch {
      // Another user's.
    }
  }
}

async function startTemplatedPostgres(dataDir: string): Promise<Postgres> {
  const postgres = await startPostgres({ dataDir, output: openSync(join(dataDir, 'postgres.log'), 'a'), fsync: false });
  await runStatement(postgres, `create database ${template}`);
  await migrate(urlOf(postgres, template));
  return postgres;
}

async function createDatabase(postgres: Postgres): Promise<{ name: string; databaseUrl: string }> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  // Without fsync that takes a fifth of the time of a copy through the log.
  await runStatement(postgres, `create database ${name} template ${template} strategy file_copy`);
  return { name, databaseUrl: urlOf(postgres, name) };
}

async function dropDatabase(postgres: Postgres, name: string): Promise<object> {
  if (!/^test_[0-9a-f]+$/.test(name)) throw new Error(`${name} is not a database of a test.`);
  await runStatement(postgres, `drop database if exists ${name} with (force)`);
  return {};
}

async function runStatement(postgres: Postgres, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: urlOf(postgres, 'postgres') });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

function urlOf({ databaseUrl }: Postgres, name: string): string {
  const url = new URL(databaseUrl);
  url.pathname = name;
  return url.href;
}

async function startTemporal(directory: string, progress: (line: string) => void): Promise<TemporalServer | { unavailable: string }> {
  let cli;
  try {
    cli = await provisionTemporalCli({ cliPath: process.env['TEMPORAL_CLI_PATH'], env: process.env, progress });
  } catch (error) {
    return { unavailable: (error as Error).message };
  }
  return startTemporalServer({
    cliPath: cli.path,
    directory,
    databaseFile: join(directory, 'temporal.db'),
    namespaces: ['tocsin'],
    uiPort: 'none',
    output: openSync(join(directory, 'temporal.log'), 'a'),
  });
}

/** Starts something at the first `get`, once. */
function once<T>(start: () => Promise<T>): { get(): Promise<T>; started(): Promise<T> | undefined } {
  let running: Promise<T> | undefined;
  return { get: () => (running ??= start()), started: () => running };
}
