/** kill -9 of each process of `npm start` around the steps of escalations that climb: who is told, and once, is as if nothing had happened. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, afterEach, expect, test } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import { toWireId } from '../../domain/id.ts';
import { workflowIds } from '../../workflows/messages.ts';
import { until } from '../embedded/scratch.ts';
import { startHttpReceiver, type HttpReceiver } from '../receivers/http.ts';
import { withTemporal } from '../support/servers.ts';
import { verifyAuditLog } from './event-load.ts';
import { createInstance, type Instance } from './start-instance.ts';

const describeWithTemporal = await withTemporal();

const timeoutMs = 1_500;
/** Two climb to the end, two are acknowledged while something is down. */
const count = 4;

let instance: Instance;
let receiver: HttpReceiver;
let database: pg.Client;
let stories = 0;

describeWithTemporal('whatever is killed, every tier is paged once, and none that is begun after an acknowledgement', () => {
  beforeAll(async () => {
    receiver = await startHttpReceiver();
    for (const path of ['/tier1', '/tier2', '/fallback']) receiver.script(path, [], 204);
    instance = createInstance({
      TOCSIN_MIN_INTERVAL: 'PT0.1S',
      TOCSIN_WATCHDOG_EVERY: 'PT0.5S',
      TOCSIN_WATCHDOG_NUDGE: 'PT1S',
      TOCSIN_WATCHDOG_ALARM: 'PT5S',
    });
    await instance.start();
    const target = async (path: string): Promise<object> => {
      const { id } = await call('/webhooks', { name: path, url: receiver.url(path), eventTypes: ['job.completed'] });
      return { kind: 'webhook', id };
    };
    const timeout = `PT${timeoutMs / 1_000}S`;
    const [first, second, last] = [await target('/tier1'), await target('/tier2'), await target('/fallback')];
    await call('/escalation-policies', {
      name: 'crash',
      trigger: { types: ['alert.fired'] },
      tiers: [
        { targets: [first], timeout },
        { targets: [second], timeout },
      ],
      fallback: [last],
      cooldown: 'PT0S',
    });
  }, 180_000);
  afterAll(async () => {
    await instance.remove();
    await receiver.close();
  }, 60_000);
  beforeEach(connect);
  afterEach(async () => {
    await database.end().catch(() => {});
  });

  test('the worker, while a step waits for its turn', async () => {
    const open = await openEscalations();
    await database.query('begin');
    await database.query('select from escalation_group for update');
    await until('the steps wait', async () => holds(`exists (select from pg_stat_activity where wait_event_type = 'Lock')`));
    const { worker } = instance.ready().pids;
    await instance.kill('worker');
    await database.query('rollback');
    await instance.replaced('worker', worker);
    await acknowledge(open.slice(2));
    await expectTold(open);
  }, 90_000);

  test('the worker, when a step has committed and before anybody knows', async () => {
    const open = await openEscalations();
    await until('a second tier has fired', async () => holds(`exists (select from escalation_firing where firing = 2 and ${isOf(open)})`));
    const { worker } = instance.ready().pids;
    await instance.kill('worker');
    await instance.replaced('worker', worker);
    await expectTold(open, { acknowledged: 0 });
  }, 90_000);

  test('the worker, between an intake and the start of its workflow', async () => {
    const { worker } = instance.ready().pids;
    const posted = openEscalations();
    await until('an escalation is there', async () => holds(`exists (select from escalation where status = 'triggered')`));
    await instance.kill('worker');
    await instance.replaced('worker', worker);
    const open = await posted;
    await expectTold(open, { acknowledged: 0 });
  }, 90_000);

  test('the worker, for long: the watchdog tells the last resort once, and the tier comes when somebody is back', async () => {
    const open = await openEscalations();
    const { worker } = instance.ready().pids;
    await instance.whileUnsupervised(async () => {
      await instance.kill('worker');
      await until('the last resort hears of each', () => open.every((id) => alarmsOf(id).length > 0), 30_000);
    });
    await instance.replaced('worker', worker);
    await expectTold(open, { acknowledged: 0 });
    expect(open.map((id) => alarmsOf(id).length)).toEqual(open.map(() => 1));
    // What is meant for the memory of a worker holds a page up for as long as Temporal believes in it; by default that is ten seconds.
    const waits = await readWaitsForMemory(open);
    expect(waits.length).toBeGreaterThan(0);
    expect(waits.filter((seconds) => seconds > 6)).toEqual([]);
  }, 90_000);

  test('Temporal: what is acknowledged meanwhile pages nobody any more, what is due comes when it is back', async () => {
    const open = await openEscalations();
    await whileDown('temporal', async () => {
      await acknowledge(open.slice(2));
      await sleep(timeoutMs + 1_000);
    });
    await expectTold(open);
  }, 90_000);

  test('Temporal, which loses all it knew', async () => {
    const open = await openEscalations();
    await whileDown('temporal', async () => {
      await acknowledge(open.slice(2));
      for (const suffix of ['', '-wal', '-shm']) rmSync(join(instance.dataDir, 'temporal', `temporal.db${suffix}`), { force: true });
    });
    await expectTold(open);
  }, 90_000);

  test('PostgreSQL, when tiers are due', async () => {
    const open = await openEscalations();
    await acknowledge(open.slice(2));
    await sleep(timeoutMs - 500);
    await database.end();
    await whileDown('postgres', async () => sleep(1_500));
    await insistOn(connect);
    await expectTold(open);
  }, 90_000);

  test('everything at once: the overdue tier comes at the next start, and the one after it a timeout later', async () => {
    const open = await openEscalations();
    await acknowledge(open.slice(2));
    await database.end();
    await instance.killAll();
    await sleep(timeoutMs);
    await instance.start();
    await insistOn(connect);
    await expectTold(open);
    const { rows } = await database.query<{ gap: number }>(
      `select extract(epoch from last.fired_at - late.fired_at)::float8 * 1000 as gap from escalation_firing late
         join escalation_firing last on last.escalation_id = late.escalation_id and last.firing = 3
         where late.firing = 2 and late.${isOf(open)}`,
    );
    expect(rows).toHaveLength(2);
    for (const { gap } of rows) expect(gap).toBeGreaterThanOrEqual(timeoutMs);
  }, 120_000);

  test('the audit log is whole after all of it', async () => {
    expect(await verifyAuditLog(instance.ready().apiUrl, instance.apiKey)).toMatchObject({ ok: true, findings: [] });
  });
});

async function connect(): Promise<void> {
  database = new pg.Client({ connectionString: instance.ready().databaseUrl });
  database.on('error', () => {});
  await database.connect();
}

async function call(path: string, body: object): Promise<Record<string, string>> {
  const response = await fetch(`${instance.ready().apiUrl}/api/v2${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${instance.apiKey}` },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as Record<string, string>;
  if (response.status >= 300) throw new Error(JSON.stringify(answer));
  return answer;
}

/** Tries again for as long as nobody answers. */
async function insistOn<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (tries === 100) throw error;
      await sleep(200);
    }
  }
}

/** Escalations by their UUIDs. @returns once the first tier of each has been paged */
/** Temporal's `TIMEOUT_TYPE_SCHEDULE_TO_START`. */
const scheduleToStart = 2;

/** By the server's clock, how long tasks waited for a worker that was gone before others could take them. */
async function readWaitsForMemory(escalationIds: readonly string[]): Promise<number[]> {
  const { temporalAddress, temporalNamespace: namespace } = instance.ready();
  const connection = await Connection.connect({ address: temporalAddress });
  const client = new Client({ connection, namespace });
  const histories = await Promise.all(
    escalationIds.map(async (id) => client.workflow.getHandle(workflowIds.escalation(id)).fetchHistory()),
  );
  await connection.close();
  return histories.flatMap(({ events }) =>
    events!.flatMap(({ eventTime, workflowTaskTimedOutEventAttributes: timedOut }) => {
      if (timedOut?.timeoutType !== scheduleToStart) return [];
      const scheduled = events!.find(({ eventId }) => String(eventId) === String(timedOut.scheduledEventId));
      return [Number(eventTime!.seconds) - Number(scheduled!.eventTime!.seconds)];
    }),
  );
}

async function openEscalations(): Promise<string[]> {
  const story = (stories += 1);
  const events = Array.from({ length: count }, (_, i) => ({
    type: 'alert.fired',
    severity: 'high',
    dedupKey: `${story}.${i}`,
    subject: `${story}.${i}`,
  }));
  for (const event of events) await insistOn(async () => call('/events', event));
  const { rows } = await insistOn(async () =>
    database.query<{ id: string }>(`select id from escalation where subject like '${story}.%' order by subject`),
  );
  expect(rows).toHaveLength(count);
  const open = rows.map(({ id }) => id);
  await until('the first tiers are paged', async () => open.every((id) => toldOf(id).length > 0));
  return open;
}

const isOf = (open: readonly string[]): string => `escalation_id = any('{${open.join()}}'::uuid[])`;

async function holds(query: string): Promise<boolean> {
  const { rows } = await database.query<{ holds: boolean }>(`select (${query}) as holds`);
  return rows[0]!.holds;
}

async function acknowledge(open: readonly string[]): Promise<void> {
  for (const id of open) await insistOn(async () => call(`/escalations/${toWireId('escalation', id)}/acknowledge`, {}));
}

/** While `work` runs the server is down, and nobody starts it again. */
async function whileDown(name: 'temporal' | 'postgres', work: () => Promise<void>): Promise<void> {
  await instance.whileUnsupervised(async () => {
    await instance.kill(name);
    await work();
  });
}

/** The pages of an escalation that arrived: the path, and the id that stays the same when one is repeated. Updates are not pages. */
function requestsOf(id: string): Array<{ path: string; messageId: string }> {
  return receiver.arrivals.flatMap(({ path, headers, body }) => {
    const { type, data } = JSON.parse(body.toString()) as { type: string; data?: { escalation_id?: string } };
    const isPage = type === (path === '/fallback' ? 'escalation.exhausted' : 'escalation.triggered');
    return isPage && data?.escalation_id === toWireId('escalation', id) ? [{ path, messageId: String(headers['webhook-id']) }] : [];
  });
}

/** What the watchdog told about it. */
function alarmsOf(id: string): string[] {
  return receiver.arrivalsAt('/fallback').flatMap(({ body }) => {
    const { type, data } = JSON.parse(body.toString()) as { type: string; data?: { escalation_id?: string } };
    return type === 'watchdog.late' && data?.escalation_id === toWireId('escalation', id) ? [type] : [];
  });
}

/** Whom its pages have reached so far, each message once. */
function toldOf(id: string): string[] {
  return [...new Map(requestsOf(id).map(({ path, messageId }) => [`${path} ${messageId}`, path])).values()];
}

/** The first climb to the end, the last `acknowledged` were acknowledged after tier 1; what came twice is marked as possibly so. */
async function expectTold(open: readonly string[], { acknowledged = 2 } = {}): Promise<void> {
  const climbing = open.slice(0, open.length - acknowledged);
  await until('those that nobody acknowledged have climbed to the end', async () => climbing.every((id) => toldOf(id).length >= 3));
  await sleep(timeoutMs);
  // A page whose sender was killed may arrive after one that was due later.
  const told = open.map((id) => toldOf(id).toSorted());
  expect(told).toEqual(open.map((id) => (climbing.includes(id) ? ['/fallback', '/tier1', '/tier2'] : ['/tier1'])));
  const { rows } = await database.query(
    `select from delivery d where ${isOf(open)} and exists (select from attempt a where a.delivery_id = d.id and a.possible_duplicate)`,
  );
  const repeated = open.flatMap((id) => requestsOf(id).slice(toldOf(id).length));
  expect(repeated.length).toBeLessThanOrEqual(rows.length);
}
