import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { startApi, type TestAnswer, type TestApi, type TestOrganization } from './start-api.ts';

const text = (name: string): string => readFileSync(new URL(`../fixtures/intake/${name}`, import.meta.url), 'utf8');
const structuredText = text('cloud-event.json');
const structured = JSON.parse(structuredText) as Record<string, unknown>;
const binary = JSON.parse(text('cloud-event-binary.json')) as { headers: Record<string, string>; body: unknown };
const { host: _host, 'content-type': _type, ...attributes } = binary.headers;
const batchText = text('cloud-events-batch.json');

let api: TestApi;
let ours: TestOrganization;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(async () => {
  ours = await api.buildOrganization();
});

const mediaType = (suffix: string) => ({ 'Content-Type': `application/cloudevents${suffix}+json; charset=utf-8` });
const post = async (raw: string, headers: Record<string, string> = mediaType(''), key = ours.key) =>
  api.request('POST', '/events', { key, raw, headers });
const postOne = async (fields: Record<string, unknown>) =>
  post(JSON.stringify({ specversion: '1.0', id: '1', source: '/s', type: 'job.failed', ...fields }));
const postBinary = async (headers: Record<string, string>, raw: string) =>
  post(raw, { ...attributes, 'Content-Type': 'application/json', ...headers });
const get = async (path: string) => (await api.request('GET', path, { key: ours.key })).body;
const eventOf = async ({ body }: TestAnswer) => get(`/events/${body['id']}`);
const stored = async (): Promise<number> => (await get('/events'))['data'].length;
const faultsOf = ({ body }: TestAnswer): string[] =>
  body['errors'].map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`).toSorted();

describe('a CloudEvent', () => {
  test('structured is an event, with its data as posted in what webhooks get', async () => {
    const hook = { name: 'h', url: 'http://127.0.0.1:9/', eventTypes: ['deployment.failed'] };
    await api.request('POST', '/webhooks', { key: ours.key, body: hook });
    const answer = await post(structuredText);
    expect([answer.status, answer.body['status'], answer.body['dedupKey']]).toEqual([202, 'accepted', 'deploy-api-platform']);
    expect(answer.headers.get('tocsin-audit-id')).toMatch(/^aud_/);
    expect(await eventOf(answer)).toMatchObject({
      type: 'deployment.failed',
      postedType: 'deployment.failed',
      severity: 'high',
      subject: 'api-platform 2.0.6 failed in production',
      source: '/ci/pipelines/42',
      resource: { type: 'deployment', id: 'api-platform' },
      tenantId: 'acme-eu',
      environment: 'production',
      occurredAt: '2026-10-01T09:59:58.120Z',
      data: { step: 'migrate', seconds: 12.5 },
    });
    const { rows } = await api.orm.em.fork().transactional(async (em) => {
      await em.execute(`select set_config('app.org_id', '${ours.id}', true)`);
      return { rows: await em.execute<Array<{ body: Buffer }>>('select body from event') };
    });
    expect(rows[0]!.body.toString()).toContain('"seconds":12.50');
  });

  test('binary is an event, its attributes in headers and its data the body', async () => {
    const answer = await postBinary({}, JSON.stringify(binary.body));
    expect(await eventOf(answer)).toMatchObject({
      type: 'job.failed',
      severity: 'critical',
      resource: { type: 'job', id: 'Sicherung Köln' },
      source: '/backup/nightly',
      data: { exitCode: 74, volume: 'vol-1' },
    });
  });

  test('is of a type by the same name, by the organization’s map, or by the longest known ending; own types count', async () => {
    await api.request('POST', '/event-types', { key: ours.key, body: { type: 'charge.job.failed', effect: 'open' } });
    const foreignTypes = { 'com.bank.Charge-Declined': 'charge.job.failed', 'com.bank.lost.job.failed': 'agent.disconnected' };
    const saved = await api.request('PATCH', '/organization', { key: ours.key, body: { settings: { foreignTypes } } });
    expect(saved.body['settings'].foreignTypes).toEqual({ ...foreignTypes, 'com.bank.lost.job.failed': 'agent.disconnect' });
    for (const [type, canonical] of Object.entries({
      'job.fail': 'job.failed',
      'com.bank.Charge-Declined': 'charge.job.failed',
      'com.bank.lost.job.failed': 'agent.disconnect',
      'com.bank.charge.job.failed': 'charge.job.failed',
      'com.bank.other.job.failed': 'job.failed',
    }))
      expect([type, (await eventOf(await postOne({ id: type, type })))['type']]).toEqual([type, canonical]);
    expect(faultsOf(await postOne({ id: 'x', type: 'com.bank.exploded' }))).toEqual(['/type unknown_event_type']);
    const wrong = { settings: { foreignTypes: { a: 'job.exploded', b: 'job.*', c: 'job.failed' } } };
    const refused = await api.request('PATCH', '/organization', { key: ours.key, body: wrong });
    expect(faultsOf(refused)).toEqual(['/settings/foreignTypes/a unknown_event_type', '/settings/foreignTypes/b not_exact']);
  });

  test('is told all its faults, where they are in what was posted', async () => {
    expect(faultsOf(await post('{"type":"job.exploded","source":"/s","specversion":"0.3","time":"soon","severity":"loud"}'))).toEqual([
      '/id required',
      '/severity unknown_severity',
      '/specversion unknown_value',
      expect.stringMatching(/^\/time /),
      '/type unknown_event_type',
    ]);
    const ahead = new Date(Date.now() + 600_000).toISOString();
    expect(faultsOf(await postBinary({ 'ce-severity': 'loud', 'ce-time': ahead, 'ce-subject': '%zz' }, '{}'))).toEqual([
      '/headers/ce-severity unknown_severity',
      '/headers/ce-subject invalid_format',
      '/headers/ce-time out_of_range',
    ]);
    expect(faultsOf(await post('[]'))).toEqual([' invalid_type']);
    expect((await post(structuredText, mediaType('-batch'))).body['errors']).toMatchObject([{ pointer: '', code: 'invalid_type' }]);
    expect(await stored()).toBe(0);
  });

  test('with binary data, or in another format, is not taken', async () => {
    for (const answer of [
      await postOne({ data_base64: 'AAEC' }),
      await post('x', { 'Content-Type': 'application/cloudevents+avro' }),
      await postBinary({ 'Content-Type': 'application/xml' }, '<a/>'),
    ])
      expect([answer.status, answer.body['code']]).toEqual([415, 'unsupported_media_type']);
    expect(await stored()).toBe(0);
  });

  test('without a body needs no content type', async () => {
    const answer = await api.request('POST', '/events', { key: ours.key, headers: attributes });
    expect(await eventOf(answer)).toMatchObject({ type: 'job.failed', data: null });
  });
});

describe('the source and id of a CloudEvent', () => {
  test('are its idempotency key: the same again gets the same answer, however it is carried', async () => {
    const first = await post(structuredText);
    const again = await post(JSON.stringify(JSON.parse(structuredText.replace('12.50', '"12.50"'))).replace('"12.50"', '12.50'));
    expect([again.status, again.text, again.headers.get('idempotency-replayed')]).toEqual([202, first.text, 'true']);
    const { data: _, ...rest } = structured;
    const headers = Object.fromEntries(Object.entries(rest).map(([name, value]) => [`ce-${name}`, String(value)]));
    const data = /"data": (\{[^}]*\})/.exec(structuredText)![1]!;
    const carried = await post(data, { ...headers, 'Content-Type': 'application/json' });
    expect([carried.text, carried.headers.get('idempotency-replayed')]).toEqual([first.text, 'true']);
    expect(await stored()).toBe(1);
    const { source, id } = structured as { source: string; id: string };
    const key = `ce:${createHash('sha256').update(`${source}\n${id}`).digest('hex')}`;
    const taken = await api.request('POST', '/events', {
      key: ours.key,
      body: { type: 'job.failed' },
      headers: { 'Idempotency-Key': key },
    });
    expect([taken.status, taken.body['code']]).toEqual([409, 'idempotency_key_reused']);
  });

  test('belong to one event: another with them is 409, with other data or another subject', async () => {
    const first = await postOne({ data: { a: 1 } });
    expect(first.status).toBe(202);
    for (const fields of [{ data: { a: 2 } }, { data: { a: 1 }, subject: 'x' }, {}]) {
      const answer = await postOne(fields);
      expect([answer.status, answer.body['code']]).toEqual([409, 'idempotency_key_reused']);
    }
    for (const fields of [{ id: '2' }, { source: '/t' }]) expect((await postOne(fields)).status).toBe(202);
    expect(await stored()).toBe(3);
  });

  test('give way to the key of the header', async () => {
    const headers = { ...mediaType(''), 'Idempotency-Key': 'mine' };
    const first = await post(structuredText, headers);
    expect((await post(structuredText, headers)).text).toBe(first.text);
    expect((await post(structuredText)).headers.get('idempotency-replayed')).toBeNull();
    expect(await stored()).toBe(2);
  });

  test('of a refused event are free', async () => {
    expect((await postOne({ projectid: 'prj_01h455vb4pex5vsknk084sn02q' })).status).toBe(400);
    expect((await postOne({})).status).toBe(202);
  });
});

describe('a batch of CloudEvents', () => {
  const postBatch = async (events: unknown[], headers = {}) => post(JSON.stringify(events), { ...mediaType('-batch'), ...headers });

  test('gives each its own answer in order', async () => {
    const answer = await post(batchText, mediaType('-batch'));
    expect(answer.status).toBe(202);
    expect(answer.body['data']).toMatchObject([
      { id: expect.stringMatching(/^evt_/), status: 'accepted' },
      { error: { status: 415, code: 'unsupported_media_type' } },
      { error: { status: 422, errors: [{ pointer: '/type', code: 'unknown_event_type' }] } },
    ]);
    expect(answer.headers.get('tocsin-audit-id')).toMatch(/^aud_\w+$/);
    expect(await stored()).toBe(1);
  });

  test('may be cut differently when it is repeated: what was accepted is not accepted twice', async () => {
    const event = (id: string, fields = {}) => ({ specversion: '1.0', id, source: '/s', type: 'job.failed', ...fields });
    const first = await postBatch([event('1'), event('2'), event('1')]);
    expect(first.body['data'][2]).toEqual(first.body['data'][0]);
    const again = await postBatch([event('2'), event('3'), event('1', { data: 1 })]);
    expect(again.body['data']).toMatchObject([first.body['data'][1], { status: 'duplicate' }, { error: { status: 409 } }]);
    expect((await post(JSON.stringify(event('1')))).headers.get('idempotency-replayed')).toBe('true');
    expect(await stored()).toBe(3);
  });

  test('has 1 to 1,000 events and no Idempotency-Key of its own', async () => {
    expect(faultsOf(await postBatch([]))).toEqual([' out_of_range']);
    const event = { specversion: '1.0', source: '/s', type: 'job.completed' };
    const events = Array.from({ length: 1_001 }, (_, i) => ({ ...event, id: String(i) }));
    expect(faultsOf(await postBatch(events))).toEqual([' out_of_range']);
    const { status, body } = await postBatch(events.slice(1));
    expect([status, body['data'].length]).toEqual([202, 1_000]);
    expect(body['data'].every(({ id }: { id?: string }) => id !== undefined)).toBe(true);
    expect(faultsOf(await postBatch([event], { 'Idempotency-Key': 'k' }))).toEqual(['/headers/idempotency-key not_applicable']);
  });
});
