import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { toWireId } from '../../domain/id.ts';
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
const buildContact = async (address: string, key = ours.key): Promise<string> =>
  (await call('POST', '/contact-methods', { channelType: 'email', address }, { key })).body['id'];
const ownContact = () => toWireId('contact_method', ours.ownerId);
const all = { all: true, channel: 'email', mode: 'instant' };

describe('how a person would hear of an event', () => {
  const explain = (query: string, options: Options = {}) => call('GET', `/preferences/explain?${query}`, undefined, options);
  const waysOf = ({ body }: TestAnswer) =>
    body['reaches'].map(({ channelType, mode, reason }: Record<string, string>) => `${channelType}: ${mode} ${reason}`);

  /** The organization's way to e-mail addresses. */
  async function buildSender(): Promise<void> {
    const { body } = await call('POST', '/channels', {
      name: 'Mail',
      type: 'email',
      settings: { host: '127.0.0.1', from: 'a@example.com' },
    });
    await call('PATCH', '/organization', { settings: { senderChannels: { email: body['id'] } } });
  }

  test('without any preference is just the documented default: in the app at once, nowhere else', async () => {
    await buildSender();
    const answer = await explain('type=release.failed');
    expect(answer.body).toEqual({
      event: { type: 'release.fail', category: 'deployment', severity: 'high', projectId: null, environment: null },
      at: expect.any(String),
      reaches: [
        { channelType: 'in_app', contactMethodId: null, mode: 'instant', reason: 'builtin_default', winner: null, losers: [], wait: null },
        {
          channelType: 'email',
          contactMethodId: ownContact(),
          mode: 'off',
          reason: 'preference_off',
          winner: null,
          losers: [],
          wait: null,
        },
      ],
    });
  });

  test('names the rule that decides and those that it outranks, of the person, the project and the organization', async () => {
    await buildSender();
    const projectId = await buildProject('P');
    await call('PUT', '/organization/preferences', { rules: [{ all: true, channel: 'any', mode: 'digest' }] });
    await call('PUT', `/projects/${projectId}/preferences`, { rules: [{ category: 'job', channel: 'email', mode: 'instant' }] });
    expect(waysOf(await explain(`type=job.completed&projectId=${projectId}`))).toEqual([
      'in_app: instant org_default',
      'email: instant project_default',
    ]);
    await put([
      { all: true, channel: 'email', mode: 'off' },
      { type: 'job.completed', channel: ownContact(), mode: 'digest', environments: ['production'] },
    ]);
    const { body } = await explain(`type=job.completed&projectId=${projectId}&environment=production`);
    const [inApp, email] = body['reaches'];
    expect(inApp).toMatchObject({ winner: { layer: 'organization', all: true, channel: 'any' }, losers: [] });
    expect(email).toMatchObject({
      mode: 'digest',
      reason: 'preference',
      winner: { layer: 'user', type: 'job.completed', channel: ownContact(), version: 1 },
      losers: [{ layer: 'user', all: true }, { layer: 'project', category: 'job' }, { layer: 'organization' }],
      wait: { kind: 'digest' },
    });
    const minutes = (Date.parse(email.wait.until) - Date.parse(body['at'])) / 60_000;
    expect(minutes > 0 && minutes <= 15).toBe(true);
    expect(waysOf(await explain('type=job.completed&environment=staging'))[1]).toBe('email: off preference_filter');
    expect(waysOf(await explain('type=job.completed&environment=production&severity=high'))[1]).toBe('email: digest digest_bypass');
  });

  test('says until when quiet hours hold it now', async () => {
    await buildSender();
    // quiet for the last hour and the next, whatever time it is
    const clock = (ms: number) => new Date(ms).toISOString().slice(11, 16);
    const hour = 3_600_000;
    const now = Date.now();
    await put([all], { quietHours: { times: [{ start: clock(now - hour), end: clock(now + hour) }] } });
    const { body } = await explain('type=job.completed');
    expect(body['reaches']).toMatchObject([
      { channelType: 'in_app', mode: 'instant', wait: null },
      {
        channelType: 'email',
        mode: 'instant',
        wait: { kind: 'quiet', until: new Date(Math.floor((now + hour) / 60_000) * 60_000).toISOString() },
      },
    ]);
    expect((await explain('type=job.completed&severity=critical')).body['reaches'][1].wait).toBeNull();
  });

  test('goes nowhere by an address that is not verified, or without a sender', async () => {
    await put([all]);
    expect(waysOf(await explain('type=job.completed'))).toEqual(['in_app: instant builtin_default', 'email: off channel_disabled']);
    await buildSender();
    await buildContact('new@example.com');
    expect(waysOf(await explain('type=job.completed'))).toEqual([
      'in_app: instant builtin_default',
      'email: instant preference',
      'email: off contact_unverified',
    ]);
  });

  test('is the caller’s own answer, of the change that was made last', async () => {
    await buildSender();
    const colleague = await api.buildMember(ours, 'member');
    await put([all]);
    expect(waysOf(await explain('type=job.completed'))[1]).toBe('email: instant preference');
    expect(waysOf(await explain('type=job.completed', { key: colleague.key }))[1]).toBe('email: off preference_off');
    await put([{ ...all, mode: 'off' }]);
    expect(waysOf(await explain('type=job.completed'))[1]).toBe('email: off preference_off');
    expect((await explain('type=job.completed', { key: theirs.key })).body['reaches']).toHaveLength(2);
  });

  test('is asked of types and projects there are', async () => {
    const foreign = await buildProject('Foreign', theirs.key);
    expect(faultsOf(await explain('type=no.such'))).toEqual([422, '/query/type unknown_event_type']);
    expect(faultsOf(await explain('severity=bad'))).toEqual([422, '/query/type required', '/query/severity unknown_value']);
    for (const projectId of [foreign, toWireId('project', '0198c0de-0000-7000-8000-000000000001')]) {
      const answer = await explain(`type=job.completed&projectId=${projectId}`);
      expect([answer.status, answer.body['code']]).toEqual([400, 'project_not_found']);
    }
  });
});
