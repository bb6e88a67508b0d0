import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { parseWireId } from '../../domain/id.ts';
import { registerSchedules } from '../../temporal/schedules.ts';
import { withTemporal } from '../support/servers.ts';
import { startInstance, waitFor, type Instance, type Json } from './instance.ts';

const describeWithTemporal = await withTemporal();
const scheduleId = 'sweep-deliveries';

describeWithTemporal('the retention sweep', () => {
  let tocsin: Instance;
  let database: pg.Client;
  beforeAll(async () => {
    tocsin = await startInstance({ TOCSIN_DELIVERY_RETENTION_DAYS: '7' });
    database = new pg.Client({ connectionString: tocsin.api.databaseUrl });
    await database.connect();
  });
  afterAll(async () => {
    await database.end();
    await tocsin.stop();
  });

  /** Triggers the Schedule and waits for the workflow that it starts. */
  async function sweep(): Promise<{ deleted: number; emptied: number }> {
    const handle = tocsin.client.schedule.getHandle(scheduleId);
    const before = (await handle.describe()).info.numActionsTaken;
    await handle.trigger();
    const { info } = await waitFor(
      async () => handle.describe(),
      ({ info }) => info.numActionsTaken > before,
      { what: 'the schedule' },
    );
    const { workflowId } = info.recentActions.at(-1)!.action.workflow;
    return tocsin.client.workflow.getHandle(workflowId).result();
  }
  const uuidOf = ({ deliveries }: Json): string => parseWireId(deliveries[0].id)!.uuid;
  const age = async (id: string, days: number) =>
    database.query(`update delivery set finished_at = finished_at - make_interval(days => $2) where id = $1`, [id, days]);
  const count = async (table: 'delivery' | 'attempt', id: string) =>
    (await database.query(`select 1 from ${table} where ${table === 'delivery' ? 'id' : 'delivery_id'} = $1`, [id])).rowCount;
  const hasBody = async ({ id }: Json) =>
    (await database.query(`select body is not null as kept from event where id = $1`, [parseWireId(id)!.uuid])).rows[0].kept as boolean;

  test('deletes what ended long ago with its attempts and its body; keeps what is recent, claimed or open', async () => {
    await tocsin.hook({ types: ['job.completed'] });
    await tocsin.hook({ types: ['job.failed'], then: { status: 503, headers: { 'retry-after': '600' } } });
    const [old, failed, recent, claimed, shared] = await Promise.all(
      ['old', 'failed', 'recent', 'claimed', 'shared'].map((dedupKey) => tocsin.post({ type: 'job.completed', dedupKey })),
    );
    const open = await tocsin.post({ type: 'job.failed' });
    for (const event of [old!, failed!, recent!, claimed!, shared!]) await tocsin.delivery(event);
    await tocsin.delivery(open, ({ status }) => status === 'retrying');
    await tocsin.call('POST', `/deliveries/${claimed!['deliveries'][0].id}/claim`);
    for (const event of [old!, failed!, claimed!]) await age(uuidOf(event), 8);
    await age(uuidOf(recent!), 6);
    await database.query(`update delivery set state = 'failed', undelivered_at = finished_at where id = $1`, [uuidOf(failed!)]);

    expect(await sweep()).toMatchObject({ deleted: 2, emptied: 2 });
    for (const event of [old!, failed!]) {
      expect(await count('delivery', uuidOf(event))).toBe(0);
      expect(await count('attempt', uuidOf(event))).toBe(0);
      expect(await hasBody(event)).toBe(false);
      expect((await tocsin.get(`/events/${event['id']}`))['decisions']).toHaveLength(2);
    }
    for (const event of [recent!, claimed!, open]) {
      expect(await count('delivery', uuidOf(event))).toBe(1);
      expect(await count('attempt', uuidOf(event))).toBe(1);
      expect(await hasBody(event)).toBe(true);
    }
  });

  test('keeps a body for as long as one delivery of its event is left', async () => {
    await tocsin.hook({ types: ['alert.fired'] });
    await tocsin.hook({ types: ['alert.fired'] });
    const event = await tocsin.post({ type: 'alert.fired' });
    const [first, second] = event['deliveries'].map(({ id }: { id: string }) => parseWireId(id)!.uuid);
    for (const { id } of event['deliveries']) await tocsin.delivery({ deliveries: [{ id }] });
    await age(first, 8);
    expect(await sweep()).toMatchObject({ deleted: 1, emptied: 0 });
    expect(await hasBody(event)).toBe(true);
    await age(second, 8);
    expect(await sweep()).toMatchObject({ deleted: 1, emptied: 1 });
    expect(await hasBody(event)).toBe(false);
  });

  test('deletes what only served something that is long over: links, answers to commands, occurrences, alarms', async () => {
    const { id } = tocsin.organization;
    const other = '00000000-0000-7000-8000-000000000001';
    const insert = async (days: number, key: string) => {
      const at = new Date(Date.now() - days * 86_400_000);
      await database.query(
        `insert into link_token (org_id, id, escalation_id, firing, user_id, action, expires_at) values ($1, gen_random_uuid(), $2, $4, $2, 'acknowledge', $3)`,
        [id, other, at, days],
      );
      await database.query(
        `insert into escalation_command (org_id, escalation_id, request_id, answer, created_at) values ($1, $2, $4, '{}', $3)`,
        [id, other, at, key],
      );
      await database.query(`insert into occurrence (org_id, type, dedup_key, first_at, count) values ($1, 'job.completed', $3, $2, 1)`, [
        id,
        at,
        key,
      ]);
      await database.query(
        `insert into watchdog_alarm (org_id, id, escalation_id, due_at, recipient_kind, recipient_id) values ($1, gen_random_uuid(), $2, $3, 'nobody', $2)`,
        [id, other, at],
      );
    };
    await insert(8, 'leftover of old');
    await insert(0, 'leftover of now');
    await sweep();
    const left = async (table: string, where = 'true') =>
      (await database.query(`select from ${table} where org_id = $1 and ${where}`, [id])).rowCount;
    for (const table of ['link_token', 'escalation_command', 'watchdog_alarm']) expect([table, await left(table)]).toEqual([table, 1]);
    expect(await left('occurrence', `dedup_key like 'leftover%'`)).toBe(1);
  });

  test('runs by a Schedule that any number of processes register, hourly and never twice at once', async () => {
    const { temporal } = tocsin.worker;
    await tocsin.client.schedule.getHandle(scheduleId).pause('an operator looks into something');
    await Promise.all([registerSchedules(temporal), registerSchedules(temporal)]);
    await registerSchedules(temporal);
    const found = await Array.fromAsync(tocsin.client.schedule.list(), (each) => each.scheduleId);
    expect(found).toEqual([scheduleId]);
    const { spec, policies, state } = await tocsin.client.schedule.getHandle(scheduleId).describe();
    expect(spec.intervals).toMatchObject([{ every: 3_600_000 }]);
    expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow: 3_600_000 });
    // What an operator paused stays paused.
    expect(state.paused).toBe(true);
  });

  test('tells system health when it ran last', async () => {
    const before = new Date();
    await sweep();
    const health = await tocsin.get('/system/health');
    expect(health['loops'].retention).toMatchObject({ state: 'ok', detail: { deleted: expect.any(Number), more: false } });
    expect(Date.parse(health['loops'].retention.lastRunAt)).toBeGreaterThanOrEqual(before.getTime() - 1_000);
    expect(health).toMatchObject({ status: 'ok', workers: { state: 'ok', count: 1 } });
  });
});
