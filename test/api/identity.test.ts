import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startApi } from './start-api.ts';
import type { TestApi, TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let theirs: TestOrganization;

beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization('Ours');
  theirs = await api.buildOrganization('Theirs');
});
afterAll(() => api.stop());

describe('organization', () => {
  test('a change is versioned, audited and refused to who read an older version', async () => {
    const read = await api.request('GET', '/organization', { key: ours.key });
    expect(read.headers.get('etag')).toBe(`"${read.body['version']}"`);
    const changed = await api.request('PATCH', '/organization', {
      key: ours.key,
      headers: { 'If-Match': read.headers.get('etag')! },
      body: { name: 'Ours & co', settings: { fallbackEmail: 'duty@example.com' } },
    });
    expect(changed.status).toBe(200);
    expect(changed.headers.get('tocsin-audit-id')).toMatch(/^aud_[0-9a-z]{26}$/);
    expect(changed.body).toMatchObject({ name: 'Ours & co', settings: { fallbackEmail: 'duty@example.com' } });
    const stale = await api.request('PATCH', '/organization', { key: ours.key, headers: { 'If-Match': '"1"' }, body: { name: 'x' } });
    expect(stale.status).toBe(412);
    expect(stale.body['code']).toBe('stale_version');
    const cleared = await api.request('PATCH', '/organization', { key: ours.key, body: { settings: { fallbackEmail: null } } });
    expect(cleared.body['settings']).toEqual({});
  });

  test('me tells who asks and what the key may do', async () => {
    const key = await api.buildKey(ours, ['events.write']);
    const { body } = await api.request('GET', '/me', { key });
    expect(body).toMatchObject({ type: 'user', role: 'owner', permissions: ['events.write'] });
  });
});

describe('projects', () => {
  test('are created, read, changed, deleted; a deleted name is free again', async () => {
    const created = await api.request('POST', '/projects', { key: ours.key, body: { name: '  Payments ' } });
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({ name: 'Payments', description: '' });
    const path = `/projects/${created.body['id']}`;
    expect((await api.request('GET', path, { key: ours.key })).body).toEqual(created.body);
    const taken = await api.request('POST', '/projects', { key: ours.key, body: { name: 'ＰＡＹments' } });
    expect(taken.status).toBe(409);
    expect(taken.body['code']).toBe('duplicate_name');
    const renamed = await api.request('PATCH', path, { key: ours.key, body: { description: 'money' } });
    expect(renamed.body).toMatchObject({ name: 'Payments', description: 'money', version: 2 });
    expect((await api.request('DELETE', path, { key: ours.key })).status).toBe(204);
    expect((await api.request('GET', path, { key: ours.key })).status).toBe(404);
    expect((await api.request('POST', '/projects', { key: ours.key, body: { name: 'Payments' } })).status).toBe(201);
  });

  test('paging shows each row once although rows come meanwhile', async () => {
    const organization = await api.buildOrganization();
    for (let i = 0; i < 7; i += 1) await api.request('POST', '/projects', { key: organization.key, body: { name: `p${i}` } });
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page = await api.request('GET', `/projects?limit=3${cursor === null ? '' : `&cursor=${cursor}`}`, { key: organization.key });
      seen.push(...page.body['data'].map(({ name }: { name: string }) => name));
      cursor = page.body['nextCursor'];
      await api.request('POST', '/projects', { key: organization.key, body: { name: `late ${seen.length}` } });
    } while (cursor !== null);
    expect(seen).toEqual(['p6', 'p5', 'p4', 'p3', 'p2', 'p1', 'p0']);
  });

  test('a cursor of another organization or list opens nothing', async () => {
    const organization = await api.buildOrganization();
    for (const name of ['a', 'b']) await api.request('POST', '/projects', { key: organization.key, body: { name } });
    const { body } = await api.request('GET', '/projects?limit=1', { key: organization.key });
    for (const [key, path] of [
      [ours.key, '/projects'],
      [organization.key, '/members'],
    ] as const) {
      const answer = await api.request('GET', `${path}?cursor=${body['nextCursor']}`, { key });
      expect(answer.status).toBe(422);
      expect(answer.body['errors'][0]).toMatchObject({ pointer: '/query/cursor', code: 'invalid_cursor' });
    }
  });
});

describe('members', () => {
  test('an invited member joins with the first key, and is shut out at once when disabled', async () => {
    const invited = await api.request('POST', '/members', { key: ours.key, body: { email: 'Ada@example.com', role: 'operator' } });
    expect(invited.body).toMatchObject({ status: 'invited', role: 'operator', name: 'Ada@example.com' });
    const again = await api.request('POST', '/members', { key: ours.key, body: { email: 'ada@EXAMPLE.com' } });
    expect(again.status).toBe(409);
    const { body: created } = await api.request('POST', '/api-keys', { key: ours.key, body: { name: 'k', ownerId: invited.body['id'] } });
    expect(created['permissions']).not.toContain('organization.manage');
    const me = await api.request('GET', '/me', { key: created['key'] });
    expect(me.body).toMatchObject({ id: invited.body['id'], role: 'operator' });
    const disabled = await api.request('POST', `/members/${invited.body['id']}/disable`, { key: ours.key });
    expect(disabled.body['status']).toBe('disabled');
    expect((await api.request('GET', '/me', { key: created['key'] })).status).toBe(401);
    await api.request('POST', `/members/${invited.body['id']}/enable`, { key: ours.key });
    expect((await api.request('GET', '/me', { key: created['key'] })).status).toBe(200);
  });

  test('of two invitations of one address at once, one is told that it belongs to a member', async () => {
    const invite = () => api.request('POST', '/members', { key: ours.key, body: { email: 'twice@example.com' } });
    const answers = await Promise.all([invite(), invite()]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 409]);
    const refused = answers.find(({ status }) => status === 409);
    expect(refused?.body).toMatchObject({ code: 'duplicate_name', errors: [{ pointer: '/email', code: 'duplicate_email' }] });
  });

  test('a demotion takes the permissions from existing keys', async () => {
    const { id: uuid, key } = await api.buildMember(ours, 'admin');
    const me = await api.request('GET', '/me', { key });
    expect(me.body['permissions']).toContain('organization.manage');
    expect(uuid).toBeDefined();
    await api.request('PATCH', `/members/${me.body['id']}`, { key: ours.key, body: { role: 'member' } });
    expect((await api.request('GET', '/me', { key })).body['permissions']).not.toContain('organization.manage');
  });

  test('nobody gives or takes a role that holds more than they do', async () => {
    const { key } = await api.buildMember(ours, 'admin');
    const promoted = await api.request('POST', '/members', { key, body: { email: 'boss@example.com', role: 'owner' } });
    expect(promoted.status).toBe(403);
    const { body: owner } = await api.request('GET', '/me', { key: ours.key });
    expect((await api.request('PATCH', `/members/${owner['id']}`, { key, body: { role: 'member' } })).status).toBe(403);
  });

  test('the last active owner stays, also when two resign at once', async () => {
    const organization = await api.buildOrganization();
    const { key } = await api.buildMember(organization, 'owner');
    const [first, second] = await Promise.all([organization.key, key].map((each) => api.request('GET', '/me', { key: each })));
    const answers = await Promise.all([
      api.request('PATCH', `/members/${first!.body['id']}`, { key: organization.key, body: { role: 'member' } }),
      api.request('DELETE', `/members/${second!.body['id']}`, { key }),
    ]);
    expect(answers.filter(({ status }) => status < 300)).toHaveLength(1);
    expect(answers.find(({ status }) => status >= 300)?.body['code']).toBe('last_owner');
  });
});

describe('service accounts and API keys', () => {
  test('a key is shown once, works at once, and is never in any other answer', async () => {
    const account = await api.request('POST', '/service-accounts', { key: ours.key, body: { name: 'ci', permissions: ['events.write'] } });
    expect(account.status).toBe(201);
    const created = await api.request('POST', '/api-keys', { key: ours.key, body: { name: 'ci key', ownerId: account.body['id'] } });
    expect(created.body['key']).toMatch(/^tsn_[A-Za-z0-9]{40}$/);
    expect(created.body['permissions']).toEqual(['events.write']);
    const me = await api.request('GET', '/me', { key: created.body['key'] });
    expect(me.body).toMatchObject({ type: 'service_account', id: account.body['id'], role: null });
    for (const path of ['/api-keys', `/api-keys/${created.body['id']}`]) {
      expect((await api.request('GET', path, { key: ours.key })).text).not.toContain(created.body['key']);
    }
    await api.request('DELETE', `/service-accounts/${account.body['id']}`, { key: ours.key });
    expect((await api.request('GET', '/me', { key: created.body['key'] })).status).toBe(401);
  });

  test('a key holds no more than its creator and its owner have', async () => {
    const { key } = await api.buildMember(ours, 'operator');
    const beyond = await api.request('POST', '/api-keys', { key, body: { name: 'k', permissions: ['organization.manage'] } });
    expect(beyond.status).toBe(403);
    const account = await api.request('POST', '/service-accounts', { key: ours.key, body: { name: 'x', permissions: ['events.write'] } });
    const wide = await api.request('POST', '/api-keys', {
      key: ours.key,
      body: { name: 'k', ownerId: account.body['id'], permissions: ['events.view'] },
    });
    expect(wide.status).toBe(422);
    expect(wide.body['errors'][0]).toMatchObject({ pointer: '/permissions', code: 'beyond_owner' });
    const foreign = await api.request('POST', '/api-keys', { key, body: { name: 'k', ownerId: account.body['id'] } });
    expect(foreign.status).toBe(403);
  });

  test('rotation replaces the key, at once or after a grace period', async () => {
    const { body: first } = await api.request('POST', '/api-keys', { key: ours.key, body: { name: 'r' } });
    const { body: second } = await api.request('POST', `/api-keys/${first['id']}/rotate`, { key: ours.key, body: { graceSeconds: 3600 } });
    for (const key of [first['key'], second['key']]) expect((await api.request('GET', '/me', { key })).status).toBe(200);
    const { body: third } = await api.request('POST', `/api-keys/${first['id']}/rotate`, { key: ours.key });
    for (const key of [first['key'], second['key']]) expect((await api.request('GET', '/me', { key })).status).toBe(401);
    expect((await api.request('GET', '/me', { key: third['key'] })).status).toBe(200);
  });

  test('a revoked key is refused at once, an expired one when its time has come', async () => {
    const { body: revoked } = await api.request('POST', '/api-keys', { key: ours.key, body: { name: 'r' } });
    expect((await api.request('GET', '/me', { key: revoked['key'] })).status).toBe(200);
    expect((await api.request('POST', `/api-keys/${revoked['id']}/revoke`, { key: ours.key })).body['status']).toBe('revoked');
    expect((await api.request('GET', '/me', { key: revoked['key'] })).status).toBe(401);
    expect((await api.request('DELETE', `/api-keys/${revoked['id']}`, { key: ours.key })).status).toBe(409);

    const past = await api.request('POST', '/api-keys', { key: ours.key, body: { name: 'e', expiresAt: '2020-01-01T00:00:00Z' } });
    expect(past.status).toBe(422);
    const soon = new Date(Date.now() + 300).toISOString();
    const { body: expiring } = await api.request('POST', '/api-keys', { key: ours.key, body: { name: 'e', expiresAt: soon } });
    expect((await api.request('GET', '/me', { key: expiring['key'] })).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 350));
    expect((await api.request('GET', '/me', { key: expiring['key'] })).status).toBe(401);
  });

  test('without organization.manage only own keys are seen', async () => {
    const { key } = await api.buildMember(ours, 'operator');
    const { body } = await api.request('GET', '/api-keys', { key });
    expect(body['data']).toHaveLength(1);
    const { body: others } = await api.request('GET', '/api-keys', { key: ours.key });
    expect((await api.request('DELETE', `/api-keys/${others['data'].at(-1).id}`, { key })).status).toBe(404);
  });
});

test("another organization's objects are unknown, and stay as they are", async () => {
  const { body: project } = await api.request('POST', '/projects', { key: theirs.key, body: { name: 'Secret' } });
  const { body: account } = await api.request('POST', '/service-accounts', { key: theirs.key, body: { name: 'sa', permissions: [] } });
  const { body: apiKey } = await api.request('POST', '/api-keys', { key: theirs.key, body: { name: 'k' } });
  const { body: member } = await api.request('POST', '/members', { key: theirs.key, body: { email: 'm@example.com' } });
  const unknown = await api.request('GET', '/projects/prj_00000000000000000000000000', { key: ours.key });
  const { instance: _, ...unknownBody } = unknown.body;
  for (const [path, patch] of [
    [`/projects/${project['id']}`, { name: 'x' }],
    [`/service-accounts/${account['id']}`, { name: 'x' }],
    [`/members/${member['id']}`, { name: 'x' }],
    [`/api-keys/${apiKey['id']}`, undefined],
  ] as const) {
    const before = await api.request('GET', path, { key: theirs.key });
    const attempts = [
      await api.request('GET', path, { key: ours.key }),
      await api.request('DELETE', path, { key: ours.key }),
      ...(patch === undefined ? [] : [await api.request('PATCH', path, { key: ours.key, body: patch })]),
    ];
    for (const { status, body } of attempts) {
      const { instance: _instance, ...rest } = body;
      expect({ status, ...rest }).toEqual({ status: 404, ...unknownBody });
    }
    expect((await api.request('GET', path, { key: theirs.key })).body).toEqual(before.body);
  }
});
