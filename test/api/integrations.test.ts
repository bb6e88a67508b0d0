import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { openIntegrationSecrets } from '../../db/integration-secrets.ts';
import { IntegrationEntity } from '../../db/entities/integration.ts';
import { inOrganization } from '../../db/tenant.ts';
import { parseWireId, toWireId } from '../../domain/id.ts';
import { startApi } from './start-api.ts';
import type { TestAnswer, TestApi, TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let theirs: TestOrganization;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(async () => {
  ours = await api.buildOrganization('Ours');
  theirs = await api.buildOrganization('Theirs');
});

const call = (method: string, path: string, body?: unknown, organization = ours) =>
  api.request(method, path, { key: organization.key, body });
const codesOf = ({ body }: TestAnswer) =>
  body['errors'].map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`);
const signingSecret = '8f742231b10e8888abcd99yyyzzz85a5';
const slack = { name: 'Workspace', type: 'slack', settings: { teamId: 'T0123ABCD', signingSecret } };

async function storedSecret(id: string): Promise<string | undefined> {
  return inOrganization(api.orm, ours.id, async (em) => {
    const row = await em.findOneOrFail(IntegrationEntity, { id: parseWireId(id)!.uuid });
    return openIntegrationSecrets(row, api.deps.secrets)['signingSecret'];
  });
}

test('a Slack integration keeps its signing secret to itself, and tells where Slack is to call', async () => {
  const { body: channel } = await call('POST', '/channels', { name: 'S', type: 'slack', settings: { webhookUrl: 'http://127.0.0.1:9/x' } });
  const userLinks = { U0123ABCD: toWireId('user', ours.ownerId) };
  const created = await call('POST', '/integrations', { ...slack, settings: { ...slack.settings, channelId: channel['id'] }, userLinks });
  expect(created.status).toBe(201);
  const { id } = created.body;
  expect(created.body).toMatchObject({
    name: 'Workspace',
    type: 'slack',
    settings: { teamId: 'T0123ABCD', channelId: channel['id'], signingSecret: { set: true, hint: '85a5' } },
    userLinks,
    active: true,
    callPath: `/api/v2/integrations/slack/${id}/interactions`,
  });
  expect(created.text).not.toContain(signingSecret);
  expect((await call('GET', `/integrations/${id}`)).body).toEqual(created.body);
  expect((await call('GET', '/integrations')).body['data']).toEqual([created.body]);
  expect(await storedSecret(id)).toBe(signingSecret);
  const { body: entry } = await call('GET', `/audit-logs/${created.headers.get('tocsin-audit-id')}`);
  expect(JSON.stringify(entry)).not.toContain(signingSecret);
});

test('absent fields stay; a secret that is replaced shows as changed', async () => {
  const { body } = await call('POST', '/integrations', slack);
  const path = `/integrations/${body['id']}`;
  const moved = await call('PATCH', path, { settings: { teamId: 'E0123' }, userLinks: { W123: toWireId('user', ours.ownerId) } });
  expect(moved.body).toMatchObject({ settings: { teamId: 'E0123', signingSecret: { set: true, hint: '85a5' } }, version: 2 });
  expect(await storedSecret(body['id'])).toBe(signingSecret);
  const replaced = await call('PATCH', path, { settings: { signingSecret: 'another-secret-85a5' } });
  const { body: entry } = await call('GET', `/audit-logs/${replaced.headers.get('tocsin-audit-id')}`);
  expect(entry['changed']).toContain('settings');
  expect(await storedSecret(body['id'])).toBe('another-secret-85a5');
  expect((await api.request('PATCH', path, { key: ours.key, headers: { 'If-Match': '"1"' }, body: { active: false } })).status).toBe(412);
  expect((await call('PATCH', path, { type: 'slack' })).body['errors']).toMatchObject([{ pointer: '/type', code: 'unknown_field' }]);
  expect((await call('DELETE', path)).status).toBe(204);
  expect((await call('GET', path)).status).toBe(404);
});

test('names are unique, and free after deletion', async () => {
  const { body } = await call('POST', '/integrations', slack);
  expect((await call('POST', '/integrations', { ...slack, name: 'WORKSPACE' })).body['code']).toBe('duplicate_name');
  await call('DELETE', `/integrations/${body['id']}`);
  expect((await call('POST', '/integrations', slack)).status).toBe(201);
});

test('every fault is told at once; types that come later are refused as such', async () => {
  const answer = await call('POST', '/integrations', {
    name: '',
    type: 'slack',
    settings: { teamId: 'nope', signingSecret: 'short', token: 'x' },
    userLinks: { U123: 'nobody', ada: 'nobody' },
  });
  expect(codesOf(answer)).toEqual([
    '/name too_small',
    '/settings/teamId invalid_format',
    '/settings/signingSecret too_small',
    '/settings/token unknown_field',
    '/userLinks/U123 invalid_id',
    '/userLinks/ada invalid_format',
  ]);
  for (const type of ['pagerduty', 'opsgenie']) {
    const refused = await call('POST', '/integrations', { ...slack, type });
    expect(refused.body['errors']).toEqual([{ pointer: '/type', code: 'not_supported', detail: 'is not supported yet; supported: slack' }]);
  }
  expect(codesOf(await call('POST', '/integrations', { ...slack, type: 'teams' }))).toEqual(['/type unknown_value']);
});

test('links and channel must be of the organization', async () => {
  const { body: channel } = await call('POST', '/channels', { name: 'S', type: 'in_app' }, theirs);
  const answer = await call('POST', '/integrations', {
    ...slack,
    settings: { ...slack.settings, channelId: channel['id'] },
    userLinks: { U123: toWireId('user', theirs.ownerId) },
  });
  expect(codesOf(answer)).toEqual(['/settings/channelId unknown_channel', '/userLinks/U123 unknown_user']);
});

test("another organization's integration is unknown, and stays as it is; its calls find their organization by its id alone", async () => {
  const { body } = await call('POST', '/integrations', slack, theirs);
  const path = `/integrations/${body['id']}`;
  for (const { status } of [await call('GET', path), await call('PATCH', path, { name: 'x' }), await call('DELETE', path)])
    expect(status).toBe(404);
  expect((await call('GET', path, undefined, theirs)).body).toEqual(body);
  const find = async () =>
    (
      await sql<{ found: string | null }>`select integration_organization(${parseWireId(body['id'])!.uuid}) as found`.execute(
        api.orm.em.fork().getKysely(),
      )
    ).rows[0]!.found;
  expect(await find()).toBe(theirs.id);
  await call('DELETE', path, undefined, theirs);
  expect(await find()).toBeNull();
});
