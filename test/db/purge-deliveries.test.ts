import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { purgeDeliveries } from '../../db/queries/purge-deliveries.ts';
import { newId, parseWireId } from '../../domain/id.ts';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';
import { until } from '../embedded/scratch.ts';

let api: TestApi;
let ours: TestOrganization;
let database: pg.Client;
/** Holds a lock, while `database` looks at who waits for it. */
let holder: pg.Client;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization();
  [database, holder] = [new pg.Client({ connectionString: api.databaseUrl }), new pg.Client({ connectionString: api.databaseUrl })];
  await Promise.all([database.connect(), holder.connect()]);
});
afterAll(async () => {
  await Promise.all([database.end(), holder.end()]);
  await api.stop();
});

/** Wire id of a new webhook that wants `type`. */
async function buildWebhook(name: string, type: string): Promise<string> {
  const body = { name, url: 'http://127.0.0.1:9/', eventTypes: [type] };
  return (await api.request('POST', '/webhooks', { key: ours.key, body })).body['id'];
}
const uuidOf = (wireId: string): string => parseWireId(wireId)!.uuid;
/** A new event whose deliveries have ended; its UUID. */
async function buildEndedEvent(type: string, dedupKey: string): Promise<string> {
  const event = uuidOf((await api.request('POST', '/events', { key: ours.key, body: { type, dedupKey } })).body['id']);
  await database.query(`update delivery set state = 'delivered', finished_at = now(), next_attempt_at = null where event_id = $1`, [event]);
  return event;
}
const hasBody = async (event: string): Promise<boolean> =>
  (await database.query<{ kept: boolean }>('select body is not null as kept from event where id = $1', [event])).rows[0]!.kept;
const deliveriesTo = async (webhook: string): Promise<number> =>
  (await database.query('select from delivery where destination_id = $1', [uuidOf(webhook)])).rowCount!;

test('deleting a webhook deletes the bodies that only it could be sent, and keeps those that another still has', async () => {
  const first = await buildWebhook('first', 'job.failed');
  const alone = await buildEndedEvent('job.failed', 'alone');
  const second = await buildWebhook('second', 'job.failed');
  const shared = await buildEndedEvent('job.failed', 'shared');
  expect(await Promise.all([alone, shared].map(hasBody))).toEqual([true, true]);

  await api.request('DELETE', `/webhooks/${first}`, { key: ours.key });
  await until('its deliveries are gone', async () => (await deliveriesTo(first)) === 0);
  expect(await Promise.all([alone, shared].map(hasBody))).toEqual([false, true]);

  await api.request('DELETE', `/webhooks/${second}`, { key: ours.key });
  await until('its deliveries are gone', async () => (await deliveriesTo(second)) === 0);
  expect(await hasBody(shared)).toBe(false);
});

test('two webhooks deleted at the same time leave no body behind', async () => {
  const slow = await buildWebhook('slow', 'job.completed');
  const quick = await buildWebhook('quick', 'job.completed');
  const event = await buildEndedEvent('job.completed', 'both');
  await database.query(
    `insert into attempt (org_id, delivery_id, number, cycle, trigger, lane, worker_id, started_at, deadline_at)
       select org_id, id, 1, 1, 'schedule', 'fast', $2, now(), now() from delivery where destination_id = $1`,
    [uuidOf(slow), newId(Date.now())],
  );
  // One purge is held in the middle of its statement, which has seen the other webhook's delivery.
  await holder.query('begin');
  await holder.query('select from attempt for update');
  const purges = [purgeDeliveries(api.orm, ours.id, uuidOf(slow))];
  await until('one purge waits for the attempt', () => isWaiting('transactionid'));
  purges.push(purgeDeliveries(api.orm, ours.id, uuidOf(quick)));
  await until('the other waits for the first, or is done', async () => (await isWaiting('advisory')) || (await deliveriesTo(quick)) === 0);
  await holder.query('rollback');
  await Promise.all(purges);
  expect(await deliveriesTo(slow)).toBe(0);
  expect(await deliveriesTo(quick)).toBe(0);
  expect(await hasBody(event)).toBe(false);
});

/** Whether a connection of this database waits for such a lock. */
async function isWaiting(lock: 'transactionid' | 'advisory'): Promise<boolean> {
  const { rowCount } = await database.query(
    `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and wait_event = $1`,
    [lock],
  );
  return rowCount! > 0;
}
