import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { inOrganization } from '../../db/tenant.ts';
import { parseWireId } from '../../domain/id.ts';
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

const get = (path: string, organization = ours) => api.request('GET', path, { key: organization.key });
const post = (path: string, body?: unknown, organization = ours) => api.request('POST', path, { key: organization.key, body });

async function buildWebhook(name: string, organization = ours): Promise<string> {
  const { body } = await post('/webhooks', { name, url: 'http://127.0.0.1:9/', eventTypes: ['*'] }, organization);
  return body['id'];
}

/** The delivery that an event makes for a webhook, forced into a state as the worker would leave it. */
async function buildDelivery(webhookId: string, state: string, organization = ours): Promise<string> {
  await post('/events', { type: 'job.failed' }, organization);
  const { body } = await get(`/deliveries?destination=${webhookId}&limit=1`, organization);
  const { id } = body['data'][0];
  const finished = ['delivered', 'failed', 'cancelled'].includes(state);
  await inOrganization(api.orm, organization.id, (em) =>
    sql`update delivery set state = ${state}, schedule_pos = 3, attempt_count = 3, total_attempts = 3, run_id = 'run_1',
      finished_at = ${finished ? new Date() : null}, undelivered_at = ${finished && state !== 'delivered' ? new Date() : null} where id = ${parseWireId(id)!.uuid}`.execute(
      em.getKysely(),
    ),
  );
  return id;
}

describe('deliveries', () => {
  test('lists filter by status, type, destination and time', async () => {
    const organization = await api.buildOrganization();
    const [first, second] = [await buildWebhook('a', organization), await buildWebhook('b', organization)];
    const id = await buildDelivery(first, 'failed', organization);
    const list = async (query: string) => {
      const { status, body } = await get(`/deliveries?${query}`, organization);
      expect(status).toBe(200);
      return body['data'].map((each: { id: string }) => each.id);
    };
    expect(await list('')).toHaveLength(2);
    expect(await list('status=failed,cancelled')).toEqual([id]);
    expect(await list(`destination=${first}`)).toEqual([id]);
    expect(await list(`destination=${second}&status=failed`)).toEqual([]);
    expect(await list('eventType=job.failed')).toHaveLength(2);
    expect(await list('eventType=job.completed')).toEqual([]);
    expect(await list(`to=${new Date(0).toISOString()}`)).toEqual([]);
    expect((await get('/deliveries?status=lost&from=yesterday&bogus=1', organization)).body['errors']).toMatchObject([
      { pointer: '/query/status/0' },
      { pointer: '/query/from' },
      { pointer: '/query/bogus', code: 'unknown_field' },
    ]);
    const own = await get(`/webhooks/${first}/deliveries`, organization);
    expect(own.body['data']).toMatchObject([{ id, status: 'failed', destination: { kind: 'webhook', id: first, name: 'a' } }]);
  });

  test('a failed one is retried from the start of the schedule by a new run', async () => {
    const hook = await buildWebhook('retry');
    const id = await buildDelivery(hook, 'failed');
    const answer = await post(`/deliveries/${id}/retry`);
    expect(answer.status).toBe(202);
    expect(answer.body).toMatchObject({
      status: 'pending',
      cycle: 2,
      attemptCount: 0,
      totalAttempts: 3,
      workflowId: null,
      finishedAt: null,
    });
    expect(api.woken.at(-1)).toMatchObject({ id: parseWireId(id)!.uuid, runId: null, organizationId: ours.id });
    const waiting = await post(`/deliveries/${id}/retry`);
    expect(waiting.body).toMatchObject({ cycle: 2, status: 'pending' });
  });

  test.each([
    ['in_flight', 'delivery_in_flight'],
    ['delivered', 'already_delivered'],
  ])('one that is %s is not retried: %s', async (state, code) => {
    const id = await buildDelivery(await buildWebhook(`retry ${state}`), state);
    const { status, body } = await post(`/deliveries/${id}/retry`);
    expect([status, body['code']]).toEqual([409, code]);
  });

  test('a delivered one is sent again by force, to an active destination only', async () => {
    const hook = await buildWebhook('force');
    const id = await buildDelivery(hook, 'delivered');
    expect((await post(`/deliveries/${id}/retry`, { force: true })).status).toBe(202);
    await api.request('PATCH', `/webhooks/${hook}`, { key: ours.key, body: { active: false } });
    const refused = await post(`/deliveries/${id}/retry`, { force: true });
    expect([refused.status, refused.body['code']]).toEqual([409, 'destination_inactive']);
  });

  test('cancelling ends what waits, marks what is in flight, and refuses what has ended', async () => {
    const hook = await buildWebhook('cancel');
    const waiting = await buildDelivery(hook, 'retrying');
    expect((await post(`/deliveries/${waiting}/cancel`)).body).toMatchObject({
      status: 'cancelled',
      errorCode: 'cancelled_by_user',
      nextAttemptAt: null,
    });
    expect(api.woken.at(-1)).toMatchObject({ id: parseWireId(waiting)!.uuid, runId: 'run_1' });
    const flying = await buildDelivery(hook, 'in_flight');
    const marked = await post(`/deliveries/${flying}/cancel`);
    expect([marked.status, marked.body['status']]).toEqual([202, 'in_flight']);
    const { status, body } = await post(`/deliveries/${waiting}/cancel`);
    expect([status, body['code']]).toEqual([409, 'wrong_state']);
    // A run in the middle of an attempt finds out by itself.
    expect(api.woken.map(({ id }) => id)).not.toContain(parseWireId(flying)!.uuid);
  });

  test('a claim belongs to one person until it is released', async () => {
    const id = await buildDelivery(await buildWebhook('claim'), 'delivered');
    const claimed = await post(`/deliveries/${id}/claim`);
    expect(claimed.body['claimedBy']).toMatch(/^usr_/);
    const { key } = await api.buildMember(ours, 'operator');
    expect((await api.request('POST', `/deliveries/${id}/claim`, { key })).status).toBe(409);
    expect((await api.request('DELETE', `/deliveries/${id}/claim`, { key: ours.key })).status).toBe(204);
    expect((await api.request('POST', `/deliveries/${id}/claim`, { key })).status).toBe(200);
  });

  test('those of a deleted webhook are cancelled and go', async () => {
    const hook = await buildWebhook('gone');
    const open = await buildDelivery(hook, 'retrying');
    const ended = await buildDelivery(hook, 'failed');
    expect((await api.request('DELETE', `/webhooks/${hook}`, { key: ours.key })).status).toBe(204);
    await expect(settlesTo404([open, ended])).resolves.toBe(true);
  });

  test("another organization's are unknown, and stay as they are", async () => {
    const id = await buildDelivery(await buildWebhook('foreign', theirs), 'failed', theirs);
    const before = await get(`/deliveries/${id}`, theirs);
    expect((await get(`/deliveries/${id}`)).status).toBe(404);
    for (const command of ['retry', 'cancel', 'claim']) expect((await post(`/deliveries/${id}/${command}`)).status).toBe(404);
    expect((await api.request('DELETE', `/deliveries/${id}/claim`, { key: ours.key })).status).toBe(404);
    expect((await get(`/deliveries/${id}`, theirs)).body).toEqual(before.body);
  });
});

async function settlesTo404(ids: readonly string[]): Promise<boolean> {
  for (let tries = 0; tries < 50; tries += 1) {
    const answers = await Promise.all(ids.map((id) => get(`/deliveries/${id}`)));
    if (answers.every(({ status }) => status === 404)) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

describe('notifications', () => {
  test('are counted, read and unread by each member alone; what came later stays unread', async () => {
    const organization = await api.buildOrganization();
    const other = await api.buildMember(organization, 'member');
    for (const type of ['job.failed', 'alert.fired', 'job.failed'])
      await post('/events', { type, dedupKey: `${type}${Math.random()}` }, organization);
    const { body: feed } = await get('/notifications', organization);
    expect(feed['data'].map(({ category }: { category: string }) => category)).toEqual(['job', 'alert', 'job']);
    const count = async (key = organization.key) => (await api.request('GET', '/notifications/unread-count', { key })).body;
    const before = await count();
    expect(before).toMatchObject({ count: 3, byCategory: { job: 2, alert: 1, security: 0 } });

    const [newest, middle] = feed['data'];
    const read = await post(`/notifications/${newest.id}/read`, undefined, organization);
    expect(read.body['readAt']).not.toBeNull();
    const after = await count();
    expect(after['count']).toBe(2);
    expect(after['version']).toBeGreaterThanOrEqual(before['version']);
    expect((await count(other.key))['count']).toBe(3);
    expect((await get('/notifications?read=true', organization)).body['data']).toHaveLength(1);
    expect((await get('/notifications?read=false&category=alert', organization)).body['data']).toHaveLength(1);

    await post(`/notifications/${newest.id}/unread`, undefined, organization);
    const all = await post('/notifications/mark-all-read', { before: middle.id }, organization);
    expect(all.body).toEqual({ marked: 2 });
    expect(await count()).toMatchObject({ count: 1, byCategory: { job: 1 } });
    expect((await post(`/notifications/${newest.id}/read`, undefined, theirs)).status).toBe(404);
    expect((await count())['count']).toBe(1);
  });
});

test('system health tells of workers, loops and the oldest delivery', async () => {
  const { status, body } = await get('/system/health');
  expect(status).toBe(200);
  expect(body).toMatchObject({
    status: 'degraded',
    postgres: { state: 'ok' },
    workers: { state: 'down', count: 0 },
    deliveries: { open: expect.any(Number) },
  });
});
