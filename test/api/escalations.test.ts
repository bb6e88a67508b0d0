import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { createSequencer } from '../../db/sequencer.ts';
import { toWireId } from '../../domain/id.ts';
import { createStage } from './escalation-stage.ts';
import { startApi } from './start-api.ts';
import type { TestApi, TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let stage: ReturnType<typeof createStage>;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization('Ours');
  stage = createStage(api);
});
afterAll(() => api.stop());

const get = (path: string, organization = ours) => api.request('GET', path, { key: organization.key });
const idsOf = ({ data }: Record<string, Array<{ id: string }>>) => data!.map(({ id }) => id);

describe('escalations', () => {
  test('are read with their policy, events, firings and pages', async () => {
    const escalation = await stage.openEscalation(ours, { event: { severity: 'high' } });
    await escalation.join({ severity: 'medium' });
    const body = await escalation.read();
    expect(body).toMatchObject({
      id: escalation.id,
      state: 'triggered',
      version: 2,
      severity: 'high',
      subject: expect.stringContaining('Subject of'),
      policy: { id: escalation.policyId, version: 1, name: expect.stringContaining('policy') },
      projectId: null,
      round: 1,
      tier: 1,
      why: 'tier',
      acknowledgedAt: null,
      acknowledgedBy: null,
      resolvedAt: null,
      resolveReason: null,
      previousId: null,
      workflowId: `esc:${escalation.uuid}`,
      eventCount: 2,
      events: [
        { eventId: escalation.eventId, type: 'alert.fired', severity: 'high', firing: true, attached: 'opened', count: 1 },
        { severity: 'medium', firing: true, attached: 'grouped', count: 1 },
      ],
      firings: [
        {
          number: 1,
          kind: 'tier',
          round: 1,
          tier: 1,
          reason: 'opened',
          targets: [{ kind: 'webhook' }],
          failingAt: null,
          pages: [{ deliveryId: expect.stringMatching(/^dlv_/), recipient: { kind: 'webhook', userId: null }, state: 'pending' }],
        },
      ],
    });
    expect(Date.parse(body['dueAt'])).toBe(Date.parse(body['openedAt']) + 600_000);
    const [page] = body['firings'][0].pages;
    expect((await get(`/deliveries/${page.deliveryId}`)).body).toMatchObject({ destination: { id: page.recipient.id } });
  });

  test('list filters by state, severity, policy, project and time, newest first, page by page', async () => {
    const organization = await api.buildOrganization();
    const { body: project } = await api.request('POST', '/projects', { key: organization.key, body: { name: 'p' } });
    const first = await stage.openEscalation(organization, { event: { severity: 'low' } });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const second = await stage.openEscalation(organization, { event: { severity: 'high', projectId: project['id'] } });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const third = await stage.openEscalation(organization, { event: { severity: 'high' } });
    await first.command('resolve');
    await second.command('acknowledge');
    const list = async (query: string) => {
      const { status, body } = await get(`/escalations?${query}`, organization);
      expect(status).toBe(200);
      return idsOf(body);
    };
    expect(await list('')).toEqual([third.id, second.id, first.id]);
    expect(await list('state=resolved')).toEqual([first.id]);
    expect(await list('state=acknowledged,resolved,resolved')).toEqual([second.id, first.id]);
    expect(await list('severity=high')).toEqual([third.id, second.id]);
    expect(await list('severity=high&state=triggered')).toEqual([third.id]);
    expect(await list(`policyId=${second.policyId}`)).toEqual([second.id]);
    expect(await list(`projectId=${project['id']}`)).toEqual([second.id]);
    const { openedAt } = await second.read();
    expect(await list(`from=${openedAt}`)).toEqual([third.id, second.id]);
    expect(await list(`to=${openedAt}`)).toEqual([first.id]);
    expect(await list('from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z')).toHaveLength(3);

    const page = await get('/escalations?limit=2&state=triggered,acknowledged,resolved', organization);
    expect(idsOf(page.body)).toEqual([third.id, second.id]);
    const cursor = encodeURIComponent(page.body['nextCursor']);
    const last = await get(`/escalations?limit=2&state=triggered,acknowledged,resolved&cursor=${cursor}`, organization);
    expect([idsOf(last.body), last.body['nextCursor']]).toEqual([[first.id], null]);
    expect((await get(`/escalations?cursor=${cursor}`)).status).toBe(422);
    expect((await get('/escalations?state=open&severity=p1&bogus=1')).body['errors']).toMatchObject([
      { pointer: '/query/state/0' },
      { pointer: '/query/severity/0' },
      { pointer: '/query/bogus', code: 'unknown_field' },
    ]);
  });

  test('tell in order what happened, by whom and how it was known', async () => {
    const escalation = await stage.openEscalation(ours);
    const joined = await escalation.join();
    await escalation.command('acknowledge');
    await escalation.command('acknowledge');
    await escalation.command('resolve');
    const { data } = await escalation.read('/timeline');
    const owner = { type: 'user', id: toWireId('user', ours.ownerId) };
    expect(data).toMatchObject([
      { kind: 'opened', state: 'triggered', round: 1, tier: 0, actor: null, proof: null },
      { kind: 'tier_fired', tier: 1, firing: 1, actor: null },
      { kind: 'attached', eventId: joined.body['id'], reason: 'grouped' },
      { kind: 'acknowledged', state: 'acknowledged', actor: owner, proof: 'api_key' },
      { kind: 'noop', reason: 'acknowledge', actor: owner, proof: 'api_key' },
      { kind: 'resolved', state: 'resolved', reason: 'manual', actor: owner, proof: 'api_key' },
    ]);
    const seqs: number[] = [];
    for (let cursor = ''; ;) {
      const { body } = await get(`/escalations/${escalation.id}/timeline?limit=4${cursor}`);
      seqs.push(...body['data'].map(({ seq }: { seq: number }) => seq));
      if (body['nextCursor'] === null) break;
      cursor = `&cursor=${body['nextCursor']}`;
    }
    expect(seqs).toEqual(data.map(({ seq }: { seq: number }) => seq));
  });

  test('name the audit entry of each step, by its place in the log once it has one', async () => {
    const escalation = await stage.openEscalation(ours);
    await escalation.elapse();
    await escalation.command('acknowledge');
    await escalation.command('acknowledge');
    await escalation.command('resolve');
    const read = async (): Promise<Array<[kind: string, index: number | null]>> => {
      const { data } = await escalation.read('/timeline');
      return data.map(({ kind, auditIndex }: { kind: string; auditIndex: number | null }) => [kind, auditIndex]);
    };
    expect(new Set((await read()).map(([, index]) => index))).toEqual(new Set([null]));
    const orm = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_sequencer', poolMax: 2 });
    const sequencer = createSequencer({ orm, log: api.deps.log });
    sequencer.start();
    while ((await sequencer.lag()).entries > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    await sequencer.stop();
    await orm.close(true);
    const { body: log } = await get('/audit-logs?limit=200');
    const actionAt = async (place: number | null): Promise<string> => {
      for (const { id, action } of log['data']) if ((await get(`/audit-logs/${id}`)).body['index'] === place) return action;
      return 'none';
    };
    const told: string[] = [];
    for (const [kind, index] of await read()) told.push(`${kind}: ${index === null ? 'none' : await actionAt(index)}`);
    expect(told).toEqual([
      'opened: escalation.trigger',
      'tier_fired: escalation.notify',
      'tier_fired: escalation.notify',
      'acknowledged: escalation.acknowledge',
      'noop: escalation.acknowledge',
      'resolved: escalation.resolve',
    ]);
    const places = (await read()).map(([, index]) => index);
    expect(new Set(places).size).toBe(places.length);
  });

  test('tell what the cooldown, a snooze and the group hid', async () => {
    const escalation = await stage.openEscalation(ours);
    await escalation.join();
    await escalation.command('acknowledge');
    const { body } = await escalation.join({ subject: 'Hidden' });
    expect(body['decisions']).toContainEqual(expect.objectContaining({ verdict: 'suppress', reason: 'cooldown' }));
    await escalation.command('snooze', { for: 'PT1H' });
    await escalation.join();
    const { data } = await escalation.read('/suppressed');
    expect(data.map(({ reason }: { reason: string }) => reason).toSorted()).toEqual(['cooldown', 'grouped', 'snoozed']);
    expect(data).toContainEqual(expect.objectContaining({ eventId: body['id'], subject: 'Hidden', reason: 'cooldown', firing: true }));
    const first = await get(`/escalations/${escalation.id}/suppressed?limit=2`);
    const rest = await get(`/escalations/${escalation.id}/suppressed?limit=2&cursor=${first.body['nextCursor']}`);
    expect([...first.body['data'], ...rest.body['data']]).toEqual(data);
  });

  test("another organization's are unknown", async () => {
    const theirs = await api.buildOrganization('Theirs');
    const escalation = await stage.openEscalation(theirs);
    for (const part of ['', '/timeline', '/suppressed']) {
      const foreign = await get(`/escalations/${escalation.id}${part}`);
      const unknown = await get(`/escalations/${toWireId('escalation', '0198c0de-0000-7000-8000-000000000001')}${part}`);
      expect([foreign.status, unknown.status]).toEqual([404, 404]);
      expect({ ...foreign.body, instance: '' }).toEqual({ ...unknown.body, instance: '' });
    }
    expect((await get(`/escalations?policyId=${escalation.policyId}`)).body['data']).toEqual([]);
  });
});
