/** kill -9 of each process of `npm start`, and of all of them, while events flow. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type HttpReceiver, startHttpReceiver } from '../receivers/http.ts';
import { withTemporal } from '../support/servers.ts';
import {
  createWebhook,
  type EventLoad,
  findBrokenPromises,
  readDeliveries,
  startLoad,
  verifyAuditLog,
  whenAllIsDelivered,
  whenFlowing,
} from './event-load.ts';
import { createInstance, type Instance } from './start-instance.ts';

const describeWithTemporal = await withTemporal();

const perSecond = 15;
/** Deliveries must flow again within this; the goal is 5 s. */
const limitMs = 60_000;
const retryAfterSeconds = 3;

const flowing = { type: 'job.completed', path: '/flow' };
const held = { type: 'job.failed', paths: ['/held/1', '/held/2', '/held/3'] };
/** Answered 503 first, so that it waits on a timer. */
const retried = { type: 'drift.detected', path: '/retried' };

let instance: Instance;
let receiver: HttpReceiver;
const accepted: string[] = [];

describeWithTemporal('with events flowing, nothing accepted is lost and only what is marked comes twice', () => {
  beforeAll(async () => {
    receiver = await startHttpReceiver();
    receiver.script(flowing.path, [], 204);
    instance = createInstance({
      TOCSIN_RETRY_STANDARD: `PT0S,${`PT${retryAfterSeconds}S,`.repeat(5)}PT${retryAfterSeconds}S`,
      TOCSIN_RETRY_JITTER_MIN: 'PT0S',
    });
    await instance.start();
    const { apiUrl } = instance.ready();
    const hook = async (path: string, type: string) =>
      createWebhook(apiUrl, instance.apiKey, { name: path, url: receiver.url(path), eventTypes: [type] });
    await hook(flowing.path, flowing.type);
    await hook(retried.path, retried.type);
    for (const path of held.paths) await hook(path, held.type);
  }, 180_000);

  afterAll(async () => {
    await instance.remove();
    await receiver.close();
  }, 60_000);

  test('kill -9 of API and worker between the send and the record of an attempt', async () => {
    await underLoad(async (load) => {
      for (let round = 1; round <= 3; round += 1) {
        const received = await holdAnswers(load);
        const resumedMs = await flowsAgainAfter(load, 'worker', async () => instance.kill('worker'));
        report(`API and worker, ${round}`, resumedMs);
        for (const path of held.paths) await receiver.waitForArrivals(received + 1, { path, timeoutMs: limitMs });
      }
    });
    const marked = (await readDeliveries(instance.ready().databaseUrl)).flatMap(({ attempts }) =>
      attempts.filter(({ errorCode, possibleDuplicate }) => errorCode === 'interrupted' && possibleDuplicate),
    );
    expect(marked.length).toBeGreaterThanOrEqual(9);
  });

  test('kill -9 of the Temporal server: every event is taken meanwhile', async () => {
    await underLoad(async (load) => {
      const [downAtMs, upAtMs] = await whileDown('temporal', 3_000);
      report('Temporal', await whenFlowing(receiver, { load, path: flowing.path, sinceMs: downAtMs }));
      expect(statusesBetween(load, downAtMs, upAtMs)).toEqual(new Set([202]));
    });
  });

  test('the Temporal server loses its file: what waits for a retry goes on', async () => {
    await underLoad(async (load) => {
      receiver.script(retried.path, [503, 503, 503, 503], 204);
      await Promise.all([1, 2, 3, 4].map(async () => load.post(retried.type)));
      await receiver.waitForArrivals(4, { path: retried.path });
      const [downAtMs] = await whileDown('temporal', 500, () => {
        for (const suffix of ['', '-wal', '-shm']) rmSync(join(instance.dataDir, 'temporal', `temporal.db${suffix}`), { force: true });
      });
      report('Temporal, its file deleted', await whenFlowing(receiver, { load, path: flowing.path, sinceMs: downAtMs }));
    });
    expect(receiver.arrivalsAt(retried.path)).toHaveLength(8);
  });

  test('kill -9 of PostgreSQL: nothing is answered 202 meanwhile', async () => {
    await underLoad(async (load) => {
      const [downAtMs, upAtMs] = await whileDown('postgres', 2_000);
      report('PostgreSQL', await whenFlowing(receiver, { load, path: flowing.path, sinceMs: downAtMs }));
      const statuses = statusesBetween(load, downAtMs, upAtMs);
      expect(statuses).toContain(503);
      expect([...statuses].filter((status) => status !== 503 && status !== 500)).toEqual([]);
    });
  });

  test('Ctrl-C ends everything cleanly; what was open goes on at the next start', async () => {
    await underLoad(async (load) => {
      receiver.script(retried.path, [503, 503], 204);
      await Promise.all([load.post(retried.type), load.post(retried.type)]);
      await sleep(500);
      const startedAtMs = Date.now();
      await expect(instance.interrupt()).resolves.toBe(0);
      print(`Ctrl-C: everything ended after ${((Date.now() - startedAtMs) / 1_000).toFixed(1)} s`);
      expect(existsSync(join(instance.dataDir, 'ready.json'))).toBe(false);
      expect(instance.processes()).toEqual([]);
      await startAgain(load, 'after Ctrl-C');
    });
  });

  test('kill -9 of the whole process tree, and of the supervisor alone', async () => {
    await underLoad(async (load) => {
      receiver.script(retried.path, [503, 503], 204);
      await Promise.all([load.post(retried.type), load.post(retried.type)]);
      await holdAnswers(load);
      await instance.killAll();
      await startAgain(load, 'the whole process tree');

      const orphans = instance.processes();
      await instance.kill('main');
      await startAgain(load, 'the supervisor alone');
      const pids = new Set(instance.processes().map(({ pid }) => pid));
      expect(orphans.filter(({ pid }) => pids.has(pid))).toEqual([]);
    });
    await instance.interrupt();
    expect(instance.processes()).toEqual([]);
  });
});

/** Events flow while `work` does its mischief; afterwards every promise must have been kept and the audit log be whole. */
async function underLoad(work: (load: EventLoad) => Promise<void>): Promise<void> {
  let apiUrl = '';
  const currentUrl = (): string => {
    // Between two starts there is no ready.json; whoever posts then finds nobody.
    if (existsSync(join(instance.dataDir, 'ready.json'))) apiUrl = instance.ready().apiUrl;
    return apiUrl;
  };
  const load = startLoad({ apiUrls: () => [currentUrl()], apiKey: instance.apiKey, type: flowing.type, perSecond });
  try {
    await sleep(700);
    await work(load);
    await sleep(700);
  } finally {
    await load.stop();
  }
  accepted.push(...load.accepted());
  expect(load.accepted().length).toBeGreaterThan(perSecond / 2);
  const deliveries = await whenAllIsDelivered(() => instance.ready().databaseUrl, limitMs);
  expect(findBrokenPromises(accepted, deliveries, receiver)).toEqual([]);
  expect(await verifyAuditLog(instance.ready().apiUrl, instance.apiKey)).toMatchObject({ ok: true, findings: [] });
}

/** Posts an event whose requests the receiver leaves without an answer; resolves, with how many it ever got per path, when they are there. */
async function holdAnswers(load: EventLoad): Promise<number> {
  const expected = receiver.arrivalsAt(held.paths[0]!).length + 1;
  for (const path of held.paths) receiver.script(path, [{ fault: 'hang before head' }], 204);
  await load.post(held.type);
  for (const path of held.paths) await receiver.waitForArrivals(expected, { path });
  return expected;
}

/** Milliseconds from `crash` to the first delivery of an event that was accepted after it. */
async function flowsAgainAfter(load: EventLoad, name: 'worker', crash: () => Promise<void>): Promise<number> {
  const pid = instance.ready().pids[name];
  const sinceMs = Date.now();
  await crash();
  const resumedMs = await whenFlowing(receiver, { load, path: flowing.path, sinceMs, timeoutMs: limitMs });
  await instance.replaced(name, pid);
  return resumedMs;
}

/** Kills a server and keeps it down for so long. Resolves with the instants between which it certainly was down. */
async function whileDown(name: 'temporal' | 'postgres', ms: number, meanwhile: () => void = () => {}): Promise<[number, number]> {
  return instance.whileUnsupervised(async () => {
    await instance.kill(name);
    const downAtMs = Date.now();
    meanwhile();
    await sleep(ms);
    return [downAtMs, Date.now()];
  });
}

async function startAgain(load: EventLoad, what: string): Promise<void> {
  const sinceMs = Date.now();
  await instance.start();
  report(`${what} (from the start command)`, await whenFlowing(receiver, { load, path: flowing.path, sinceMs, timeoutMs: limitMs }));
}

function statusesBetween(load: EventLoad, fromMs: number, toMs: number): Set<number | undefined> {
  return new Set(
    load.posts.filter(({ sentAtMs, answeredAtMs }) => sentAtMs > fromMs && (answeredAtMs ?? Infinity) < toMs).map(({ status }) => status),
  );
}

function report(what: string, resumedMs: number): void {
  print(`${what}: deliveries flow again after ${(resumedMs / 1_000).toFixed(1)} s`);
  expect(resumedMs).toBeLessThan(limitMs);
}

function print(line: string): void {
  process.stderr.write(`${line}\n`);
}
