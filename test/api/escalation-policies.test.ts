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

const post = (path: string, body: unknown, organization = ours) => api.request('POST', path, { key: organization.key, body });
const get = (path: string, organization = ours) => api.request('GET', path, { key: organization.key });
const patch = (path: string, body: unknown) => api.request('PATCH', path, { key: ours.key, body });
const remove = (path: string) => api.request('DELETE', path, { key: ours.key });

let count = 0;
const name = () => `thing ${(count += 1)}`;
/** An active webhook: reachable without anybody's address. */
async function webhook(organization = ours): Promise<string> {
  const { body } = await post('/webhooks', { name: name(), url: 'http://127.0.0.1:9/', eventTypes: ['*'] }, organization);
  return body['id'];
}
const reaching = async () => [{ targets: [{ kind: 'webhook', id: await webhook() }] }];
const codesOf = ({ body }: TestAnswer) =>
  body['errors'].map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`);

/** The organization's sender of e-mail, so that addresses of members count. */
async function buildSender(organization = ours): Promise<string> {
  const { body } = await post(
    '/channels',
    { name: name(), type: 'email', settings: { host: '127.0.0.1', from: 'a@example.com' } },
    organization,
  );
  const settings = { senderChannels: { email: body['id'] } };
  await api.request('PATCH', '/organization', { key: organization.key, body: { settings } });
  return body['id'];
}

describe('an escalation policy', () => {
  test('has the documented defaults, and is read as it was answered', async () => {
    const tiers = await reaching();
    const created = await post('/escalation-policies', { name: '  Critical ', tiers });
    expect(created.status).toBe(201);
    const { id, createdAt: _c, updatedAt: _u, warnings: _w, ...rest } = created.body;
    expect(id).toMatch(/^pol_[0-9a-z]{26}$/);
    expect(rest).toEqual({
      name: 'Critical',
      enabled: true,
      ownerUserId: toWireId('user', ours.ownerId),
      trigger: null,
      groupBy: ['dedupKey'],
      groupWait: 'PT0S',
      tiers: [{ name: null, targets: tiers[0]!.targets, timeout: 'PT10M', when: 'always', calendarId: null }],
      calendarId: null,
      defer: null,
      repeat: null,
      acknowledgementTimeout: null,
      acknowledgementReminder: true,
      cooldown: 'PT30M',
      cooldownScope: 'full',
      hardStop: 'P7D',
      fallback: [],
      followUp: 'in_place',
      autoResolve: true,
      minProof: 'any',
      version: 1,
    });
    expect((await get(`/escalation-policies/${id}`)).body).toEqual(created.body);
  });

  test('keeps every field that is given, durations in their shortest form', async () => {
    const { body: calendar } = await post('/calendars', { name: name(), timeZone: 'Europe/Berlin', intervals: [{ weekdays: ['monday'] }] });
    const { body: project } = await post('/projects', { name: name() });
    const [first] = await reaching();
    const given = {
      name: 'Everything',
      enabled: true,
      ownerUserId: null,
      trigger: {
        types: ['alert.*', 'release.fail'],
        categories: ['job'],
        projectIds: [project['id']],
        minSeverity: 'high',
        matchers: [{ key: 'projectId', op: 'in', value: [project['id']] }],
      },
      groupBy: ['type', 'label.team'],
      groupWait: 'PT30S',
      tiers: [{ ...first, name: 'first', timeout: 'PT90M', when: 'open', calendarId: calendar['id'] }, { ...first }],
      calendarId: calendar['id'],
      defer: { maxSeverity: 'medium' },
      repeat: { every: 'PT30M', max: null },
      acknowledgementTimeout: 'PT1H',
      acknowledgementReminder: false,
      cooldown: 'PT0S',
      cooldownScope: 'until_resolved',
      hardStop: 'PT48H',
      fallback: first!.targets,
      followUp: 'all',
      autoResolve: false,
      minProof: 'no_link',
    };
    const { status, body } = await post('/escalation-policies', given);
    expect(status).toBe(201);
    expect(body).toMatchObject({
      ...given,
      tiers: [
        { ...given.tiers[0], timeout: 'PT1H30M' },
        { ...first, timeout: 'PT10M' },
      ],
      hardStop: 'P2D',
    });
  });

  test('tells every fault of its fields at once, those of durations by this process included', async () => {
    const answer = await post('/escalation-policies', {
      name: '',
      trigger: {},
      groupBy: ['severity'],
      groupWait: 'PT11M',
      tiers: [
        { targets: [{ kind: 'user', id: 'whk_x' }], timeout: 'PT59S' },
        { targets: [], timeout: 'soon', when: 'never' },
      ],
      repeat: { every: 'PT1S', max: 101 },
      hardStop: 'PT59M',
      acknowledgementTimeout: 'P2D',
      bogus: true,
    });
    expect(answer.status).toBe(422);
    expect(codesOf(answer).toSorted()).toEqual(
      [
        '/name too_small',
        '/trigger empty_trigger',
        '/groupBy/0 unknown_key',
        '/groupWait too_big',
        '/tiers/0/targets/0/id invalid_id',
        '/tiers/0/timeout too_small',
        '/tiers/1/targets too_small',
        '/tiers/1/timeout invalid_format',
        '/tiers/1/when unknown_value',
        '/repeat/every too_small',
        '/repeat/max too_big',
        '/hardStop too_small',
        '/acknowledgementTimeout too_big',
        '/bogus unknown_field',
      ].toSorted(),
    );
  });

  test('names only what the organization has: each missing one is a fault of its own', async () => {
    const foreign = await webhook(theirs);
    const answer = await post('/escalation-policies', {
      name: 'P',
      ownerUserId: toWireId('user', theirs.ownerId),
      calendarId: toWireId('calendar', ours.id),
      tiers: [
        {
          targets: [
            { kind: 'webhook', id: foreign },
            { kind: 'user', id: toWireId('user', ours.ownerId) },
          ],
        },
        { targets: [{ kind: 'schedule', id: toWireId('schedule', ours.id) }], when: 'open', calendarId: toWireId('calendar', ours.id) },
      ],
      fallback: [{ kind: 'channel', id: toWireId('channel', ours.id) }],
    });
    expect(codesOf(answer).toSorted()).toEqual([
      '/calendarId unknown_calendar',
      '/fallback/0/id unknown_channel',
      '/ownerUserId unknown_user',
      '/tiers/0/targets/0/id unknown_webhook',
      '/tiers/1/calendarId unknown_calendar',
      '/tiers/1/targets/0/id unknown_schedule',
    ]);
  });

  test("another organization's project in the trigger is the documented 400", async () => {
    const { body: project } = await post('/projects', { name: 'Theirs' }, theirs);
    const answer = await post('/escalation-policies', { name: 'P', trigger: { projectIds: [project['id']] }, tiers: await reaching() });
    expect([answer.status, answer.body['title']]).toEqual([400, 'project not found in active organization']);
  });

  test('with hours needs a calendar to know them by', async () => {
    const [tier] = await reaching();
    const answer = await post('/escalation-policies', { name: 'P', tiers: [{ ...tier, when: 'closed' }], defer: { maxSeverity: 'low' } });
    expect(codesOf(answer)).toEqual(['/tiers/0/when calendar_required', '/defer calendar_required']);
  });

  test('without anybody to reach is refused, unless forced, which the audit entry says', async () => {
    const tiers = [{ targets: [{ kind: 'user', id: toWireId('user', ours.ownerId) }] }];
    const refused = await post('/escalation-policies', { name: 'P', tiers });
    expect([refused.status, codesOf(refused)]).toEqual([422, ['/tiers nobody_reachable']]);
    const forced = await post('/escalation-policies?force=true', { name: 'P', tiers });
    expect(forced.status).toBe(201);
    expect(forced.body['warnings'].map(({ code, pointer }: { code: string; pointer: string }) => `${pointer} ${code}`)).toEqual([
      '/tiers/0/targets/0 no_page_method',
      '/tiers/0 tier_gap',
      '/tiers gap',
      '/acknowledgementTimeout no_acknowledgement_timeout',
    ]);
    const { body: entry } = await get(`/audit-logs/${forced.headers.get('tocsin-audit-id')}`);
    expect(entry['details']).toEqual({ forced: 'nobody_reachable' });
    // what does not change whom it reaches is not judged again, nor what pages nobody anyway
    const path = `/escalation-policies/${forced.body['id']}`;
    expect((await patch(path, { name: 'Renamed' })).status).toBe(200);
    expect((await patch(path, { enabled: false })).status).toBe(200);
    expect(codesOf(await patch(path, { enabled: true }))).toEqual(['/tiers nobody_reachable']);
    await buildSender();
    expect((await patch(path, { enabled: true })).body['warnings']).toMatchObject([
      { code: 'one_person' },
      { code: 'no_acknowledgement_timeout' },
    ]);
  });

  test('whose fallback alone reaches somebody is saved with warnings; a channel in the app reaches nobody', async () => {
    const { body: inApp } = await post('/channels', { name: name(), type: 'in_app' });
    const tiers = [{ targets: [{ kind: 'channel', id: inApp['id'] }] }];
    expect((await post('/escalation-policies', { name: 'P', tiers })).status).toBe(422);
    const saved = await post('/escalation-policies', { name: 'P', tiers, fallback: (await reaching())[0]!.targets });
    expect(saved.body['warnings']).toMatchObject([{ code: 'inactive_channel' }, { code: 'tier_gap' }, { code: 'gap' }, {}]);
  });

  test('names are unique in any spelling, and free after deletion', async () => {
    const tiers = await reaching();
    const { body: first } = await post('/escalation-policies', { name: 'Night', tiers });
    const second = await post('/escalation-policies', { name: ' ＮＩＧＨＴ', tiers });
    expect([second.status, second.body['code']]).toEqual([409, 'duplicate_name']);
    expect((await remove(`/escalation-policies/${first['id']}`)).status).toBe(204);
    expect((await post('/escalation-policies', { name: 'Night', tiers })).status).toBe(201);
  });

  test('a change needs the version that was read, and every version stays to be read', async () => {
    const { body } = await post('/escalation-policies', { name: 'P', tiers: await reaching() });
    const path = `/escalation-policies/${body['id']}`;
    const stale = await api.request('PATCH', path, { key: ours.key, headers: { 'If-Match': '"2"' }, body: { enabled: false } });
    expect(stale.status).toBe(412);
    const changed = await patch(path, { groupWait: 'PT10S', repeat: { every: 'PT5M' } });
    expect(changed.body).toMatchObject({ version: 2, groupWait: 'PT10S', repeat: { every: 'PT5M', max: 5 }, cooldown: 'PT30M' });
    await patch(path, { repeat: null });
    const first = await get(`${path}/versions?limit=2`);
    const second = await get(`${path}/versions?limit=2&cursor=${first.body['nextCursor']}`);
    const versions = [...first.body['data'], ...second.body['data']];
    expect(versions.map(({ version, groupWait, repeat }) => [version, groupWait, repeat])).toEqual([
      [3, 'PT10S', null],
      [2, 'PT10S', { every: 'PT5M', max: 5 }],
      [1, 'PT0S', null],
    ]);
    expect(second.body['nextCursor']).toBeNull();
  });

  test('who has left the organization may stay in it, and is told of', async () => {
    await buildSender();
    const { id: userId } = await api.buildMember(ours, 'operator');
    const member = toWireId('user', userId);
    const tiers = [{ targets: [{ kind: 'user', id: member }, ...(await reaching())[0]!.targets] }];
    const { body } = await post('/escalation-policies', { name: 'P', tiers });
    await remove(`/members/${member}`);
    const kept = await patch(`/escalation-policies/${body['id']}`, { tiers });
    expect([kept.status, kept.body['warnings'][0]]).toMatchObject([200, { pointer: '/tiers/0/targets/0', code: 'unknown_target' }]);
  });

  test('that rules name is deleted only by force, and the rules lose it', async () => {
    const { body: policy } = await post('/escalation-policies', { name: 'P', tiers: await reaching() });
    const { body: rule } = await post('/rules', { name: 'R', policyId: policy['id'] });
    expect(rule).toMatchObject({ policyId: policy['id'], warnings: [] });
    const refused = await remove(`/escalation-policies/${policy['id']}`);
    expect([refused.status, refused.body['code'], refused.body['errors'][0].detail]).toEqual([409, 'in_use', `rule ${rule['id']} "R"`]);
    expect((await remove(`/escalation-policies/${policy['id']}?force=true`)).status).toBe(204);
    expect((await get(`/rules/${rule['id']}`)).body).toMatchObject({ policyId: null, version: 2, warnings: ['no_channels'] });
    const again = await post('/rules', { name: 'S', policyId: policy['id'] });
    expect(codesOf(again)).toEqual(['/policyId unknown_policy']);
  });

  test('what it names is not deleted under it', async () => {
    const { body: calendar } = await post('/calendars', { name: 'C', timeZone: 'UTC', intervals: [{ months: ['may'] }] });
    const rotations = [{ participants: [toWireId('user', ours.ownerId)], start: '2026-01-01T00:00', unit: 'week' }];
    const { body: schedule } = await post('/schedules', { name: 'S', timeZone: 'UTC', layers: [{ rotations }] });
    const sender = await buildSender();
    const hook = await webhook();
    const { body: policy } = await post('/escalation-policies', {
      name: 'P',
      tiers: [{ targets: [{ kind: 'schedule', id: schedule['id'] }], when: 'open', calendarId: calendar['id'] }],
      fallback: [
        { kind: 'channel', id: sender },
        { kind: 'webhook', id: hook },
      ],
    });
    for (const path of [`/calendars/${calendar['id']}`, `/schedules/${schedule['id']}`, `/channels/${sender}`, `/webhooks/${hook}`]) {
      const { status, body } = await remove(path);
      expect([path, status, body['code']]).toEqual([path, 409, 'in_use']);
      expect(body['errors'].map(({ detail }: { detail: string }) => detail)).toContain(`escalation policy ${policy['id']} "P"`);
    }
    // forced, the organization loses its sender, and nobody is left to reach
    expect((await remove(`/channels/${sender}?force=true`)).status).toBe(204);
    expect((await get('/organization')).body['settings']).toEqual({});
    expect((await remove(`/webhooks/${hook}?force=true`)).status).toBe(204);
    expect((await get(`/escalation-policies/${policy['id']}/coverage?weeks=1`)).body).toMatchObject({ reachesNobody: true });
    expect((await remove(`/escalation-policies/${policy['id']}`)).status).toBe(204);
    expect((await remove(`/calendars/${calendar['id']}`)).status).toBe(204);
    expect((await remove(`/schedules/${schedule['id']}`)).status).toBe(204);
  });
});

describe('coverage', () => {
  test('tells the gaps of a schedule and why, from change to change', async () => {
    await buildSender();
    const restriction = [{ weekdays: ['monday:friday'], times: [{ start: '09:00', end: '17:00' }] }];
    const rotations = [{ participants: [toWireId('user', ours.ownerId)], start: '2026-01-01T00:00', unit: 'week', restriction }];
    const { body: schedule } = await post('/schedules', { name: 'S', timeZone: 'Europe/Berlin', layers: [{ rotations }] });
    const { body: policy } = await post('/escalation-policies', {
      name: 'P',
      tiers: [{ targets: [{ kind: 'schedule', id: schedule['id'] }] }],
    });
    const { body } = await get(`/escalation-policies/${policy['id']}/coverage?weeks=2`);
    expect(body).toMatchObject({ reachesNobody: false, alone: { count: 10 }, overall: { count: body['tiers'][0].count } });
    expect(body['tiers'][0].count).toBeGreaterThanOrEqual(10);
    expect(body['tiers'][0].data[1].because).toEqual([
      { tier: 1, reason: 'gap', target: { kind: 'schedule', id: schedule['id'] }, userId: null, calendarId: null },
    ]);
    expect((await get(`/escalation-policies/${policy['id']}/coverage?weeks=0`)).status).toBe(422);
  });
});

test("another organization's policy is unknown, as is what is no id, and stays as it is", async () => {
  const { body: policy } = await post(
    '/escalation-policies',
    { name: 'T', tiers: [{ targets: [{ kind: 'webhook', id: await webhook(theirs) }] }] },
    theirs,
  );
  const before = await get(`/escalation-policies/${policy['id']}`, theirs);
  const unknown = toWireId('escalation_policy', ours.id);
  for (const id of [policy['id'], unknown, 'nonsense']) {
    const path = `/escalation-policies/${id}`;
    const answers = [
      await get(path),
      await patch(path, { name: 'x' }),
      await remove(path),
      await get(`${path}/versions`),
      await get(`${path}/coverage`),
    ];
    for (const { status, body } of answers) {
      const { instance: _, ...rest } = body;
      expect({ httpStatus: status, ...rest }).toEqual({
        httpStatus: 404,
        type: 'about:blank',
        title: 'notification policy not found',
        status: 404,
        code: 'policy_not_found',
        detail: 'notification policy not found',
      });
    }
  }
  expect((await get(`/escalation-policies/${policy['id']}`, theirs)).body).toEqual(before.body);
});

test('the operator may lower the least durations', async () => {
  const quick = await startApi({ deps: { minIntervalMs: 1_000 } });
  try {
    const organization = await quick.buildOrganization();
    const { body: hook } = await quick.request('POST', '/webhooks', {
      key: organization.key,
      body: { name: 'W', url: 'http://127.0.0.1:9/', eventTypes: ['*'] },
    });
    const create = (times: object) =>
      quick.request('POST', '/escalation-policies', {
        key: organization.key,
        body: { name: name(), tiers: [{ targets: [{ kind: 'webhook', id: hook['id'] }], timeout: 'PT1S' }], ...times },
      });
    expect((await create({ repeat: { every: 'PT1S' }, hardStop: 'PT1S', acknowledgementTimeout: 'PT1S' })).status).toBe(201);
    expect(codesOf(await create({ repeat: { every: 'PT0.999S' }, hardStop: 'PT0S' }))).toEqual([
      '/repeat/every too_small',
      '/hardStop too_small',
    ]);
  } finally {
    await quick.stop();
  }
});
