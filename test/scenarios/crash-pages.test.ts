/** kill -9 of the worker between what happens to a page and what its escalation makes of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { toWireId } from '../../domain/id.ts';
import { startHttpReceiver, type HttpReceiver } from '../receivers/http.ts';
import { until } from '../embedded/scratch.ts';
import { withTemporal } from '../support/servers.ts';
import { createInstance, type Instance } from './start-instance.ts';

const describeWithTemporal = await withTemporal();

let instance: Instance;
let receiver: HttpReceiver;
let database: pg.Client;

describeWithTemporal('a worker that is killed', () => {
  beforeAll(async () => {
    receiver = await startHttpReceiver();
    instance = createInstance({});
    await instance.start();
    database = new pg.Client({ connectionString: instance.ready().databaseUrl });
    await database.connect();
  }, 180_000);
  afterAll(async () => {
    await database.end();
    await instance.remove();
    await receiver.close();
  });

  async function call(path: string, body: object): Promise<Record<string, string>> {
    const response = await fetch(`${instance.ready().apiUrl}/api/v2${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${instance.apiKey}` },
      body: JSON.stringify(body),
    });
    expect(response.ok).toBe(true);
    return (await response.json()) as Record<string, string>;
  }
  const hook = async (path: string): Promise<object> => {
    const { id } = await call('/webhooks', { name: path, url: receiver.url(path), eventTypes: ['job.completed'] });
    return { kind: 'webhook', id };
  };
  const holds = async (query: string): Promise<boolean> => {
    const { rows } = await database.query<{ holds: boolean }>(`select (${query}) as holds`);
    return rows[0]!.holds;
  };

  test('after a refusal was recorded leaves the next tier to its successor, which pages it once', async () => {
    receiver.script('/first', [{ status: 413, delayMs: 1_500 }]);
    receiver.script('/second', [], 204);
    const tiers = [{ targets: [await hook('/first')] }, { targets: [await hook('/second')] }];
    await call('/escalation-policies', { name: 'refused', trigger: { types: ['alert.fired'] }, tiers });
    await call('/events', { type: 'alert.fired', severity: 'high', subject: 'Disk full' });
    await receiver.waitForArrivals(1, { path: '/first' });
    // Whoever wants to step the group has to wait for this transaction.
    await database.query('begin');
    await database.query('select from escalation_group for update');
    await until('the refusal is recorded', async () => holds(`exists (select from delivery where state = 'failed' and not failing_seen)`));
    await until('the step waits', async () => holds(`exists (select from pg_stat_activity where wait_event_type = 'Lock')`));
    const { worker } = instance.ready().pids;
    await instance.kill('worker');
    await database.query('rollback');
    expect(receiver.arrivalsAt('/second')).toEqual([]);
    await instance.replaced('worker', worker);

    const [page] = await receiver.waitForArrivals(1, { path: '/second', timeoutMs: 60_000 });
    expect(JSON.parse(page!.body.toString())).toMatchObject({ type: 'escalation.triggered', subject: 'Disk full' });
    await sleep(3_000);
    expect(receiver.arrivalsAt('/first')).toHaveLength(1);
    expect(receiver.arrivalsAt('/second')).toHaveLength(1);
    expect(await holds(`select array_agg(reason order by firing) = '{opened,tier_unreachable}' from escalation_firing`)).toBe(true);
  });

  test('with a page under way that somebody has acknowledged leaves nothing to page, and who was reached is told once', async () => {
    receiver.script('/reached', [], 204);
    receiver.script('/hanging', [{ fault: 'hang before head' }]);
    const tiers = [{ targets: [await hook('/reached'), await hook('/hanging')] }];
    await call('/escalation-policies', { name: 'acknowledged', trigger: { types: ['drift.detect'] }, tiers });
    await call('/events', { type: 'drift.detect', severity: 'high', subject: 'Drift' });
    await receiver.waitForArrivals(1, { path: '/hanging' });
    const opened = `from escalation where subject = 'Drift'`;
    const messages = `from delivery where escalation_id = (select id ${opened})`;
    await until('the other page has arrived', async () => holds(`select count(*) = 1 ${messages} and state = 'delivered'`));
    const { rows } = await database.query<{ id: string }>(`select id ${opened}`);
    const { worker } = instance.ready().pids;
    await call(`/escalations/${toWireId('escalation', rows[0]!.id)}/acknowledge`, {});
    await instance.kill('worker');
    await instance.replaced('worker', worker);

    const told = await receiver.waitForArrivals(2, { path: '/reached', timeoutMs: 60_000 });
    expect(JSON.parse(told[1]!.body.toString())).toMatchObject({ type: 'escalation.acknowledged', subject: 'Drift' });
    await until('the page is closed', async () => holds(`select count(*) = 2 ${messages} and state = 'cancelled'`));
    await sleep(3_000);
    expect(receiver.arrivalsAt('/reached')).toHaveLength(2);
    expect(receiver.arrivalsAt('/hanging')).toHaveLength(1);
    const ended = await database.query(`select purpose, state, error_code ${messages} order by purpose desc, state`);
    expect(ended.rows).toEqual([
      { purpose: 'page', state: 'cancelled', error_code: 'interrupted' },
      { purpose: 'page', state: 'delivered', error_code: null },
      { purpose: 'escalation_update', state: 'cancelled', error_code: 'original_not_delivered' },
      { purpose: 'escalation_update', state: 'delivered', error_code: null },
    ]);
    expect(await holds(`select bool_and(possible_duplicate) from attempt where error_code = 'interrupted'`)).toBe(true);
  });
});
