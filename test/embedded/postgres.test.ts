import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Postgres, startPostgres } from '../../embedded/postgres.ts';
import { canTraverse, findUnprivilegedAccount } from '../../embedded/postgres-home.ts';
import { isRunning } from '../../embedded/process-identity.ts';
import { makeScratch, until } from './scratch.ts';

let dataDir: string;
let running: Postgres | undefined;

beforeEach(() => {
  dataDir = makeScratch();
});

afterEach(async () => {
  await running?.stop();
  running = undefined;
});

async function start(port?: number): Promise<Postgres> {
  running = await startPostgres({ dataDir, output: 'ignore', ...(port !== undefined && { port }) });
  return running;
}

async function query(postgres: Postgres, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: postgres.databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

const clusterOf = (directory: string) => join(directory, 'postgres', 'cluster');

test('data survives a clean stop, and kill -9 of the server, on the same port', async () => {
  const first = await start();
  await query(first, 'create table kept (n int); insert into kept values (1)');
  await first.stop();

  const second = await start();
  await query(second, 'insert into kept values (2)');
  process.kill(second.identity.pid, 'SIGKILL');
  await expect(second.exited).resolves.toBe('signal SIGKILL');

  const third = await start(second.port);
  expect(third.port).toBe(second.port);
  expect(await query(third, 'select n from kept order by n')).toEqual([{ n: 1 }, { n: 2 }]);
});

test('it is durable, on loopback only, behind a password', async () => {
  const postgres = await start();
  const [settings] = await query(
    postgres,
    `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit, current_setting('listen_addresses') as listen,
            current_setting('unix_socket_directories') as sockets, current_setting('data_checksums') as checksums, current_setting('server_encoding') as encoding`,
  );
  expect(settings).toEqual({ fsync: 'on', commit: 'on', listen: '127.0.0.1', sockets: '', checksums: 'on', encoding: 'UTF8' });
  const url = new URL(postgres.databaseUrl);
  url.password = 'wrong';
  const client = new pg.Client({ connectionString: url.href });
  await expect(client.connect()).rejects.toMatchObject({ code: '28P01' });
  await client.end();
});

test('a stale postmaster.pid that names another program does not block the start', async () => {
  const first = await start();
  await first.stop();
  // This very process: alive, and no PostgreSQL.
  writeFileSync(join(clusterOf(dataDir), 'postmaster.pid'), `${process.pid}\n${clusterOf(dataDir)}\n0\n5432\n\n127.0.0.1\n\nready\n`);
  expect(await query(await start(), 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('backends that outlived their killed server are gone before the next one starts', async () => {
  const first = await start();
  const client = new pg.Client({ connectionString: first.databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  // A stopped backend cannot notice anything.
  process.kill(rows[0]!.pid, 'SIGSTOP');
  process.kill(first.identity.pid, 'SIGKILL');
  await first.exited;
  const second = await start();
  await until('the old backend is gone', () => !isAlive(rows[0]!.pid));
  expect(await query(second, 'select 1 as one')).toEqual([{ one: 1 }]);
  await client.end().catch(() => undefined);
});

function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

test('a running server of a killed supervisor is ended before the next one starts', async () => {
  const first = await start();
  const second = await start();
  expect(isRunning(first.identity)).toBe(false);
  expect(await query(second, 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('the data of another major version is refused in one sentence', async () => {
  await (await start()).stop();
  writeFileSync(join(clusterOf(dataDir), 'PG_VERSION'), '12\n');
  await expect(start()).rejects.toThrow(/is of PostgreSQL 12 and this Tocsin brings 18/);
});

test('a server that cannot start says so instead of hanging', async () => {
  await (await start()).stop();
  appendFileSync(join(clusterOf(dataDir), 'postgresql.conf'), 'no_such_setting = 1\n');
  await expect(start()).rejects.toThrow(/PostgreSQL ended while starting/);
});

test('root’s substitute is a user that servers customarily run as', () => {
  expect(findUnprivilegedAccount('root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\npostgres:x:101:104::/:/bin/sh\n')).toEqual(
    { uid: 101, gid: 104 },
  );
  expect(findUnprivilegedAccount('root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n')).toEqual({ uid: 65534, gid: 65534 });
  expect(() => findUnprivilegedAccount('root:x:0:0::/root:/bin/sh\n')).toThrow(/run as another user, or set DATABASE_URL/);
});

test('a directory below a private one cannot be passed through', () => {
  expect(canTraverse(dataDir, { uid: 54_321, gid: 54_321 })).toBe(true);
  expect(canTraverse('/proc/self/fd', { uid: 54_321, gid: 54_321 })).toBe(process.getuid?.() === 54_321);
});
