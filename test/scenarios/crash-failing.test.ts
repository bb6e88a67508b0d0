/** kill -9 of the worker after a page's refusal was recorded and before its escalation was told. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { startHttpReceiver, type HttpReceiver } from '../receivers/http.ts';
import { until } from '../embedded/scratch.ts';
import { withTemporal } from '../support/servers.ts';
import { createInstance, type Instance } from './start-instance.ts';

const describeWithTemporal = await withTemporal();

let instance: Instance;
let receiver: HttpReceiver;

describeWithTemporal('a worker killed between the outcome of a page and the step of its escalation', () => {
  beforeAll(async () => {
    receiver = await startHttpReceiver();
    receiver.script('/second', [], 204);
    instance = createInstance({});
    await instance.start();
  }, 180_000);
  afterAll(async () => {
    await instance.remove();
    await receiver.close();
  });

  async function call(path: string, body: object): Promise<Record<string, string>> {
    const response = await fetch(`${instance.ready().apiUrl}/api/v2${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${instance.apiKey}` },
      body: JSON.stringify(body),
    });
    expect([201, 202]).toContain(response.status);
    return (await response.json()) as Record<string, string>;
  }
  const hook = async (path: string): Promise<object> => {
    const { id } = await call('/webhooks', { name: path, url: receiver.url(path), eventTypes: ['job.completed'] });
    return { kind: 'webhook', id };
  };

  test('leaves the next tier to its successor, which pages it once', async () => {
    receiver.script('/first', [{ status: 413, delayMs: 1_500 }]);
    const tiers = [{ targets: [await hook('/first')] }, { targets: [await hook('/second')] }];
    await call('/escalation-policies', { name: 'p', trigger: { types: ['alert.fired'] }, tiers });
    const database = new pg.Client({ connectionString: instance.ready().databaseUrl });
    await database.connect();
    const holds = async (query: string): Promise<boolean> => {
      const { rows } = await database.query<{ holds: boolean }>(`select (${query}) as holds`);
      return rows[0]!.holds;
    };
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
    await database.end();
  });
});
