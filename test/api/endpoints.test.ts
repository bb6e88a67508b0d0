import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { endpoints } from '../../api/endpoints.ts';
import { inOrganization } from '../../db/tenant.ts';
import { parseWireId, toWireId } from '../../domain/id.ts';
import { createStage } from './escalation-stage.ts';
import { startApi } from './start-api.ts';
import type { TestAnswer, TestApi, TestOrganization } from './start-api.ts';

let api: TestApi;
let organization: TestOrganization;
let stage: ReturnType<typeof createStage>;
beforeAll(async () => {
  api = await startApi();
  organization = await api.buildOrganization();
  stage = createStage(api);
});
afterAll(() => api.stop());

const call = (method: string, path: string, body?: unknown) => api.request(method, path, { key: organization.key, body });
let count = 0;
const name = () => `thing ${(count += 1)}`;

const make = {
  project: async () => (await call('POST', '/projects', { name: name() })).body['id'],
  member: async () => (await call('POST', '/members', { email: `m${(count += 1)}@example.com` })).body['id'],
  account: async () => (await call('POST', '/service-accounts', { name: name(), permissions: [] })).body['id'],
  apiKey: async () => (await call('POST', '/api-keys', { name: name() })).body['id'],
  webhook: async () => (await call('POST', '/webhooks', { name: name(), url: 'http://127.0.0.1:9/', eventTypes: ['*'] })).body['id'],
  channel: async () => (await call('POST', '/channels', { name: name(), type: 'in_app' })).body['id'],
  rule: async () => (await call('POST', '/rules', { name: name() })).body['id'],
  eventType: async () => (await call('POST', '/event-types', { type: `thing.happened_${(count += 1)}` })).body['type'],
  silence: async () => (await call('POST', '/silences', silence())).body['id'],
  calendar: async () => (await call('POST', '/calendars', calendar())).body['id'],
  schedule: async () => (await call('POST', '/schedules', schedule())).body['id'],
  override: async () => {
    const path = `/schedules/${await make.schedule()}/overrides`;
    return `${path}/${(await call('POST', path, override())).body['id']}`;
  },
  policy: async () => (await call('POST', '/escalation-policies?force=true', await policy())).body['id'],
  policyTest: async () => {
    const path = `/escalation-policies/${await make.policy()}/tests`;
    return `${path}/${(await call('POST', path, policyTest())).body['id']}`;
  },
  integration: async () => (await call('POST', '/integrations', integration())).body['id'],
  sender: async () => {
    const settings = { host: '127.0.0.1', from: 'a@example.com' };
    const { body } = await call('POST', '/channels', { name: name(), type: 'email', settings });
    await call('PATCH', '/organization', { settings: { senderChannels: { email: body['id'] } } });
  },
  contactMethod: async () => (await call('POST', '/contact-methods', contactMethod())).body['id'],
  escalation: async () => (await stage.openEscalation(organization)).id,
  delivery: async () => {
    const webhook = await make.webhook();
    await call('POST', '/events', { type: 'job.failed' });
    return (await call('GET', `/deliveries?destination=${webhook}`)).body['data'][0].id;
  },
  failedDelivery: async () => {
    const id = await make.delivery();
    await call('POST', `/deliveries/${id}/cancel`);
    return id;
  },
  notification: async () => {
    await call('POST', '/events', { type: 'job.failed' });
    return (await call('GET', '/notifications')).body['data'][0].id;
  },
};

const later = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString();
const silence = () => ({ matchers: [{ key: 'type', op: '=', value: 'x' }], endsAt: later(1), comment: 'x' });
const calendar = () => ({ name: name(), timeZone: 'UTC', intervals: [{ weekdays: ['monday'] }] });
const owner = () => toWireId('user', organization.ownerId);
const schedule = () => ({
  name: name(),
  timeZone: 'UTC',
  layers: [{ rotations: [{ participants: [owner()], start: '2026-01-01T00:00', unit: 'day' }] }],
});
const override = () => ({ kind: 'add', userId: owner(), startsAt: later(1), endsAt: later(2) });
const policyTest = () => ({ name: name(), start: later(1), horizon: 'PT1H', events: [{ after: 'PT0S', type: 'job.failed' }] });
const policy = async () => ({ name: name(), tiers: [{ targets: [{ kind: 'webhook', id: await make.webhook() }] }] });
const integration = () => ({ name: name(), type: 'slack', settings: { teamId: 'T123', signingSecret: 'x'.repeat(32) } });
const contactMethod = () => ({ channelType: 'email', address: `c${(count += 1)}@example.com` });

const alertmanagerCall = {
  version: '4',
  alerts: [{ status: 'firing', fingerprint: 'c6eadffa33fcdf37', labels: { alertname: 'DiskFull' } }],
};

/** How each audited operation is made to succeed. */
const recipes: Readonly<Record<string, () => Promise<TestAnswer>>> = {
  'event.ingest': () => call('POST', '/events', { type: 'job.failed' }),
  'event.ingest_alertmanager': () => call('POST', '/intake/alertmanager', alertmanagerCall),
  'event.ingest_batch': () => call('POST', '/events/batch', { events: [{ type: 'job.failed' }] }),
  'event_type.create': () => call('POST', '/event-types', { type: `thing.happened_${(count += 1)}` }),
  'event_type.update': async () => call('PATCH', `/event-types/${await make.eventType()}`, { effect: 'open' }),
  'event_type.delete': async () => call('DELETE', `/event-types/${await make.eventType()}`),
  'rule.create': () => call('POST', '/rules', { name: name() }),
  'rule.update': async () => call('PATCH', `/rules/${await make.rule()}`, { enabled: false }),
  'rule.delete': async () => call('DELETE', `/rules/${await make.rule()}`),
  'silence.create': () => call('POST', '/silences', silence()),
  'silence.update': async () => call('PATCH', `/silences/${await make.silence()}`, { comment: 'y' }),
  'silence.cancel': async () => call('DELETE', `/silences/${await make.silence()}`),
  'calendar.create': () => call('POST', '/calendars', calendar()),
  'calendar.update': async () => call('PATCH', `/calendars/${await make.calendar()}`, { holidays: ['2026-12-25'] }),
  'calendar.delete': async () => call('DELETE', `/calendars/${await make.calendar()}`),
  'schedule.create': () => call('POST', '/schedules', schedule()),
  'schedule.update': async () => call('PATCH', `/schedules/${await make.schedule()}`, { timeZone: 'Europe/Berlin' }),
  'schedule.delete': async () => call('DELETE', `/schedules/${await make.schedule()}`),
  'override.create': async () => call('POST', `/schedules/${await make.schedule()}/overrides`, override()),
  'override.delete': async () => call('DELETE', await make.override()),
  'escalation_policy.create': async () => call('POST', '/escalation-policies', await policy()),
  'escalation_policy.update': async () => call('PATCH', `/escalation-policies/${await make.policy()}`, { enabled: false }),
  'policy_test.create': async () => call('POST', `/escalation-policies/${await make.policy()}/tests`, policyTest()),
  'policy_test.replace': async () => call('PUT', await make.policyTest(), policyTest()),
  'policy_test.delete': async () => call('DELETE', await make.policyTest()),
  'escalation_policy.delete': async () => call('DELETE', `/escalation-policies/${await make.policy()}`),
  'escalation.acknowledge': async () => call('POST', `/escalations/${await make.escalation()}/acknowledge`),
  'escalation.unacknowledge': async () => call('POST', `/escalations/${await make.escalation()}/unacknowledge`),
  'escalation.resolve': async () => call('POST', `/escalations/${await make.escalation()}/resolve`),
  'escalation.escalate': async () => call('POST', `/escalations/${await make.escalation()}/escalate`, { expected: { round: 1, tier: 1 } }),
  'escalation.snooze': async () => call('POST', `/escalations/${await make.escalation()}/snooze`, { for: 'PT1H' }),
  'escalation.reassign': async () => call('POST', `/escalations/${await make.escalation()}/reassign`, { policyId: await make.policy() }),
  'escalation.rebase': async () => call('POST', `/escalations/${await make.escalation()}/rebase`, { policyVersion: 1 }),
  'integration.create': () => call('POST', '/integrations', integration()),
  'integration.update': async () => call('PATCH', `/integrations/${await make.integration()}`, { active: false }),
  'integration.delete': async () => call('DELETE', `/integrations/${await make.integration()}`),
  'contact_method.create': () => call('POST', '/contact-methods', contactMethod()),
  'contact_method.update': async () => call('PATCH', `/contact-methods/${await make.contactMethod()}`, { page: true }),
  'contact_method.delete': async () => call('DELETE', `/contact-methods/${await make.contactMethod()}`),
  'contact_method.send_code': async () => {
    const id = await make.contactMethod();
    await make.sender();
    return call('POST', `/contact-methods/${id}/send-code`);
  },
  'contact_method.verify': async () => {
    const id = await make.contactMethod();
    await make.sender();
    await call('POST', `/contact-methods/${id}/send-code`);
    await inOrganization(api.orm, organization.id, (em) =>
      sql`update contact_code set code_hash = sha256(convert_to(${'tocsin-contact-code\n'} || id || ${'\n271828'}, 'UTF8'))`.execute(
        em.getKysely(),
      ),
    );
    return call('POST', `/contact-methods/${id}/verify`, { code: '271828' });
  },
  'preference.replace': () => call('PUT', '/preferences', { rules: [] }),
  'preference.organization.replace': () => call('PUT', '/organization/preferences', { rules: [] }),
  'preference.project.replace': async () => call('PUT', `/projects/${await make.project()}/preferences`, { rules: [] }),
  'channel.create': () => call('POST', '/channels', { name: name(), type: 'in_app' }),
  'channel.update': async () => call('PATCH', `/channels/${await make.channel()}`, { active: false }),
  'channel.delete': async () => call('DELETE', `/channels/${await make.channel()}`),
  'channel.test': async () => call('POST', `/channels/${await make.channel()}/test`),
  'webhook.create': () => call('POST', '/webhooks', { name: name(), url: 'http://127.0.0.1:9/', eventTypes: ['*'] }),
  'webhook.update': async () => call('PATCH', `/webhooks/${await make.webhook()}`, { active: false }),
  'webhook.delete': async () => call('DELETE', `/webhooks/${await make.webhook()}`),
  'webhook.test': async () => call('POST', `/webhooks/${await make.webhook()}/test`),
  'webhook.rotate_secret': async () => call('POST', `/webhooks/${await make.webhook()}/rotate-secret`),
  'webhook.view_secret': async () => call('GET', `/webhooks/${await make.webhook()}/secret`),
  'delivery.retry': async () => call('POST', `/deliveries/${await make.failedDelivery()}/retry`),
  'delivery.cancel': async () => call('POST', `/deliveries/${await make.delivery()}/cancel`),
  'delivery.claim': async () => call('POST', `/deliveries/${await make.delivery()}/claim`),
  'delivery.release': async () => call('DELETE', `/deliveries/${await make.delivery()}/claim`),
  'notification.read': async () => call('POST', `/notifications/${await make.notification()}/read`),
  'notification.unread': async () => call('POST', `/notifications/${await make.notification()}/unread`),
  'notification.broadcast': () => call('POST', '/notifications/broadcast', { subject: 'Maintenance at noon', audience: 'all' }),
  'notification.read_all': () => call('POST', '/notifications/mark-all-read'),
  'stream_ticket.create': () => call('POST', '/stream/tickets'),
  'organization.update': () => call('PATCH', '/organization', { name: 'Renamed' }),
  'project.create': () => call('POST', '/projects', { name: name() }),
  'project.update': async () => call('PATCH', `/projects/${await make.project()}`, { description: 'x' }),
  'project.delete': async () => call('DELETE', `/projects/${await make.project()}`),
  'member.invite': () => call('POST', '/members', { email: `m${(count += 1)}@example.com` }),
  'member.update': async () => call('PATCH', `/members/${await make.member()}`, { name: 'Ada' }),
  'member.disable': async () => call('POST', `/members/${await make.member()}/disable`),
  'member.enable': async () => {
    const id = await make.member();
    await call('POST', `/members/${id}/disable`);
    return call('POST', `/members/${id}/enable`);
  },
  'member.remove': async () => call('DELETE', `/members/${await make.member()}`),
  'service_account.create': () => call('POST', '/service-accounts', { name: name(), permissions: [] }),
  'service_account.update': async () => call('PATCH', `/service-accounts/${await make.account()}`, { description: 'x' }),
  'service_account.delete': async () => call('DELETE', `/service-accounts/${await make.account()}`),
  'api_key.create': () => call('POST', '/api-keys', { name: name() }),
  'api_key.rotate': async () => call('POST', `/api-keys/${await make.apiKey()}/rotate`),
  'api_key.revoke': async () => call('POST', `/api-keys/${await make.apiKey()}/revoke`),
  'api_key.delete': async () => call('DELETE', `/api-keys/${await make.apiKey()}`),
};

async function readAction(auditId: string): Promise<string | undefined> {
  return inOrganization(api.orm, organization.id, async (em) => {
    const query = sql<{ action: string }>`select action from audit.entry where id = ${parseWireId(auditId)!.uuid} and status <> 'blocked'`;
    return (await query.execute(em.getKysely())).rows[0]?.action;
  });
}

const audited = endpoints.filter((endpoint) => endpoint.audited);

describe('every operation that changes something', () => {
  test.each(audited.map((endpoint) => [endpoint.name]))('%s leaves an audit entry of that noun, named in the answer', async (operation) => {
    const recipe = recipes[operation];
    if (recipe === undefined) throw new Error(`Say in this test how ${operation} is called`);
    const answer = await recipe();
    expect(answer.status).toBeLessThan(300);
    const [first] = (answer.headers.get('tocsin-audit-id') ?? '').split(', ');
    const action = await readAction(first!);
    expect(action?.split('.')[0]).toBe(operation.split('.')[0]);
  });
});

const fill = (path: string) =>
  path.replaceAll('{id}', toWireId('event', '0198c0de-0000-7000-8000-000000000001')).replaceAll(/\{\w+\}/g, 'x');

describe('every operation', () => {
  test('refuses who shows no key', async () => {
    for (const { method, path } of endpoints)
      expect([path, (await api.request(method.toUpperCase(), fill(path))).status]).toEqual([path, 401]);
  });

  test('refuses a key without its permission before it looks at anything else', async () => {
    const key = await api.buildKey(organization, []);
    for (const { method, path, permission } of endpoints.filter((each) => each.permission !== 'authenticated')) {
      const answer = await api.request(method.toUpperCase(), fill(path), { key });
      expect([path, answer.status, answer.body['detail']]).toEqual([path, 403, `This needs the permission ${permission}.`]);
    }
  });

  test('has a name, and a path with its method, of its own', () => {
    const names = endpoints.map((each) => each.name);
    const routes = endpoints.map(({ method, path }) => `${method} ${path}`);
    expect(new Set(names).size).toBe(names.length);
    expect(new Set(routes).size).toBe(routes.length);
    for (const each of names) expect(each).toMatch(/^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,3}$/);
  });

  test('that has a path parameter answers 404 for what is no id', async () => {
    for (const { method, path } of endpoints.filter((each) => each.path.includes('{') && each.body === undefined)) {
      const answer = await api.request(method.toUpperCase(), path.replaceAll(/\{\w+\}/g, 'nonsense'), { key: organization.key });
      expect([path, answer.status]).toEqual([path, 404]);
    }
  });
});
