import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import pg from 'pg';
import { createDestinations } from '../../activities/destination.ts';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { createFactsCache } from '../../db/queries/routing-facts.ts';
import { createSecretBox } from '../../db/secrets.ts';
import { createSequencer } from '../../db/sequencer.ts';
import { inOrganization } from '../../db/tenant.ts';
import { fromWireId, toWireId } from '../../domain/id.ts';
import { createEgress, type Egress } from '../../egress/guard.ts';
import type { ChangedEscalation } from '../../temporal/escalation-starter.ts';
import { startWatchdog, type Watchdog } from '../../watchdog/watchdog.ts';
import { createStage } from '../api/escalation-stage.ts';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';
import { startHttpReceiver, type HttpReceiver } from '../receivers/http.ts';
import { startSmtpReceiver, type SmtpReceiver } from '../receivers/smtp.ts';

/** Without Temporal and without a worker: nothing here happens unless the watchdog does it. */

const alarmAfterMs = 300;
const secretKeys = [{ id: 'test', key: randomBytes(32) }];
const logged: Array<Record<string, unknown>> = [];
const note = (unit: string, fields: Record<string, unknown>): void => void logged.push({ ...fields, unit });
const log = { debug: note, info: note, warn: note, error: note };

let api: TestApi;
let mail: SmtpReceiver;
let http: HttpReceiver;
let egress: Egress;
let relayOrm: MikroORM;
let watchdog: Watchdog;
let organization: TestOrganization;
let stage: ReturnType<typeof createStage>;
let nudged: ChangedEscalation[] = [];
let beats = 0;
let isLeader = true;

beforeAll(async () => {
  [api, mail, http] = await Promise.all([
    startApi({ secretKeys, deps: { minIntervalMs: 50 } }),
    startSmtpReceiver({ security: 'none' }),
    startHttpReceiver(),
  ]);
  relayOrm = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_relay', poolMax: 2 });
  egress = createEgress({ allow: ['127.0.0.1'], deniedTargets: [], requireHttps: false, now: Date.now, log });
  watchdog = startWatchdog({
    orm: api.orm,
    relayOrm,
    facts: createFactsCache(),
    destinations: createDestinations({ orm: api.orm, secrets: createSecretBox(secretKeys), publicUrl: 'http://tocsin.example' }),
    egress,
    escalations: { wake: (all) => void nudged.push(...all) },
    isLeader: async () => isLeader,
    // Looks when it is told to.
    everyMs: 3_600_000,
    nudgeAfterMs: alarmAfterMs / 2,
    alarmAfterMs,
    heartbeat: { everyMs: 0, send: async () => void (beats += 1) },
    workerId: '00000000-0000-7000-8000-000000000001',
    log,
  });
  stage = createStage(api);
});
afterAll(async () => {
  await watchdog.stop();
  await egress.close();
  await relayOrm.close(true);
  await Promise.all([api.stop(), mail.close(), http.close()]);
});

beforeEach(async () => {
  await clear();
  organization = await api.buildOrganization('Ours');
  nudged = [];
  logged.length = 0;
});

/** Nothing is late any more, in any organization. */
async function clear(): Promise<void> {
  const client = new pg.Client({ connectionString: api.databaseUrl });
  await client.connect();
  await client.query(`update escalation set due_at = null`);
  await client.query(`update silence_clock set due_at = null`);
  await client.query(`update delivery set next_attempt_at = null, state = 'cancelled', finished_at = now() where finished_at is null`);
  await client.end();
}

/** Gives all audit entries their index. */
async function sequence(): Promise<void> {
  const orm = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_sequencer', poolMax: 2 });
  const sequencer = createSequencer({ orm, log });
  sequencer.start();
  while ((await sequencer.lag()).entries > 0) await sleep(20);
  await sequencer.stop();
  await orm.close(true);
}

async function query<T>(statement: ReturnType<typeof sql<T>>): Promise<T[]> {
  return inOrganization(api.orm, organization.id, async (em) => (await statement.execute(em.getKysely())).rows);
}

const call = async (method: string, path: string, body?: unknown, { key }: { key: string } = organization) =>
  (await api.request(method, path, { key, ...(body === undefined ? {} : { body }) })).body;

async function buildSender(): Promise<string> {
  const settings = { host: mail.host, port: mail.port, security: 'none', from: 'tocsin@example.com' };
  const { id } = await call('POST', '/channels', { name: 'sender', type: 'email', settings });
  await call('PATCH', '/organization', { settings: { senderChannels: { email: id } } });
  return id;
}

/** An escalation whose second tier was due a while ago. */
async function openLate(policy: object = {}) {
  const tier = { targets: [{ kind: 'webhook', id: await stage.buildWebhook(organization) }], timeout: 'PT0.05S' };
  const escalation = await stage.openEscalation(organization, { policy: { tiers: [tier, tier], ...policy } });
  await sleep(alarmAfterMs + 100);
  return escalation;
}

/** Mails of this organization's escalation, by whom they went to. */
const mailed = async (escalation: { read(): Promise<Record<string, unknown>> }): Promise<string[]> => {
  const { subject } = await escalation.read();
  return mail.mails.filter(({ raw }) => raw.includes(String(subject))).flatMap(({ to }) => to);
};

test('an escalation that is late is told to Temporal again, and to the fallback by another way, once', async () => {
  await buildSender();
  const { id } = await api.buildMember(organization, 'member');
  await query(sql`update member set email = 'last@example.com', email_key = 'last@example.com' where id = ${id}`);
  const escalation = await openLate({ fallback: [{ kind: 'user', id: toWireId('user', id) }] });
  await watchdog.look();
  expect(nudged.map(({ escalationId }) => escalationId)).toEqual([escalation.uuid]);
  expect(await mailed(escalation)).toEqual(['last@example.com']);
  await watchdog.look();
  expect(await mailed(escalation)).toEqual(['last@example.com']);

  const { data: timeline } = await escalation.read('/timeline');
  expect(timeline.filter(({ kind }: { kind: string }) => kind === 'watchdog')).toHaveLength(1);
  const { data: notified } = await call('GET', `/audit-logs?action=escalation.notify&resourceId=${escalation.id}`);
  expect(notified).toHaveLength(2);
  const { data: attempts } = await call('GET', '/audit-logs?action=delivery.attempt');
  expect(attempts).toMatchObject([{ status: 'success', actor: { type: 'system' } }]);
});

test('the organization hears of it: one event while it lasts, in the app for those who look after it', async () => {
  await openLate();
  await watchdog.look();
  await watchdog.look();
  const late = async () => (await call('GET', '/events?type=watchdog.late'))['data'];
  expect(await late()).toMatchObject([{ type: 'watchdog.late', severity: 'high', source: 'tocsin' }]);
  const { data: feed } = await call('GET', '/notifications');
  expect(feed.filter(({ type }: { type: string }) => type === 'watchdog.late')).toHaveLength(1);
  const { key } = await api.buildMember(organization, 'member');
  expect((await call('GET', '/notifications', undefined, { key }))['data'].map(({ type }: { type: string }) => type)).not.toContain(
    'watchdog.late',
  );
  await clear();
  await watchdog.look();
  await openLate();
  await watchdog.look();
  expect(await late()).toHaveLength(2);
});

test('nobody of those who look after it can switch off the mail about it', async () => {
  await buildSender();
  await openLate();
  await watchdog.look();
  const mails = async () =>
    query(sql<{ address: string | null }>`select c.address from delivery d left join contact_method c on c.id = d.contact_method_id
      where d.purpose = 'mandatory' and d.event_type = 'watchdog.late'`);
  const [{ email }] = (await query(sql<{ email: string }>`select email from member where id = ${organization.ownerId}`)) as [
    { email: string },
  ];
  expect(await mails()).toEqual([{ address: email }]);
});

test('who cannot be reached by mail is stood in for by the address that the organization keeps', async () => {
  await buildSender();
  await call('PATCH', '/organization', { settings: { fallbackEmail: 'duty@example.com' } });
  await query(sql`update contact_method set verified_at = null where user_id = ${organization.ownerId}`);
  await openLate();
  await watchdog.look();
  const mails = await query(sql`select contact_method_id from delivery where purpose = 'mandatory' and event_type = 'watchdog.late'`);
  expect(mails).toEqual([{ contact_method_id: null }]);
});

test('without a fallback of the policy it goes to the address that the organization keeps for that', async () => {
  await buildSender();
  await call('PATCH', '/organization', { settings: { fallbackEmail: 'duty@example.com' } });
  const escalation = await openLate();
  await watchdog.look();
  await watchdog.look();
  expect(await mailed(escalation)).toEqual(['duty@example.com']);
});

test('a webhook that is the fallback gets the event, signed as always', async () => {
  http.script('/last', [], 204);
  const { id } = await call('POST', '/webhooks', { name: 'last', url: http.url('/last'), eventTypes: ['deployment.failed'] });
  const escalation = await openLate({ fallback: [{ kind: 'webhook', id }] });
  await watchdog.look();
  const [arrival, ...more] = http.arrivals.filter(({ path }) => path === '/last');
  expect(more).toEqual([]);
  expect(JSON.parse(arrival!.body.toString())).toMatchObject({ type: 'watchdog.late', data: { escalation_id: escalation.id } });
  expect(arrival!.headers['webhook-signature']).toMatch(/^v1,/);
});

test('when there is nobody to tell, the timeline and the audit log say so, once', async () => {
  const escalation = await openLate();
  await watchdog.look();
  await watchdog.look();
  const { data } = await escalation.read('/timeline');
  expect(data.filter(({ kind }: { kind: string }) => kind === 'watchdog')).toMatchObject([{ reason: 'no_recipients' }]);
});

test('what could not be sent is tried again, and no longer once it has arrived', async () => {
  await buildSender();
  await call('PATCH', '/organization', { settings: { fallbackEmail: 'duty@example.com' } });
  const escalation = await openLate();
  mail.script.data = { status: 451, message: 'later' };
  await watchdog.look();
  await watchdog.look();
  expect(await mailed(escalation)).toEqual([]);
  const attempts = async () =>
    (await call('GET', '/audit-logs?action=delivery.attempt'))['data'].map(({ status }: { status: string }) => status);
  expect(await attempts()).toEqual(['failure']);
  mail.script.data = undefined;
  await query(sql`update watchdog_alarm set next_at = now() - interval '1 s' where next_at is not null`);
  await watchdog.look();
  await query(sql`update watchdog_alarm set next_at = now() - interval '1 s' where next_at is not null`);
  await watchdog.look();
  expect(await mailed(escalation)).toEqual(['duty@example.com']);
  expect(await attempts()).toEqual(['success', 'failure']);
});

test('what is late a second time is told a second time', async () => {
  await buildSender();
  await call('PATCH', '/organization', { settings: { fallbackEmail: 'duty@example.com' } });
  const escalation = await openLate({ repeat: { every: 'PT0.05S', max: 3 } });
  await watchdog.look();
  await escalation.elapse();
  await sleep(alarmAfterMs + 100);
  await watchdog.look();
  expect(await mailed(escalation)).toEqual(['duty@example.com', 'duty@example.com']);
});

test('an acknowledgement that is committed is the end of it', async () => {
  await buildSender();
  await call('PATCH', '/organization', { settings: { fallbackEmail: 'duty@example.com' } });
  const escalation = await openLate();
  await escalation.command('acknowledge');
  await watchdog.look();
  expect(await mailed(escalation)).toEqual([]);
});

test('a silence and a delivery that are late raise the alarm too', async () => {
  await query(
    sql`insert into silence_clock (org_id, silence_id, due_at) values (${organization.id}, ${organization.id}, now() - interval '1 h')`,
  );
  const { id } = await call('POST', '/webhooks', { name: 'down', url: http.url('/down'), eventTypes: ['job.failed'] });
  await call('POST', '/events', { type: 'job.failed' });
  await query(sql`update delivery set next_attempt_at = now() - interval '1 h' where destination_id = ${fromWireId('webhook', id)!}`);
  await watchdog.look();
  const [event] = (await call('GET', '/events?type=watchdog.late'))['data'];
  expect((await call('GET', `/events/${event.id}`))['message']).toMatch(/^1 × (silence|delivery), .*; 1 × (silence|delivery), /);
});

test('the heartbeat is sent while nothing is late, and only then', async () => {
  const before = beats;
  await openLate();
  await watchdog.look();
  expect(beats).toBe(before);
  await clear();
  await sleep(alarmAfterMs);
  await watchdog.look();
  // Audit entries that wait for their index are late too.
  expect(beats).toBe(before);
  await sequence();
  await watchdog.look();
  expect(beats).toBe(before + 1);
});

test('of several one acts: the others look away', async () => {
  await openLate();
  isLeader = false;
  await watchdog.look();
  isLeader = true;
  expect([nudged, (await call('GET', '/events?type=watchdog.late'))['data']]).toEqual([[], []]);
});
