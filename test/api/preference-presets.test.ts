import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { startApi } from './start-api.ts';
import type { TestAnswer, TestApi, TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(async () => {
  ours = await api.buildOrganization('Ours');
});

type Options = { key?: string; headers?: Record<string, string> };
const call = (method: string, path: string, body?: unknown, { key = ours.key, headers = {} }: Options = {}) =>
  api.request(method, path, { key, body, headers });
const put = (rules: unknown[], rest: object = {}, key = ours.key) => call('PUT', '/preferences', { rules, ...rest }, { key });
const faultsOf = ({ status, body }: TestAnswer) => [
  status,
  ...(body['errors'] ?? []).map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`),
];
const buildProject = async (name: string, key = ours.key): Promise<string> =>
  (await call('POST', '/projects', { name }, { key })).body['id'];
const all = { all: true, channel: 'email', mode: 'instant' };

describe('a preset', () => {
  const take = (role: string, query = '', options: Options = {}) =>
    call('POST', `/preferences/presets/${role}${query}`, undefined, options);
  const channelsOf = (rules: Array<{ channel: string }>) => rules.map(({ channel }) => channel);

  test('is shown without writing anything', async () => {
    await put([all]);
    const { status, body, headers } = await take('devops');
    expect([status, body]).toMatchObject([200, { role: 'devops', applied: false, replace: [], keep: [all], version: 1 }]);
    expect(body['add']).toHaveLength(6);
    expect(body['add'][0]).toEqual({
      category: 'deployment',
      projectId: null,
      channel: 'slack',
      mode: 'instant',
      minSeverity: null,
      environments: [],
    });
    expect(headers.get('tocsin-audit-id')).toBeNull();
    expect((await call('GET', '/preferences')).body['rules']).toHaveLength(1);
  });

  test('is written beside what somebody has, and over it only if they say so', async () => {
    const own = { category: 'deployment', channel: 'slack', mode: 'off' };
    await put([own, all], { timeZone: 'Asia/Tokyo', quietHours: { times: [{ start: '22:00', end: '07:00' }] } });
    const shown = await take('devops');
    expect(shown.body).toMatchObject({ replace: [{ current: own, proposed: { ...own, mode: 'instant' } }], keep: [all] });
    const applied = await take('devops', '?apply=true');
    expect(applied.body).toMatchObject({ applied: true, version: 2 });
    const { body: beside } = await call('GET', '/preferences');
    expect(beside).toMatchObject({ timeZone: 'Asia/Tokyo', quietHours: { breakThrough: 'critical' }, version: 2 });
    expect(beside['rules'][0]).toMatchObject({ ...own, version: 1 });
    expect(channelsOf(beside['rules'])).toEqual(['slack', 'email', 'in_app', 'slack', 'in_app', 'slack', 'in_app']);
    const { body: entry } = await call('GET', `/audit-logs/${applied.headers.get('tocsin-audit-id')}`);
    expect(entry).toMatchObject({ action: 'preference.apply_preset', resource: { type: 'preference' }, after: { version: 2 } });
    await take('devops', '?apply=true&replace=true');
    const { body: over } = await call('GET', '/preferences');
    expect(over['rules'][0]).toMatchObject({ ...own, mode: 'instant', id: beside['rules'][0].id, version: 2 });
    expect(over['rules']).toHaveLength(7);
  });

  test('taken again changes nothing; one of another role is added', async () => {
    await take('sre', '?apply=true');
    const again = await take('sre', '?apply=true&replace=true');
    expect(again.body).toMatchObject({ add: [], replace: [], version: 1 });
    expect(again.headers.get('tocsin-audit-id')).toBeNull();
    // both tell of rollbacks by Slack and in the app
    expect((await take('devops', '?apply=true')).body['add']).toHaveLength(4);
    expect((await call('GET', '/preferences')).body).toMatchObject({ timeZone: 'UTC', quietHours: null, version: 2 });
  });

  test('is for the roles there are, for people, for those who know what they have, and for no more than fits', async () => {
    expect((await take('astronaut')).status).toBe(404);
    expect(faultsOf(await take('sre', '?applied=true'))).toEqual([422, '/query/applied unknown_field']);
    expect((await take('sre', '?apply=true', { headers: { 'If-Match': '"4"' } })).body['code']).toBe('stale_version');
    const { body: account } = await call('POST', '/service-accounts', { name: 'ci', permissions: [] });
    const { body: made } = await call('POST', '/api-keys', { name: 'ci', ownerId: account['id'] });
    expect((await take('sre', '', { key: made['key'] })).status).toBe(403);
    const projects = await Promise.all(Array.from({ length: 195 }, (_, i) => buildProject(`P${i}`)));
    await put(projects.map((projectId) => ({ ...all, projectId })));
    expect((await take('devops', '?apply=true')).body['code']).toBe('wrong_state');
    expect((await take('developer', '?apply=true')).body).toMatchObject({ version: 2 });
  });
});
