/** API and worker as processes of their own, any number of each on one database and one Temporal namespace. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { seedFirstOrganization } from '../../db/seed.ts';
import { findFreePort } from '../../embedded/free-port.ts';
import { type HttpReceiver, startHttpReceiver } from '../receivers/http.ts';
import { createTestDatabase, createTestNamespace, type TestDatabase, withTemporal } from '../support/servers.ts';
import {
  createWebhook,
  findBrokenPromises,
  readDeliveries,
  startLoad,
  verifyAuditLog,
  whenAllIsDelivered,
  whenFlowing,
} from './event-load.ts';

const describeWithTemporal = await withTemporal();

const limitMs = 60_000;
/** Several such waits, one after the other. */
const testLimitMs = 4 * limitMs;
const flowing = { type: 'job.completed', path: '/flow' };
const held = { type: 'job.failed', paths: ['/held/1', '/held/2', '/held/3', '/held/4'] };
const apiKey = `tsn_${'processes'.repeat(4)}`;

interface Process {
  readonly child: ChildProcess;
  /** Of an API. */
  readonly url: string;
  /** Rejects when it ends before it works. */
  working: Promise<void>;
}

let database: TestDatabase;
let receiver: HttpReceiver;
let environment: NodeJS.ProcessEnv;
let temporalAddress: string;
let temporal: Server | undefined;
const processes: Process[] = [];

describeWithTemporal('separate processes', () => {
  beforeAll(async () => {
    database = await createTestDatabase();
    await seedFirstOrganization({ databaseUrl: database.databaseUrl, bootstrapKey: apiKey, now: new Date() });
    receiver = await startHttpReceiver();
    receiver.script(flowing.path, [], 204);
    const { address, namespace } = await createTestNamespace();
    temporalAddress = address;
    temporalPort = await findFreePort();
    environment = {
      ...process.env,
      DATABASE_URL: database.databaseUrl,
      TEMPORAL_ADDRESS: `127.0.0.1:${temporalPort}`,
      TEMPORAL_NAMESPACE: namespace,
      TOCSIN_SECRET_KEYS: `k1:${randomBytes(32).toString('base64')}`,
      TOCSIN_EGRESS_ALLOW: '127.0.0.1',
      TOCSIN_RETRY_STANDARD: 'PT0S,PT1S,PT1S,PT1S',
      TOCSIN_RETRY_JITTER_MIN: 'PT0S',
      NODE_OPTIONS: undefined,
    };
  }, 120_000);

  afterAll(async () => {
    for (const { child } of processes) child.kill('SIGKILL');
    temporal?.close();
    await receiver.close();
    await database.drop();
  });

  test(
    'with no Temporal server events are taken, and a killed API loses none of them: a worker delivers them once there is one',
    async () => {
      const api = await startProcess('api/main.ts');
      await api.working;
      // A held request of the worker that lives ends by its own timeout.
      const hook = async (path: string, type: string) =>
        createWebhook(api.url, apiKey, { name: path, url: receiver.url(path), eventTypes: [type], timeoutSeconds: 4 });
      await hook(flowing.path, flowing.type);
      for (const path of held.paths) await hook(path, held.type);
      const worker = await startProcess('activities/worker.ts');

      const load = startLoad({ apiUrls: () => [api.url], apiKey, type: flowing.type, perSecond: 20 });
      while (load.accepted().length < 20) await load.post(flowing.type);
      api.child.kill('SIGKILL');
      await load.stop();
      expect(receiver.arrivals).toEqual([]);

      const upAtMs = Date.now();
      await provideTemporal();
      await worker.working;
      await receiver.waitForArrivals(load.accepted().length, { timeoutMs: limitMs });
      print(`Temporal comes up, the API is dead: all is delivered after ${seconds(Date.now() - upAtMs)}`);
      expect(findBrokenPromises(load.accepted(), await whenAllIsDelivered(() => database.databaseUrl, limitMs), receiver)).toEqual([]);
    },
    testLimitMs,
  );

  test(
    'two of each, one of each killed under load: nothing is lost, and only what is marked comes twice',
    async () => {
      const [worker] = processes.filter(({ child }) => child.exitCode === null && child.signalCode === null);
      const [firstApi, secondApi, secondWorker] = await Promise.all([
        startProcess('api/main.ts'),
        startProcess('api/main.ts'),
        startProcess('activities/worker.ts'),
      ]);
      await Promise.all([firstApi.working, secondApi.working, secondWorker.working]);

      const load = startLoad({ apiUrls: () => [firstApi.url, secondApi.url], apiKey, type: flowing.type, perSecond: 40 });
      try {
        await receiver.waitForArrivals(receiver.arrivals.length + 40, { timeoutMs: limitMs });
        for (const path of held.paths) receiver.script(path, [{ fault: 'hang before head' }, { fault: 'hang before head' }], 204);
        await Promise.all([load.post(held.type), load.post(held.type)]);
        // Both: whoever comes after the kill must not be left hanging too.
        for (const path of held.paths) await receiver.waitForArrivals(2, { path, timeoutMs: limitMs });
        const killedAtMs = Date.now();
        worker!.child.kill('SIGKILL');
        firstApi.child.kill('SIGKILL');
        const flowsMs = await whenFlowing(receiver, { load, path: flowing.path, sinceMs: killedAtMs, timeoutMs: limitMs });
        print(`One API and one worker of two killed: deliveries flow again after ${seconds(flowsMs)}`);
        await receiver.waitForArrivals(receiver.arrivals.length + 40, { timeoutMs: limitMs });
      } finally {
        await load.stop();
      }
      const deliveries = await whenAllIsDelivered(() => database.databaseUrl, limitMs);
      expect(findBrokenPromises(load.accepted(), deliveries, receiver)).toEqual([]);
      expect(
        (await readDeliveries(database.databaseUrl)).flatMap(({ attempts }) => attempts).some((attempt) => attempt.possibleDuplicate),
      ).toBe(true);
      expect(await verifyAuditLog(secondApi.url, apiKey)).toMatchObject({ ok: true, findings: [] });
    },
    testLimitMs,
  );

  test('SIGTERM ends both with exit code 0', async () => {
    const living = processes.filter(({ child }) => child.exitCode === null && child.signalCode === null);
    expect(living).toHaveLength(2);
    const codes = living.map(
      ({ child }) =>
        new Promise((resolve) => {
          child.once('exit', resolve);
          child.kill('SIGTERM');
        }),
    );
    expect(await Promise.all(codes)).toEqual([0, 0]);
  });
});

let temporalPort: number;

async function startProcess(file: 'api/main.ts' | 'activities/worker.ts'): Promise<Process> {
  const port = await findFreePort();
  // The channel ties its life to this process, as `npm start` does it.
  const child = spawn(process.execPath, [join(import.meta.dirname, '../..', file)], {
    env: { ...environment, TOCSIN_PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const lines = createInterface({ input: child.stdout! });
  const working = new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      const { unit } = JSON.parse(line) as { unit: string };
      if (unit === 'working' || unit === 'listening') resolve();
    });
    child.once('exit', (code, signal) => reject(new Error(`${file} ended before it worked (${signal ?? code}).`)));
  });
  working.catch(() => {});
  const started = { child, url: `http://127.0.0.1:${port}`, working };
  processes.push(started);
  return started;
}

/** From now on the run's Temporal server answers at the address that the processes were given. */
async function provideTemporal(): Promise<void> {
  const [host, port] = temporalAddress.split(':');
  const server = createServer((socket: Socket) => {
    const upstream = connect(Number(port), host);
    for (const [from, to] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
      from.pipe(to);
    }
  });
  temporal = server;
  await new Promise<void>((resolve) => server.listen(temporalPort, '127.0.0.1', resolve));
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function print(line: string): void {
  process.stderr.write(`${line}\n`);
}
