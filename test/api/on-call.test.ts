import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { inOrganization } from '../../db/tenant.ts';
import { parseWireId, toWireId } from '../../domain/id.ts';
import { startApi } from './start-api.ts';
import type { TestAnswer, TestApi, TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let theirs: TestOrganization;
/** The owner, and a second member. */
let ada: string;
let ben: string;

beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(async () => {
  ours = await api.buildOrganization('Ours');
  theirs = await api.buildOrganization('Theirs');
  ada = toWireId('user', ours.ownerId);
  ben = toWireId('user', (await api.buildMember(ours, 'operator')).id);
});

const post = (path: string, body: unknown, organization = ours) => api.request('POST', path, { key: organization.key, body });
const get = (path: string, organization = ours) => api.request('GET', path, { key: organization.key });
const patch = (path: string, body: unknown) => api.request('PATCH', path, { key: ours.key, body });
const remove = (path: string) => api.request('DELETE', path, { key: ours.key });
const codesOf = ({ body }: TestAnswer) =>
  body['errors'].map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`);

const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();
const hour = 3_600_000;
const day = 24 * hour;

const businessHours = {
  name: 'Business hours',
  timeZone: 'Europe/Berlin',
  intervals: [{ weekdays: ['monday:friday'], times: [{ start: '09:00', end: '17:00' }] }],
};
const weekly = (participants: string[]) => ({
  name: 'Platform',
  timeZone: 'Europe/Berlin',
  layers: [{ rotations: [{ participants, start: '2026-01-05T09:00', unit: 'week' }] }],
});

describe('calendars', () => {
  test('are created, read, listed, changed and deleted; a deleted name is free again', async () => {
    const created = await post('/calendars', businessHours);
    expect([created.status, created.body]).toMatchObject([201, { ...businessHours, holidays: [], version: 1 }]);
    const path = `/calendars/${created.body['id']}`;
    expect((await get(path)).body).toEqual(created.body);
    expect((await get('/calendars')).body['data']).toEqual([created.body]);
    expect((await post('/calendars', { ...businessHours, name: 'business HOURS' })).body['code']).toBe('duplicate_name');
    const changed = await patch(path, { holidays: ['2026-12-25'] });
    expect(changed.body).toMatchObject({ holidays: ['2026-12-25'], intervals: businessHours.intervals, version: 2 });
    const stale = await api.request('PATCH', path, { key: ours.key, headers: { 'If-Match': '"1"' }, body: { name: 'x' } });
    expect(stale.status).toBe(412);
    expect((await remove(path)).status).toBe(204);
    expect((await get(path)).status).toBe(404);
    expect((await post('/calendars', businessHours)).status).toBe(201);
  });

  test('tell all their faults at once, on creation and on change', async () => {
    const answer = await post('/calendars', {
      name: '',
      timeZone: 'Mars/Olympus',
      intervals: [{ weekdays: ['friday:monday'], times: [{ start: '17:00', end: '09:00' }] }],
      holidays: ['2026-02-30'],
    });
    expect(codesOf(answer)).toEqual([
      '/name too_small',
      '/timeZone unknown_time_zone',
      '/intervals/0/times/0 wrong_order',
      '/intervals/0/weekdays/0 wrong_order',
      '/holidays/0 invalid_date',
    ]);
    const { body } = await post('/calendars', businessHours);
    expect(codesOf(await patch(`/calendars/${body['id']}`, { intervals: [{ years: ['2020'] }] }))).toEqual(['/intervals never_open']);
    expect((await get(`/calendars/${body['id']}`)).body).toEqual(body);
  });
});

describe('schedules', () => {
  test('are created, read, changed and deleted', async () => {
    const created = await post('/schedules', weekly([ada, ben]));
    expect(created.status).toBe(201);
    expect(created.body['layers']).toEqual([
      { name: null, rotations: [{ participants: [ada, ben], start: '2026-01-05T09:00', unit: 'week', length: 1, restriction: null }] },
    ]);
    const path = `/schedules/${created.body['id']}`;
    expect((await get(path)).body).toEqual(created.body);
    expect((await post('/schedules', weekly([ada]))).body['code']).toBe('duplicate_name');
    const stale = await api.request('PATCH', path, { key: ours.key, headers: { 'If-Match': '"9"' }, body: { name: 'x' } });
    expect(stale.status).toBe(412);
    expect((await patch(path, { layers: weekly([ben]).layers })).body).toMatchObject({ version: 2 });
    expect((await remove(path)).status).toBe(204);
    expect((await get(path)).status).toBe(404);
  });

  test('tell all their faults at once, and each participant that is no member', async () => {
    const rotations = [{ participants: [], start: '2026-02-30T09:00', unit: 'fortnight', length: 367, restriction: [{ months: ['mai'] }] }];
    const answer = await post('/schedules', { name: 'S', timeZone: 'CST6', layers: [{ rotations: [{ ...rotations[0], unit: 'day' }] }] });
    expect(codesOf(answer)).toEqual([
      '/timeZone unknown_time_zone',
      '/layers/0/rotations/0/participants wrong_count',
      '/layers/0/rotations/0/start invalid_local_time',
      '/layers/0/rotations/0/length out_of_range',
      '/layers/0/rotations/0/restriction/0/months/0 unknown_month',
    ]);
    expect(codesOf(await post('/schedules', { name: 'S', timeZone: 'UTC', layers: [{ rotations }] }))).toEqual([
      '/layers/0/rotations/0/unit unknown_value',
    ]);
    const stranger = toWireId('user', theirs.ownerId);
    expect(codesOf(await post('/schedules', weekly([ada, stranger])))).toEqual(['/layers/0/rotations/0/participants/1 unknown_user']);
  });

  test('tell who is on call at any instant, since and until when, and why', async () => {
    const { body: schedule } = await post('/schedules', weekly([ada, ben]));
    // a Wednesday of the second week
    const at = '2026-01-14T12:00:00.000Z';
    expect((await get(`/schedules/${schedule['id']}/on-call?at=${at}`)).body).toMatchObject({
      at,
      version: 1,
      data: [
        { userId: ben, since: '2026-01-12T08:00:00.000Z', until: '2026-01-19T08:00:00.000Z', because: ['layer 1', 'rotation 1 shift 2'] },
      ],
    });
  });

  test('follow an override at once, also when it is taken back', async () => {
    const { body: schedule } = await post('/schedules', weekly([ben]));
    const path = `/schedules/${schedule['id']}`;
    const given = { kind: 'replace', userId: ada, insteadOf: ben, startsAt: inMs(-hour), endsAt: inMs(2 * day), reason: ' Dentist ' };
    const { body: override } = await post(`${path}/overrides`, given);
    expect(override).toMatchObject({ ...given, reason: 'Dentist', createdBy: ada });
    const { body } = await get(`${path}/on-call`);
    expect(body['data']).toMatchObject([{ userId: ada, since: override['startsAt'], until: override['endsAt'] }]);
    expect(body['data'][0].because.at(-1)).toBe(`override ${override['id']}`);
    expect((await remove(`${path}/overrides/${override['id']}`)).status).toBe(204);
    expect((await remove(`${path}/overrides/${override['id']}`)).status).toBe(404);
    expect((await get(`${path}/on-call`)).body['data']).toMatchObject([{ userId: ben }]);
    expect((await get(`${path}/overrides`)).body['data']).toEqual([]);
  });

  test('answer by the configuration as it was at any instant', async () => {
    const { body: schedule } = await post('/schedules', weekly([ada]));
    const path = `/schedules/${schedule['id']}`;
    const created = schedule['createdAt'];
    await patch(path, { layers: weekly([ben]).layers });
    const second = (await get(path)).body['updatedAt'];
    const { body: override } = await post(`${path}/overrides`, { kind: 'add', userId: ada, startsAt: inMs(-hour), endsAt: inMs(hour) });
    await remove(`${path}/overrides/${override['id']}`);
    const onCall = async (asOf: string) =>
      (await get(`${path}/on-call?asOf=${asOf}`)).body['data'].map(({ userId }: { userId: string }) => userId).toSorted();
    expect(await onCall(created)).toEqual([ada]);
    expect(await onCall(second)).toEqual([ben]);
    expect(await onCall(override['createdAt'])).toEqual([ada, ben].toSorted());
    expect(await onCall(inMs(0))).toEqual([ben]);
    const shifts = await get(`${path}/shifts?from=${inMs(-hour)}&to=${inMs(day)}&asOf=${created}`);
    expect(shifts.body).toMatchObject({
      version: 1,
      data: [{ userId: ada, because: ['layer 1', expect.stringMatching(/^rotation 1 shift \d+$/)] }],
    });
    const before = await get(`${path}/on-call?asOf=2020-01-01T00:00:00Z`);
    expect([before.status, codesOf(before)]).toEqual([422, ['/query/asOf before_creation']]);
  });

  test('list the shifts of at most 92 days, and leave out who is not active', async () => {
    const { body: schedule } = await post('/schedules', weekly([ada, ben]));
    const path = `/schedules/${schedule['id']}/shifts`;
    const range = 'from=2026-01-12T08:00:00Z&to=2026-01-26T08:00:00Z';
    const shift = (userId: string, start: string, end: string) => ({ userId, start, end, because: ['layer 1', expect.any(String)] });
    const both = [
      shift(ben, '2026-01-12T08:00:00.000Z', '2026-01-19T08:00:00.000Z'),
      shift(ada, '2026-01-19T08:00:00.000Z', '2026-01-26T08:00:00.000Z'),
    ];
    expect((await get(`${path}?${range}`)).body['data']).toEqual(both);
    await post(`/members/${ben}/disable`, undefined);
    expect((await get(`${path}?${range}`)).body['data']).toEqual([both[1]]);
    for (const bad of ['from=2026-01-12T08:00:00Z&to=2026-04-15T08:00:00Z', 'from=2026-01-12T08:00:00Z&to=2026-01-12T08:00:00Z']) {
      expect(codesOf(await get(`${path}?${bad}`))).toEqual(['/query/to out_of_range']);
    }
  });
});

describe('overrides', () => {
  const range = { startsAt: inMs(hour), endsAt: inMs(5 * hour) };

  test('that name the same member at the same time, or replace everybody, are refused with what is in the way', async () => {
    const { body: schedule } = await post('/schedules', weekly([ada, ben]));
    const path = `/schedules/${schedule['id']}/overrides`;
    const { body: first } = await post(path, { kind: 'replace', userId: ada, insteadOf: ben, ...range });
    for (const body of [
      { kind: 'remove', userId: ben },
      { kind: 'add', userId: ada },
      { kind: 'replace', userId: toWireId('user', (await api.buildMember(ours, 'member')).id) },
    ]) {
      const refused = await post(path, { ...body, startsAt: inMs(4 * hour), endsAt: inMs(9 * hour) });
      expect([body.kind, refused.status, refused.body['code']]).toEqual([body.kind, 409, 'override_overlap']);
      expect(refused.body['errors'][0].detail).toContain(first['id']);
    }
    expect((await post(path, { kind: 'remove', userId: ben, startsAt: range.endsAt, endsAt: inMs(9 * hour) })).status).toBe(201);
    expect((await post(path, { kind: 'add', userId: toWireId('user', (await api.buildMember(ours, 'member')).id), ...range })).status).toBe(
      201,
    );
    expect((await get(`${path}?from=${inMs(6 * hour)}`)).body['data']).toMatchObject([{ kind: 'remove' }]);
  });

  test('of two that conflict and come at once, the database lets one in', async () => {
    const { body: schedule } = await post('/schedules', weekly([ada, ben]));
    const attempts = await Promise.all(
      Array.from({ length: 6 }, () => post(`/schedules/${schedule['id']}/overrides`, { kind: 'replace', userId: ada, ...range })),
    );
    expect(attempts.map(({ status }) => status).toSorted()).toEqual([201, 409, 409, 409, 409, 409]);
    for (const { status, body } of attempts) if (status === 409) expect(body['code']).toBe('override_overlap');
  });

  test('tell their faults at once; what has ended is a record', async () => {
    const { body: schedule } = await post('/schedules', weekly([ada, ben]));
    const path = `/schedules/${schedule['id']}/overrides`;
    const bad = await post(path, { kind: 'add', userId: ada, insteadOf: ben, startsAt: inMs(-hour), endsAt: inMs(-2 * hour), x: 1 });
    expect(codesOf(bad)).toEqual(['/x unknown_field', '/endsAt wrong_order', '/insteadOf only_replace', '/endsAt in_the_past']);
    expect(codesOf(await post(path, { kind: 'add', userId: toWireId('user', theirs.ownerId), ...range }))).toEqual([
      '/userId unknown_user',
    ]);
    const { body: override } = await post(path, { kind: 'add', userId: ada, ...range });
    const { uuid } = parseWireId(override['id'])!;
    await inOrganization(api.orm, ours.id, (em) =>
      sql`update schedule_override set starts_at = now() - interval '2 h', ends_at = now() - interval '1 h' where id = ${uuid}`.execute(
        em.getKysely(),
      ),
    );
    expect((await remove(`${path}/${override['id']}`)).body['code']).toBe('wrong_state');
  });
});

describe('silences', () => {
  const silence = () => ({ matchers: [{ key: 'environment', op: '=', value: 'staging' }], endsAt: inMs(hour), comment: 'Load test' });

  test('begin at once or later, and say what has become of them', async () => {
    const now = await post('/silences', silence());
    expect([now.status, now.body]).toMatchObject([201, { state: 'active', comment: 'Load test', createdBy: ada, version: 1 }]);
    const { body: later } = await post('/silences', { ...silence(), startsAt: inMs(1000 * 60) });
    expect(later['state']).toBe('scheduled');
    const states = async (query: string) => (await get(`/silences?state=${query}`)).body['data'].map(({ id }: { id: string }) => id);
    expect(await states('active')).toEqual([now.body['id']]);
    expect(await states('active,scheduled')).toEqual([later['id'], now.body['id']]);
    expect((await remove(`/silences/${later['id']}`)).status).toBe(204);
    expect((await get(`/silences/${later['id']}`)).body).toMatchObject({
      state: 'cancelled',
      startsAt: later['startsAt'],
      endsAt: later['startsAt'],
    });
    expect((await remove(`/silences/${later['id']}`)).body['code']).toBe('wrong_state');
    expect(await states('cancelled')).toEqual([later['id']]);
  });

  test('end when a change or a cancellation says so', async () => {
    const { body } = await post('/silences', silence());
    const path = `/silences/${body['id']}`;
    const endsAt = inMs(29 * day);
    expect((await patch(path, { endsAt })).body).toMatchObject({ endsAt, version: 2, state: 'active' });
    expect(codesOf(await patch(path, { endsAt: inMs(31 * day) }))).toEqual(['/endsAt out_of_range']);
    expect(codesOf(await patch(path, { endsAt: inMs(-1000) }))).toEqual(['/endsAt out_of_range']);
    expect((await api.request('PATCH', path, { key: ours.key, headers: { 'If-Match': '"1"' }, body: { comment: 'x' } })).status).toBe(412);
    expect((await remove(path)).status).toBe(204);
    const { body: ended } = await get(path);
    expect(ended).toMatchObject({ state: 'cancelled', version: 3 });
    expect(Date.parse(ended['endsAt'])).toBeLessThanOrEqual(Date.now());
    expect((await patch(path, { endsAt: inMs(hour) })).body['code']).toBe('wrong_state');
  });

  test('tell all their faults at once', async () => {
    const answer = await post('/silences', { matchers: [], endsAt: inMs(-hour), comment: '  ', startsAt: inMs(-2 * hour), stop: true });
    expect(codesOf(answer)).toEqual(['/stop unknown_field', '/matchers too_small', '/endsAt out_of_range', '/comment required']);
    expect(codesOf(await post('/silences', { matchers: [], endsAt: 'tomorrow', comment: '' }))).toEqual([
      '/endsAt invalid_format',
      '/matchers too_small',
      '/comment required',
    ]);
    const matchers = [
      { key: 'projectId', op: '=', value: 'nope' },
      { key: 'colour', op: '=', value: 'x' },
    ];
    expect(codesOf(await post('/silences', { ...silence(), matchers }))).toEqual([
      '/matchers/0/value invalid_id',
      '/matchers/1/key unknown_key',
    ]);
  });

  test('show a project by its id', async () => {
    const { body: project } = await post('/projects', { name: 'P' });
    const matchers = [{ key: 'projectId', op: 'in', value: [project['id']] }];
    const { body } = await post('/silences', { ...silence(), matchers });
    expect((await get(`/silences/${body['id']}`)).body['matchers']).toEqual(matchers);
  });
});

test("another organization's calendars, schedules, overrides and silences are unknown, and stay as they are", async () => {
  const member = toWireId('user', theirs.ownerId);
  const { body: calendar } = await post('/calendars', businessHours, theirs);
  const { body: schedule } = await post('/schedules', weekly([member]), theirs);
  const { body: silence } = await post(
    '/silences',
    { matchers: [{ key: 'type', op: '=', value: 'x' }], endsAt: inMs(hour), comment: 'x' },
    theirs,
  );
  const overrides = `/schedules/${schedule['id']}/overrides`;
  const range = { startsAt: inMs(hour), endsAt: inMs(2 * hour) };
  const { body: override } = await post(overrides, { kind: 'add', userId: member, ...range }, theirs);
  for (const [path, change] of [
    [`/calendars/${calendar['id']}`, { name: 'x' }],
    [`/schedules/${schedule['id']}`, { name: 'x' }],
    [`/silences/${silence['id']}`, { comment: 'y' }],
  ] as const) {
    const before = await get(path, theirs);
    for (const { status } of [await get(path), await patch(path, change), await remove(path)]) expect([path, status]).toEqual([path, 404]);
    expect((await get(path, theirs)).body).toEqual(before.body);
  }
  const listed = await get(overrides, theirs);
  const attempts = [
    await get(overrides),
    await post(overrides, { kind: 'add', userId: ada, ...range }),
    await remove(`${overrides}/${override['id']}`),
    await get(`/schedules/${schedule['id']}/on-call`),
    await get(`/schedules/${schedule['id']}/shifts?from=${range.startsAt}&to=${range.endsAt}`),
  ];
  expect(attempts.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404]);
  expect((await get(overrides, theirs)).body).toEqual(listed.body);
});
