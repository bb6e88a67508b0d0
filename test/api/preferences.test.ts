import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
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

type Options = { key?: string; headers?: Record<string, string> };
const call = (method: string, path: string, body?: unknown, { key = ours.key, headers = {} }: Options = {}) =>
  api.request(method, path, { key, body, headers });
const put = (rules: unknown[], rest: object = {}, key = ours.key) => call('PUT', '/preferences', { rules, ...rest }, { key });
const faultsOf = ({ status, body }: TestAnswer) => [
  status,
  ...(body['errors'] ?? []).map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`),
];
const uuidOf = (id: string) => parseWireId(id)!.uuid;
const buildProject = async (name: string, key = ours.key): Promise<string> =>
  (await call('POST', '/projects', { name }, { key })).body['id'];
const buildContact = async (address: string, key = ours.key): Promise<string> =>
  (await call('POST', '/contact-methods', { channelType: 'email', address }, { key })).body['id'];
const ownContact = () => toWireId('contact_method', ours.ownerId);
const all = { all: true, channel: 'email', mode: 'instant' };

describe('a person', () => {
  test('who has written nothing has no rule, UTC and no quiet hours', async () => {
    const { status, body, headers } = await call('GET', '/preferences');
    expect([status, body]).toEqual([200, { rules: [], timeZone: 'UTC', quietHours: null, version: 0, updatedAt: null }]);
    expect(headers.get('etag')).toBe('"0"');
  });

  test('reads what they wrote, by canonical names, with what they left out', async () => {
    const projectId = await buildProject('P');
    const rules = [
      {
        type: 'release.failed',
        projectId,
        channel: ownContact(),
        mode: 'digest',
        minSeverity: 'low',
        environments: ['production', 'production'],
      },
      { category: 'cluster', channel: 'slack', mode: 'off' },
      { all: true, channel: 'any', mode: 'instant', projectId: null, minSeverity: null },
    ];
    const written = await put(rules, { timeZone: 'Europe/Berlin', quietHours: { times: [{ start: '22:00', end: '07:00' }] } });
    const id = expect.stringMatching(/^prf_/);
    expect([written.status, written.body]).toEqual([
      200,
      {
        rules: [
          {
            id,
            version: 1,
            type: 'release.fail',
            projectId,
            channel: ownContact(),
            mode: 'digest',
            minSeverity: 'low',
            environments: ['production'],
          },
          { id, version: 1, category: 'cluster', projectId: null, channel: 'slack', mode: 'off', minSeverity: null, environments: [] },
          { id, version: 1, all: true, projectId: null, channel: 'any', mode: 'instant', minSeverity: null, environments: [] },
        ],
        timeZone: 'Europe/Berlin',
        quietHours: { times: [{ start: '22:00', end: '07:00' }], breakThrough: 'critical' },
        version: 1,
        updatedAt: expect.any(String),
      },
    ]);
    const read = await call('GET', '/preferences');
    expect([read.body, read.headers.get('etag')]).toEqual([written.body, '"1"']);
  });

  test('keeps the id of a rule that is about the same, and its version while it says the same', async () => {
    const job = { category: 'job', channel: 'email', mode: 'digest' };
    const { body: before } = await put([all, { ...job, environments: ['a', 'b'] }]);
    const [first, second] = before['rules'];
    const { body: after } = await put([
      { ...job, environments: ['b', 'a'] },
      { ...all, mode: 'digest' },
      { ...all, channel: 'any' },
    ]);
    const [same, changed, fresh] = after['rules'];
    expect([same.id, same.version]).toEqual([second.id, 1]);
    expect([changed.id, changed.version, changed.mode]).toEqual([first.id, 2, 'digest']);
    expect([fresh.version, [first.id, second.id].includes(fresh.id)]).toEqual([1, false]);
    expect(after['version']).toBe(2);
  });

  test('writes only what they have read, if they say so', async () => {
    const write = (version: number) => call('PUT', '/preferences', { rules: [all] }, { headers: { 'If-Match': `"${version}"` } });
    expect((await write(1)).body['code']).toBe('stale_version');
    expect((await write(0)).status).toBe(200);
    expect((await write(0)).body['code']).toBe('stale_version');
    expect((await write(1)).body['version']).toBe(2);
  });

  test('who writes twice at once writes one after the other, also the first time', async () => {
    const answers = await Promise.all(Array.from({ length: 6 }, () => put([all])));
    expect(answers.map(({ body }) => body['version']).toSorted()).toEqual([1, 2, 3, 4, 5, 6]);
    expect(new Set(answers.map(({ body }) => body['rules'][0].id)).size).toBe(1);
  });

  test('has rules of their own: nobody else sees or changes them', async () => {
    const colleague = await api.buildMember(ours, 'member');
    await put([all]);
    const digest = { ...all, mode: 'digest' };
    await put([digest], { timeZone: 'Asia/Tokyo' }, colleague.key);
    expect((await call('GET', '/preferences')).body).toMatchObject({ rules: [{ mode: 'instant' }], timeZone: 'UTC', version: 1 });
    expect((await call('GET', '/preferences', undefined, { key: colleague.key })).body).toMatchObject({
      rules: [{ mode: 'digest' }],
      timeZone: 'Asia/Tokyo',
      version: 1,
    });
    expect((await call('GET', '/preferences', undefined, { key: theirs.key })).body['rules']).toEqual([]);
  });

  test('may have two hundred rules and no more', async () => {
    const types = (await call('GET', '/event-types')).body['data'].map(({ type }: { type: string }) => type);
    const rules = ['email', 'slack', 'teams', 'discord', 'webhook', 'in_app'].flatMap((channel) =>
      types.map((type: string) => ({ type, channel, mode: 'instant' })),
    );
    expect((await put(rules.slice(0, 200))).status).toBe(200);
    expect(faultsOf(await put(rules.slice(0, 201)))).toEqual([422, '/rules too_big']);
  });

  test('is told everything that is wrong at once', async () => {
    const foreign = await buildProject('Foreign', theirs.key);
    const unverified = await buildContact('new@example.com');
    const colleague = await api.buildMember(ours, 'member');
    const contactOf = (id: string) => ({ all: true, channel: toWireId('contact_method', id), mode: 'instant' });
    const rules = [
      { type: 'no.such', channel: 'email', mode: 'instant' },
      { type: 'job.*', channel: 'email', mode: 'instant' },
      { ...all, projectId: foreign },
      { ...all, projectId: toWireId('project', '0198c0de-0000-7000-8000-000000000001') },
      { all: true, channel: unverified, mode: 'instant' },
      contactOf(theirs.ownerId),
      contactOf(colleague.id),
      contactOf('0198c0de-0000-7000-8000-000000000001'),
      { type: 'release.fail', channel: 'email', mode: 'instant' },
      { type: 'release.failed', channel: 'email', mode: 'off', minSeverity: 'high' },
      { channel: 'email', mode: 'instant' },
      { ...all, category: 'job' },
      { all: true, channel: 'in_app', mode: 'digest' },
      { all: true, channel: 'pigeon', mode: 'sometimes', minSeverity: 'bad', extra: 1 },
    ];
    const quietHours = {
      times: [
        { start: '25:00', end: '07:00' },
        { start: '01:00', end: '01:00' },
      ],
      weekdays: ['someday'],
    };
    expect(faultsOf(await put(rules, { timeZone: 'Mars/Olympus', quietHours })).toSorted()).toEqual(
      [
        422,
        '/rules/0/type unknown_event_type',
        '/rules/1/type not_exact',
        '/rules/2/projectId project_not_found',
        '/rules/3/projectId project_not_found',
        '/rules/4/channel contact_unverified',
        '/rules/5/channel unknown_contact_method',
        '/rules/6/channel unknown_contact_method',
        '/rules/7/channel unknown_contact_method',
        '/rules/9 overlapping',
        '/rules/10 selector',
        '/rules/11 selector',
        '/rules/12/mode no_digest',
        '/rules/13/channel unknown_channel',
        '/rules/13/mode unknown_value',
        '/rules/13/minSeverity unknown_value',
        '/rules/13/extra unknown_field',
        '/timeZone unknown_time_zone',
        '/quietHours/times/0 invalid_time',
        '/quietHours/times/1 wrong_order',
        '/quietHours/weekdays/0 unknown_weekday',
      ].toSorted(),
    );
    expect((await call('GET', '/preferences')).body['version']).toBe(0);
  });

  test.each(['foreign', 'unknown', 'deleted'])(
    'gets the answer of every request for a %s project when nothing else is wrong',
    async (which) => {
      const key = which === 'foreign' ? theirs.key : ours.key;
      const projectId = which === 'unknown' ? toWireId('project', '0198c0de-0000-7000-8000-000000000001') : await buildProject('P', key);
      if (which === 'deleted') await call('DELETE', `/projects/${projectId}`);
      const answer = await put([all, { ...all, projectId }]);
      expect(answer.body).toMatchObject({ code: 'project_not_found', detail: 'project not found in active organization' });
      expect(faultsOf(answer)).toEqual([400, '/rules/1/projectId project_not_found']);
    },
  );

  test('cannot be quiet for ever', async () => {
    const quietHours = { times: [{ start: '00:00', end: '24:00' }] };
    expect(faultsOf(await put([], { quietHours }))).toEqual([422, '/quietHours never_open']);
  });

  test('leaves an audit entry that is theirs, with what changed', async () => {
    await put([all]);
    const answer = await put([{ ...all, mode: 'off' }], { timeZone: 'Europe/Berlin' });
    const { body } = await call('GET', `/audit-logs/${answer.headers.get('tocsin-audit-id')}`);
    expect(body).toMatchObject({
      action: 'preference.replace',
      resource: { type: 'preference', id: toWireId('user', ours.ownerId) },
      before: { rules: [{ mode: 'instant' }], version: 1 },
      after: { rules: [{ mode: 'off' }], timeZone: 'Europe/Berlin', version: 2 },
    });
  });
});

test('service accounts have no preferences', async () => {
  const { body: account } = await call('POST', '/service-accounts', { name: 'ci', permissions: [] });
  const { body: made } = await call('POST', '/api-keys', { name: 'ci', ownerId: account['id'] });
  const key: string = made['key'];
  for (const method of ['GET', 'PUT']) {
    const answer = await call(method, '/preferences', method === 'PUT' ? { rules: [{}] } : undefined, { key });
    expect([answer.status, answer.body['code']]).toEqual([403, 'permission_denied']);
  }
});

describe('defaults', () => {
  test('of the organization are versioned and audited as a change of it', async () => {
    expect((await call('GET', '/organization/preferences')).body).toEqual({ rules: [], version: 0, updatedAt: null });
    const projectId = await buildProject('P');
    const answer = await call('PUT', '/organization/preferences', {
      rules: [
        { ...all, projectId },
        { category: 'job', channel: 'any', mode: 'digest' },
      ],
    });
    expect(answer.body).toMatchObject({ rules: [{ projectId }, { category: 'job', channel: 'any', mode: 'digest' }], version: 1 });
    expect((await call('GET', '/organization/preferences')).body).toEqual(answer.body);
    expect((await call('GET', '/preferences')).body['rules']).toEqual([]);
    const { body } = await call('GET', `/audit-logs/${answer.headers.get('tocsin-audit-id')}`);
    expect(body).toMatchObject({
      action: 'preference.organization.replace',
      resource: { type: 'organization', id: toWireId('organization', ours.id) },
      after: { preferences: { version: 1 } },
    });
    expect((await call('GET', '/organization/preferences', undefined, { key: theirs.key })).body['rules']).toEqual([]);
  });

  test('of a project are its own', async () => {
    const [one, other] = [await buildProject('One'), await buildProject('Other')];
    const answer = await call('PUT', `/projects/${one}/preferences`, { rules: [all] }, { headers: { 'If-Match': '"0"' } });
    expect(answer.body).toMatchObject({ rules: [{ all: true, projectId: null, channel: 'email' }], version: 1 });
    expect((await call('GET', `/projects/${other}/preferences`)).body['rules']).toEqual([]);
    expect((await call('PUT', `/projects/${one}/preferences`, { rules: [] }, { headers: { 'If-Match': '"0"' } })).status).toBe(412);
  });

  test('of what is no project of the organization are not found, like those of one that is deleted', async () => {
    const [foreign, gone] = [await buildProject('Foreign', theirs.key), await buildProject('Gone')];
    await call('PUT', `/projects/${gone}/preferences`, { rules: [all] });
    await call('DELETE', `/projects/${gone}`);
    const unknown = toWireId('project', '0198c0de-0000-7000-8000-000000000001');
    for (const id of [foreign, gone, unknown]) {
      for (const method of ['GET', 'PUT']) {
        const answer = await call(method, `/projects/${id}/preferences`, method === 'PUT' ? { rules: [] } : undefined);
        expect([answer.status, answer.body['code']]).toEqual([404, 'not_found']);
      }
    }
  });

  test('name no address of a person, no time of day, and a project’s no project', async () => {
    const projectId = await buildProject('P');
    const rules = [{ all: true, channel: ownContact(), mode: 'instant' }];
    const rest = { timeZone: 'UTC' };
    expect(faultsOf(await call('PUT', '/organization/preferences', { rules, ...rest }))).toEqual([
      422,
      '/timeZone unknown_field',
      '/rules/0/channel unknown_contact_method',
    ]);
    expect(faultsOf(await call('PUT', `/projects/${projectId}/preferences`, { rules: [{ ...all, projectId }] }))).toEqual([
      422,
      '/rules/0/projectId unknown_field',
    ]);
  });

  test('are not for everybody to change or see', async () => {
    const { key } = await api.buildMember(ours, 'member');
    const projectId = await buildProject('P');
    for (const path of ['/organization/preferences', `/projects/${projectId}/preferences`])
      for (const method of ['GET', 'PUT']) expect((await call(method, path, method === 'PUT' ? {} : undefined, { key })).status).toBe(403);
  });
});

describe('what a preference names', () => {
  test('takes the rule along when it is deleted: a project, a contact method', async () => {
    const [gone, kept] = [await buildProject('Gone'), await buildProject('Kept')];
    const contact = await buildContact('spare@example.com');
    await inOrganization(api.orm, ours.id, (em) =>
      sql`update contact_method set verified_at = created_at where id = ${uuidOf(contact)}`.execute(em.getKysely()),
    );
    const rules = [{ ...all, projectId: gone }, { ...all, projectId: kept }, { ...all, channel: contact }, all];
    expect((await put(rules)).body['rules']).toHaveLength(4);
    await call('DELETE', `/projects/${gone}`);
    await call('DELETE', `/contact-methods/${contact}`);
    const { body } = await call('GET', '/preferences');
    expect(body['rules']).toMatchObject([{ projectId: kept }, { projectId: null, channel: 'email' }]);
    const ids = body['rules'].map(({ id }: { id: string }) => id);
    const again = await put([{ ...all, projectId: kept }, all]);
    expect(again.body['rules'].map(({ id }: { id: string }) => id)).toEqual(ids);
  });

  test('harms nobody when its owner is removed', async () => {
    const leaver = await api.buildMember(ours, 'member');
    await put([{ ...all, mode: 'off' }], {}, leaver.key);
    expect((await call('DELETE', `/members/${toWireId('user', leaver.id)}`)).status).toBe(204);
    expect((await call('GET', '/preferences', undefined, { key: leaver.key })).status).toBe(401);
    expect((await call('POST', '/events', { type: 'job.failed' })).status).toBe(202);
    expect((await put([all])).status).toBe(200);
    expect((await call('GET', '/preferences/explain?type=job.failed')).body['reaches'][1].winner).toMatchObject({ mode: 'instant' });
  });

  test('a type of the organization is not deleted while one names it, whoever has it', async () => {
    const build = async (name: string) => {
      await call('POST', '/event-types', { type: name, aliases: [`${name}_alias`] });
      return call('DELETE', `/event-types/${name}`);
    };
    expect((await build('thing.unused')).status).toBe(204);
    const projectId = await buildProject('P');
    const leaver = await api.buildMember(ours, 'member');
    await call('POST', '/event-types', { type: 'thing.used', aliases: ['thing.spelled'] });
    const rule = { type: 'thing.spelled', channel: 'email', mode: 'instant' };
    expect((await put([rule])).body['rules'][0].type).toBe('thing.used');
    await put([rule], {}, leaver.key);
    await call('PUT', '/organization/preferences', { rules: [rule] });
    await call('PUT', `/projects/${projectId}/preferences`, { rules: [rule] });
    const refused = await call('DELETE', '/event-types/thing.used');
    expect([refused.status, refused.body['code']]).toEqual([409, 'in_use']);
    const named = refused.body['errors'].map(({ detail }: { detail: string }) => detail);
    for (const id of [toWireId('user', ours.ownerId), toWireId('user', leaver.id), projectId, toWireId('organization', ours.id)])
      expect(named.some((detail: string) => detail.includes(id))).toBe(true);
    expect(named).toHaveLength(4);
    await put([]);
    await call('PUT', '/organization/preferences', { rules: [] });
    expect((await call('DELETE', '/event-types/thing.used')).status).toBe(409);
    // who and what is gone names nothing any more
    await call('DELETE', `/projects/${projectId}`);
    await call('DELETE', `/members/${toWireId('user', leaver.id)}`);
    expect((await call('DELETE', '/event-types/thing.used')).status).toBe(204);
    expect(faultsOf(await put([rule]))).toEqual([422, '/rules/0/type unknown_event_type']);
  });

  test('a type that is being deleted is not named meanwhile', async () => {
    for (let i = 0; i < 5; i += 1) {
      const type = `thing.raced_${i}`;
      await call('POST', '/event-types', { type });
      const [deleted] = await Promise.all([call('DELETE', `/event-types/${type}`), put([{ type, channel: 'email', mode: 'instant' }])]);
      const { body } = await call('GET', '/preferences');
      const isNamed = body['rules'].some((rule: { type?: string }) => rule.type === type);
      expect([deleted.status, isNamed]).toEqual(isNamed ? [409, true] : [204, false]);
      await put([]);
    }
  });
});
