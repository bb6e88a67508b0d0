/** Many at once: intake of two processes, ticks, and a person who ends escalations, all about the same problems. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createAuthentication } from '../../api/authentication.ts';
import { createIntake } from '../../api/intake.ts';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { tickNoticeGroup } from '../../db/notice-tick.ts';
import { inOrganization } from '../../db/tenant.ts';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';

let api: TestApi;
let other: TestApi;
let ours: TestOrganization;
let orm: Awaited<ReturnType<typeof openDatabase>>;
beforeAll(async () => {
  api = await startApi({ deps: { minIntervalMs: 20 } });
  orm = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_app', poolMax: 8 });
  const { secrets, log } = api.deps;
  const nobody = { wake: () => undefined };
  const intake = createIntake({ escalations: nobody, groups: nobody, orm, secrets, starter: { offer: () => {} } });
  other = await startApi({ deps: { orm, secrets, intake, authentication: createAuthentication({ orm, log }) } });
  ours = await api.buildOrganization();
});
afterAll(async () => {
  await other.stop();
  await orm.close(true);
  await api.stop();
});

const call = async (method: string, path: string, body?: unknown) => api.request(method, path, { key: ours.key, body });
const query = async <T extends object>(text: string): Promise<T[]> => inOrganization(api.orm, ours.id, async (em) => em.execute<T[]>(text));

async function tickAll(): Promise<void> {
  const groups = await query<{ id: string }>('select id from notice_group where closed_at is null');
  for (const { id } of groups)
    await tickNoticeGroup({ orm: api.orm, facts: api.deps.facts }, { organizationId: ours.id, groupId: id }, Date.now());
}

test('nothing is lost, told twice or left open, and nobody waits for each other in a circle', async () => {
  const settings = { host: '127.0.0.1', from: 'a@example.com', to: ['b@example.com'] };
  const { id: channelId } = (await call('POST', '/channels', { name: 'mail', type: 'email', settings })).body;
  const aggregate = { groupBy: ['label.team'], wait: 'PT0.02S', interval: 'PT0.05S', repeat: null };
  await call('POST', '/rules', { name: 'bundles', types: ['alert.*'], channelIds: [channelId], aggregate });
  const trigger = { types: ['alert.fired'] };
  await call('POST', '/escalation-policies', {
    name: 'P',
    trigger,
    groupBy: ['label.team'],
    tiers: [{ targets: [{ kind: 'channel', id: channelId }] }],
  });

  let isOver = false;
  const ticking = (async () => {
    while (!isOver) await tickAll();
  })();
  const resolving = (async () => {
    while (!isOver) {
      const { body } = await call('GET', '/escalations?state=triggered');
      // 503: more joins it all the time
      for (const { id } of body['data']) expect([200, 503]).toContain((await call('POST', `/escalations/${id}/resolve`)).status);
    }
  })();
  const statuses: number[] = [];
  const produce = async (producer: number): Promise<void> => {
    const through = producer % 2 === 0 ? api : other;
    for (let i = 0; i < 25; i += 1) {
      const key = (producer * 7 + i * 3) % 12;
      const type = (producer + i) % 3 === 0 ? 'alert.resolved' : 'alert.fired';
      const body = { type, dedupKey: `key ${key}`, subject: `key ${key}`, labels: { team: `team ${key % 3}` } };
      statuses.push((await through.request('POST', '/events', { key: ours.key, body })).status);
    }
  };
  await Promise.all(Array.from({ length: 8 }, async (_, producer) => produce(producer)));
  for (let key = 0; key < 12; key += 1)
    await call('POST', '/events', { type: 'alert.resolved', dedupKey: `key ${key}`, labels: { team: `team ${key % 3}` } });
  isOver = true;
  await Promise.all([ticking, resolving]);
  await new Promise((resolve) => setTimeout(resolve, 200));
  await tickAll();
  await new Promise((resolve) => setTimeout(resolve, 200));
  await tickAll();

  expect(statuses.filter((status) => status !== 202)).toEqual([]);
  // What fails together is tried alone, which would hide it.
  expect(await query('select deadlocks::int from pg_stat_database where datname = current_database()')).toEqual([{ deadlocks: 0 }]);
  expect(await query('select id from notice_group where closed_at is null')).toEqual([]);
  const openings = await query<{ id: string }>('select id from problem');
  expect(openings.length).toBeGreaterThan(12);
  // Each end is told once, of a problem that was told before it.
  const told = await query<{ at: string; firing: Array<{ eventId: string }>; resolved: Array<{ eventId: string }> }>(
    'select group_id, at, firing, resolved from notice order by at',
  );
  const ended = told.flatMap(({ resolved }) => resolved.map(({ eventId }) => eventId));
  expect(new Set(ended).size).toBe(ended.length);
  const shown = new Set<string>();
  for (const { firing, resolved } of told) {
    for (const { eventId } of resolved) expect(shown.has(eventId)).toBe(true);
    for (const { eventId } of firing) shown.add(eventId);
  }
  const [{ n } = { n: -1 }] = await query<{ n: number }>('select count(*)::int as n from delivery where notice_id is not null');
  expect(n).toBe(told.length);
}, 120_000);
