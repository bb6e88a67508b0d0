import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { KyselyPlugin } from 'kysely';
import { sql } from 'kysely';
import { createFactsCache, type FactsCache } from '../../db/queries/routing-facts.ts';
import { inOrganization } from '../../db/tenant.ts';
import { newId, parseWireId } from '../../domain/id.ts';
import { startApi } from '../api/start-api.ts';
import type { TestApi, TestOrganization } from '../api/start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let cache: FactsCache;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(async () => {
  ours = await api.buildOrganization('Ours');
  cache = createFactsCache();
});

const call = async (method: string, path: string, body?: unknown, key = ours.key) => {
  const answer = await api.request(method, path, { key, body });
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.text}`);
  return answer.body;
};
const rule = (mode: string) => ({ all: true, channel: 'email', mode });
const put = (mode: string, key = ours.key) => call('PUT', '/preferences', { rules: [rule(mode)] }, key);
const read = (organization = ours) => inOrganization(api.orm, organization.id, (em) => cache.read(em, organization.id));

/** The facts, with how many rows SQL gave for them, and how often entities were asked for. */
async function readCounting() {
  let rows = 0;
  const counting: KyselyPlugin = {
    transformQuery: ({ node }) => node,
    transformResult: async ({ result }) => {
      rows += result.rows.length;
      return result;
    },
  };
  return inOrganization(api.orm, ours.id, async (em) => {
    const kysely = em.getKysely();
    Object.assign(em, { getKysely: () => kysely.withPlugin(counting) });
    const finds = jest.spyOn(em, 'find');
    const facts = await cache.read(em, ours.id);
    return { facts, rows, finds: finds.mock.calls.length };
  });
}

/** Rows of that many people, as if each had written once. */
async function addPeople(count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => newId(Date.now()));
  await inOrganization(api.orm, ours.id, (em) =>
    sql`insert into preferences (org_id, owner_kind, owner_id, version, rules, time_zone, updated_at)
      select ${ours.id}, 'user', id, 1, '[]', 'UTC', now() from unnest(${ids}::uuid[]) as id`.execute(em.getKysely()),
  );
  return ids;
}

describe('the facts that events are routed with', () => {
  test('of an organization in which nobody has preferences hold none', async () => {
    expect((await read()).preferences).toEqual({ users: new Map(), projects: new Map(), organization: null });
  });

  test('hold everybody’s preferences by their owner', async () => {
    const { id: projectId } = await call('POST', '/projects', { name: 'P' });
    const colleague = await api.buildMember(ours, 'member');
    const quietHours = { times: [{ start: '22:00', end: '07:00' }], breakThrough: 'high' };
    await call('PUT', '/preferences', { rules: [rule('digest')], timeZone: 'Asia/Tokyo', quietHours });
    await put('off', colleague.key);
    await call('PUT', `/projects/${projectId}/preferences`, { rules: [rule('instant')] });
    await call('PUT', '/organization/preferences', { rules: [] });
    const stored = (mode: string) => ({
      id: expect.any(String),
      version: 1,
      projectId: null,
      selector: { kind: 'all' },
      way: { kind: 'channel_type', channelType: 'email' },
      mode,
      minSeverity: null,
      environments: [],
    });
    expect((await read()).preferences).toEqual({
      users: new Map([
        [ours.ownerId, { version: 1, rules: [stored('digest')], timeZone: 'Asia/Tokyo', quietHours }],
        [colleague.id, { version: 1, rules: [stored('off')], timeZone: 'UTC', quietHours: null }],
      ]),
      projects: new Map([[parseWireId(projectId)!.uuid, { version: 1, rules: [stored('instant')] }]]),
      organization: { version: 1, rules: [] },
    });
    const theirs = await api.buildOrganization('Theirs');
    expect((await read(theirs)).preferences.users.size).toBe(0);
  });

  test('are read anew by as many rows as have changed, however many there are, and nothing else with them', async () => {
    const people = await addPeople(1_000);
    const first = await readCounting();
    expect(first.facts.preferences.users.size).toBe(1_000);
    // the version's row, and one of each person
    expect(first.rows).toBe(1_001);
    const unchanged = await readCounting();
    expect([unchanged.rows, unchanged.finds, unchanged.facts === first.facts]).toEqual([1, 0, true]);
    await put('off');
    await put('digest');
    await call('PUT', '/organization/preferences', { rules: [] });
    const second = await readCounting();
    expect([second.rows, second.finds]).toEqual([1 + 2, 0]);
    expect(second.facts.preferences.users.get(ours.ownerId)).toMatchObject({ version: 2, rules: [{ mode: 'digest' }] });
    expect(second.facts.preferences.organization).toEqual({ version: 1, rules: [] });
    for (const id of people) expect(second.facts.preferences.users.get(id)).toBe(first.facts.preferences.users.get(id));
    expect(second.facts.routing).toBe(first.facts.routing);
    expect(Number(second.facts.version)).toBe(Number(first.facts.version) + 3);
  });

  test('keep the preferences when something else has changed', async () => {
    await addPeople(100);
    const first = await readCounting();
    await call('POST', '/projects', { name: 'P' });
    const second = await readCounting();
    expect(second.facts.projectIds.size).toBe(1);
    expect(second.facts.preferences).toBe(first.facts.preferences);
    expect(second.rows).toBe(1);
    expect(second.finds).toBeGreaterThan(0);
  });

  test('miss no change of people who write while they are read', async () => {
    const people = await Promise.all(Array.from({ length: 5 }, () => api.buildMember(ours, 'member')));
    let writing = true;
    const writes = Promise.all(
      people.map(async ({ key }) => {
        for (const mode of ['instant', 'off', 'digest', 'instant', 'off', 'digest']) await put(mode, key);
      }),
    ).finally(() => (writing = false));
    while (writing) await read();
    await writes;
    const { preferences } = await read();
    for (const { id } of people) expect(preferences.users.get(id)).toMatchObject({ version: 6, rules: [{ mode: 'digest', version: 6 }] });
  });
});
