import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createAuthentication } from '../../api/authentication.ts';
import { createIntake } from '../../api/intake.ts';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { customTypeRules } from '../../domain/custom-event-type.ts';
import { createStage } from './escalation-stage.ts';
import { startApi, type TestAnswer, type TestApi, type TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(async () => {
  ours = await api.buildOrganization();
});

const call = async (method: string, path: string, body?: unknown, key = ours.key) => api.request(method, path, { key, body });
const failed = {
  type: 'payment.charge_failed',
  feed: 'alert',
  description: 'A charge failed',
  defaultSeverity: 'high',
  effect: 'open',
  aliases: ['payment.declined'],
};
const recovered = { type: 'payment.recovered', effect: 'resolve' };
const faultsOf = ({ body }: TestAnswer): string[] =>
  body['errors'].map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`).toSorted();

describe('an event type of one’s own', () => {
  test('is made, listed after the built-in ones, read, changed and deleted, each with its audit entry', async () => {
    const made = await call('POST', '/event-types', failed);
    expect([made.status, made.headers.get('etag')]).toEqual([201, '"1"']);
    expect(made.body).toMatchObject({
      ...failed,
      category: 'custom',
      family: 'payment',
      builtIn: false,
      postedByTocsin: false,
      version: 1,
    });
    const { data } = (await call('GET', '/event-types')).body;
    expect(data.at(-1)).toEqual(made.body);
    expect((await call('GET', '/event-types?category=custom')).body['data']).toEqual([made.body]);
    expect((await call('GET', '/event-types/payment.charge_failed')).body).toEqual(made.body);
    expect((await call('GET', '/event-types/deployment.failed')).body).toMatchObject({ builtIn: true, id: null });

    const change = { effect: 'occur', family: 'billing', aliases: ['payment.lost'] };
    const stale = await api.request('PATCH', '/event-types/payment.charge_failed', {
      key: ours.key,
      body: change,
      headers: { 'If-Match': '"7"' },
    });
    expect(stale.status).toBe(412);
    const changed = await call('PATCH', '/event-types/payment.charge_failed', change);
    expect(changed.body).toMatchObject({ ...failed, ...change, version: 2 });
    expect((await call('DELETE', '/event-types/payment.charge_failed')).status).toBe(204);
    expect((await call('GET', '/event-types/payment.charge_failed')).status).toBe(404);
    const entries = (await call('GET', `/audit-logs?resource=event_type:${made.body['id']}`)).body['data'];
    expect(entries.map(({ action }: { action: string }) => action).toSorted()).toEqual([
      'event_type.create',
      'event_type.delete',
      'event_type.update',
    ]);
  });

  test('is told all its faults at once', async () => {
    const bad = await call('POST', '/event-types', {
      type: 'Payment',
      category: 'operations',
      effect: 'explode',
      aliases: ['escalation.mine', 'ok.fine'],
      bogus: 1,
    });
    expect([bad.status, ...faultsOf(bad)]).toEqual([
      422,
      '/aliases/0 reserved_event_type',
      '/bogus unknown_field',
      '/category unknown_value',
      '/effect unknown_value',
      '/type invalid_format',
    ]);
    await call('POST', '/event-types', failed);
    expect(faultsOf(await call('PATCH', '/event-types/payment.charge_failed', { family: 'X', aliases: ['nope'] }))).toEqual([
      '/aliases/0 invalid_format',
      '/family invalid_format',
    ]);
  });

  test('shares one name space with all others: built-in, own, and their aliases', async () => {
    await call('POST', '/event-types', failed);
    for (const [type, aliases, taken] of [
      ['deployment.failed', [], '/type'],
      ['deployment.fail', [], '/type'],
      ['payment.charge_failed', [], '/type'],
      ['payment.declined', [], '/type'],
      ['payment.refused', ['payment.lost', 'payment.declined'], '/aliases/1'],
      ['payment.refused', ['drift.detected'], '/aliases/0'],
    ] as const) {
      const answer = await call('POST', '/event-types', { type, aliases });
      expect([type, answer.status, answer.body['code'], ...faultsOf(answer)]).toEqual([
        type,
        409,
        'duplicate_name',
        `${taken} duplicate_type`,
      ]);
    }
    await call('POST', '/event-types', recovered);
    expect((await call('PATCH', '/event-types/payment.recovered', { aliases: ['payment.declined'] })).status).toBe(409);
    const racers = await Promise.all(
      Array.from({ length: 6 }, async (_, i) => call('POST', '/event-types', { type: `race.no_${i}`, aliases: ['race.shared'] })),
    );
    expect(racers.map(({ status }) => status).toSorted()).toEqual([201, 409, 409, 409, 409, 409]);
    // what is deleted is free again
    await call('DELETE', '/event-types/payment.charge_failed');
    expect((await call('POST', '/event-types', failed)).status).toBe(201);
  });

  test('is one organization’s own', async () => {
    await call('POST', '/event-types', failed);
    const theirs = await api.buildOrganization('Theirs');
    for (const [method, body] of [['GET'], ['PATCH', { effect: 'occur' }], ['DELETE']] as const)
      expect((await call(method, '/event-types/payment.charge_failed', body, theirs.key)).status).toBe(404);
    expect((await call('POST', '/events', { type: failed.type }, theirs.key)).status).toBe(422);
    expect((await call('POST', '/event-types', failed, theirs.key)).status).toBe(201);
    const viewer = await api.buildKey(ours, ['events.view']);
    expect((await call('POST', '/event-types', recovered, viewer)).status).toBe(403);
    expect((await call('GET', '/event-types', undefined, viewer)).status).toBe(200);
  });

  test(`is one of at most ${customTypeRules.perOrganization}`, async () => {
    const values = Array.from({ length: customTypeRules.perOrganization }, (_, i) => `(gen_random_uuid(), '${ours.id}', 'bulk.n${i}')`);
    await api.orm.em.fork().transactional(async (em) => {
      await em.execute(`select set_config('app.org_id', '${ours.id}', true)`);
      await em.execute(`insert into custom_event_type (id, org_id, type, category, feed, description, default_severity, effect, family, created_at, updated_at)
        select v.id, v.org_id::uuid, v.type, 'custom', 'system', 'x', 'info', 'occur', 'bulk', now(), now() from (values ${values.join()}) as v (id, org_id, type)`);
    });
    expect((await call('POST', '/event-types', failed)).body['code']).toBe('wrong_state');
  });
});

describe('an event of such a type', () => {
  test('is what the type says, by alias too, and opens and resolves the problem of its family', async () => {
    const { buildPolicy } = createStage(api);
    const policyId = await buildPolicy(ours, { trigger: { categories: ['custom'] }, groupBy: ['dedupKey'] });
    for (const type of [failed, recovered]) expect((await call('POST', '/event-types', type)).status).toBe(201);
    const posted = await call('POST', '/events', { type: 'payment.declined', dedupKey: 'charge-7' });
    expect([posted.status, posted.body['status']]).toEqual([202, 'accepted']);
    expect((await call('GET', `/events/${posted.body['id']}`)).body).toMatchObject({
      type: 'payment.charge_failed',
      postedType: 'payment.declined',
      category: 'custom',
      severity: 'high',
      subject: 'A charge failed',
    });
    expect((await call('POST', '/events', { type: failed.type, dedupKey: 'charge-7' })).body['status']).toBe('duplicate');
    await call('POST', '/events', { type: recovered.type, dedupKey: 'charge-7' });
    expect((await call('GET', `/escalations?policyId=${policyId}`)).body['data']).toMatchObject([{ state: 'resolved' }]);
    const feed = (await call('GET', '/notifications?category=alert')).body['data'];
    expect(feed).toContainEqual(expect.objectContaining({ subject: 'A charge failed' }));
  });

  test('is known in every process as soon as it is made, and unknown as soon as it is deleted', async () => {
    const orm = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_app' });
    const { secrets, log } = api.deps;
    const intake = createIntake({
      escalations: { wake: () => undefined },
      groups: { wake: () => undefined },
      orm,
      secrets,
      starter: { offer: () => {} },
    });
    const other = await startApi({ deps: { orm, secrets, intake, authentication: createAuthentication({ orm, log }) } });
    const post = async (type: string) =>
      other.request('POST', '/events', { key: ours.key, body: { type, resource: { type: 'charge', id: '7' } } });
    try {
      expect((await post('job.failed')).status).toBe(202);
      expect((await post(failed.type)).status).toBe(422);
      await call('POST', '/event-types', failed);
      const first = await post(failed.type);
      expect(first.status).toBe(202);
      // It now belongs to another family, which the other process has not heard of: so it is another problem.
      await call('PATCH', '/event-types/payment.charge_failed', { family: 'billing' });
      const second = await post(failed.type);
      expect([second.body['status'], second.body['dedupKey'] === first.body['dedupKey']]).toEqual(['accepted', false]);
      await call('DELETE', '/event-types/payment.charge_failed');
      const gone = await post(failed.type);
      expect([gone.status, ...faultsOf(gone)]).toEqual([422, '/type unknown_event_type']);
      const batch = await other.request('POST', '/events/batch', {
        key: ours.key,
        body: { events: [{ type: 'job.failed' }, { type: failed.type }] },
      });
      expect(batch.body['data']).toMatchObject([{ status: 'accepted' }, { error: { status: 422 } }]);
    } finally {
      await other.stop();
      await orm.close(true);
    }
  });

  test('of no type is refused, unless the organization takes unknown ones', async () => {
    const event = { type: 'satellite.lost_contact' };
    expect((await call('POST', '/events', event)).status).toBe(422);
    await call('PATCH', '/organization', { settings: { acceptUnknownTypes: true } });
    const { body } = await call('POST', '/events', event);
    expect((await call('GET', `/events/${body['id']}`)).body).toMatchObject({
      ...event,
      category: 'custom',
      severity: 'info',
      subject: 'Satellite lost contact',
    });
    for (const type of ['escalation.lost', 'Satellite.lost', 'satellite'])
      expect((await call('POST', '/events', { type })).status).toBe(422);
    expect((await call('POST', '/rules', { name: 'Space', types: ['satellite.*', 'satellite.lost_contact'] })).status).toBe(201);
    await call('PATCH', '/organization', { settings: { acceptUnknownTypes: null } });
    expect((await call('POST', '/events', event)).status).toBe(422);
  });
});

describe('what names such a type', () => {
  test('names it by its canonical name, and a type that nobody has is refused in the same breath as other faults', async () => {
    const before = await call('POST', '/rules', { name: '', types: ['deployment.fail', 'payment.declined', 'payment.*', 'Payment'] });
    expect(faultsOf(before)).toEqual([
      '/name too_small',
      '/types/1 unknown_event_type',
      '/types/2 unknown_event_type',
      '/types/3 unknown_event_type',
    ]);
    await call('POST', '/event-types', failed);
    const rule = await call('POST', '/rules', { name: 'R', types: ['deployment.fail', 'payment.declined', 'payment.*'] });
    expect(rule.body['types']).toEqual(['deployment.failed', 'payment.charge_failed', 'payment.*']);
    const changed = await call('PATCH', `/rules/${rule.body['id']}`, { types: ['payment.declined', 'payment.charge_failed'] });
    expect(changed.body['types']).toEqual(['payment.charge_failed']);
  });

  test('keeps it from being deleted, and is told', async () => {
    await call('POST', '/event-types', failed);
    const stage = createStage(api);
    const rule = (await call('POST', '/rules', { name: 'By name', types: [failed.type] })).body;
    const hook = { name: 'By pattern', url: 'http://127.0.0.1:9/', eventTypes: ['payment.*'] };
    const webhook = (await call('POST', '/webhooks', hook)).body;
    const policy = await stage.buildPolicy(ours, { name: 'By alias', trigger: { types: ['payment.declined'] } });
    await call('PATCH', '/organization', { settings: { foreignTypes: { 'com.bank.Declined': 'payment.declined' } } });
    await call('POST', '/rules', { name: 'Everything', types: ['*'] });
    const refused = await call('DELETE', '/event-types/payment.charge_failed');
    expect([refused.status, refused.body['code']]).toEqual([409, 'in_use']);
    expect(refused.body['errors'].map(({ detail }: { detail: string }) => detail)).toEqual([
      `rule ${rule['id']} "By name"`,
      `webhook ${webhook['id']} "By pattern"`,
      `escalation policy ${policy} "By alias"`,
      expect.stringMatching(/^organization org_\w+ "com.bank.Declined"$/),
    ]);
    // by the pattern another one would be matched: it can stay
    await call('POST', '/event-types', recovered);
    await call('PATCH', `/rules/${rule['id']}`, { types: ['job.failed'] });
    await call('PATCH', `/escalation-policies/${policy}?force=true`, { trigger: { types: ['job.failed'] } });
    await call('PATCH', '/organization', { settings: { foreignTypes: { 'com.bank.Declined': null } } });
    expect((await call('DELETE', '/event-types/payment.charge_failed')).status).toBe(204);
    expect((await call('DELETE', '/event-types/payment.recovered')).status).toBe(409);
  });
});
