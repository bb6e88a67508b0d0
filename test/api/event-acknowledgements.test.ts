import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { toWireId } from '../../domain/id.ts';
import type { ChangedEscalation } from '../../temporal/escalation-starter.ts';
import { createStage } from './escalation-stage.ts';
import { startApi, type TestApi, type TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
const woken: ChangedEscalation[] = [];
beforeAll(async () => {
  api = await startApi({ escalations: { wake: (changed) => void woken.push(...changed) } });
});
afterAll(() => api.stop());
beforeEach(async () => {
  ours = await api.buildOrganization();
  woken.length = 0;
});

const post = async (body: object, key = ours.key, path = '/events') => api.request('POST', path, { key, body });
const get = async (path: string) => (await api.request('GET', path, { key: ours.key })).body;
const entriesOf = async (escalationId: string) =>
  (await get(`/audit-logs?resource=escalation:${escalationId}&action=escalation.acknowledge`))['data'];
const acknowledged = (dedupKey: string, fields: object = {}) => ({ type: 'alert.acknowledged', dedupKey, ...fields });

describe('an event that acknowledges', () => {
  test('acknowledges the escalation that holds its dedup key, by whom it was posted, and no page begins after it', async () => {
    const escalation = await createStage(api).openEscalation(ours, { event: { dedupKey: 'disk' } });
    const { dueAt } = await escalation.read();
    const { status, body, headers } = await post(acknowledged('disk'));
    expect([status, body['status']]).toEqual([202, 'accepted']);
    const actor = { type: 'user', id: toWireId('user', ours.ownerId) };
    expect(await escalation.read()).toMatchObject({ state: 'acknowledged', acknowledgedBy: actor, acknowledgedAt: body['acceptedAt'] });
    expect(woken).toMatchObject([{ escalationId: escalation.uuid }, { escalationId: escalation.uuid }]);
    expect(await escalation.elapse(Date.parse(dueAt))).toMatchObject({ outcome: { deliveries: [] } });
    expect((await escalation.read())['firings']).toHaveLength(1);

    const [entry] = await entriesOf(escalation.id);
    expect(entry).toMatchObject({ status: 'success', actor: { id: actor.id } });
    const { body: detail } = await api.request('GET', `/audit-logs/${entry.id}`, { key: ours.key });
    expect(JSON.stringify(detail)).toContain('"path":"event"');
    // the event's own entry is the one that its answer names
    const [named] = headers.get('tocsin-audit-id')!.split(', ');
    expect((await get(`/audit-logs/${named}`))['action']).toBe('event.ingest');
    const timeline = (await escalation.read('/timeline'))['data'];
    expect(timeline).toContainEqual(expect.objectContaining({ kind: 'acknowledged', actor, proof: 'api_key' }));
  });

  test('changes nothing the second time, which is audited too', async () => {
    const escalation = await createStage(api).openEscalation(ours, { event: { dedupKey: 'disk' } });
    await post(acknowledged('disk'));
    const first = await escalation.read();
    expect((await post(acknowledged('disk'))).status).toBe(202);
    expect(await escalation.read()).toEqual(first);
    expect(await entriesOf(escalation.id)).toHaveLength(2);
  });

  test('reaches every escalation of the problem, and none of another problem, project or organization', async () => {
    const stage = createStage(api);
    const project = (await api.request('POST', '/projects', { key: ours.key, body: { name: 'Shop' } })).body['id'];
    const one = await stage.openEscalation(ours, {
      event: { dedupKey: 'disk', labels: { group: 'none' } },
      policy: { trigger: { types: ['alert.fired'] } },
    });
    const two = await stage.openEscalation(ours, { event: { dedupKey: 'disk', severity: 'critical' } });
    const other = await stage.openEscalation(ours, { event: { dedupKey: 'other' } });
    const elsewhere = await stage.openEscalation(ours, { event: { dedupKey: 'disk', projectId: project } });
    const theirs = await api.buildOrganization('Theirs');
    const foreign = await stage.openEscalation(theirs, { event: { dedupKey: 'disk' } });
    await post(acknowledged('disk'));
    const states = await Promise.all([one, two, other, elsewhere, foreign].map(async (each) => (await each.read())['state']));
    expect(states).toEqual(['acknowledged', 'acknowledged', 'triggered', 'triggered', 'triggered']);
    await post(acknowledged('disk', { projectId: project }));
    expect((await elsewhere.read())['state']).toBe('acknowledged');
  });

  test('finds the problem by its resource when neither names a key, and nothing where there is none', async () => {
    const resource = { type: 'host', id: 'db-1' };
    const escalation = await createStage(api).openEscalation(ours, { event: { dedupKey: undefined, resource } });
    expect((await post({ type: 'alert.acknowledge', resource: { ...resource, id: 'db-2' } })).status).toBe(202);
    expect((await escalation.read())['state']).toBe('triggered');
    await post({ type: 'alert.acknowledge', resource });
    expect((await escalation.read())['state']).toBe('acknowledged');
  });

  test('sees what came before it in one batch, and what comes after undoes it by its own rules', async () => {
    const stage = createStage(api);
    const policyId = await stage.buildPolicy(ours, { trigger: { types: ['alert.fired'] } });
    const fired = { type: 'alert.fired', labels: { group: 'g' } };
    const batch = [{ ...fired, dedupKey: 'a' }, acknowledged('a'), { ...fired, dedupKey: 'b' }, acknowledged('nobody')];
    const answer = await post({ events: batch }, ours.key, '/events/batch');
    expect(answer.body['data'].map(({ status }: { status: string }) => status)).toEqual(['accepted', 'accepted', 'accepted', 'accepted']);
    const [escalation] = (await get(`/escalations?policyId=${policyId}`))['data'];
    expect(escalation).toMatchObject({ state: 'acknowledged', acknowledgedBy: { type: 'user' } });
    expect((await get(`/escalations/${escalation.id}/suppressed`))['data']).toMatchObject([{ reason: 'cooldown' }]);
  });

  test('of a type of one’s own acknowledges the problems of its family', async () => {
    await post({ type: 'payment.failed', effect: 'open' }, ours.key, '/event-types');
    await post({ type: 'payment.seen', effect: 'acknowledge' }, ours.key, '/event-types');
    const escalation = await createStage(api).openEscalation(ours, { event: { type: 'payment.failed', dedupKey: 'charge' } });
    await post(acknowledged('charge'));
    expect((await escalation.read())['state']).toBe('triggered');
    await post({ type: 'payment.seen', dedupKey: 'charge' });
    expect((await escalation.read())['state']).toBe('acknowledged');
  });

  test('is only thought through by explain', async () => {
    const escalation = await createStage(api).openEscalation(ours, { event: { dedupKey: 'disk' } });
    expect((await post(acknowledged('disk'), ours.key, '/events/explain')).status).toBe(200);
    expect((await escalation.read())['state']).toBe('triggered');
  });
});

describe('who may not acknowledge', () => {
  test('may not by an event: 403 naming the permission, nothing stored, and an entry', async () => {
    const escalation = await createStage(api).openEscalation(ours, { event: { dedupKey: 'disk' } });
    const key = await api.buildKey(ours, ['events.write']);
    const before = (await get('/events'))['data'].length;
    const { status, body } = await post(acknowledged('disk'), key);
    expect([status, body['code']]).toEqual([403, 'permission_denied']);
    expect(body['detail']).toContain('escalations.acknowledge');
    expect((await get('/events'))['data']).toHaveLength(before);
    expect((await escalation.read())['state']).toBe('triggered');
    const blocked = (await get('/audit-logs?action=event.ingest&status=blocked'))['data'];
    expect(blocked).toHaveLength(1);
    const batch = await post({ events: [acknowledged('disk'), { type: 'job.failed' }] }, key, '/events/batch');
    expect(batch.body['data']).toMatchObject([{ error: { status: 403, code: 'permission_denied' } }, { status: 'accepted' }]);
    expect((await get('/audit-logs?action=event.ingest_batch&status=blocked'))['data']).toHaveLength(1);
    const cloudEvent = { specversion: '1.0', id: '1', source: '/s', type: 'alert.acknowledged', dedupkey: 'disk' };
    const headers = { 'Content-Type': 'application/cloudevents-batch+json' };
    const carried = await api.request('POST', '/events', {
      key: await api.buildKey(ours, ['events.write']),
      raw: JSON.stringify([cloudEvent]),
      headers,
    });
    expect(carried.body['data']).toMatchObject([{ error: { status: 403 } }]);
    expect((await get('/audit-logs?action=event.ingest&status=blocked'))['data']).toHaveLength(2);
    expect((await escalation.read())['state']).toBe('triggered');
    expect((await post({ type: 'alert.resolved', dedupKey: 'disk' }, key)).status).toBe(202);
    expect((await escalation.read())['state']).toBe('resolved');
  });

  test('includes those whose proof the policy does not take: the event is kept, the refusal audited', async () => {
    const escalation = await createStage(api).openEscalation(ours, { event: { dedupKey: 'disk' }, policy: { minProof: 'session' } });
    expect((await post(acknowledged('disk'))).status).toBe(202);
    expect((await escalation.read())['state']).toBe('triggered');
    expect(await entriesOf(escalation.id)).toMatchObject([{ status: 'blocked' }]);
  });
});
