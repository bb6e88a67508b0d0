import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { toWireId } from '../../domain/id.ts';
import { createStage } from './escalation-stage.ts';
import { startApi } from './start-api.ts';
import type { TestAnswer, TestApi, TestOrganization } from './start-api.ts';

type Shown = TestAnswer['body'];

let api: TestApi;
let ours: TestOrganization;
let theirs: TestOrganization;
let stage: ReturnType<typeof createStage>;
/** On call: u1 alternates with u2, a day each from 2026-10-05 (a Monday) at 09:00 in Berlin. */
let schedule: string;
let users: string[];

beforeAll(async () => {
  api = await startApi();
  stage = createStage(api);
});
afterAll(() => api.stop());
beforeEach(async () => {
  ours = await api.buildOrganization('Ours');
  theirs = await api.buildOrganization('Theirs');
  const sender = await post('/channels', { name: 'sender', type: 'email', settings: { host: '127.0.0.1', from: 'a@example.com' } });
  await api.request('PATCH', '/organization', { key: ours.key, body: { settings: { senderChannels: { email: sender.body['id'] } } } });
  const members = [await api.buildMember(ours, 'member'), await api.buildMember(ours, 'operator')];
  users = members.map(({ id }) => toWireId('user', id));
  const rotation = { participants: users, start: '2026-10-05T09:00', unit: 'day', length: 1 };
  const made = await post('/schedules', { name: 'day', timeZone: 'Europe/Berlin', layers: [{ rotations: [rotation] }] });
  schedule = made.body['id'];
});

const post = async (path: string, body: unknown, { key } = ours) => api.request('POST', path, { key, body });
const simulate = async (body: object, organization = ours) => post('/escalation-policies/simulate', { ...basis(), ...body }, organization);
const codesOf = ({ body }: TestAnswer) =>
  (body['errors'] ?? []).map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`);

const alert = { after: 'PT0S', type: 'alert.fired', severity: 'high', dedupKey: 'disk' };
const policy = () => ({
  name: 'night',
  tiers: [{ targets: [{ kind: 'schedule', id: schedule }] }, { targets: users.map((id) => ({ kind: 'user', id })) }],
});
const basis = () => ({ start: '2026-10-07T06:55:00Z', horizon: 'PT1H', events: [alert] });

/** Who is told when, in minutes: `member@5`. */
const told = ({ body }: TestAnswer) =>
  body['messages'].map(
    ({ recipient, after }: { recipient: { name: string }; after: string }) => `${recipient.name}@${/(\d+)[MS]$/.exec(after)![1]}`,
  );

describe('a simulation', () => {
  test('resolves the real schedule at each virtual instant, names whom it would reach, and ends in a state', async () => {
    // the hand-off to the first participant is at 07:00Z: before it, the second is on call
    const { status, body } = await simulate({ policy: { ...policy(), repeat: { every: 'PT20M', max: 0 } }, start: '2026-10-06T06:55:00Z' });
    expect(status).toBe(200);
    expect(body['messages'].map(({ at, recipient }: Shown) => [at, recipient.userId])).toEqual([
      ['2026-10-06T06:55:00.000Z', users[0]],
      ['2026-10-06T07:05:00.000Z', users[0]],
      ['2026-10-06T07:05:00.000Z', users[1]],
    ]);
    expect(body['messages'][0]).toEqual({
      at: '2026-10-06T06:55:00.000Z',
      after: 'PT0S',
      kind: 'page',
      escalation: 1,
      round: 1,
      tier: 1,
      firing: 1,
      recipient: { kind: 'contact', id: expect.stringMatching(/^ctm_/), channelType: 'email', userId: users[0], name: 'member' },
      rejectedAt: null,
    });
    expect(body['decisions']).toEqual([{ event: 0, at: '2026-10-06T06:55:00.000Z', verdict: 'escalate', reason: 'policy_match' }]);
    expect(body['timeline'].map(({ kind }: Shown) => kind)).toEqual(['opened', 'tier_fired', 'tier_fired', 'exhausted']);
    expect(body['timeline'][0]).toMatchObject({ seq: 1, escalation: 1, state: 'triggered', actor: null, proof: null });
    expect(body['final']).toMatchObject({
      at: '2026-10-06T07:55:00.000Z',
      escalations: [{ escalation: 1, state: 'exhausted', severity: 'high', round: 1, tier: 2, events: [0], why: 'hard_stop' }],
    });
    expect(body['policyVersion']).toBeNull();
  });

  test('does what actors do, and shows who did it and how they were known', async () => {
    const actors = [{ after: 'PT5M', command: 'acknowledge', as: users[1], proof: 'link_token' }];
    const answer = await simulate({ policy: policy(), actors });
    expect(told(answer)).toEqual(['operator@0']);
    expect(answer.body['timeline']).toContainEqual(
      expect.objectContaining({
        kind: 'acknowledged',
        at: '2026-10-07T07:00:00.000Z',
        actor: { type: 'user', id: users[1] },
        proof: 'link_token',
      }),
    );
    const refused = await simulate({ policy: { ...policy(), minProof: 'no_link' }, actors });
    expect(refused.body['timeline']).toContainEqual(expect.objectContaining({ kind: 'refused', reason: 'proof_too_weak' }));
    expect(told(refused)).toEqual(['operator@0', 'member@10', 'operator@10']);
  });

  test('knows the event types of the organization, by alias too, and no others', async () => {
    const event = { ...alert, type: 'payment.declined' };
    const watching = { ...policy(), trigger: { types: ['payment.declined'] } };
    expect(codesOf(await simulate({ policy: watching, events: [event] }))).toEqual([
      '/policy/trigger/types/0 unknown_event_type',
      '/events/0/type unknown_event_type',
    ]);
    await post('/event-types', { type: 'payment.charge_failed', effect: 'open', aliases: ['payment.declined'] });
    expect(told(await simulate({ policy: watching, events: [event] }))).not.toEqual([]);
    expect(told(await simulate({ policy: watching }))).toEqual([]);
    expect(codesOf(await simulate({ policy: watching, events: [{ ...alert, type: 'escalation.triggered' }] }))).toEqual([
      '/events/0/type reserved_event_type',
    ]);
  });

  test('lets the named messages be rejected: at once the next tier is paged', async () => {
    const [contact] = (await simulate({ policy: policy() })).body['messages'].map(({ recipient }: Shown) => recipient.id);
    const answer = await simulate({ policy: policy(), deliveries: { [contact]: { rejectedAfter: 'PT2S' } } });
    expect(told(answer)).toEqual(['operator@0', 'member@2', 'operator@2']);
    expect(answer.body['messages'][0]).toMatchObject({ rejectedAt: '2026-10-07T06:55:02.000Z' });
  });

  test('runs a saved policy at its newest version, or at the one that is asked for', async () => {
    const saved = await post('/escalation-policies', policy());
    const { id: policyId } = saved.body;
    const tiers = [{ targets: [{ kind: 'user', id: users[0] }] }];
    await api.request('PATCH', `/escalation-policies/${policyId}`, { key: ours.key, body: { tiers } });
    const newest = await simulate({ policyId });
    expect([told(newest), newest.body['policyVersion']]).toEqual([['member@0'], 2]);
    const first = await simulate({ policyId, policyVersion: 1 });
    expect([told(first), first.body['policyVersion']]).toEqual([['operator@0', 'member@10', 'operator@10'], 1]);
    const actors = [
      { after: 'PT1M', command: 'rebase', as: users[0], policyVersion: 1 },
      { after: 'PT11M', command: 'acknowledge', as: users[0] },
    ];
    expect(told(await simulate({ policyId, actors }))).toEqual(['member@0', 'member@10', 'operator@10']);
  });

  test('takes an event by the trigger, or by a rule that names the policy', async () => {
    const saved = await post('/escalation-policies', { ...policy(), trigger: { minSeverity: 'critical' } });
    const policyId = saved.body['id'];
    const before = await simulate({ policyId });
    expect(before.body).toMatchObject({ messages: [], decisions: [{ verdict: 'none', reason: 'no_policy' }], final: { escalations: [] } });
    await post('/rules', { name: 'disks', types: ['alert.*'], policyId });
    expect(told(await simulate({ policyId }))).toEqual(['operator@0', 'member@10', 'operator@10']);
  });

  test('is silenced by a silence of that time, also when that has passed, and replaced by an override of that time', async () => {
    const now = Date.now();
    const at = (ms: number) => new Date(now + ms).toISOString();
    const matchers = [{ key: 'dedupKey', op: '=', value: 'disk' }];
    const silence = await post('/silences', { matchers, comment: 'works', startsAt: at(3_600_000), endsAt: at(2 * 3_600_000) });
    expect(silence.status).toBe(201);
    const answer = await simulate({ policy: policy(), start: at(1.5 * 3_600_000) });
    expect(answer.body['decisions']).toMatchObject([{ verdict: 'suppress', reason: 'silenced' }]);
    expect(told(answer)[0]).toMatch(/@30$/);
    // an override that ended long ago is not among what production keeps at hand
    await query(
      `insert into schedule_override (id, org_id, schedule_id, kind, user_id, starts_at, ends_at, reason, creator_type, creator_id, created_at)
        select gen_random_uuid(), org_id, id, 'replace', $2, '2026-10-07T00:00Z', '2026-10-08T00:00Z', '', 'user', $2, now() from schedule where org_id = $1`,
      [ours.id, ours.ownerId],
    );
    await post('/rules', { name: 'bump', types: ['alert.*'], channelIds: [] });
    expect(told(await simulate({ policy: policy(), start: '2026-10-07T12:00:00Z' }))[0]).toBe('owner@0');
  });

  test('writes nothing, not even an audit entry', async () => {
    const count = async () =>
      query(
        `select (select count(*) from audit.entry where org_id = $1) as entries,
      (select count(*) from event where org_id = $1) as events, (select count(*) from escalation_group where org_id = $1) as groups,
      (select count(*) from delivery where org_id = $1) as deliveries, (select count(*) from notification where org_id = $1) as notices`,
        [ours.id],
      );
    const before = await count();
    expect((await simulate({ policy: policy() })).status).toBe(200);
    expect(await count()).toEqual(before);
  });

  test('says what production does: the same pages at the same instants, through commands, a wait and a second round', async () => {
    const escalation = await stage.openEscalation(ours, { policy: { repeat: { every: 'PT45M', max: 1 }, groupWait: 'PT1M' } });
    const { openedAt } = await escalation.read();
    const opened = Date.parse(openedAt);
    for (let turn = 0; turn < 2; turn += 1) await escalation.elapse();
    await escalation.elapse();
    for (let turn = 0; turn < 3; turn += 1) await escalation.elapse();
    const { firings } = await escalation.read();
    const happened = firings.map(({ round, tier, firedAt, pages }: Shown) => [
      round,
      tier,
      Date.parse(firedAt) - opened,
      pages[0].recipient.id,
    ]);
    const simulated = await simulate({
      policyId: escalation.policyId,
      start: openedAt,
      horizon: 'PT100M',
      events: [{ after: 'PT0S', type: 'alert.fired', dedupKey: 'x', labels: (await eventOf(escalation.eventId)).labels }],
    });
    const foreseen = simulated.body['messages'].map(({ round, tier, at, recipient }: Shown) => [
      round,
      tier,
      Date.parse(at) - opened,
      recipient.id,
    ]);
    expect(foreseen.slice(0, happened.length)).toEqual(happened);
    expect(happened.length).toBeGreaterThanOrEqual(5);
  });
});

describe('a simulation that cannot be run', () => {
  test('names every fault at once', async () => {
    const answer = await simulate({
      policy: { name: '', tiers: [] },
      policyId: toWireId('escalation_policy', ours.id),
      horizon: 'P31D',
      events: [{ after: '5 minutes', type: 'nothing.such' }],
      actors: [{ after: 'PT1M', command: 'acknowledge', as: 'nobody', event: 0 }],
      deliveries: { nobody: 'rejected' },
      start: 'now',
    });
    expect(answer.status).toBe(422);
    expect(codesOf(answer).toSorted()).toEqual([
      '/actors/0/as invalid_id',
      '/deliveries/nobody invalid_id',
      '/events/0/after invalid_format',
      '/events/0/type unknown_event_type',
      '/horizon too_big',
      '/policy/name too_small',
      '/policy/tiers too_small',
      expect.stringMatching(/^\/start /),
    ]);
  });

  test('names what the organization does not have: targets, people, recipients, projects, versions and events of another place', async () => {
    const foreign = toWireId('user', theirs.ownerId);
    const actors = [{ after: 'PT1M', command: 'acknowledge', as: foreign }];
    const deliveries = { [toWireId('webhook', theirs.id)]: 'rejected' };
    const answer = await simulate({ policy: { ...policy(), fallback: [{ kind: 'user', id: foreign }] }, actors, deliveries });
    expect(codesOf(answer).toSorted()).toEqual([
      '/actors/0/as unknown_user',
      `/deliveries/${Object.keys(deliveries)[0]!} unknown_webhook`,
      '/policy/fallback/0/id unknown_user',
    ]);
    expect(codesOf(await simulate({ policy: policy(), actors: [{ ...actors[0], event: 1 }] }))).toEqual(['/actors/0/event unknown_event']);
    expect(codesOf(await simulate({}))).toEqual([' exactly_one']);
    const projectId = toWireId('project', theirs.id);
    expect(await simulate({ policy: policy(), events: [{ ...alert, projectId }] })).toMatchObject({
      status: 400,
      body: { code: 'project_not_found' },
    });
    const { body: saved } = await post('/escalation-policies', policy());
    expect(codesOf(await simulate({ policyId: saved['id'], policyVersion: 7 }))).toEqual(['/policyVersion unknown_version']);
    expect(codesOf(await simulate({ policy: policy(), policyVersion: 1 }))).toEqual(['/policyVersion not_allowed']);
    const elsewhere = await simulate({ policyId: saved['id'] }, theirs);
    expect(elsewhere).toMatchObject({ status: 404, body: { detail: 'notification policy not found' } });
  });

  test('is refused with how far it came when it takes too many steps', async () => {
    const repeat = { every: 'PT1M', max: null };
    const tiers = [{ targets: [{ kind: 'user', id: users[0] }], timeout: 'PT1M' }];
    const answer = await simulate({ policy: { ...policy(), tiers, repeat, hardStop: 'P30D' }, horizon: 'P30D' });
    expect(codesOf(answer)).toEqual(['/horizon too_many_steps']);
  });

  test('needs the permission to look at policies', async () => {
    const key = await api.buildKey(ours, ['events.write']);
    expect((await simulate({ policy: policy() }, { ...ours, key })).status).toBe(403);
  });
});

async function eventOf(id: string) {
  const { body } = await api.request('GET', `/events/${id}`, { key: ours.key });
  return body as { labels: Record<string, string> };
}

async function query(text: string, values: unknown[]): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: api.databaseUrl });
  await client.connect();
  try {
    return (await client.query(text, values)).rows;
  } finally {
    await client.end();
  }
}
