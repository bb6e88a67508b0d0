import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { inOrganization } from '../../db/tenant.ts';
import { parseWireId } from '../../domain/id.ts';
import { startApi } from './start-api.ts';
import type { TestAnswer, TestApi, TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let theirs: TestOrganization;

beforeAll(async () => {
  api = await startApi();
  theirs = await api.buildOrganization('Theirs');
});
beforeEach(async () => {
  ours = await api.buildOrganization('Ours');
});
afterAll(() => api.stop());

const webhook = { name: 'Hook', url: 'http://127.0.0.1:9000/in', eventTypes: ['deployment.failed'] };
const email = {
  name: 'Mail',
  type: 'email',
  settings: { host: '127.0.0.1', port: 2525, security: 'none', from: 'a@example.com', to: ['b@example.com'] },
};

const post = (path: string, body: unknown, organization = ours) => api.request('POST', path, { key: organization.key, body });
const get = (path: string, organization = ours) => api.request('GET', path, { key: organization.key });

const patch = (path: string, body: unknown) => api.request('PATCH', path, { key: ours.key, body });

/** What the entry of a change says was changed, without what every change changes. */
async function changedBy(answer: TestAnswer): Promise<string[]> {
  const { body } = await get(`/audit-logs/${answer.headers.get('tocsin-audit-id')}`);
  return body['changed'].filter((name: string) => name !== 'updatedAt' && name !== 'version');
}

describe('webhooks', () => {
  test('a generated secret is shown once, and later only with its own permission, each reading audited', async () => {
    const created = await post('/webhooks', { ...webhook, headers: { 'X-Team': 'very secret value' } });
    expect(created.status).toBe(201);
    const { id, secret } = created.body;
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const read = await get(`/webhooks/${id}`);
    expect(read.body).toMatchObject({
      secret: { set: true, hint: secret.slice(-4) },
      headers: { 'X-Team': { set: true } },
      status: 'active',
    });
    for (const path of [`/webhooks/${id}`, '/webhooks']) {
      const { text } = await get(path);
      expect(text).not.toContain(secret);
      expect(text).not.toContain('very secret value');
    }
    const weak = await api.buildKey(ours, ['monitoring.view', 'monitoring.manage']);
    expect((await api.request('GET', `/webhooks/${id}/secret`, { key: weak })).status).toBe(403);
    const shown = await get(`/webhooks/${id}/secret`);
    expect(shown.body).toMatchObject({ current: { secret, standardSecret: secret }, previous: [] });
    expect(shown.headers.get('tocsin-audit-id')).toMatch(/^aud_/);
  });

  test('a rotated secret goes on beside the new one until its grace ends', async () => {
    const { body: created } = await post('/webhooks', { ...webhook, secret: 'It is a secret' });
    expect(created['warnings']).toEqual(['weak_secret']);
    const { body: rotated } = await post(`/webhooks/${created['id']}/rotate-secret`, {});
    const { body: both } = await get(`/webhooks/${created['id']}/secret`);
    expect(both['current'].secret).toBe(rotated['secret']);
    expect(both['previous']).toMatchObject([{ secret: 'It is a secret' }]);
    await post(`/webhooks/${created['id']}/rotate-secret`, { graceSeconds: 0 });
    expect((await get(`/webhooks/${created['id']}/secret`)).body['previous']).toEqual([]);
  });

  test('more than ten old secrets are refused', async () => {
    const { body } = await post('/webhooks', webhook);
    for (let i = 0; i < 10; i += 1) expect((await post(`/webhooks/${body['id']}/rotate-secret`, {})).status).toBe(200);
    const refused = await post(`/webhooks/${body['id']}/rotate-secret`, {});
    expect([refused.status, refused.body['code']]).toEqual([409, 'too_many_secrets']);
  });

  test('every fault is told at once', async () => {
    const answer = await post('/webhooks', {
      name: '  ',
      url: 'ftp://example.com/x',
      eventTypes: ['deployment.failed', 'no.such.type'],
      headers: { Host: 'x', 'X-Ok': 'a\nb' },
      secret: 'whsec_abc',
      timeoutSeconds: 31,
      retryPolicy: { kind: 'custom', delaysSeconds: [] },
      bogus: 1,
    });
    expect(answer.status).toBe(422);
    expect(answer.body['errors']).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ pointer: '/name', code: 'too_small' }),
        expect.objectContaining({ pointer: '/url', code: 'invalid_scheme' }),
        expect.objectContaining({ pointer: '/eventTypes/1', code: 'unknown_event_type' }),
        expect.objectContaining({ pointer: '/headers/Host', code: 'reserved_header' }),
        expect.objectContaining({ pointer: '/headers/X-Ok', code: 'invalid_header_value' }),
        expect.objectContaining({ pointer: '/secret', code: 'secret_not_base64' }),
        expect.objectContaining({ pointer: '/timeoutSeconds', code: 'too_big' }),
        expect.objectContaining({ pointer: '/retryPolicy/delaysSeconds', code: 'too_small' }),
        expect.objectContaining({ pointer: '/bogus', code: 'unknown_field' }),
      ]),
    );
    expect(answer.body['errors']).toHaveLength(9);
    expect((await post('/webhooks', {})).body['errors'].map(({ pointer }: { pointer: string }) => pointer)).toEqual([
      '/name',
      '/url',
      '/eventTypes',
    ]);
  });

  test.each([
    ['http://10.0.0.1/', 'blocked_address'],
    ['http://localhost/', 'blocked_address'],
    ['http://169.254.169.254/', 'blocked_address'],
    ['javascript:alert(1)', 'invalid_scheme'],
  ])('the url %s is refused as %s', async (url, code) => {
    const { status, body } = await post('/webhooks', { ...webhook, url });
    expect([status, body['errors'][0]]).toMatchObject([422, { pointer: '/url', code }]);
  });

  test("another organization's project is the documented 400", async () => {
    const { body: project } = await post('/projects', { name: 'Theirs' }, theirs);
    const answer = await post('/webhooks', { ...webhook, projectIds: [project['id']] });
    expect([answer.status, answer.body['title'], answer.body['detail']]).toEqual([
      400,
      'project not found in active organization',
      'project not found in active organization',
    ]);
  });

  test('names are unique however they are written, and free after deletion', async () => {
    const { body: first } = await post('/webhooks', webhook);
    const second = await post('/webhooks', { ...webhook, name: ' ＨＯＯＫ ' });
    expect([second.status, second.body['code']]).toEqual([409, 'duplicate_name']);
    expect((await post('/webhooks', webhook, theirs)).status).toBe(201);
    expect((await api.request('DELETE', `/webhooks/${first['id']}`, { key: ours.key })).status).toBe(204);
    expect((await get(`/webhooks/${first['id']}`)).status).toBe(404);
    expect((await post('/webhooks', webhook)).status).toBe(201);
  });

  test('a change needs the version that was read; inactive names its reason; v1a publishes a key', async () => {
    const { body } = await post('/webhooks', webhook);
    const path = `/webhooks/${body['id']}`;
    const stale = await api.request('PATCH', path, { key: ours.key, headers: { 'If-Match': '"9"' }, body: { active: false } });
    expect(stale.status).toBe(412);
    const off = await api.request('PATCH', path, { key: ours.key, headers: { 'If-Match': '"1"' }, body: { active: false } });
    expect(off.body).toMatchObject({ active: false, status: 'inactive', disabledReason: 'user', version: 2 });
    const on = await api.request('PATCH', path, { key: ours.key, body: { active: true, signatureSchemes: ['v1', 'v1a'], secret: null } });
    expect(on.body).toMatchObject({
      status: 'active',
      disabledReason: null,
      disabledAt: null,
      warnings: ['unsigned'],
      secret: { set: false },
    });
    expect(on.body['signaturePublicKey']).toMatch(/^whpk_/);
  });

  test('a secret or header that is replaced shows as changed, although neither is shown', async () => {
    const { body } = await post('/webhooks', { ...webhook, secret: 'a short one', headers: { 'X-Team': 'one' } });
    const path = `/webhooks/${body['id']}`;
    expect(await changedBy(await patch(path, { secret: 'another one' }))).toEqual(['secret']);
    expect(await changedBy(await patch(path, { headers: { 'X-Team': 'two' } }))).toEqual(['headers']);
    expect(await changedBy(await patch(path, { name: 'Other' }))).toEqual(['name']);
  });

  test('a test answers at once with what came of it, ten times a minute at most', async () => {
    const { body } = await post('/webhooks', webhook);
    for (let i = 0; i < 10; i += 1) {
      const answer = await api.request('POST', `/webhooks/${body['id']}/test`, { key: ours.key });
      expect([answer.status, answer.body['success']]).toEqual([200, true]);
    }
    const limited = await api.request('POST', `/webhooks/${body['id']}/test`, { key: ours.key });
    expect(limited.status).toBe(429);
    expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0);
  });
});

describe('channels', () => {
  test('types tell the JSON Schema of their settings', async () => {
    const { body } = await get('/channels/types');
    expect(body['data'].map(({ type }: { type: string }) => type)).toEqual(expect.arrayContaining(['in_app', 'email', 'webhook', 'slack']));
    expect(body['data'].find(({ type }: { type: string }) => type === 'email')).toMatchObject({
      secretFields: ['password'],
      settingsSchema: { type: 'object', required: expect.arrayContaining(['host', 'from']) },
    });
  });

  test('secrets are write-only: absent keeps, null clears, answers only hint', async () => {
    const settings = { ...email.settings, username: 'me', password: 'correct horse battery' };
    const created = await post('/channels', { ...email, settings });
    expect(created.status).toBe(201);
    expect(created.text).not.toContain('correct horse');
    expect(created.body['settings']['password']).toEqual({ set: true, hint: 'tery' });
    const path = `/channels/${created.body['id']}`;
    const kept = await api.request('PATCH', path, { key: ours.key, body: { settings: { to: ['c@example.com'] } } });
    expect(kept.body['settings']).toMatchObject({ to: ['c@example.com'], password: { set: true } });
    const cleared = await api.request('PATCH', path, { key: ours.key, body: { settings: { username: null, password: null } } });
    expect(cleared.body['settings']['password']).toEqual({ set: false, hint: null });
    const retyped = await api.request('PATCH', path, { key: ours.key, body: { type: 'slack' } });
    expect(retyped.body['errors']).toMatchObject([{ pointer: '/type', code: 'unknown_field' }]);
  });

  test('a secret that is replaced shows as changed, although its hint does not', async () => {
    const { body } = await post('/channels', { ...email, settings: { ...email.settings, username: 'me', password: 'short' } });
    const path = `/channels/${body['id']}`;
    expect(await changedBy(await patch(path, { settings: { password: 'other' } }))).toEqual(['settings']);
    expect(await changedBy(await patch(path, { active: false }))).toEqual(['active', 'disabledAt', 'disabledReason', 'status']);
  });

  test('stored secrets that no key of this server opens are unavailable, not a defect', async () => {
    const { body } = await post('/channels', { ...email, settings: { ...email.settings, username: 'me', password: 'short' } });
    const { uuid } = parseWireId(body['id'])!;
    await inOrganization(api.orm, ours.id, (em) => sql`update channel set secrets = '\\x0100' where id = ${uuid}`.execute(em.getKysely()));
    const answer = await patch(`/channels/${body['id']}`, { settings: { port: 2526 } });
    expect([answer.status, answer.body['code']]).toEqual([503, 'unavailable']);
  });

  test('faults of settings are told with those of the rest', async () => {
    const { status, body } = await post('/channels', { name: '', type: 'slack', settings: { webhookUrl: 'ftp://x' } });
    expect(status).toBe(422);
    expect(body['errors']).toMatchObject([
      { pointer: '/name', code: 'too_small' },
      { pointer: '/settings/webhookUrl', code: 'invalid_scheme' },
    ]);
  });

  test('one that rules name is deleted only by force, and the rules lose it', async () => {
    const { body: channel } = await post('/channels', email);
    const { body: rule } = await post('/rules', { name: 'All', channelIds: [channel['id']] });
    const refused = await api.request('DELETE', `/channels/${channel['id']}`, { key: ours.key });
    expect([refused.status, refused.body['code']]).toEqual([409, 'in_use']);
    expect(refused.body['errors'][0].detail).toContain(rule['id']);
    expect((await api.request('DELETE', `/channels/${channel['id']}?force=true`, { key: ours.key })).status).toBe(204);
    expect((await get(`/rules/${rule['id']}`)).body).toMatchObject({ channelIds: [], warnings: ['no_channels'] });
  });
});

describe('rules', () => {
  test('are listed in the order they are asked, across pages', async () => {
    for (const [name, position] of [
      ['c', 30],
      ['a', 10],
      ['b', 10],
    ] as const) {
      await post('/rules', { name, position });
    }
    await post('/rules', { name: 'last' });
    const first = await get('/rules?limit=2');
    const second = await get(`/rules?limit=2&cursor=${first.body['nextCursor']}`);
    expect([...first.body['data'], ...second.body['data']].map(({ name }: { name: string }) => name)).toEqual(['a', 'b', 'c', 'last']);
    expect(second.body['nextCursor']).toBeNull();
  });

  test('store canonical types and the matchers as given', async () => {
    const { body: project } = await post('/projects', { name: 'P' });
    const matchers = [
      { key: 'projectId', op: 'in', value: [project['id']] },
      { key: 'label.team', op: 'glob', value: 'pay*' },
      { key: 'environment', op: 'exists', value: true },
    ];
    const { status, body } = await post('/rules', {
      name: 'R',
      types: ['release.failed', 'alert.*'],
      categories: ['job'],
      minSeverity: 'high',
      matchers,
    });
    expect(status).toBe(201);
    expect(body).toMatchObject({ types: ['release.fail', 'alert.*'], categories: ['job'], minSeverity: 'high', matchers });
  });

  test("another organization's channel and unknown keys are faults", async () => {
    const { body: foreign } = await post('/channels', { ...email, name: 'Foreign' }, theirs);
    const answer = await post('/rules', { name: 'R', channelIds: [foreign['id']] });
    expect(answer.body['errors']).toMatchObject([{ pointer: '/channelIds/0', code: 'unknown_channel' }]);
    const key = await post('/rules', { name: 'R', matchers: [{ key: 'nope', op: '=', value: 'x' }] });
    expect(key.body['errors']).toMatchObject([{ pointer: '/matchers/0/key', code: 'unknown_key' }]);
    const glob = await post('/rules', { name: 'R', matchers: [{ key: 'projectId', op: 'glob', value: 'prj_*' }] });
    expect(glob.body['errors']).toMatchObject([{ pointer: '/matchers/0/op', code: 'unknown_value' }]);
  });
});

test("another organization's destinations are unknown, and stay as they are", async () => {
  const { body: hook } = await post('/webhooks', { ...webhook, name: 'T' }, theirs);
  const { body: channel } = await post('/channels', { ...email, name: 'T' }, theirs);
  const { body: rule } = await post('/rules', { name: 'T' }, theirs);
  for (const path of [`/webhooks/${hook['id']}`, `/channels/${channel['id']}`, `/rules/${rule['id']}`]) {
    const before = await get(path, theirs);
    expect((await get(path)).status).toBe(404);
    expect((await api.request('PATCH', path, { key: ours.key, body: { name: 'x' } })).status).toBe(404);
    expect((await api.request('DELETE', path, { key: ours.key })).status).toBe(404);
    expect((await get(path, theirs)).body).toEqual(before.body);
  }
  for (const path of [`/webhooks/${hook['id']}/secret`, `/webhooks/${hook['id']}/deliveries`]) expect((await get(path)).status).toBe(404);
  for (const path of [`/webhooks/${hook['id']}/rotate-secret`, `/webhooks/${hook['id']}/test`, `/channels/${channel['id']}/test`]) {
    expect((await api.request('POST', path, { key: ours.key })).status).toBe(404);
  }
});
