import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { builtInTypes } from '../../domain/custom-event-type.ts';
import { createStage } from './escalation-stage.ts';
import { startApi, type TestAnswer, type TestApi, type TestOrganization } from './start-api.ts';

interface Alert {
  status: string;
  fingerprint: string;
  labels: Record<string, string>;
  [field: string]: unknown;
}

const sample = JSON.parse(readFileSync(new URL('../fixtures/intake/alertmanager.json', import.meta.url), 'utf8')) as { alerts: Alert[] };

let api: TestApi;
let ours: TestOrganization;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(async () => {
  ours = await api.buildOrganization();
});

const post = async (body: unknown, query = '', key = ours.key) => api.request('POST', `/intake/alertmanager${query}`, { key, body });
const get = async (path: string) => (await api.request('GET', path, { key: ours.key })).body;
const eventsOf = async ({ body }: TestAnswer): Promise<TestAnswer['body'][]> =>
  Promise.all(body['data'].map(async ({ id }: { id: string }) => get(`/events/${id}`)));
const call = (...alerts: object[]) => ({ ...sample, alerts });
const alert = (status: 'firing' | 'resolved', fields: object = {}) => ({ ...sample.alerts[0]!, status, ...fields });

test('each alert of a call becomes an event, in order, with its audit entry', async () => {
  const answer = await post(sample);
  expect(answer.status).toBe(200);
  expect(answer.body['data']).toHaveLength(3);
  const events = await eventsOf(answer);
  expect(events).toMatchObject([
    {
      type: 'alert.fired',
      severity: 'medium',
      subject: 'Pod is crash looping.',
      message: expect.stringContaining('CrashLoopBackOff'),
      dedupKey: 'am:c6eadffa33fcdf37',
      source: 'http://alertmanager.monitoring:9093',
      occurredAt: '2026-10-01T11:58:03.157Z',
      labels: { alertname: 'KubePodCrashLooping', pod: 'checkout-7d9f6c5b8-x2x4v' },
      links: [{ rel: 'generator' }, { rel: 'runbook' }],
      projectId: null,
    },
    { type: 'alert.fired', subject: 'TargetDown', dedupKey: 'am:bc97ff14869b13e3' },
    { type: 'alert.resolved', severity: 'critical', dedupKey: 'am:1a30ba71cca2921f', occurredAt: '2026-10-01T11:57:18.002Z' },
  ]);
  const entries = answer.headers.get('tocsin-audit-id')!.split(', ');
  expect(events.map(({ auditEntries }) => auditEntries)).toMatchObject(entries.map((id) => [{ id, action: 'event.ingest' }]));
});

test('what fires opens a problem, repeats are counted, and what is resolved ends it and the escalation of its policy', async () => {
  const { buildPolicy } = createStage(api);
  const policyId = await buildPolicy(ours, { trigger: { types: ['alert.fired'] }, groupBy: ['dedupKey'] });
  const escalations = async () => (await get(`/escalations?policyId=${policyId}`))['data'];

  const opened = await post(call(alert('firing')));
  expect(opened.body['data']).toMatchObject([{ status: 'accepted' }]);
  expect(await escalations()).toMatchObject([{ state: 'triggered' }]);

  // Alertmanager repeats what still fires, and retries what it saw no answer to: nobody is paged anew.
  const repeated = await post(call(alert('firing'), alert('firing')));
  expect(repeated.body['data']).toMatchObject([{ status: 'duplicate' }, { status: 'duplicate' }]);
  expect(await escalations()).toMatchObject([{ state: 'triggered', round: 1, tier: 1 }]);

  await post(call(alert('resolved')));
  expect(await escalations()).toMatchObject([{ state: 'resolved' }]);
  const [again] = await eventsOf(await post(call(alert('resolved'))));
  expect(again!['decisions']).toContainEqual(expect.objectContaining({ reason: 'no_open_problem' }));
  expect((await post(call(alert('firing')))).body['data']).toMatchObject([{ status: 'accepted' }]);
  expect(await escalations()).toHaveLength(2);
});

describe('a call is taken whole or not at all', () => {
  const nothingIsStored = async () => expect((await get('/events'))['data']).toEqual([]);

  test.each<[string, unknown, string[]]>([
    ['of another version', { ...sample, version: '3' }, ['/version unknown_value']],
    ['without alerts', { version: '4' }, ['/alerts required']],
    [
      'with faults in several alerts',
      call(alert('firing'), alert('firing', { status: 'pending', fingerprint: '' }), alert('resolved', { endsAt: 'yesterday' })),
      ['/alerts/1/fingerprint invalid_type', '/alerts/1/status unknown_value', '/alerts/2/endsAt invalid_format'],
    ],
    ['that is a list', [sample], [' invalid_type']],
  ])('%s it is refused with every fault', async (_, body, faults) => {
    const answer = await post(body);
    expect([answer.status, answer.body['code']]).toEqual([422, 'validation_failed']);
    const told = answer.body['errors'].map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`);
    expect(told.toSorted()).toEqual(faults);
    await nothingIsStored();
  });

  test('for another organization’s project it is refused, as for one that nobody has', async () => {
    const theirs = await api.buildOrganization('Theirs');
    const foreign = await api.request('POST', '/projects', { key: theirs.key, body: { name: 'Secret' } });
    for (const projectId of [foreign.body['id'], 'prj_01h455vb4pex5vsknk084sn02q']) {
      const answer = await post(sample, `?projectId=${projectId}`);
      expect([answer.status, answer.body['code']]).toEqual([400, 'project_not_found']);
    }
    expect((await post(sample, '?projectId=mine')).body['errors']).toMatchObject([{ pointer: '/query/projectId' }]);
    await nothingIsStored();
  });

  test('while the database is down it is answered 503, so that Alertmanager repeats it', async () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5432'), { code: 'ECONNREFUSED' });
    const { intake } = api.deps;
    const down = await startApi({
      deps: { intake: { ...intake, types: async () => builtInTypes, accept: async () => Promise.reject(cause) } },
    });
    try {
      const organization = await down.buildOrganization();
      const answer = await down.request('POST', '/intake/alertmanager', { key: organization.key, body: sample });
      expect([answer.status, answer.body['code'], answer.headers.get('retry-after')]).toEqual([503, 'unavailable', '1']);
    } finally {
      await down.stop();
    }
  });
});

test('a call without alerts is taken, and a project given in the address is that of every alert', async () => {
  expect((await post(call())).body).toEqual({ data: [] });
  const { body: project } = await api.request('POST', '/projects', { key: ours.key, body: { name: 'Shop' } });
  const events = await eventsOf(await post(sample, `?projectId=${project['id']}`));
  expect(events.map(({ projectId }) => projectId)).toEqual([project['id'], project['id'], project['id']]);
});

test('it needs events.write', async () => {
  expect((await post(sample, '', await api.buildKey(ours, ['events.view']))).status).toBe(403);
  expect((await post(sample, '', await api.buildKey(ours, ['events.write']))).status).toBe(200);
});
