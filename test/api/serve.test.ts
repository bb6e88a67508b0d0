import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { z } from 'zod';
import { endpoint } from '../../api/endpoint.ts';
import { endpoints } from '../../api/endpoints.ts';
import { ProjectEntity } from '../../db/entities/project.ts';
import { inOrganization } from '../../db/tenant.ts';
import { newId } from '../../domain/id.ts';
import { startApi } from './start-api.ts';
import type { TestApi, TestOrganization } from './start-api.ts';

const insertProject = (name: string, organizationId: string, now: Date) => ({
  id: newId(now.getTime()),
  orgId: organizationId,
  name,
  nameKey: name,
  description: '',
  version: 1,
  createdAt: now,
  updatedAt: now,
});

/** Forgets its audit entry. */
const silent = endpoint({
  name: 'project.silent',
  method: 'post',
  path: '/silent',
  tag: 'Test',
  summary: '',
  permission: 'authenticated',
  responses: { 204: { description: '' } },
  handler: async ({ em, principal, now }) => {
    em.create(ProjectEntity, insertProject('silent', principal.organizationId, now));
    return {};
  },
});

/** Audits, takes its time, and fails. */
const failing = endpoint({
  name: 'project.failing',
  method: 'post',
  path: '/failing',
  tag: 'Test',
  summary: '',
  permission: 'authenticated',
  responses: { 204: { description: '' } },
  handler: async ({ em, principal, now, audit }) => {
    em.create(ProjectEntity, insertProject('failing', principal.organizationId, now));
    await em.flush();
    audit({ resource: { type: 'project', id: 'x' } });
    throw new Error('secret cause');
  },
});

const echo = endpoint({
  name: 'project.echo',
  method: 'post',
  path: '/echo',
  tag: 'Test',
  summary: '',
  permission: 'authenticated',
  audited: false,
  bodyLimit: 1000,
  body: z.record(z.string(), z.unknown()),
  responses: { 200: { description: '', schema: z.object({ raw: z.string() }) } },
  handler: async ({ rawBody }) => ({ body: { raw: rawBody } }),
});

let api: TestApi;
let ours: TestOrganization;
beforeAll(async () => {
  api = await startApi({ endpoints: [...endpoints, silent, failing, echo] });
  ours = await api.buildOrganization();
});
afterAll(() => api.stop());

async function readEntries(organizationId: string): Promise<Array<{ action: string; status: string; document: string }>> {
  return inOrganization(api.orm, organizationId, async (em) => {
    const query = sql<{ action: string; status: string; document: string }>`
      select action, status, convert_from(canonical, 'UTF8') as document from audit.entry order by recorded_at, id`;
    return (await query.execute(em.getKysely())).rows;
  });
}

describe('who may enter', () => {
  test.each([
    ['nothing', undefined],
    ['another scheme', 'Basic abc'],
    ['a key that does not exist', `Bearer tsn_${'x'.repeat(40)}`],
    ['a malformed key', 'Bearer tsn_short'],
  ])('%s is answered 401 in the same words', async (_, authorization) => {
    const answer = await api.request('GET', '/me', { headers: authorization === undefined ? {} : { Authorization: authorization } });
    expect(answer.status).toBe(401);
    expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(answer.body).toMatchObject({ code: 'unauthenticated', status: 401, detail: expect.stringContaining('valid credential') });
  });

  test('a refusal is audited as blocked, once a minute a key and reason', async () => {
    const organization = await api.buildOrganization();
    const weak = await api.buildKey(organization, []);
    for (let i = 0; i < 3; i += 1) {
      expect((await api.request('POST', '/projects', { key: weak, body: { name: 'x' } })).status).toBe(403);
    }
    const { body: created } = await api.request('POST', '/api-keys', { key: organization.key, body: { name: 'k' } });
    await api.request('POST', `/api-keys/${created['id']}/revoke`, { key: organization.key });
    for (let i = 0; i < 2; i += 1) expect((await api.request('GET', '/me', { key: created['key'] })).status).toBe(401);
    const entries = await readEntries(organization.id);
    expect(entries.map(({ action, status }) => `${action} ${status}`)).toEqual([
      'project.create blocked',
      'api_key.create success',
      'api_key.revoke success',
      'api_key.use blocked',
    ]);
    expect(JSON.parse(entries[3]!.document)).toMatchObject({ reason: 'key_revoked' });
    expect(entries.map(({ document }) => document).join('')).not.toContain(created['key']);
  });
});

describe('what may be said', () => {
  const send = (raw: string | Uint8Array, headers: Record<string, string> = {}) =>
    api.request('POST', '/echo', { key: ours.key, raw, headers });

  test('the raw body reaches the handler as it came', async () => {
    const raw = '{"b":1.0,"a":12345678901234567890,"b2":1e2}';
    expect((await send(raw)).body).toEqual({ raw });
  });

  test.each<[string, string | Uint8Array, Record<string, string>, number, string]>([
    ['no JSON', '{"a":', {}, 400, 'malformed_json'],
    ['no UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d), {}, 400, 'malformed_json'],
    ['another content type', '{}', { 'Content-Type': 'text/plain' }, 415, 'unsupported_media_type'],
    ['a compressed body', '{}', { 'Content-Encoding': 'gzip' }, 415, 'unsupported_media_type'],
    ['too much', JSON.stringify({ a: 'x'.repeat(1000) }), {}, 413, 'payload_too_large'],
    ['no object', '[]', {}, 422, 'validation_failed'],
  ])('%s is refused', async (_, raw, headers, status, code) => {
    const answer = await send(raw, headers);
    expect([answer.status, answer.body['code']]).toEqual([status, code]);
  });

  test('a body without a declared length is measured as it comes', async () => {
    const stream = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 20; i += 1) controller.enqueue(new TextEncoder().encode(' '.repeat(100)));
        controller.close();
      },
    });
    const response = await fetch(`${api.url}/api/v2/echo`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${ours.key}`, 'Content-Type': 'application/json' },
      body: stream,
      duplex: 'half',
    });
    expect(response.status).toBe(413);
  });

  test('an unknown path is 404, another method 405 with those there are', async () => {
    expect((await api.request('GET', '/nothing', { key: ours.key })).body['code']).toBe('not_found');
    const answer = await api.request('PUT', '/projects', { key: ours.key });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, POST']);
  });
});

describe('what is committed', () => {
  const countProjects = (name: string) => inOrganization(api.orm, ours.id, (em) => em.count(ProjectEntity, { orgId: ours.id, name }));

  test('a change without an audit entry is rolled back', async () => {
    const answer = await api.request('POST', '/silent', { key: ours.key });
    expect(answer.status).toBe(500);
    expect(await countProjects('silent')).toBe(0);
  });

  test('a failure is rolled back with its entry, audited as failure, and tells the caller only where to look', async () => {
    const answer = await api.request('POST', '/failing', { key: ours.key, headers: { 'X-Request-Id': 'trace-1' } });
    expect(answer.status).toBe(500);
    expect(answer.text).not.toContain('secret cause');
    expect(answer.body).toMatchObject({ code: 'internal', instance: 'trace-1', detail: expect.stringContaining('trace-1') });
    expect(answer.headers.get('x-request-id')).toBe('trace-1');
    expect(await countProjects('failing')).toBe(0);
    const entries = (await readEntries(ours.id)).filter(({ action }) => action === 'project.failing');
    expect(entries.map(({ status }) => status)).toEqual(['failure']);
    const line = api.logLines.find(({ requestId }) => requestId === 'trace-1' && 'route' in { route: 1 });
    expect(line).toMatchObject({ method: 'POST', route: '/api/v2/failing', status: 500, errorCode: 'internal', organizationId: ours.id });
  });

  test('an entry names actor, key, route and request', async () => {
    const organization = await api.buildOrganization();
    await api.request('POST', '/projects', { key: organization.key, body: { name: 'x' }, headers: { 'X-Request-Id': 'r-1' } });
    const [entry] = await readEntries(organization.id);
    expect(JSON.parse(entry!.document)).toMatchObject({
      action: 'project.create',
      actor: { type: 'user', id: organization.ownerId, apiTokenName: 'test' },
      http: { method: 'POST', route: '/api/v2/projects', status: 201 },
      correlation: { requestId: 'r-1' },
      tool: 'api',
    });
  });
});

describe('Idempotency-Key', () => {
  const create = (key: string, name: string, organization = ours) =>
    api.request('POST', '/projects', { key: organization.key, headers: { 'Idempotency-Key': key }, body: { name } });

  test('the same request gets the first answer again, also where it holds a secret', async () => {
    const first = await create('k1', 'once');
    const again = await create('k1', 'once');
    expect([again.status, again.text]).toEqual([201, first.text]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(again.headers.get('tocsin-audit-id')).toBe(first.headers.get('tocsin-audit-id'));
    expect(first.headers.get('idempotency-replayed')).toBeNull();

    const newKey = () => api.request('POST', '/api-keys', { key: ours.key, headers: { 'Idempotency-Key': 'k2' }, body: { name: 'k' } });
    const [shown, replayed] = [await newKey(), await newKey()];
    expect(replayed.body['key']).toBe(shown.body['key']);
    const stored = await inOrganization(api.orm, ours.id, async (em) =>
      (await sql<{ body: Buffer }>`select body from idempotency where key = 'k2'`.execute(em.getKysely())).rows[0]!.body.toString('latin1'),
    );
    expect(stored).not.toContain(shown.body['key']);
  });

  test('another request with the same key is refused; another organization has its own keys', async () => {
    await create('k3', 'a');
    const other = await create('k3', 'b');
    expect([other.status, other.body['code']]).toEqual([409, 'idempotency_key_reused']);
    const theirs = await api.buildOrganization();
    expect((await create('k3', 'a', theirs)).headers.get('idempotency-replayed')).toBeNull();
  });

  test('concurrent requests with one key make one thing', async () => {
    const answers = await Promise.all(Array.from({ length: 6 }, () => create('k4', 'together')));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers.filter(({ headers }) => headers.get('idempotency-replayed') === null)).toHaveLength(1);
  });

  test('a failed request leaves the key free; a malformed key is a fault', async () => {
    expect((await create('k5', 'together')).status).toBe(409);
    expect((await create('k5', 'apart')).status).toBe(201);
    expect((await create('has space', 'x')).body['errors'][0].pointer).toBe('/headers/idempotency-key');
  });
});
