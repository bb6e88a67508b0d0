import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { pipelineInOrganization } from '../../db/pipeline.ts';
import { releaseUpdates, releaseWaitingUpdates } from '../../db/queries/escalation-update.ts';
import { fromWireId, toWireId } from '../../domain/id.ts';
import { createStage, type OpenEscalation } from '../api/escalation-stage.ts';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let stage: ReturnType<typeof createStage>;
let relayOrm: MikroORM;
let database: pg.Client;
/** UUIDs of members who are paged by e-mail, by name. */
let people: Record<'ann' | 'bob', { id: string; key: string }>;
beforeAll(async () => {
  api = await startApi();
  stage = createStage(api);
  relayOrm = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_relay', poolMax: 2 });
  database = new pg.Client({ connectionString: api.databaseUrl });
  await database.connect();
});
beforeEach(async () => {
  ours = await api.buildOrganization();
  const settings = { host: 'mail.example.com', from: 'tocsin@example.com' };
  const sender = await build('/channels', { name: 'sender', type: 'email', settings });
  await api.request('PATCH', '/organization', { key: ours.key, body: { settings: { senderChannels: { email: sender } } } });
  people = { ann: await api.buildMember(ours, 'operator'), bob: await api.buildMember(ours, 'operator') };
  for (const [name, { id }] of Object.entries(people)) await query('update member set name = $2 where id = $1', [id, name]);
});
afterAll(async () => {
  await database.end();
  await relayOrm.close(true);
  await api.stop();
});

async function query<T extends object = Record<string, unknown>>(text: string, values: unknown[] = []): Promise<T[]> {
  return (await database.query<T>(text, values)).rows;
}

async function build(path: string, body: object): Promise<string> {
  const answer = await api.request('POST', path, { key: ours.key, body });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.body['id'];
}

let channels = 0;
const slack = async (followUp: boolean) =>
  build('/channels', {
    name: `slack ${(channels += 1)}`,
    type: 'slack',
    settings: { webhookUrl: 'https://hooks.slack.com/services/T/B/X', followUp },
  });
const webhookChannel = async () =>
  build('/channels', { name: `web ${(channels += 1)}`, type: 'webhook', settings: { url: 'http://127.0.0.1:9/' } });
const webhook = async (eventTypes: string[]) =>
  build('/webhooks', { name: `hook ${(channels += 1)}`, url: 'http://127.0.0.1:9/', eventTypes });

const user = (name: keyof typeof people) => ({ kind: 'user', id: toWireId('user', people[name].id) });
const channel = (id: string) => ({ kind: 'channel', id });

interface Opening {
  followUp?: 'in_place' | 'all' | 'none';
  targets?: object[];
  /** Targets of tier 2, by default another webhook. */
  then?: object[];
  policy?: object;
}

async function open({ followUp = 'all', targets = [user('ann'), user('bob')], then, policy = {} }: Opening = {}): Promise<OpenEscalation> {
  const second = then ?? [{ kind: 'webhook', id: await webhook(['job.completed']) }];
  return stage.openEscalation(ours, { policy: { followUp, tiers: [{ targets }, { targets: second }], ...policy } });
}

/** As if the worker had sent, or was sending, every page that is not under way yet. */
async function page(escalation: OpenEscalation, state: 'delivered' | 'in_flight' | 'failed', which = 'true'): Promise<void> {
  await query(
    `update delivery set state = $2, finished_at = case when $2 <> 'in_flight' then now() end
      where escalation_id = $1 and firing is not null and state = 'pending' and ${which}`,
    [escalation.uuid, state],
  );
}

interface Update {
  id: string;
  /** A name, or the type of channel that it goes to. */
  to: string;
  eventType: string;
  state: string;
  reason: string | null;
  news: { change: string; by: { id: string } | null };
  original: string;
}

async function updatesOf({ uuid }: OpenEscalation): Promise<Update[]> {
  return query<Update>(
    `select d.id, coalesce(m.name, d.destination_kind || ' ' || d.channel_type) as to, d.event_type as "eventType", d.state,
        coalesce(d.error_code, d.hold_reason) as reason, d.news, d.update_of as original
      from delivery d left join contact_method c on c.id = d.contact_method_id left join member m on m.id = c.user_id
      where d.escalation_id = $1 and d.purpose = 'escalation_update' order by d.created_at, d.event_type, coalesce(m.name, d.channel_type)`,
    [uuid],
  );
}

/** Whom updates reach, and of what they tell. */
const told = async (escalation: OpenEscalation): Promise<string[]> =>
  (await updatesOf(escalation)).filter(({ state }) => state !== 'cancelled').map(({ to, eventType }) => `${to}: ${eventType}`);

interface Notice {
  name: string;
  type: string;
  message: string | null;
}

async function noticesOf({ uuid }: OpenEscalation): Promise<Notice[]> {
  return query<Notice>(
    `select m.name, n.type, n.message from notification n join member m on m.id = n.user_id where n.escalation_id = $1 order by m.name, n.id`,
    [uuid],
  );
}

describe('after an acknowledgement', () => {
  test('everybody who was reached is told once, but for who acknowledged and whom no page reached', async () => {
    const cleo = await api.buildMember(ours, 'operator');
    const escalation = await open({ targets: [user('ann'), user('bob'), { kind: 'user', id: toWireId('user', cleo.id) }] });
    const unreached = `contact_method_id in (select id from contact_method where user_id = '${cleo.id}')`;
    await page(escalation, 'failed', unreached);
    await page(escalation, 'delivered');
    await escalation.command('acknowledge', {}, { key: people.ann.key });
    const updates = await updatesOf(escalation);
    expect(updates).toMatchObject([
      {
        to: 'bob',
        eventType: 'escalation.acknowledged',
        state: 'pending',
        news: { kind: 'change', change: 'acknowledged', by: { type: 'user', id: people.ann.id }, round: 1, tier: 1 },
      },
    ]);
    const [original] = await query('select purpose, contact_method_id from delivery where id = $1', [updates[0]!.original]);
    const [update] = await query('select contact_method_id, firing from delivery where id = $1', [updates[0]!.id]);
    expect(original).toEqual({ purpose: 'page', contact_method_id: update!['contact_method_id'] });
    expect(update!['firing']).toBeNull();
    await escalation.command('acknowledge');
    expect(await updatesOf(escalation)).toHaveLength(1);
  });

  test.each<[NonNullable<Opening['followUp']>, string[], boolean]>([
    ['all', ['channel email', 'channel slack', 'channel webhook', 'webhook webhook'], true],
    ['in_place', ['channel webhook', 'webhook webhook'], true],
    ['none', ['channel webhook', 'webhook webhook'], false],
  ])('follow_up %s reaches %j', async (followUp, reached, isChanged) => {
    const hook = await webhook(['job.completed']);
    const lists = { host: 'mail.example.com', from: 'tocsin@example.com', to: ['list@example.com'] };
    const list = await build('/channels', { name: 'list', type: 'email', settings: lists });
    const channels = [list, await slack(true), await slack(false), await webhookChannel()].map(channel);
    const escalation = await open({ followUp, targets: [user('bob'), ...channels, { kind: 'webhook', id: hook }] });
    await page(escalation, 'delivered');
    await escalation.command('acknowledge', {}, { key: people.bob.key });
    expect((await updatesOf(escalation)).map(({ to }) => to).toSorted()).toEqual(reached);
    const other = await open({ followUp });
    await other.command('acknowledge');
    expect(await noticesOf(other)).toMatchObject(
      ['ann', 'bob'].map((name) =>
        isChanged
          ? { name, type: 'escalation.acknowledged', message: 'Acknowledged by owner: nobody else is paged' }
          : { name, type: 'escalation.triggered', message: null },
      ),
    );
  });

  test('what is shown in the app changes in place and is no news: not even unread again, and not for who acknowledged', async () => {
    const escalation = await open({ followUp: 'in_place' });
    const { body: before } = await api.request('GET', '/notifications', { key: people.bob.key });
    const { id, createdAt } = before['data'].find(({ type }: { type: string }) => type === 'escalation.triggered');
    await api.request('POST', `/notifications/${id}/read`, { key: people.bob.key });
    await escalation.command('acknowledge', {}, { key: people.ann.key });
    const { body: after } = await api.request('GET', '/notifications', { key: people.bob.key });
    expect(after['data']).toHaveLength(before['data'].length);
    const item = after['data'].find((one: { id: string }) => one.id === id);
    expect(item).toMatchObject({
      escalationId: escalation.id,
      message: 'Acknowledged by ann: nobody else is paged',
      createdAt,
      readAt: expect.any(String),
    });
    expect((await noticesOf(escalation))[0]).toEqual({ name: 'ann', type: 'escalation.triggered', message: null });
  });

  test('a webhook that gets the event anyhow gets it once; others get it because they were paged', async () => {
    const subscribed = await webhook(['escalation.*']);
    const paged = await webhook(['job.completed']);
    const targets = [subscribed, paged].map((id) => ({ kind: 'webhook', id }));
    const escalation = await open({ targets });
    await page(escalation, 'delivered');
    await escalation.command('acknowledge');
    const got = await query<{ destination: string; purpose: string | null; type: string }>(
      `select d.destination_id as destination, d.purpose, e.type from delivery d join event e on e.id = d.event_id
        where d.destination_id = any($1::uuid[]) and e.type = 'escalation.acknowledged' order by d.purpose nulls first`,
      [[subscribed, paged].map((id) => fromWireId('webhook', id))],
    );
    expect(got).toEqual([
      { destination: fromWireId('webhook', subscribed), purpose: null, type: 'escalation.acknowledged' },
      { destination: fromWireId('webhook', paged), purpose: 'escalation_update', type: 'escalation.acknowledged' },
    ]);
  });

  test('somebody who has left, or an address that was removed, is told nothing', async () => {
    const escalation = await open();
    await page(escalation, 'delivered');
    await api.request('POST', `/members/${toWireId('user', people.ann.id)}/disable`, { key: ours.key });
    await query(`update contact_method set deleted_at = now() where user_id = $1`, [people.bob.id]);
    await escalation.command('acknowledge');
    expect(await updatesOf(escalation)).toEqual([]);
  });

  test('who was paged in several rounds is told once, of the newest page', async () => {
    const escalation = await open();
    await page(escalation, 'delivered');
    await escalation.command('reassign', { targets: [user('bob')] });
    await page(escalation, 'delivered');
    await escalation.command('acknowledge');
    const acknowledged = (await updatesOf(escalation)).filter(({ eventType }) => eventType === 'escalation.acknowledged');
    expect(acknowledged.map(({ to }) => to)).toEqual(['ann', 'bob']);
    const firings = await query('select firing from delivery where id = any($1::uuid[]) order by firing', [
      acknowledged.map(({ original }) => original),
    ]);
    expect(firings).toEqual([{ firing: 1 }, { firing: 2 }]);
  });
});

describe('a page under way at the acknowledgement', () => {
  const release = async ({ uuid }: OpenEscalation) => {
    const pages = await query<{ id: string }>(`select id from delivery where escalation_id = $1 and firing is not null`, [uuid]);
    const [rows] = await pipelineInOrganization(api.orm, ours.id, [
      releaseUpdates(
        ours.id,
        pages.map(({ id }) => id),
        Date.now(),
      ),
    ]);
    return rows;
  };

  test.each([
    ['delivered', 'pending', null],
    ['failed', 'cancelled', 'original_not_delivered'],
    ['cancelled', 'cancelled', 'original_not_delivered'],
  ])('that ends %s makes its update %s', async (ending, state, reason) => {
    const escalation = await open({ targets: [user('bob')] });
    await page(escalation, 'in_flight');
    await escalation.command('acknowledge');
    expect(await updatesOf(escalation)).toMatchObject([{ to: 'bob', state: 'held', reason: 'original_open' }]);
    expect(await release(escalation)).toEqual([]);
    await query('update delivery set state = $2, finished_at = now() where escalation_id = $1 and firing is not null', [
      escalation.uuid,
      ending,
    ]);
    expect(await release(escalation)).toHaveLength(ending === 'delivered' ? 1 : 0);
    expect(await updatesOf(escalation)).toMatchObject([{ state, reason }]);
    expect(await release(escalation)).toEqual([]);
  });

  test('that is given up and arrives after all has its update sent after all', async () => {
    const escalation = await open({ targets: [user('bob')] });
    await page(escalation, 'in_flight');
    await escalation.command('acknowledge');
    const end = async (state: string) =>
      query('update delivery set state = $2, finished_at = now() where escalation_id = $1 and firing is not null', [
        escalation.uuid,
        state,
      ]);
    await end('cancelled');
    await release(escalation);
    await end('delivered');
    expect(await release(escalation)).toHaveLength(1);
    expect(await updatesOf(escalation)).toMatchObject([{ to: 'bob', state: 'pending', reason: null }]);
  });

  test('whose reader was reached by an earlier one is corrected however it ends', async () => {
    const escalation = await open({ targets: [user('bob')], then: [user('bob')] });
    await page(escalation, 'delivered');
    await escalation.command('escalate', { expected: { round: 1, tier: 1 } });
    await page(escalation, 'in_flight');
    await escalation.command('acknowledge');
    expect(await updatesOf(escalation)).toMatchObject([{ state: 'held' }]);
    await query(`update delivery set state = 'failed', finished_at = now() where escalation_id = $1 and firing = 2`, [escalation.uuid]);
    await release(escalation);
    expect(await updatesOf(escalation)).toMatchObject([{ to: 'bob', state: 'pending' }]);
  });

  test('that ends without an attempt is noticed by the relay', async () => {
    const escalation = await open({ targets: [user('ann'), user('bob')] });
    await page(escalation, 'in_flight');
    await escalation.command('acknowledge');
    const relay = async () => releaseWaitingUpdates(relayOrm.em.fork(), 100, Date.now());
    expect(await relay()).toEqual([]);
    await query(
      `update delivery set state = case when contact_method_id in (select id from contact_method where user_id = $2) then 'delivered' else 'cancelled' end,
        finished_at = now() where escalation_id = $1 and firing is not null`,
      [escalation.uuid, people.ann.id],
    );
    const released = await relay();
    const updates = await updatesOf(escalation);
    expect(updates).toMatchObject([
      { to: 'ann', state: 'pending' },
      { to: 'bob', state: 'cancelled' },
    ]);
    expect(released.map(({ id }) => id)).toEqual([updates[0]!.id]);
  });
});

describe('of several changes', () => {
  test('people read the last one, where it overtakes the others; webhooks get every one', async () => {
    const escalation = await open({ targets: [user('ann'), { kind: 'webhook', id: await webhook(['job.completed']) }] });
    await page(escalation, 'delivered');
    await escalation.command('acknowledge');
    await escalation.command('resolve');
    expect(await updatesOf(escalation)).toMatchObject([
      { to: 'ann', eventType: 'escalation.acknowledged', state: 'cancelled', reason: 'superseded' },
      { to: 'webhook webhook', eventType: 'escalation.acknowledged', state: 'pending' },
      { to: 'ann', eventType: 'escalation.resolved', state: 'pending' },
      { to: 'webhook webhook', eventType: 'escalation.resolved', state: 'pending' },
    ]);
  });

  test('an update that is being sent is the last thing tried of it', async () => {
    const escalation = await open({ targets: [user('ann')] });
    await page(escalation, 'delivered');
    await escalation.command('acknowledge');
    await query(`update delivery set state = 'in_flight' where escalation_id = $1 and purpose = 'escalation_update'`, [escalation.uuid]);
    await escalation.command('resolve');
    const rows = await query(
      `select state, cancel_requested from delivery where escalation_id = $1 and purpose = 'escalation_update' order by created_at`,
      [escalation.uuid],
    );
    expect(rows).toEqual([
      { state: 'in_flight', cancel_requested: true },
      { state: 'pending', cancel_requested: false },
    ]);
  });

  test('a restart tells those who were paged before, whatever it pages now', async () => {
    const escalation = await open();
    await page(escalation, 'delivered');
    await escalation.command('acknowledge', {}, { key: people.ann.key });
    await page(escalation, 'delivered', `purpose = 'escalation_update'`);
    await escalation.command('unacknowledge', {}, { key: people.ann.key });
    const restarted = (await updatesOf(escalation)).filter(({ eventType }) => eventType === 'escalation.triggered');
    expect(restarted).toMatchObject([{ to: 'bob', news: { change: 'restarted', reason: 'manual', by: { id: people.ann.id } } }]);
    expect(await noticesOf(escalation)).toMatchObject([
      { name: 'ann', message: null },
      { name: 'ann', message: null },
      { name: 'bob', message: 'The acknowledgement was taken back by ann: people are paged again' },
      { name: 'bob', message: null },
    ]);
  });

  test('exhaustion is told to all who were paged, by nobody', async () => {
    const escalation = await open({ policy: { repeat: null } });
    await page(escalation, 'delivered');
    await escalation.elapse();
    await page(escalation, 'delivered');
    await escalation.elapse();
    expect((await escalation.read())['state']).toBe('exhausted');
    expect(await told(escalation)).toEqual([
      'ann: escalation.exhausted',
      'bob: escalation.exhausted',
      'webhook webhook: escalation.exhausted',
    ]);
    expect((await updatesOf(escalation))[0]!.news).toMatchObject({ change: 'exhausted', by: null });
  });

  test('an end that only time brought is no news to people', async () => {
    const hook = { kind: 'webhook', id: await webhook(['job.completed']) };
    const escalation = await open({ targets: [user('ann'), hook], policy: { hardStop: 'PT1H' } });
    await page(escalation, 'delivered');
    await escalation.command('acknowledge', {}, { key: people.ann.key });
    await escalation.elapse();
    expect(await escalation.read()).toMatchObject({ state: 'resolved', resolveReason: 'expired' });
    expect(await told(escalation)).toEqual(['webhook webhook: escalation.acknowledged', 'webhook webhook: escalation.resolved']);
  });
});

test('the end of the problem itself is told like a command, and started by the relay', async () => {
  const escalation = await open();
  await page(escalation, 'delivered');
  const [problem] = await query<{ dedup_key: string }>('select dedup_key from event where id = $1', [
    fromWireId('event', escalation.eventId),
  ]);
  const resolved = { type: 'alert.resolved', dedupKey: problem!.dedup_key };
  expect((await api.request('POST', '/events', { key: ours.key, body: resolved })).status).toBe(202);
  expect((await escalation.read())['state']).toBe('resolved');
  expect(await told(escalation)).toEqual(['ann: escalation.resolved', 'bob: escalation.resolved']);
  expect((await noticesOf(escalation)).map(({ message }) => message)).toEqual(Array(2).fill('Resolved: nothing is wrong any more'));
});

test('a problem that begins and ends in one batch pages nobody and tells nobody', async () => {
  const escalation = await open();
  await escalation.command('resolve');
  const body = {
    events: ['alert.fired', 'alert.resolved'].map((type) => ({ type, dedupKey: 'short', subject: 'Short', labels: { group: 'short' } })),
  };
  const trigger = { matchers: [{ key: 'label.group', op: '=', value: 'short' }] };
  await stage.buildPolicy(ours, { followUp: 'all', trigger, tiers: [{ targets: [user('ann')] }] });
  await api.request('POST', '/events/batch', { key: ours.key, body });
  const [short] = await query<{ id: string; status: string }>(`select id, status from escalation where subject = 'Short'`);
  expect(short!.status).toBe('resolved');
  const deliveries = await query('select purpose, state, error_code, next_attempt_at from delivery where escalation_id = $1', [short!.id]);
  expect(deliveries).toEqual([{ purpose: 'page', state: 'cancelled', error_code: 'cancelled_by_resolve', next_attempt_at: null }]);
});

test('what a person did in a channel is not told to that channel', async () => {
  const channels = [await slack(true), await slack(true)];
  const escalation = await open({ targets: channels.map(channel) });
  await page(escalation, 'delivered');
  const origin = fromWireId('channel', channels[0]!)!;
  await api.deps.changeEscalation({
    organizationId: ours.id,
    escalationId: escalation.uuid,
    at: Date.now(),
    mayClose: false,
    input: () => ({
      kind: 'command',
      escalationId: escalation.uuid,
      command: { name: 'acknowledge', extend: false },
      by: { userId: ours.ownerId, proof: 'slack_signature' },
    }),
    by: { actor: { type: 'user', id: ours.ownerId }, proof: 'slack_signature', originId: origin },
  });
  const reached = await query(`select destination_id from delivery where escalation_id = $1 and purpose = 'escalation_update'`, [
    escalation.uuid,
  ]);
  expect(reached).toEqual([{ destination_id: fromWireId('channel', channels[1]!) }]);
});

test('a snooze changes nothing that people have to know, and lets what they were told arrive', async () => {
  const escalation = await open();
  await page(escalation, 'delivered');
  await escalation.command('acknowledge');
  await escalation.command('snooze', { for: 'PT1H' });
  expect(await told(escalation)).toEqual(['ann: escalation.acknowledged', 'bob: escalation.acknowledged']);
});

test('a channel in the app calls nobody, and everybody reads there what is so', async () => {
  const inApp = await build('/channels', { name: 'bell', type: 'in_app', settings: {} });
  const escalation = await open({ targets: [channel(inApp), user('ann')], policy: { followUp: 'in_place' } });
  const pages = await query('select channel_type from delivery where escalation_id = $1', [escalation.uuid]);
  expect(pages).toEqual([{ channel_type: 'email' }]);
  await escalation.command('acknowledge', {}, { key: people.ann.key });
  const shown = await query('select user_id, message from notification where escalation_id = $1 order by user_id nulls first', [
    escalation.uuid,
  ]);
  expect(shown).toEqual([
    { user_id: null, message: 'Acknowledged by ann: nobody else is paged' },
    { user_id: people.ann.id, message: null },
  ]);
});
