import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import pg from 'pg';
import { appendAudit } from '../../db/audit-log.ts';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { createSequencer, type Sequencer } from '../../db/sequencer.ts';
import { inOrganization } from '../../db/tenant.ts';
import type { AuditDraft } from '../../domain/audit/draft.ts';
import { toWireId } from '../../domain/id.ts';
import { startApi } from './start-api.ts';
import type { TestApi, TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let theirs: TestOrganization;
let sequencer: Sequencer;
let closeSequencer: () => Promise<void>;
let owner: pg.Client;
beforeAll(async () => {
  api = await startApi();
  [ours, theirs] = [await api.buildOrganization('Ours'), await api.buildOrganization('Theirs')];
  await startSequencer();
  owner = new pg.Client({ connectionString: api.databaseUrl });
  await owner.connect();
});
afterAll(async () => {
  await closeSequencer();
  await owner.end();
  await api.stop();
});

async function startSequencer(): Promise<void> {
  const orm = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_sequencer', poolMax: 2 });
  sequencer = createSequencer({ orm, log: api.deps.log });
  sequencer.start();
  closeSequencer = async () => {
    await sequencer.stop();
    await orm.close(true);
  };
}

const get = (path: string, key = ours.key) => api.request('GET', path, { key });

async function append(...drafts: Array<Partial<AuditDraft>>): Promise<string[]> {
  const ids = await inOrganization(api.orm, ours.id, (em) =>
    appendAudit(
      em,
      drafts.map((draft) => ({ orgId: ours.id, action: 'release.deploy', actor: { type: 'agent', id: 'agent-1' }, ...draft })),
    ),
  );
  return ids.map((id) => toWireId('audit_entry', id));
}

async function sequenced(): Promise<void> {
  while ((await sequencer.lag()).entries > 0) await new Promise((resolve) => setTimeout(resolve, 20));
}

const idsOf = (answer: { body: Record<string, unknown> }) => (answer.body['data'] as Array<{ id: string }>).map(({ id }) => id);

test('a change through the API is in the log, with who, what, before and after', async () => {
  const created = await api.request('POST', '/projects', { key: ours.key, body: { name: 'Web' } });
  const changed = await api.request('PATCH', `/projects/${created.body['id']}`, { key: ours.key, body: { name: 'Website' } });
  await sequenced();
  const id = changed.headers.get('tocsin-audit-id');
  const { status, body } = await get(`/audit-logs/${id}`);
  expect(status).toBe(200);
  expect(body).toMatchObject({
    id,
    action: 'project.update',
    category: 'projects',
    status: 'success',
    organizationId: toWireId('organization', ours.id),
    actor: {
      type: 'user',
      id: toWireId('user', ours.ownerId),
      email: expect.stringContaining('@'),
      apiTokenId: expect.stringMatching(/^key_/),
    },
    resource: { type: 'project', id: created.body['id'], name: 'Website' },
    projectId: created.body['id'],
    changed: expect.arrayContaining(['name']),
    before: { name: 'Web' },
    after: { name: 'Website' },
    diff: expect.arrayContaining([{ op: 'replace', path: '/name', before: 'Web', after: 'Website' }]),
    ip: '127.0.0.1',
    http: { method: 'PATCH', status: 200 },
    epoch: 0,
    index: expect.any(Number),
  });
});

test('whoever has the answer can check it: leaf, chain and every private value', async () => {
  const [first, second] = await append({ ip: '192.0.2.7', details: { note: 'n', environment: 'prod' } }, {});
  await sequenced();
  const [one, two] = [(await get(`/audit-logs/${first}`)).body, (await get(`/audit-logs/${second}`)).body];
  const sha256 = (...parts: Buffer[]) => createHash('sha256').update(Buffer.concat(parts)).digest('hex');
  expect(one['leafHash']).toBe(sha256(Buffer.alloc(1), Buffer.from(one['canonical'] as string)));
  expect(one['chainHash']).toBe(sha256(Buffer.from(one['prevChainHash'] as string, 'hex'), Buffer.from(one['leafHash'] as string, 'hex')));
  expect(two['index']).toBe(one['index'] + 1);
  expect(two['prevChainHash']).toBe(one['chainHash']);
  const commitments = (one['disclosures'] as string[]).map((disclosure) => createHash('sha256').update(disclosure).digest('base64url'));
  expect(commitments.sort()).toEqual(Object.values(one['commitments'] as object).sort());
  expect(one['details']).toEqual({ note: 'n', environment: 'prod' });
});

test('an entry that is not sequenced yet is shown, without its place', async () => {
  await closeSequencer();
  const [id] = await append({});
  expect((await get(`/audit-logs/${id}`)).body).toMatchObject({
    index: null,
    epoch: null,
    chainHash: null,
    prevChainHash: null,
    sequencedAt: null,
  });
  await closeSequencer();
  await startSequencer();
  await sequenced();
  expect((await get(`/audit-logs/${id}`)).body['index']).toEqual(expect.any(Number));
});

test('a private value that does not match what was committed to is not shown', async () => {
  const [id] = await append({ ip: '192.0.2.9' });
  const forged = Buffer.from(`\0${JSON.stringify([Buffer.from('["c2FsdA","ip","6.6.6.6"]').toString('base64url')])}`);
  await owner.query(`set session_replication_role = 'replica'`);
  await owner.query(`update audit.entry_private set envelopes = array[$1::bytea] where subject_ids = array['agent-1'] and org_id = $2`, [
    forged,
    ours.id,
  ]);
  expect((await get(`/audit-logs/${id}`)).body['ip']).toBeNull();
  await owner.query('delete from audit.entry where org_id = $1 and actor_id = $2', [ours.id, 'agent-1']);
  await owner.query(`set session_replication_role = 'origin'`);
});

describe('filters', () => {
  let entries: Record<string, string>;
  const project = '0198c0de-0000-7000-8000-0000000000f1';
  const event = '0198c0de-0000-7000-8000-0000000000e1';
  beforeAll(async () => {
    const resource = (type: string, id: string) => ({ type, id });
    const drafts: Record<string, Partial<AuditDraft>> = {
      deploy: {
        gitCommitSha: 'abcdef1234567',
        projectId: project,
        resource: resource('release', 'rel_7'),
        correlation: { eventId: event },
      },
      image: { action: 'image.update', tenantId: 'acme', resource: resource('release', 'rel_8'), status: 'failure', reason: 'timeout' },
      login: { action: 'user.login', actor: { type: 'user', id: ours.ownerId }, status: 'blocked', tool: 'console' },
      hook: { action: 'webhook.create', actor: { type: 'system', id: 'system' }, resource: resource('webhook', project) },
      rotate: { action: 'webhook.rotate_secret', resource: resource('webhook', event), breakGlass: { sessionId: 'bg-1' } },
    };
    const ids = await append(...Object.values(drafts));
    entries = Object.fromEntries(Object.keys(drafts).map((name, i) => [name, ids[i]!]));
  });
  const wireProject = toWireId('project', project);
  const wireWebhook = toWireId('webhook', project);

  test.each<[string, string[]]>([
    ['action=release.deploy', ['deploy']],
    ['action=release:deploy,image.update', ['deploy', 'image']],
    ['action=webhook.*', ['hook', 'rotate']],
    ['eventType=rotate_secret', ['rotate']],
    ['category=deployments', ['deploy', 'image']],
    ['category=authentication', ['login']],
    ['class=iam', ['login']],
    ['actor=agent-1', ['deploy', 'image', 'rotate']],
    ['actor=system', ['hook']],
    ['actorType=system', ['hook']],
    ['status=failed', ['image']],
    ['status=failure,blocked', ['image', 'login']],
    ['resource=release', ['deploy', 'image']],
    ['resource=release:rel_7', ['deploy']],
    ['resource=release:rel_7,webhook', ['deploy', 'hook', 'rotate']],
    [`resource=webhook:${wireWebhook}`, ['hook']],
    ['resourceType=webhook&resourceId=' + project, ['hook']],
    [`resourceId=${wireWebhook}`, ['hook']],
    [`projectId=${wireProject}`, ['deploy']],
    ['tenantId=acme', ['image']],
    ['gitCommitSha=ABCDEF1234567', ['deploy']],
    [`correlationId=${toWireId('event', event)}`, ['deploy']],
    ['tool=console', ['login']],
    ['breakGlass=true', ['rotate']],
    ['start=2020-01-01T00:00:00Z&end=2020-02-01T00:00:00Z', []],
    ['preset=24h&action=image.update', ['image']],
    ['action=image.update&status=success', []],
  ])('%s', async (query, names) => {
    const { status, body } = await get(`/audit-logs?${query}`);
    expect(status).toBe(200);
    const shown = new Set((body['data'] as Array<{ id: string }>).map(({ id }) => id));
    const known = Object.entries(entries).filter(([, id]) => shown.has(id));
    expect(known.map(([name]) => name).sort()).toEqual([...names].sort());
    // nothing but what was asked for, apart from what the API itself wrote
    if (!query.startsWith('status') && !query.startsWith('class')) expect(shown.size).toBe(names.length);
  });

  test.each([
    'action=Deploy',
    'category=nope',
    'status=ok',
    'actorType=robot',
    'projectId=whk_x',
    'preset=1y',
    'start=yesterday',
    'offset=10001',
    'limit=501',
    'unknown=1',
  ])('%s is refused', async (query) => {
    const { status, body } = await get(`/audit-logs?${query}`);
    expect(status).toBe(422);
    expect(body['errors']).toHaveLength(1);
  });

  test('all faults are told at once, and deep paging is pointed to the cursor', async () => {
    expect((await get('/audit-logs?status=ok&category=nope')).body['errors']).toHaveLength(2);
    expect((await get('/audit-logs?offset=10001')).body['errors']).toMatchObject([{ pointer: '/query/offset', code: 'use_cursor' }]);
  });
});

describe('paging', () => {
  test('a cursor visits every entry once, newest first, while entries keep coming', async () => {
    const ids = await append(...Array.from({ length: 25 }, (_, i) => ({ tenantId: 'paged', details: { i } })));
    const seen: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const answer: Awaited<ReturnType<typeof get>> = await get(
        `/audit-logs?tenantId=paged&limit=4${cursor === '' ? '' : `&cursor=${cursor}`}`,
      );
      seen.push(...idsOf(answer));
      cursor = answer.body['nextCursor'] as string | null;
      await append({ tenantId: 'paged' });
    }
    expect(seen).toHaveLength(25);
    expect(new Set(seen)).toEqual(new Set(ids));
  });

  test('an offset gives the same rows', async () => {
    const all = idsOf(await get('/audit-logs?limit=20'));
    expect(idsOf(await get('/audit-logs?limit=5&offset=7'))).toEqual(all.slice(7, 12));
  });

  test('a cursor neither moves to another filter or organization, nor can be made up', async () => {
    const { body } = await get('/audit-logs?tenantId=paged&limit=1');
    const cursor = body['nextCursor'] as string;
    for (const [path, key] of [
      [`/audit-logs?limit=1&cursor=${cursor}`, ours.key],
      [`/audit-logs?tenantId=paged&limit=1&cursor=${cursor}`, theirs.key],
      [`/audit-logs?tenantId=paged&limit=1&cursor=${cursor.slice(0, -4)}AAAA`, ours.key],
      [`/audit-logs?tenantId=paged&limit=1&cursor=${Buffer.from('["2026-01-01T00:00:00.000Z","x"]').toString('base64url')}`, ours.key],
    ] as const) {
      expect(await get(path, key)).toMatchObject({ status: 422, body: { errors: [{ pointer: '/query/cursor' }] } });
    }
    expect((await get(`/audit-logs?tenantId=paged&limit=1&offset=1&cursor=${cursor}`)).status).toBe(422);
  });

  test('the newest ten, or up to fifty', async () => {
    const all = idsOf(await get('/audit-logs?limit=50'));
    expect(idsOf(await get('/audit-logs/recent'))).toEqual(all.slice(0, 10));
    expect(idsOf(await get('/audit-logs/recent?limit=30'))).toEqual(all.slice(0, 30));
    expect((await get('/audit-logs/recent?limit=51')).status).toBe(422);
  });
});

describe('isolation and permission', () => {
  test("another organization's entry is 404, and its list and integrity know nothing of it", async () => {
    const [id] = await append({ tenantId: 'secret' });
    expect((await get(`/audit-logs/${id}`, theirs.key)).status).toBe(404);
    expect(idsOf(await get('/audit-logs?tenantId=secret', theirs.key))).toEqual([]);
    expect(idsOf(await get('/audit-logs?limit=500', theirs.key))).not.toContain(id);
    expect((await get('/audit-logs/integrity', theirs.key)).body['treeSize']).toBeLessThan(5);
  });

  test('what is no entry of ours is 404, whatever it looks like', async () => {
    expect((await get(`/audit-logs/${toWireId('audit_entry', '0198c0de-0000-7000-8000-000000000001')}`)).status).toBe(404);
    expect((await get('/audit-logs/whk_01jz0000000000000000000000')).status).toBe(404);
  });

  test('it takes audit_logs.view', async () => {
    const key = await api.buildKey(ours, ['events.view']);
    for (const path of ['/audit-logs', '/audit-logs/recent', '/audit-logs/integrity', `/audit-logs/${toWireId('audit_entry', ours.id)}`]) {
      expect((await get(path, key)).status).toBe(403);
    }
  });
});

describe('integrity', () => {
  test('names an entry whose bytes and hash were both edited by the superuser, and nothing else', async () => {
    // a log of its own: the drills above left theirs altered
    const clean = await api.buildOrganization('Clean');
    for (const name of ['A', 'B', 'C']) await api.request('POST', '/projects', { key: clean.key, body: { name } });
    await sequenced();
    const { body } = await get('/audit-logs/integrity', clean.key);
    expect(body).toMatchObject({
      ok: true,
      assurance: 'unsigned',
      findings: [],
      structure: { rootOk: true, chainOk: true, tilesOk: true },
    });
    const [, victim] = (await get('/audit-logs?action=project.create', clean.key)).body['data'] as Array<{ id: string; index: number }>;
    await owner.query(`set session_replication_role = 'replica'`);
    await owner.query(
      `update audit.entry set canonical = c, leaf_hash = sha256('\\x00'::bytea || c)
       from (select id as victim, convert_to(replace(convert_from(canonical, 'UTF8'), '"success"', '"failure"'), 'UTF8') as c
             from audit.entry where org_id = $1 and action = 'project.create' order by occurred_at desc offset 1 limit 1) v
       where id = victim`,
      [clean.id],
    );
    await owner.query(`set session_replication_role = 'origin'`);
    expect((await get('/audit-logs/integrity', clean.key)).body).toMatchObject({
      ok: false,
      findingsTotal: 1,
      findings: [{ code: 'leaf_mismatch', index: victim!.index, entryId: victim!.id }],
    });
  });

  test('many who ask at once are all answered, by a walk that began after they asked', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => get('/audit-logs/integrity', theirs.key)));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200));
  });
});
