import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { toWireId } from '../../domain/id.ts';
import { startApi } from './start-api.ts';
import type { TestAnswer, TestApi, TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let theirs: TestOrganization;
let users: string[];
let policyId: string;

beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(async () => {
  ours = await api.buildOrganization('Ours');
  theirs = await api.buildOrganization('Theirs');
  const sender = await call('POST', '/channels', { name: 'sender', type: 'email', settings: { host: '127.0.0.1', from: 'a@example.com' } });
  await call('PATCH', '/organization', { settings: { senderChannels: { email: sender.body['id'] } } });
  users = [toWireId('user', ours.ownerId), toWireId('user', (await api.buildMember(ours, 'member')).id)];
  const tiers = users.map((id) => ({ targets: [{ kind: 'user', id }] }));
  const made = await call('POST', '/escalation-policies', { name: 'night', tiers });
  policyId = made.body['id'];
});

const call = async (method: string, path: string, body?: unknown, { key } = ours) => api.request(method, path, { key, body });
const tests = (rest = '') => `/escalation-policies/${policyId}/tests${rest}`;
const page = (index: number, after: string, rest: object = {}) => ({ after, recipient: { kind: 'user', id: users[index] }, ...rest });
const basis = () => ({
  name: 'a disk at night',
  start: '2026-10-07T01:00:00Z',
  horizon: 'PT1H',
  events: [{ after: 'PT0S', type: 'alert.fired', severity: 'high', dedupKey: 'disk' }],
  expected: [page(0, 'PT0S'), page(1, 'PT10M')],
});
const create = async (fields: object = {}) => call('POST', tests(), { ...basis(), ...fields });
const patch = async (fields: object, query = '') => call('PATCH', `/escalation-policies/${policyId}${query}`, fields);
const codesOf = ({ body }: TestAnswer) => body['errors'].map(({ pointer, code }: TestAnswer['body']) => `${pointer} ${code}`);
const auditOf = async (answer: TestAnswer) => (await call('GET', `/audit-logs/${answer.headers.get('tocsin-audit-id')}`)).body;

describe('a policy test', () => {
  test('is kept as it was given, and read, listed, replaced and deleted with an entry each', async () => {
    const given = {
      ...basis(),
      events: [
        {
          after: 'PT0S',
          type: 'alert.fired',
          severity: 'high',
          dedupKey: 'disk',
          labels: { team: 'db' },
          resource: { type: 'disk', id: 'sda' },
        },
        { after: 'PT40M', type: 'alert.resolved', dedupKey: 'disk' },
      ],
      actors: [
        { after: 'PT5M', as: users[0], command: 'snooze', for: 'PT10M' },
        { after: 'PT16M', as: users[1], proof: 'link_token', command: 'acknowledge', extend: true },
        { after: 'PT17M', as: users[1], command: 'escalate', expected: { round: 1, tier: 1 }, toTier: 2 },
        { after: 'PT18M', as: users[1], command: 'reassign', targets: [{ kind: 'user', id: users[0] }] },
        { after: 'PT19M', as: users[1], command: 'reassign', policyId },
        { after: 'PT20M', as: users[1], command: 'rebase', policyVersion: 1 },
        { after: 'PT21M', as: users[1], command: 'unacknowledge' },
        { after: 'PT22M', as: users[1], command: 'resolve' },
      ],
      deliveries: { [toWireId('contact_method', ours.ownerId)]: { rejectedAfter: 'PT50M' } },
    };
    const { expected: _none, ...recording } = given;
    const created = await call('POST', tests(), recording);
    expect(created.status).toBe(201);
    const { id } = created.body;
    expect(id).toMatch(/^pts_/);
    expect(created.body).toMatchObject({
      ...recording,
      start: '2026-10-07T01:00:00.000Z',
      events: recording.events.map((event) => expect.objectContaining(event)),
      actors: recording.actors.map((actor) => expect.objectContaining({ event: 0, ...actor })),
      version: 1,
    });
    expect(created.body['expected'].length).toBeGreaterThan(2);
    expect(await auditOf(created)).toMatchObject({
      action: 'policy_test.create',
      category: 'policies',
      resource: { type: 'policy_test', id, name: 'a disk at night' },
      targets: [{ type: 'escalation_policy', id: policyId, name: 'night' }],
    });
    expect((await call('GET', tests(`/${id}`))).body).toEqual(created.body);

    // what is shown can be given again
    const { id: _i, version: _v, createdAt: _c, updatedAt: _u, ...again } = created.body;
    const copied = await call('POST', tests(), { ...again, name: 'copy' });
    expect(copied.body).toMatchObject({ ...again, name: 'copy' });
    const { body: first } = await call('GET', tests('?limit=1'));
    expect(first['data']).toEqual([copied.body]);
    const { body: second } = await call('GET', tests(`?limit=1&cursor=${first['nextCursor']}`));
    expect(second).toEqual({ data: [created.body], nextCursor: null });

    const replaced = await call('PUT', tests(`/${id}`), { ...basis(), name: 'shorter' });
    expect(replaced).toMatchObject({ status: 200, body: { id, name: 'shorter', version: 2, actors: [], deliveries: 'delivered' } });
    expect(await auditOf(replaced)).toMatchObject({
      action: 'policy_test.replace',
      before: { name: 'a disk at night' },
      after: { name: 'shorter' },
    });
    const stale = await api.request('PUT', tests(`/${id}`), { key: ours.key, body: basis(), headers: { 'If-Match': '"1"' } });
    expect(stale.status).toBe(412);
    const deleted = await call('DELETE', tests(`/${id}`));
    expect(deleted.status).toBe(204);
    expect(await auditOf(deleted)).toMatchObject({ action: 'policy_test.delete', before: { name: 'shorter' } });
    expect((await call('GET', tests(`/${id}`))).status).toBe(404);
  });

  test('has a name of its own in its policy, and a policy has at most twenty', async () => {
    expect((await create()).status).toBe(201);
    expect(await create({ name: 'A DISK AT NIGHT' })).toMatchObject({ status: 409, body: { code: 'duplicate_name' } });
    const tiers = [{ targets: [{ kind: 'user', id: users[0] }] }];
    const { body: other } = await call('POST', '/escalation-policies', { name: 'other', tiers });
    const elsewhere = { ...basis(), expected: [page(0, 'PT0S')] };
    expect((await call('POST', `/escalation-policies/${other['id']}/tests`, elsewhere)).status).toBe(201);
    for (let made = 1; made < 20; made += 1) expect((await create({ name: `test ${made}` })).status).toBe(201);
    expect(codesOf(await create({ name: 'test 20' }))).toEqual([' too_many_tests']);
  });

  test('that the policy fails already is refused with what was expected and what came, unless forced', async () => {
    const wrong = { expected: [page(0, 'PT0S'), page(1, 'PT15M')] };
    const refused = await create(wrong);
    expect(refused.status).toBe(422);
    expect(refused.body['errors']).toEqual([
      {
        pointer: expect.stringMatching(/^\/tests\/pts_/),
        code: 'policy_test_failed',
        detail: `"a disk at night" failed. Expected: page ${users[0]} at PT0S, page ${users[1]} at PT15M. Actual: page ${users[0]} at PT0S, page ${users[1]} at PT10M.`,
      },
    ]);
    const forced = await call('POST', tests('?force=true'), { ...basis(), ...wrong });
    expect(forced.status).toBe(201);
    expect(await auditOf(forced)).toMatchObject({ details: { forced: 'policy_tests', failedTests: [{ name: 'a disk at night' }] } });
  });

  test('names every fault of what it is to simulate, and what the organization does not have', async () => {
    const foreign = toWireId('user', theirs.ownerId);
    const answer = await create({ actors: [{ after: 'PT1M', command: 'acknowledge', as: foreign }] });
    expect(codesOf(answer)).toEqual(['/actors/0/as unknown_user']);
    const bad = await create({ name: '', horizon: 'P40D', expected: [{ after: 'x', recipient: { kind: 'user', id: 'x' } }] });
    expect(codesOf(bad).toSorted()).toEqual([
      '/expected/0/after invalid_format',
      '/expected/0/recipient/id invalid_id',
      '/horizon too_big',
      '/name too_small',
    ]);
  });

  test('of another organization, or of another policy, is not found', async () => {
    const { body } = await create();
    for (const [method, given] of [
      ['GET', undefined],
      ['PUT', basis()],
      ['DELETE', undefined],
    ] as const)
      expect((await call(method, tests(`/${body['id']}`), given, theirs)).status).toBe(404);
    expect((await call('GET', tests(), undefined, theirs)).status).toBe(404);
    expect((await call('POST', tests(), basis(), theirs)).status).toBe(404);
    expect((await call('POST', tests('/run'), undefined, theirs)).status).toBe(404);
    const { body: other } = await call('POST', '/escalation-policies', {
      name: 'other',
      tiers: [{ targets: [{ kind: 'user', id: users[0] }] }],
    });
    expect((await call('GET', `/escalation-policies/${other['id']}/tests/${body['id']}`)).status).toBe(404);
    const viewer = { ...ours, key: await api.buildKey(ours, ['monitoring.view']) };
    expect((await call('POST', tests(), basis(), viewer)).status).toBe(403);
    expect((await call('GET', tests(), undefined, viewer)).status).toBe(200);
  });
});

describe('a save of the policy', () => {
  test('runs its tests against what would be saved, and is refused as a whole when one fails', async () => {
    await create();
    await create({
      name: 'only the first',
      actors: [{ after: 'PT1M', command: 'acknowledge', as: users[0] }],
      expected: [page(0, 'PT0S')],
    });
    expect((await patch({ name: 'renamed' })).status).toBe(200);
    const tiers = [{ targets: [{ kind: 'user', id: users[0] }], timeout: 'PT15M' }, { targets: [{ kind: 'user', id: users[1] }] }];
    const refused = await patch({ tiers });
    expect(refused.status).toBe(422);
    expect(refused.body['errors']).toMatchObject([
      { code: 'policy_test_failed', detail: expect.stringMatching(/a disk at night.*Expected:.* at PT10M\. Actual: .* at PT15M\./) },
    ]);
    expect((await call('GET', `/escalation-policies/${policyId}`)).body).toMatchObject({ name: 'renamed', version: 2 });
  });

  test('that is forced says in its entry which tests failed', async () => {
    const { body } = await create();
    const saved = await patch({ tiers: [{ targets: [{ kind: 'user', id: users[1] }] }] }, '?force=true');
    expect(saved.status).toBe(200);
    expect(await auditOf(saved)).toMatchObject({
      action: 'escalation_policy.update',
      details: { forced: 'policy_tests', failedTests: [{ id: expect.any(String), name: 'a disk at night' }] },
    });
    const { body: results } = await call('POST', tests('/run'));
    expect(results).toEqual({
      passed: false,
      data: [
        {
          test: { id: body['id'], name: 'a disk at night' },
          passed: false,
          missing: [page(0, 'PT0S'), page(1, 'PT10M')].map((one) => ({ ...one, kind: 'page', round: null, tier: null })),
          unexpected: [{ ...page(1, 'PT0S'), kind: 'page', round: 1, tier: 1 }],
          actual: [{ ...page(1, 'PT0S'), kind: 'page', round: 1, tier: 1 }],
          fault: null,
        },
      ],
    });
  });

  test('names both when it also pages nobody, and lets a test rebase to the version before', async () => {
    const rebase = { after: 'PT1M', command: 'rebase', as: users[0], policyVersion: 1 };
    await create({ name: 'rebase', actors: [rebase] });
    // the new version has one tier more; back on version 1 the second is due as it was
    const tiers = [0, 1, 0].map((index) => ({ targets: [{ kind: 'user', id: users[index] }] }));
    expect((await patch({ tiers })).status).toBe(200);
    const { body: nobody } = await call('POST', '/webhooks', { name: 'off', url: 'http://127.0.0.1:9/', eventTypes: ['*'], active: false });
    const saved = await patch({ tiers: [{ targets: [{ kind: 'webhook', id: nobody['id'] }] }] }, '?force=true');
    expect(await auditOf(saved)).toMatchObject({ details: { forced: 'nobody_reachable policy_tests', failedTests: [{ name: 'rebase' }] } });
  });

  test('runs tests with people and schedules as they are: who left is no longer paged', async () => {
    await create();
    expect((await call('POST', `/members/${users[1]}/disable`)).status).toBe(200);
    const { body } = await call('POST', tests('/run'));
    expect(body).toMatchObject({ passed: false, data: [{ missing: [page(1, 'PT10M')], unexpected: [] }] });
    expect((await patch({ name: 'renamed' })).status).toBe(422);
  });
});
