import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import pg from 'pg';
import { auditAttempt } from '../../activities/delivery-audit.ts';
import { emptyAttempt } from '../../activities/delivery.ts';
import { createRunStore, type AttemptRecord, type RunStore } from '../../activities/run-store.ts';
import { pipelineInOrganization } from '../../db/pipeline.ts';
import { claimRun } from '../../db/queries/run-claim.ts';
import { newId, parseWireId } from '../../domain/id.ts';
import { createLogger } from '../../log.ts';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';
import { until } from '../embedded/scratch.ts';

let api: TestApi;
let ours: TestOrganization;
let destinationId: string;
let database: pg.Client;
let store: RunStore;
const logged: string[] = [];
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization();
  const webhook = { name: 'h', url: 'http://127.0.0.1:9/', eventTypes: ['*'] };
  destinationId = parseWireId((await api.request('POST', '/webhooks', { key: ours.key, body: webhook })).body['id'])!.uuid;
  database = new pg.Client({ connectionString: api.databaseUrl });
  await database.connect();
  const log = createLogger({ process: 'worker', write: (line) => void logged.push(line) });
  store = createRunStore({ orm: api.orm, workerId: newId(Date.now()), log });
});
beforeEach(() => void logged.splice(0));
afterAll(async () => {
  await database.end();
  await api.stop();
});

/** UUIDs of new deliveries in flight, begun by one run, oldest first. */
async function beginDeliveries(count: number): Promise<string[]> {
  const events = Array.from({ length: count }, () => ({ type: 'job.failed' }));
  await api.request('POST', '/events/batch', { key: ours.key, body: { events } });
  const { body } = await api.request('GET', `/deliveries?limit=${count}`, { key: ours.key });
  const ids: string[] = body['data'].map(({ id }: { id: string }) => parseWireId(id)!.uuid).toSorted();
  const [rows] = await pipelineInOrganization(api.orm, ours.id, [claimRun(ours.id, ids)]);
  const [{ run_id: runId }] = rows as [{ run_id: string }];
  const members = await store.begin(ours.id, { runId, destinationId, lane: 'slow', timeoutMs: 45_000 });
  expect(members.filter(({ begun }) => begun)).toHaveLength(count);
  return ids;
}

/** The first attempt of a delivery, answered, with its audit entry. */
function answered(deliveryId: string, state: 'delivered' | 'retrying', errorDetail: string | null = null): AttemptRecord {
  const delivered = state === 'delivered';
  const finished: AttemptRecord['finished'] = {
    ...emptyAttempt,
    deliveryId,
    attempt: 1,
    finishedAt: Date.now(),
    outcome: delivered ? 'delivered' : 'retryable',
    errorCode: delivered ? null : 'http_5xx',
    errorDetail,
    statusCode: delivered ? 204 : 503,
    nextDelayMs: delivered ? null : 60_000,
    scheduleConsumed: true,
    next: {
      state,
      schedulePos: 1,
      attemptCount: 1,
      interruptions: 0,
      rateLimits: 0,
      nextAttemptAt: delivered ? null : Date.now() + 60_000,
    },
  };
  const input = { organizationId: ours.id, runId: `${deliveryId}.1`, destinationId, channelType: 'webhook' };
  const destination = { kind: 'webhook', id: destinationId, name: 'h' } as const;
  return {
    finished,
    ofEscalation: false,
    audit: auditAttempt(input, destination, { deliveryId, eventId: deliveryId, eventType: 'job.failed' }, finished),
  };
}

/** What the row says, and what each audit entry of the delivery's attempts says. */
async function statesOf(deliveryId: string): Promise<{ row: string; entries: string[] }> {
  const row = await database.query<{ state: string }>('select state from delivery where id = $1', [deliveryId]);
  const entries = await database.query<{ canonical: Buffer }>(
    `select canonical from audit.entry where action = 'delivery.attempt' and resource_id = $1`,
    [deliveryId],
  );
  const stateIn = ({ canonical }: { canonical: Buffer }) =>
    (JSON.parse(canonical.toString()) as { details: { state: string } }).details.state;
  return { row: row.rows[0]!.state, entries: entries.rows.map(stateIn) };
}
const written = (state: string) => ({ row: state, entries: [state] });

test('the audit entry of an attempt says what became of its delivery, also when that was cancelled meanwhile', async () => {
  const [cancelled, retried, delivered, unwanted] = await beginDeliveries(4);
  await database.query('update delivery set cancel_requested = true where id = any($1)', [[cancelled, unwanted]]);
  const states = await store.finish(ours.id, [
    answered(cancelled!, 'retrying'),
    answered(retried!, 'retrying'),
    answered(delivered!, 'delivered'),
    answered(unwanted!, 'delivered'),
  ]);
  expect([cancelled, retried, delivered, unwanted].map((id) => states.get(id!))).toEqual([
    'cancelled',
    'retrying',
    'delivered',
    'delivered',
  ]);
  expect(await statesOf(cancelled!)).toEqual(written('cancelled'));
  expect(await statesOf(retried!)).toEqual(written('retrying'));
  expect(await statesOf(delivered!)).toEqual(written('delivered'));
  expect(await statesOf(unwanted!)).toEqual(written('delivered'));
  expect(logged).toEqual([]);
});

test('a record that cannot be written goes alone: those that came with it are written, and it is told', async () => {
  const [first, broken, last] = await beginDeliveries(3);
  // No text of PostgreSQL's can hold this character.
  const states = await store.finish(ours.id, [
    answered(first!, 'retrying'),
    answered(broken!, 'retrying', 'before\u0000after'),
    answered(last!, 'delivered'),
  ]);
  expect([first, broken, last].map((id) => states.get(id!))).toEqual(['retrying', undefined, 'delivered']);
  expect(await statesOf(first!)).toEqual(written('retrying'));
  expect(await statesOf(last!)).toEqual(written('delivered'));
  // Nothing of it is written: the relay closes the attempt when its time is up.
  expect(await statesOf(broken!)).toEqual({ row: 'in_flight', entries: [] });
  expect(logged.map((line) => JSON.parse(line) as unknown)).toMatchObject([
    { level: 'error', unit: 'delivery.record', organizationId: ours.id, deliveryId: broken, error: { message: expect.any(String) } },
  ]);
});

test('an answer whose transaction breaks off is recorded by another', async () => {
  const [id] = await beginDeliveries(1);
  const holder = new pg.Client({ connectionString: api.databaseUrl });
  await holder.connect();
  await holder.query('begin');
  await holder.query('select from delivery where id = $1 for update', [id]);
  const finished = store.finish(ours.id, [answered(id!, 'delivered')]);
  const end = `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  await until('it waited and was ended', async () => (await database.query(end)).rowCount === 1);
  await holder.end();
  expect((await finished).get(id!)).toBe('delivered');
  expect(await statesOf(id!)).toEqual(written('delivered'));
  expect(logged.map((line) => JSON.parse(line) as unknown)).toMatchObject([{ level: 'warn', unit: 'delivery.record', retryInMs: 250 }]);
});
