import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import pg from 'pg';
import { CalendarVersionEntity } from '../../db/entities/calendar.ts';
import { EscalationPolicyEntity, EscalationPolicyVersionEntity } from '../../db/entities/escalation-policy.ts';
import { calendarOf, policyOf } from '../../db/queries/policy.ts';
import { inOrganization } from '../../db/tenant.ts';
import { parseWireId, toWireId } from '../../domain/id.ts';
import { startApi } from '../api/start-api.ts';
import type { TestApi, TestOrganization } from '../api/start-api.ts';

let api: TestApi;
let ours: TestOrganization;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization('Ours');
});
afterAll(() => api.stop());

const call = async (method: string, path: string, body?: unknown) => {
  const answer = await api.request(method, path, { key: ours.key, body });
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.text}`);
  return answer.body;
};
const uuidOf = (id: string) => parseWireId(id)!.uuid;
const versioned = ['rule', 'silence', 'calendar', 'schedule', 'escalation_policy', 'custom_event_type'] as const;

/** Something of each kind, changed once. */
async function makeAll(): Promise<Record<(typeof versioned)[number], string>> {
  const participants = [toWireId('user', ours.ownerId)];
  const hook = await call('POST', '/webhooks', { name: 'W', url: 'http://127.0.0.1:9/', eventTypes: ['*'] });
  const made: Record<string, [path: string, body: object, change: object]> = {
    rule: ['/rules', { name: 'R' }, { stop: true }],
    silence: [
      '/silences',
      { matchers: [{ key: 'type', op: '=', value: 'x' }], endsAt: new Date(Date.now() + 60_000), comment: 'x' },
      { comment: 'y' },
    ],
    calendar: ['/calendars', { name: 'C', timeZone: 'UTC', intervals: [{ months: ['may'] }] }, { intervals: [{ months: ['june'] }] }],
    schedule: [
      '/schedules',
      { name: 'S', timeZone: 'UTC', layers: [{ rotations: [{ participants, start: '2026-01-01T00:00', unit: 'day' }] }] },
      { timeZone: 'Europe/Berlin' },
    ],
    escalation_policy: [
      '/escalation-policies',
      { name: 'P', tiers: [{ targets: [{ kind: 'webhook', id: hook['id'] }] }] },
      { name: 'Q', cooldown: 'PT0S' },
    ],
    custom_event_type: ['/event-types', { type: 'payment.failed' }, { effect: 'open' }],
  };
  const ids: Partial<Record<(typeof versioned)[number], string>> = {};
  for (const kind of versioned) {
    const [path, body, change] = made[kind]!;
    const { id, type: name = id } = await call('POST', path, body);
    await call('PATCH', `${path}/${name}`, change);
    await call('DELETE', `${path}/${name}`);
    ids[kind] = uuidOf(id);
  }
  return ids as Record<(typeof versioned)[number], string>;
}

describe('what decisions and escalations refer to by version', () => {
  let ids: Awaited<ReturnType<typeof makeAll>>;
  beforeAll(async () => {
    ids = await makeAll();
  });

  test.each(versioned)('a %s keeps every version it had', async (table) => {
    const { rows } = await inOrganization(api.orm, ours.id, (em) =>
      sql<{ version: number }>`select version from ${sql.table(`${table}_version`)} where id = ${ids[table]} order by version`.execute(
        em.getKysely(),
      ),
    );
    // cancelling a silence is a change of its end
    expect(rows.map(({ version }) => version)).toEqual(table === 'silence' ? [1, 2, 3] : [1, 2]);
  });

  test('a policy and a calendar are read as they were, also when they are deleted', async () => {
    const { escalation_policy: id, calendar } = ids;
    await inOrganization(api.orm, ours.id, async (em) => {
      const policyAt = async (version: number) => policyOf(await em.findOneOrFail(EscalationPolicyVersionEntity, { id, version }));
      expect(await policyAt(1)).toMatchObject({ id, version: 1, name: 'P', cooldownMs: 1_800_000 });
      expect(await policyAt(2)).toMatchObject({ version: 2, name: 'Q', cooldownMs: 0, groupBy: ['dedupKey'] });
      expect(calendarOf(await em.findOneOrFail(CalendarVersionEntity, { id: calendar, version: 1 }))).toMatchObject({
        intervals: [{ months: ['may'] }],
      });
      await expect(policyAt(3)).rejects.toThrow();
      expect(await em.count(EscalationPolicyEntity, { deletedAt: null })).toBe(0);
    });
  });

  test('no version is changed or deleted by the roles of the processes', async () => {
    const client = new pg.Client({ connectionString: api.databaseUrl });
    await client.connect();
    const { rows } = await client.query(
      `select t.name, r.name as role, p.name as privilege
        from unnest($1::text[]) as t (name), unnest(array['tocsin_app', 'tocsin_relay', 'tocsin_sequencer']) as r (name),
          unnest(array['UPDATE', 'DELETE', 'TRUNCATE']) as p (name)
        where has_table_privilege(r.name, t.name, p.name)`,
      [versioned.map((table) => `${table}_version`)],
    );
    await client.end();
    expect(rows).toEqual([]);
  });
});

describe('preferences', () => {
  const rule = (mode: string) => ({ all: true, channel: 'email', mode });

  test('keep every version they had, which no process changes or deletes', async () => {
    await call('PUT', '/preferences', { rules: [rule('instant')] });
    await call('PUT', '/preferences', { rules: [rule('off')], timeZone: 'Asia/Tokyo' });
    const { rows } = await inOrganization(api.orm, ours.id, (em) =>
      sql`select owner_kind, version, rules->0->>'mode' as mode, rules->0->'version' as rule_version, time_zone from preferences_version
        where owner_id = ${ours.ownerId} order by version`.execute(em.getKysely()),
    );
    expect(rows).toEqual([
      { owner_kind: 'user', version: 1, mode: 'instant', rule_version: 1, time_zone: 'UTC' },
      { owner_kind: 'user', version: 2, mode: 'off', rule_version: 2, time_zone: 'Asia/Tokyo' },
    ]);
    for (const change of [
      sql`update preferences_version set version = 9`,
      sql`delete from preferences_version`,
      sql`delete from preferences`,
    ])
      await expect(inOrganization(api.orm, ours.id, (em) => change.execute(em.getKysely()))).rejects.toThrow('permission denied');
  });

  test('bear the version of the routing configuration that their last change made, and are counted in it', async () => {
    const read = async () =>
      inOrganization(api.orm, ours.id, async (em) => {
        const { rows } = await sql<{ version: number; others: number; last: number }>`
          select version::int, (version - of_preferences)::int as others, (select max(routing_version)::int from preferences) as last
            from routing_version`.execute(em.getKysely());
        return rows[0]!;
      });
    const before = await read();
    for (const path of ['/preferences', '/organization/preferences']) await call('PUT', path, { rules: [rule('digest')] });
    const { version, others, last } = await read();
    expect([version, others, last]).toEqual([before.version + 2, before.others, version]);
    await call('POST', '/projects', { name: 'Other' });
    expect(await read()).toEqual({ version: version + 1, others: others + 1, last });
  });
});

test('routing learns of every change of what it reads', async () => {
  const read = async () =>
    inOrganization(api.orm, ours.id, async (em) => {
      const { rows } = await sql<{ version: string }>`select version::text from routing_version`.execute(em.getKysely());
      return Number(rows[0]!.version);
    });
  const silence = { matchers: [{ key: 'type', op: '=', value: 'x' }], endsAt: new Date(Date.now() + 60_000), comment: 'x' };
  const calendar = { name: 'Read', timeZone: 'UTC', intervals: [{ months: ['may'] }] };
  const hook = await call('POST', '/webhooks', { name: 'Read', url: 'http://127.0.0.1:9/', eventTypes: ['*'] });
  const policy = { name: 'Read', tiers: [{ targets: [{ kind: 'webhook', id: hook['id'] }] }] };
  for (const [path, body] of [
    ['/silences', silence],
    ['/calendars', calendar],
    ['/escalation-policies', policy],
  ] as const) {
    const before = await read();
    const { id } = await call('POST', path, body);
    expect(await read()).toBe(before + 1);
    await call('DELETE', `${path}/${id}`);
    expect(await read()).toBe(before + 2);
  }
});
