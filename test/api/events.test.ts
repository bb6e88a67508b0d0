import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createAuthentication } from '../../api/authentication.ts';
import { createIntake } from '../../api/intake.ts';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { eventTypes } from '../../domain/event-type.ts';
import { parseWireId } from '../../domain/id.ts';
import { startApi, type RequestOptions, type TestApi, type TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let theirs: TestOrganization;
let database: pg.Client;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization('Ours');
  theirs = await api.buildOrganization('Theirs');
  database = new pg.Client({ connectionString: api.databaseUrl });
  await database.connect();
});
afterAll(async () => {
  await database.end();
  await api.stop();
});

const post = async (body: unknown, options: RequestOptions = {}) => api.request('POST', '/events', { key: ours.key, body, ...options });
const get = async (path: string, key = ours.key) => api.request('GET', path, { key });
const countEvents = async () => Number((await database.query('select count(*) from event')).rows[0].count);
const event = { type: 'deployment.failed' };

describe('an event that is not one', () => {
  test('is told all its faults at once, and nothing is stored', async () => {
    const before = await countEvents();
    const { status, body } = await post({
      type: 'deployment.exploded',
      severity: 'loud',
      subject: '',
      projectId: 'nonsense',
      gitCommitSha: 'zz',
      labels: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`l${i}`, ''])),
      links: [{ href: 'javascript:alert(1)' }],
      occurredAt: 'yesterday',
      audience: { userIds: [] },
      bogus: 1,
    });
    expect([status, body['code']]).toEqual([422, 'validation_failed']);
    const faults = body['errors'].map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`);
    expect(faults.toSorted()).toEqual([
      '/audience/userIds too_small',
      '/bogus unknown_field',
      '/gitCommitSha invalid_format',
      '/labels too_big',
      '/links/0/href invalid_format',
      expect.stringMatching(/^\/occurredAt /),
      '/projectId invalid_id',
      '/severity unknown_severity',
      '/subject out_of_range',
      '/type unknown_event_type',
    ]);
    expect(await countEvents()).toBe(before);
  });

  test.each<[string, unknown, string]>([
    ['without a type', {}, '/type required'],
    ['of a type that Tocsin posts itself', { type: 'escalation.triggered' }, '/type reserved_event_type'],
    ['more than five minutes ahead', { ...event, occurredAt: new Date(Date.now() + 600_000).toISOString() }, '/occurredAt out_of_range'],
    ['nested deeper than 32', { ...event, data: nest(33) }, '/data too_deep'],
    ['with a line break in the subject', { ...event, subject: 'a\nb' }, '/subject control_character'],
    ['with 257 characters of subject', { ...event, subject: '👩'.repeat(257) }, '/subject out_of_range'],
    ['with more than 8 KB of message', { ...event, message: 'é'.repeat(4_097) }, '/message too_big'],
  ])('%s is refused', async (_, body, fault) => {
    const { status, body: problem } = await post(body);
    expect(status).toBe(422);
    expect(`${problem['errors'][0].pointer} ${problem['errors'][0].code}`).toContain(fault);
    expect(problem['errors']).toHaveLength(1);
  });

  test.each(['labels', 'dedupKey', 'groupKey', 'message', 'tenantId', 'environment', 'source', 'resource', 'actor', 'links', 'subject'])(
    'is never an internal error: %s with NUL or half a surrogate pair',
    async (field) => {
      for (const text of ['a\u0000b', 'a\ud800b', 'a\udc00']) {
        const value = { labels: { x: text }, resource: { type: 'a', id: text }, actor: { type: text, id: 'a' } }[field];
        const { status, text: answer } = await post({
          ...event,
          [field]: value ?? (field === 'links' ? [{ href: 'https://x', title: text }] : text),
        });
        if (status !== 202 && status !== 422) throw new Error(`${status} ${answer}`);
      }
    },
  );

  test('is never an internal error: a filter with NUL', async () => {
    for (const path of ['/events?type=%00', '/deliveries?eventType=%00', '/events?type=%ED%A0%80'])
      expect((await get(path)).status).toBeLessThan(500);
  });

  test('is malformed: one answer, whatever was meant', async () => {
    for (const raw of ['{"type":', 'type=deployment.failed', '[1,2', '{"type":"deployment.failed"} x']) {
      const { status, body } = await post(undefined, { raw });
      expect([status, body['code']]).toEqual([400, expect.stringMatching(/^malformed_/)]);
    }
    expect((await post([event])).status).toBe(422);
    expect((await post(undefined, { raw: '{}', headers: { 'Content-Type': 'text/plain' } })).status).toBe(415);
  });

  test('has more than 256 KiB of data, or is longer than 2 MiB', async () => {
    const atLimit = { ...event, data: 'x'.repeat(256 * 1024 - 2) };
    expect((await post(atLimit)).status).toBe(202);
    const over = await post({ ...event, data: 'x'.repeat(256 * 1024 - 1) });
    expect([over.status, over.body['code']]).toEqual([413, 'payload_too_large']);
    expect((await post({ ...event, data: 'x'.repeat(2 * 1024 * 1024) })).status).toBe(413);
  });

  test('names a project of nobody or of another organization: the same answer, in the same words', async () => {
    const foreign = await api.request('POST', '/projects', { key: theirs.key, body: { name: 'Secret' } });
    const answers = [];
    for (const projectId of [foreign.body['id'], 'prj_01h455vb4pex5vsknk084sn02q']) {
      for (const path of ['/events', '/events/explain']) {
        const { status, body } = await api.request('POST', path, { key: ours.key, body: { ...event, projectId } });
        answers.push({ ...body, status, instance: '' });
      }
    }
    expect(answers[0]).toMatchObject({ status: 400, code: 'project_not_found', title: 'project not found in active organization' });
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });
});

function nest(depth: number): unknown {
  return depth === 0 ? 1 : [nest(depth - 1)];
}

describe('an accepted event', () => {
  test('is stored by its canonical type, with the spelling it came with', async () => {
    const aliases = eventTypes.filter(({ own }) => !own).flatMap(({ type, aliases: all }) => all.map((alias) => ({ type, alias })));
    expect(aliases.length).toBeGreaterThan(20);
    const batch = await api.request('POST', '/events/batch', {
      key: ours.key,
      body: { events: aliases.map(({ alias }) => ({ type: alias })) },
    });
    for (const [i, { type, alias }] of aliases.entries())
      expect((await get(`/events/${batch.body['data'][i].id}`)).body).toMatchObject({ type, postedType: alias });
  });

  test('takes every severity word of other scales', async () => {
    for (const [word, severity] of Object.entries({ FATAL: 'critical', p2: 'high', Warn: 'medium', notice: 'low', debug: 'info' }))
      expect((await get(`/events/${(await post({ ...event, severity: word })).body['id']}`)).body['severity']).toBe(severity);
  });

  test('keeps the number text and key order of its data in the body that webhooks get', async () => {
    await api.request('POST', '/webhooks', {
      key: ours.key,
      body: { name: 'raw', url: 'http://127.0.0.1:9/', eventTypes: ['drift.detect'] },
    });
    const data = '{"2":1.0,"1":12345678901234567890,"e":1E+2,"neg":-0,"text":"\\u00e9\\/","same":1,"same":2}';
    const { body } = await post(undefined, { raw: `{ "data" : ${data.replaceAll(',', ' ,\n ')} , "type":"drift.detect"}` });
    const { rows } = await database.query<{ body: Buffer }>('select body from event where id = $1', [parseWireId(body['id'])!.uuid]);
    expect(rows[0]!.body.toString()).toContain(`"data":${data}`);
  });

  test('has the same dedup key as another about the same resource, and its own when it says so', async () => {
    const about = { resource: { type: 'deployment', id: 'api' } };
    const keys = await Promise.all(
      [
        { ...event, ...about },
        { type: 'deployment.completed', ...about },
        { ...event, resource: { type: 'deployment', id: 'web' } },
        { ...event, ...about, dedupKey: 'mine' },
      ].map(async (body) => (await post(body)).body['dedupKey']),
    );
    expect(keys[0]).toMatch(/^auto:[0-9a-f]{64}$/);
    expect(keys[1]).toBe(keys[0]);
    expect(keys[2]).not.toBe(keys[0]);
    expect(keys[3]).toBe('mine');
  });

  test('is decided by what is committed before it, whichever process committed it', async () => {
    // Another API process on the same database, its knowledge of the organization already cached.
    const orm = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_app' });
    const { secrets, log } = api.deps;
    const intake = createIntake({
      escalations: { wake: () => undefined },
      groups: { wake: () => undefined },
      orm,
      secrets,
      starter: { offer: () => {} },
    });
    const other = await startApi({ deps: { orm, secrets, intake, authentication: createAuthentication({ orm, log }) } });
    try {
      for (let round = 1; round <= 5; round += 1) {
        const [writer, reader] = round % 2 === 0 ? [api, other] : [other, api];
        const type = 'member.role.change';
        const before = await reader.request('POST', '/events', { key: ours.key, body: { type } });
        const webhook = { name: `round ${round}`, url: 'http://127.0.0.1:9/', eventTypes: [type] };
        const made = await writer.request('POST', '/webhooks', { key: ours.key, body: webhook });
        const after = await reader.request('POST', '/events', { key: ours.key, body: { type } });
        expect(after.body['decisions']).toHaveLength(before.body['decisions'].length + 1);
        expect(after.body['decisions'].map(({ target }: { target: { id: string } }) => target.id)).toContain(made.body['id']);
      }
    } finally {
      await other.stop();
      await orm.close(true);
    }
  });

  test('cannot be posted without events.write, nor read without events.view', async () => {
    const viewer = await api.buildKey(ours, ['events.view']);
    expect((await post(event, { key: viewer })).status).toBe(403);
    const writer = await api.buildKey(ours, ['events.write']);
    const { status, body } = await post(event, { key: writer });
    expect(status).toBe(202);
    expect((await get(`/events/${body['id']}`, writer)).status).toBe(403);
  });
});
