import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventTypes } from '../../domain/event-type.ts';
import { createStage } from './escalation-stage.ts';
import { startApi, type TestAnswer, type TestApi, type TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let theirs: TestOrganization;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization('Ours');
  theirs = await api.buildOrganization('Theirs');
});
afterAll(() => api.stop());

const get = async (path: string, { key } = ours) => api.request('GET', path, { key });
const post = async (body: unknown, { key } = ours) => (await api.request('POST', '/events', { key, body })).body;
const idsOf = ({ body }: TestAnswer): string[] => body['data'].map(({ id }: { id: string }) => id);

describe('the list of events', () => {
  test('is filtered by type, category, severity, project and time, newest first, and paged without gaps or repeats', async () => {
    const organization = await api.buildOrganization();
    const project = (await api.request('POST', '/projects', { key: organization.key, body: { name: 'P' } })).body['id'];
    const posted: string[] = [];
    for (let i = 0; i < 12; i += 1) {
      const event = {
        type: i % 2 ? 'job.failed' : 'alert.fired',
        severity: i % 3 ? 'high' : 'low',
        ...(i % 4 ? {} : { projectId: project }),
      };
      posted.unshift((await post(event, organization))['id']);
      // ids of one millisecond are ordered by chance
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const list = async (query: string) => get(`/events?${query}`, organization);
    expect(idsOf(await list(''))).toEqual(posted);
    expect(idsOf(await list('type=job.failed'))).toEqual(posted.filter((_, i) => i % 2 === 0));
    expect(idsOf(await list('category=alert'))).toHaveLength(6);
    expect(idsOf(await list('severity=low'))).toHaveLength(4);
    expect(idsOf(await list(`projectId=${project}`))).toHaveLength(3);
    expect(idsOf(await list(`to=${new Date(0).toISOString()}`))).toEqual([]);
    expect((await list('severity=loud&projectId=x&bogus=1')).body['errors']).toHaveLength(3);

    const paged: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: TestAnswer = await list(`limit=5${cursor === '' ? '' : `&cursor=${cursor}`}`);
      paged.push(...idsOf(page));
      cursor = page.body['nextCursor'];
    }
    expect(paged).toEqual(posted);
  });

  test('is one organization’s: another’s events, deliveries and notifications are unknown and not listed', async () => {
    await api.request('POST', '/webhooks', { key: theirs.key, body: { name: 'h', url: 'http://127.0.0.1:9/', eventTypes: ['*'] } });
    const foreign = await post({ type: 'job.failed' }, theirs);
    const trace = (await get(`/events/${foreign['id']}`, theirs)).body;
    const notification = (await get('/notifications', theirs)).body['data'][0].id;
    const unknown = await get('/events/evt_01h455vb4pex5vsknk084sn02q');
    for (const path of [`/events/${foreign['id']}`, `/deliveries/${trace['deliveries'][0].id}`]) {
      const { status, body } = await get(path);
      expect({ ...body, instance: '', status }).toEqual({ ...unknown.body, instance: '', status: 404 });
    }
    expect((await api.request('POST', `/notifications/${notification}/read`, { key: ours.key })).status).toBe(404);
    for (const path of ['/events', '/deliveries', '/notifications']) expect(idsOf(await get(path))).toEqual([]);
    for (const path of ['/events', '/deliveries', '/notifications']) expect(idsOf(await get(path, theirs))).toHaveLength(1);
    const { body } = await get(`/audit-logs?resource=event:${foreign['id']}`);
    expect(body['data']).toEqual([]);
  });
});

test('an event is shown with the escalations that it belongs to, newest first; one that nobody is paged for has none', async () => {
  const organization = await api.buildOrganization();
  const stage = createStage(api);
  const one = await stage.openEscalation(organization, {
    event: { dedupKey: 'disk', labels: { group: 'none' } },
    policy: { trigger: { types: ['alert.fired'] } },
  });
  const two = await stage.openEscalation(organization, { policy: { trigger: { types: ['alert.fired'] } } });
  const { body: event } = await get(`/events/${two.eventId}`, organization);
  expect(event['escalations'].map(({ id }: { id: string }) => id)).toHaveLength(2);
  expect(event['escalation']).toEqual(event['escalations'][0]);
  expect(event['escalations'].map(({ policy }: { policy: { id: string } }) => policy.id).toSorted()).toEqual(
    [one.policyId, two.policyId].toSorted(),
  );
  const { body: first } = await get(`/events/${one.eventId}`, organization);
  expect(first['escalations']).toMatchObject([{ id: one.id, state: 'triggered' }]);
  const repeated = await post({ type: 'alert.fired', dedupKey: 'disk' }, organization);
  const calm = await post({ type: 'job.completed' }, organization);
  for (const { id } of [repeated, calm])
    expect((await get(`/events/${id}`, organization)).body).toMatchObject({ escalation: null, escalations: [] });
});

test('the catalogue lists every type with a sample that can be posted', async () => {
  const { status, body } = await get('/event-types');
  expect(status).toBe(200);
  expect(body['data'].map(({ type }: { type: string }) => type)).toEqual(eventTypes.map(({ type }) => type));
  for (const { sample, postedByTocsin } of body['data']) {
    const answer = await api.request('POST', '/events', { key: ours.key, body: sample });
    expect(answer.status).toBe(postedByTocsin ? 422 : 202);
  }
  const { body: some } = await get('/event-types?category=job');
  expect(some['data'].map(({ type }: { type: string }) => type)).toEqual(['job.completed', 'job.failed']);
});
