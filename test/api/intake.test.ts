import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import type { UnownedDelivery } from '../../db/queries/unowned.ts';
import { startApi, type TestApi, type TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let theirs: TestOrganization;
let database: pg.Client;
const offered: UnownedDelivery[] = [];
beforeAll(async () => {
  api = await startApi({ starter: { offer: (deliveries) => void offered.push(...deliveries) } });
  ours = await api.buildOrganization('Ours');
  theirs = await api.buildOrganization('Theirs');
  database = new pg.Client({ connectionString: api.databaseUrl });
  await database.connect();
});
afterAll(async () => {
  await database.end();
  await api.stop();
});

const post = async (body: unknown, key?: string, path = '/events') =>
  api.request('POST', path, { key: ours.key, body, headers: key === undefined ? {} : { 'Idempotency-Key': key } });
const count = async (table: string, where = 'true', values: unknown[] = []) =>
  Number((await database.query(`select count(*) from ${table} where ${where}`, values)).rows[0].count);
const stored = async (subject: string) => count('event', 'subject = $1', [subject]);

describe('a batch', () => {
  test('gives each event its own answer in order: one that is refused takes no other with it', async () => {
    const { status, body } = await post(
      {
        events: [
          { type: 'job.failed', subject: 'batch 1' },
          { type: 'job.exploded' },
          { type: 'job.failed', subject: 'batch 2', projectId: 'prj_01h455vb4pex5vsknk084sn02q' },
          { type: 'job.failed', subject: 'batch 3', data: 'x'.repeat(256 * 1024) },
          'not an event',
          { type: 'job.failed', subject: 'batch 4' },
        ],
      },
      undefined,
      '/events/batch',
    );
    expect(status).toBe(202);
    expect(body['data'].map((one: { status?: string; error?: { code: string } }) => one.status ?? one.error!.code)).toEqual([
      'accepted',
      'validation_failed',
      'project_not_found',
      'payload_too_large',
      'validation_failed',
      'accepted',
    ]);
    expect(body['data'][1].error.errors).toMatchObject([{ pointer: '/type', code: 'unknown_event_type' }]);
    for (const [subject, expected] of Object.entries({ 'batch 1': 1, 'batch 2': 0, 'batch 3': 0, 'batch 4': 1 }))
      expect(await stored(subject)).toBe(expected);
  });

  test('keeps the data of each event as it was posted', async () => {
    const raw =
      '{"events":[{"type":"job.failed","subject":"raw a","data":{"n":1.0}},{"data":{"n":2.50,"a":1},"subject":"raw b","type":"job.failed"}]}';
    await api.request('POST', '/events/batch', { key: ours.key, raw });
    const { rows } = await database.query<{ data: string }>(`select data from event where subject like 'raw _' order by subject`);
    expect(rows.map(({ data }) => data)).toEqual(['{"n":1.0}', '{"n":2.50,"a":1}']);
  });

  test('has 1 to 1,000 events', async () => {
    expect((await post({ events: [] }, undefined, '/events/batch')).status).toBe(422);
    const events = Array.from({ length: 1_000 }, () => ({ type: 'job.completed', subject: 'thousand' }));
    expect((await post({ events }, undefined, '/events/batch')).body['data']).toHaveLength(1_000);
    expect(await stored('thousand')).toBe(1_000);
    expect((await post({ events: [...events, events[0]] }, undefined, '/events/batch')).status).toBe(422);
  });
});

describe('an Idempotency-Key', () => {
  test('gives the first answer again, byte for byte, and stores nothing more', async () => {
    const event = { type: 'job.failed', subject: 'once' };
    const entries = await count('audit.entry');
    const first = await post(event, 'key-1');
    const again = await post(event, 'key-1');
    expect([again.status, again.text]).toEqual([202, first.text]);
    expect(again.headers.get('tocsin-audit-id')).toBe(first.headers.get('tocsin-audit-id'));
    expect([first.headers.get('idempotency-replayed'), again.headers.get('idempotency-replayed')]).toEqual([null, 'true']);
    expect(await stored('once')).toBe(1);
    expect(await count('audit.entry')).toBe(entries + 1);
  });

  test('with another body is 409, also for a batch', async () => {
    await post({ type: 'job.failed', subject: 'reused' }, 'key-2');
    const other = await post({ type: 'job.failed', subject: 'other body' }, 'key-2');
    expect([other.status, other.body['code']]).toEqual([409, 'idempotency_key_reused']);
    expect(await stored('other body')).toBe(0);
    const batch = await post({ events: [{ type: 'job.failed', subject: 'other body' }] }, 'key-2', '/events/batch');
    expect([batch.status, batch.body['code']]).toEqual([409, 'idempotency_key_reused']);
    expect(await stored('other body')).toBe(0);
  });

  test('of concurrent requests lets one through, together with others that share its transaction', async () => {
    const answers = await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const copy = Math.floor(i / 6);
        return i % 6 === 5
          ? post({ type: 'job.failed', subject: 'without a key' })
          : post({ type: 'job.failed', subject: `copy ${copy}` }, `copy-${copy}`);
      }),
    );
    expect(answers.every(({ status }) => status === 202)).toBe(true);
    for (let copy = 0; copy < 10; copy += 1) {
      expect(await stored(`copy ${copy}`)).toBe(1);
      const same = answers.slice(copy * 6, copy * 6 + 5);
      expect(new Set(same.map(({ text }) => text)).size).toBe(1);
      expect(same.filter(({ headers }) => headers.has('idempotency-replayed'))).toHaveLength(4);
    }
    expect(await stored('without a key')).toBe(10);
  });

  test('of concurrent requests with different bodies accepts exactly one of them', async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, async (_, i) => post({ type: 'job.failed', subject: `racer ${i}` }, 'race')),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([202, ...Array<number>(7).fill(409)]);
    expect(await count('event', `subject like 'racer %'`)).toBe(1);
  });

  test('of a refused event is free for another: nothing was done', async () => {
    const refused = await post({ type: 'job.failed', subject: 'refused', projectId: 'prj_01h455vb4pex5vsknk084sn02q' }, 'key-3');
    expect(refused.status).toBe(400);
    expect((await post({ type: 'job.failed', subject: 'accepted' }, 'key-3')).status).toBe(202);
  });

  test('replays a batch with the answers of its members, refused ones included', async () => {
    const batch = { events: [{ type: 'job.failed', subject: 'batched once' }, { type: 'nope' }] };
    const [first, again] = [await post(batch, 'key-4', '/events/batch'), await post(batch, 'key-4', '/events/batch')];
    expect([again.status, again.text, again.headers.get('idempotency-replayed')]).toEqual([202, first.text, 'true']);
    expect(await stored('batched once')).toBe(1);
  });

  test('is the caller’s own: another organization’s and another member’s key of the same text are others', async () => {
    await post({ type: 'job.failed', subject: 'scoped' }, 'key-5');
    const colleague = await api.buildMember(ours, 'admin');
    for (const key of [theirs.key, colleague.key]) {
      const { status } = await api.request('POST', '/events', {
        key,
        body: { type: 'job.failed', subject: 'scoped' },
        headers: { 'Idempotency-Key': 'key-5' },
      });
      expect(status).toBe(202);
    }
    expect(await stored('scoped')).toBe(3);
  });
});

test('one event that cannot be committed takes no other of its transaction with it', async () => {
  // The database refuses one of them; what goes together is then tried alone.
  await database.query(`create function refuse_poison() returns trigger language plpgsql as $$
    begin if new.subject = 'poison' then raise exception 'refused'; end if; return new; end $$`);
  await database.query('create trigger refuse_poison before insert on event for each row execute function refuse_poison()');
  const subjects = Array.from({ length: 40 }, (_, i) => (i % 10 === 3 ? 'poison' : 'healthy'));
  const answers = await Promise.all(subjects.map(async (subject) => post({ type: 'job.failed', subject })));
  expect(answers.map(({ status }) => status)).toEqual(subjects.map((subject) => (subject === 'poison' ? 500 : 202)));
  expect(await stored('healthy')).toBe(36);
  await database.query('drop trigger refuse_poison on event');
});

test('every accepted event has its audit entry, its decisions and its deliveries, which are offered at once', async () => {
  const { body: hook } = await api.request('POST', '/webhooks', {
    key: ours.key,
    body: { name: 'h', url: 'http://127.0.0.1:9/', eventTypes: ['host.offline'] },
  });
  offered.length = 0;
  const answers = await Promise.all(Array.from({ length: 30 }, async () => post({ type: 'host.offline', subject: 'complete' })));
  expect(new Set(answers.map(({ body }) => body['id'])).size).toBe(30);
  for (const { body, headers } of answers) {
    const { body: trace } = await api.request('GET', `/events/${body['id']}`, { key: ours.key });
    expect(trace['auditEntries']).toMatchObject([{ id: headers.get('tocsin-audit-id'), action: 'event.ingest' }]);
    expect(trace['deliveries']).toMatchObject([{ status: 'pending', destinationId: hook['id'] }]);
    expect(trace['decisions'][0]).toMatchObject({ deliveryId: trace['deliveries'][0].id });
  }
  expect(offered).toHaveLength(30);
});

test('explaining stores nothing and sends nothing', async () => {
  const tables = ['event', 'decision', 'delivery', 'notification', 'audit.entry'];
  const before = await Promise.all(tables.map(async (table) => count(table)));
  offered.length = 0;
  const { status, body } = await post({ type: 'host.offline' }, undefined, '/events/explain');
  expect(status).toBe(200);
  expect(body['decisions'][0]).toMatchObject({
    verdict: 'send',
    reason: 'subscribed',
    winner: expect.stringMatching(/^webhook:whk_\w{26}@1$/),
  });
  expect(await Promise.all(tables.map(async (table) => count(table)))).toEqual(before);
  expect(offered).toEqual([]);
});
