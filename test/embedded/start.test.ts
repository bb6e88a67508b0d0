import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { withTemporal } from '../support/servers.ts';
import { findProcesses, makeScratch, until } from './scratch.ts';

type Line = {
  readonly unit: string;
  readonly message?: string;
  readonly apiUrl?: string;
  readonly apiKey?: string;
  readonly curl?: string;
};
type ReadyFile = {
  apiUrl: string;
  docsUrl: string;
  temporalUiUrl: string;
  temporalAddress: string;
  temporalNamespace: string;
  databaseUrl: string;
  pids: Record<string, number>;
};
type Started = { child: ChildProcess; lines: Line[]; exitCode: Promise<number | null> };

const root = join(import.meta.dirname, '../..');
const describeWithTemporal = await withTemporal();
let dataDir: string;
const children: ChildProcess[] = [];

function makeDirectory(): string {
  return join(makeScratch('file'), 'data');
}

async function endAll(): Promise<void> {
  for (const child of children.splice(0)) child.kill('SIGTERM');
  await until('nothing runs on the data directory', () => findProcesses(dataDir).length === 0);
}

/** Resolves when it is ready. */
async function startOn(directory: string, settings: Record<string, string> = {}): Promise<Started> {
  dataDir = directory;
  const started = start(settings);
  await whenReady(started);
  return started;
}

function start(settings: Record<string, string> = {}): Started {
  const env = { ...process.env, TOCSIN_PORT: '0', TOCSIN_DATA_DIR: dataDir, npm_lifecycle_event: undefined, ...settings };
  const child = spawn('node', [join(root, 'embedded/start.ts'), join(import.meta.dirname, 'fake-app.ts')], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const lines: Line[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line) as Line));
  return { child, lines, exitCode: new Promise((resolve) => child.once('close', resolve)) };
}

const readyPath = () => join(dataDir, 'ready.json');
const readReady = () => JSON.parse(readFileSync(readyPath(), 'utf8')) as ReadyFile;
const whenReady = ({ lines }: Started) =>
  until('npm start says that it is ready', () => lines.find(({ unit }) => unit === 'ready'), 60_000);
const faultOf = async ({ lines, exitCode }: Started) => ({
  exitCode: await exitCode,
  message: lines.find(({ unit }) => unit === 'fault')?.message,
});

async function query(databaseUrl: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

/** Kills the named process and waits for its successor. */
async function killAndWait(name: string): Promise<ReadyFile> {
  const before = readReady();
  process.kill(before.pids[name]!, 'SIGKILL');
  return until(`${name} is back`, () => {
    const now = readReady();
    return now.pids[name] !== before.pids[name] && now;
  });
}

describeWithTemporal('npm start', () => {
  describe('on one data directory, again and again', () => {
    let running: Started;
    beforeAll(async () => {
      running = await startOn(makeDirectory());
    }, 60_000);
    afterAll(endAll);

    const startAgain = async () => {
      running = await startOn(dataDir);
    };
    const readKept = async () => query(readReady().databaseUrl, 'select n from kept');

    test('everything comes up and is announced, with an API key', async () => {
      const line = await whenReady(running);
      const ready = readReady();
      expect(statSync(readyPath()).mode & 0o777).toBe(0o600);
      expect(ready).toMatchObject({ docsUrl: `${ready.apiUrl}/api/v2/docs`, temporalNamespace: 'tocsin' });
      expect(ready.pids['main']).toBe(running.child.pid);
      expect(line.apiKey).toMatch(/^tsn_\w{32,}$/);
      expect(line.curl).toContain(`${ready.apiUrl}/api/v2/events`);
      expect(line.curl).toContain('deployment.failed');
      expect((await fetch(ready.temporalUiUrl)).status).toBe(200);
      expect(await query(ready.databaseUrl, 'select count(*)::int as organizations from organization')).toEqual([{ organizations: 1 }]);
    });

    test('the app gets its servers and the path of its keys, and no bootstrap key', async () => {
      const ready = readReady();
      const given = (await (await fetch(ready.apiUrl)).json()) as Record<string, string>;
      expect(given).toEqual({
        DATABASE_URL: ready.databaseUrl,
        TEMPORAL_ADDRESS: ready.temporalAddress,
        TOCSIN_SECRET_KEYS_FILE: join(dataDir, 'secret-keys'),
        TOCSIN_INSTANCE: readFileSync(join(dataDir, 'instance'), 'utf8').trim(),
      });
      expect(statSync(join(dataDir, 'secret-keys')).mode & 0o777).toBe(0o600);
    });

    test('a second start beside it is one sentence, and the first goes on', async () => {
      const { exitCode, message } = await faultOf(start());
      expect(exitCode).toBe(1);
      expect(message).toBe(
        `Tocsin already runs on ${dataDir} (process ${running.child.pid}): stop that one first, or set TOCSIN_DATA_DIR to another directory.`,
      );
      expect((await fetch(readReady().apiUrl)).status).toBe(200);
    });

    test('a killed server or app is started again, on the same address and data', async () => {
      const before = readReady();
      await query(before.databaseUrl, 'create table kept (n int); insert into kept values (1)');
      await killAndWait('postgres');
      await killAndWait('temporal');
      const after = await killAndWait('api');
      expect({ ...after, pids: undefined }).toEqual({ ...before, pids: undefined });
      expect(await readKept()).toEqual([{ n: 1 }]);
      expect((await fetch(after.apiUrl)).status).toBe(200);
    });

    test('kill -9 of the supervisor leaves no process, and the next start finds all data and shows no API key', async () => {
      running.child.kill('SIGKILL');
      await running.exitCode;
      await until('no process is left', () => findProcesses(dataDir).length === 0);
      await startAgain();
      expect((await whenReady(running)).apiKey).toBeUndefined();
      expect(await readKept()).toEqual([{ n: 1 }]);
    });

    test('kill -9 of the whole tree, started again at once, loses nothing', async () => {
      await query(readReady().databaseUrl, 'insert into kept values (2)');
      for (const pid of new Set([...Object.values(readReady().pids), ...findProcesses(dataDir)])) process.kill(pid, 'SIGKILL');
      await startAgain();
      expect(await readKept()).toEqual([{ n: 1 }, { n: 2 }]);
    });

    test('it stops cleanly with exit code 0', async () => {
      running.child.kill('SIGTERM');
      await expect(running.exitCode).resolves.toBe(0);
      expect(existsSync(readyPath())).toBe(false);
      expect(findProcesses(dataDir)).toEqual([]);
    });

    test('it ends when its parent dies', async () => {
      const script = `const { spawn } = require('node:child_process');
        spawn(process.execPath, ${JSON.stringify([join(root, 'embedded/start.ts'), join(import.meta.dirname, 'fake-app.ts')])}, { stdio: 'ignore' });
        setInterval(() => {}, 1000);`;
      const env = { ...process.env, TOCSIN_PORT: '0', TOCSIN_DATA_DIR: dataDir, npm_lifecycle_event: undefined };
      const parent = spawn('node', ['-e', script], { env, stdio: 'inherit' });
      children.push(parent);
      await until('it is ready', () => existsSync(readyPath()), 60_000);
      const { main } = readReady().pids;
      parent.kill('SIGKILL');
      await until('nothing runs any more', () => findProcesses(dataDir).length === 0 && !existsSync(`/proc/${main}`));
      expect(existsSync(readyPath())).toBe(false);
    });
  });

  describe('with an API key that was given', () => {
    afterEach(endAll);

    test('it is never shown', async () => {
      const running = await startOn(makeDirectory(), { TOCSIN_BOOTSTRAP_KEY: `tsn_${'b'.repeat(40)}` });
      const line = await whenReady(running);
      expect(line.apiKey).toBeUndefined();
      expect(line.curl).toContain('$TOCSIN_API_KEY');
      expect(JSON.stringify(running.lines)).not.toContain('b'.repeat(40));
    });
  });
});

describe('what keeps npm start from starting is one clear sentence', () => {
  beforeEach(() => {
    dataDir = makeDirectory();
  });
  afterEach(endAll);

  test('bad configuration: every fault, exit code 78', async () => {
    const { exitCode, message } = await faultOf(start({ TOCSIN_PORT: 'x', TOCSIN_LOG_LEVEL: 'loud' }));
    expect(exitCode).toBe(78);
    expect(message).toMatch(/2 faults[^]*TOCSIN_PORT[^]*TOCSIN_LOG_LEVEL/);
  });

  test('a taken port: its number and the setting', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const { exitCode, message } = await faultOf(start({ TOCSIN_PORT: String(port) }));
    server.close();
    expect(exitCode).toBe(1);
    expect(message).toBe(
      `Port ${port} of 127.0.0.1 is taken by another program: stop that one, or set TOCSIN_PORT to another port (0 = any free one).`,
    );
  });

  test('a missing Temporal server', async () => {
    const { exitCode, message } = await faultOf(start({ TEMPORAL_CLI_PATH: '/nonexistent' }));
    expect(exitCode).toBe(1);
    expect(message).toMatch(/^TEMPORAL_CLI_PATH is \/nonexistent, which cannot be run/);
  });

  test('a PostgreSQL of one’s own that does not answer', async () => {
    const { exitCode, message } = await faultOf(
      start({
        DATABASE_URL: 'postgres://tocsin:hunter2@127.0.0.1:9/tocsin',
        TOCSIN_SECRET_KEYS: `k:${Buffer.alloc(32).toString('base64')}`,
        // Something that answers gRPC is not needed to get this far, only something that is no fault of its own.
        TEMPORAL_CLI_PATH: process.env['TEMPORAL_CLI_PATH'] ?? '',
      }),
    );
    expect(exitCode).toBe(1);
    expect(message).toMatch(/^The PostgreSQL of DATABASE_URL cannot be used/);
    expect(message).not.toContain('hunter2');
  });
});
