import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import type { StepOutcome } from '../../db/escalation-step.ts';
import { stepSilence, type SilencePlan } from '../../db/silence-step.ts';
import { inOrganization } from '../../db/tenant.ts';
import { fromWireId } from '../../domain/id.ts';
import { createStage } from '../api/escalation-stage.ts';
import { startApi, type TestAnswer, type TestApi, type TestOrganization } from '../api/start-api.ts';

/** What silences do by themselves, in PostgreSQL with a clock of the test's own: the API posts now, what comes later is stepped to. */

const minute = 60_000;
const hour = 60 * minute;
let api: TestApi;
let ours: TestOrganization;
let stage: ReturnType<typeof createStage>;
let left: StepOutcome[] = [];
let stories = 0;

beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization('Ours');
  stage = createStage(api);
});
afterAll(() => api.stop());

const call = async (method: string, path: string, body?: unknown) =>
  (await api.request(method, path, { key: ours.key, ...(body === undefined ? {} : { body }) })).body;

interface Story {
  name: string;
  endsAt: number;
  silenceId: string;
  post(fields?: object): Promise<TestAnswer['body']>;
}

/** A silence of an hour over the events of one story, which a rule sends to a channel. */
async function begin(fields: object = {}): Promise<Story> {
  const name = `story ${(stories += 1)}`;
  left = [];
  const matchers = [{ key: 'label.story', op: '=', value: name }];
  const endsAt = Date.now() + hour;
  const { id } = await call('POST', '/silences', { matchers, endsAt: new Date(endsAt).toISOString(), comment: name, ...fields });
  const settings = { host: '127.0.0.1', port: 25, security: 'none', from: 'tocsin@example.com', to: ['team@example.com'] };
  const channel = await call('POST', '/channels', { name, type: 'email', settings });
  await call('POST', '/rules', { name, matchers, channelIds: [channel['id']] });
  return {
    name,
    endsAt,
    silenceId: fromWireId('silence', id)!,
    post: async (event = {}) => call('POST', '/events', { type: 'alert.fired', dedupKey: name, labels: { story: name }, ...event }),
  };
}

const step = async ({ silenceId }: Pick<Story, 'silenceId'>, at: number): Promise<SilencePlan | null> =>
  stepSilence(
    { orm: api.orm, facts: api.deps.facts, announce: (outcome) => void left.push(outcome) },
    { organizationId: ours.id, silenceId },
    () => at,
  );

/** The decisions of an event about its channel, as they were made. */
async function told(event: TestAnswer['body']): Promise<string[]> {
  const { decisions } = await call('GET', `/events/${event['id']}`);
  return decisions
    .filter(({ target }: { target: { kind: string } }) => target.kind === 'channel')
    .map(({ verdict, reason }: { verdict: string; reason: string }) => `${verdict} ${reason}`);
}

const offered = () => left.flatMap(({ deliveries }) => deliveries.map(({ destinationKind }) => destinationKind));

async function query<T>(run: ReturnType<typeof sql<T>>): Promise<T[]> {
  return inOrganization(api.orm, ours.id, async (em) => (await run.execute(em.getKysely())).rows);
}

test('what is still open at the end is told once, to whom the silence kept it from', async () => {
  const story = await begin();
  const event = await story.post();
  expect(await told(event)).toEqual(['suppress silenced']);
  expect(await step(story, story.endsAt - 1)).toEqual({ at: story.endsAt, what: 'ended' });
  expect(await told(event)).toEqual(['suppress silenced']);
  await Promise.all([step(story, story.endsAt), step(story, story.endsAt)]);
  expect(await step(story, story.endsAt)).toEqual({ at: story.endsAt + 30_000, what: 'swept' });
  expect(await step(story, story.endsAt + hour)).toBeNull();
  expect(await told(event)).toEqual(['suppress silenced', 'send unmuted']);
  expect(offered()).toEqual(['channel']);
  const inApp = await query<{ made: number }>(
    sql`select count(*)::int as made from notification where event_id = ${fromWireId('event', event['id'])!}`,
  );
  expect(inApp).toEqual([{ made: 1 }]);
});

test('what was accepted before the end and is stored after it is told too', async () => {
  const story = await begin();
  const early = await story.post();
  expect(await step(story, story.endsAt)).toMatchObject({ what: 'swept' });
  // The clock of the API has not come to the end yet, so this one is still kept back.
  const late = await story.post({ dedupKey: `${story.name} late` });
  expect(await told(late)).toEqual(['suppress silenced']);
  expect(await step(story, story.endsAt + 29_999)).toEqual({ at: story.endsAt + 30_000, what: 'swept' });
  expect(await told(late)).toEqual(['suppress silenced']);
  expect(await step(story, story.endsAt + 30_000)).toBeNull();
  expect([await told(early), await told(late)]).toEqual([
    ['suppress silenced', 'send unmuted'],
    ['suppress silenced', 'send unmuted'],
  ]);
});

test('what is over by then is told nobody', async () => {
  const story = await begin();
  const event = await story.post();
  await story.post({ type: 'alert.resolved' });
  expect(await step(story, story.endsAt + hour)).toBeNull();
  expect(await told(event)).toEqual(['suppress silenced']);
  expect(offered()).toEqual([]);
});

test('a problem that nobody heard of for the life of one is over too', async () => {
  const story = await begin({ endsAt: new Date(Date.now() + 25 * hour).toISOString() });
  const policy = await stage.buildPolicy(ours, { trigger: { matchers: [{ key: 'label.story', op: '=', value: story.name }] } });
  const event = await story.post();
  expect(await step(story, Date.now() + 26 * hour)).toBeNull();
  expect(await told(event)).toEqual(['suppress silenced']);
  expect((await call('GET', `/escalations?policyId=${policy}`))['data']).toEqual([]);
});

test('its worst is what is told: the last event that said something new', async () => {
  const story = await begin();
  const first = await story.post({ severity: 'medium' });
  const worse = await story.post({ severity: 'critical' });
  await story.post({ severity: 'high' });
  await step(story, story.endsAt);
  expect([await told(first), await told(worse)]).toEqual([['suppress silenced'], ['suppress silenced', 'send unmuted']]);
  expect(offered()).toEqual(['channel']);
});

test('what merely occurred stays untold', async () => {
  const story = await begin();
  const event = await story.post({ type: 'break_glass.opened' });
  await step(story, story.endsAt);
  expect(await told(event)).toEqual(['suppress silenced']);
});

test('a cancelled silence tells at once', async () => {
  const story = await begin();
  const event = await story.post();
  await call('DELETE', `/silences/sil_${(await call('GET', '/silences?state=active'))['data'][0]['id'].slice(4)}`);
  expect(await step(story, Date.now())).toMatchObject({ what: 'swept' });
  expect(await told(event)).toEqual(['suppress silenced', 'send unmuted']);
});

test('what another silence mutes is told at the end of that', async () => {
  const story = await begin();
  const event = await story.post();
  const matchers = [{ key: 'label.story', op: '=', value: story.name }];
  const endsAt = story.endsAt + hour;
  const { id } = await call('POST', '/silences', { matchers, endsAt: new Date(endsAt).toISOString(), comment: 'longer' });
  await step(story, story.endsAt);
  expect(await told(event)).toEqual(['suppress silenced']);
  const longer = { silenceId: fromWireId('silence', id)! };
  await step(longer, endsAt);
  expect(await told(event)).toEqual(['suppress silenced', 'send unmuted']);
  expect(offered()).toEqual(['channel']);
});

test('of a longer silence what was about to be told waits for its new end', async () => {
  const story = await begin();
  const event = await story.post();
  const id = (await call('GET', '/silences?state=active'))['data'][0]['id'];
  await call('PATCH', `/silences/${id}`, { endsAt: new Date(story.endsAt + hour).toISOString() });
  expect(await step(story, story.endsAt)).toEqual({ at: story.endsAt + 45 * minute, what: 'ending_soon' });
  expect(await told(event)).toEqual(['suppress silenced']);
  await step(story, story.endsAt + hour);
  expect(await told(event)).toEqual(['suppress silenced', 'send unmuted']);
});

test('hundreds of problems are told, each once', async () => {
  const story = await begin();
  const events = Array.from({ length: 100 }, (_, i) => ({
    type: 'alert.fired',
    dedupKey: `${story.name} ${i}`,
    labels: { story: story.name },
  }));
  await call('POST', '/events/batch', { events });
  await call('POST', '/events/batch', { events: events.map((event) => ({ ...event, dedupKey: `${event.dedupKey} too` })) });
  await Promise.all([step(story, story.endsAt), step(story, story.endsAt)]);
  expect(offered()).toHaveLength(200);
  const unmuted = await query<{ made: number }>(
    sql`select count(*)::int as made from decision d join event e on e.org_id = d.org_id and e.id = d.event_id
      where e.labels ->> 'story' = ${story.name} and d.reason = 'unmuted' and d.target_kind = 'channel'`,
  );
  expect(unmuted).toEqual([{ made: 200 }]);
});

test('its escalation begins at the end of the silence, and pages', async () => {
  const story = await begin();
  const trigger = { matchers: [{ key: 'label.story', op: '=', value: story.name }] };
  const policy = await stage.buildPolicy(ours, { trigger, groupWait: 'PT10M' });
  const event = await story.post();
  const list = async () => (await call('GET', `/escalations?policyId=${policy}`))['data'];
  expect(await list()).toEqual([]);
  await step(story, story.endsAt + 40);
  const [escalation] = await list();
  expect(escalation).toMatchObject({ state: 'triggered', tier: 1, dueAt: new Date(story.endsAt + 10 * minute).toISOString() });
  const pages = await query<{ firing: number; kind: string }>(
    sql`select firing, destination_kind as kind from delivery where escalation_id = ${fromWireId('escalation', escalation['id'])!}`,
  );
  expect(pages).toEqual([{ firing: 1, kind: 'webhook' }]);
  expect(left.flatMap(({ changed }) => changed)).toMatchObject([{ escalationId: fromWireId('escalation', escalation['id']) }]);
  // nothing is left behind that a later event could bring up
  await story.post({ type: 'alert.resolved' });
  expect((await list())[0]).toMatchObject({ state: 'resolved' });
  expect(event['id']).toBeDefined();
});

test('a problem that resolves in the silence opens nothing, whichever policy it was kept from', async () => {
  const story = await begin();
  const trigger = { types: ['alert.fired'], matchers: [{ key: 'label.story', op: '=', value: story.name }] };
  const policy = await stage.buildPolicy(ours, { trigger });
  await story.post();
  await story.post({ type: 'alert.resolved' });
  await step(story, story.endsAt);
  expect((await call('GET', `/escalations?policyId=${policy}`))['data']).toEqual([]);
  expect(await query(sql`select 1 from escalation_held`)).toEqual([]);
});

test('an escalation that waits for a silence goes on when the silence is cancelled', async () => {
  const escalation = await stage.openEscalation(ours);
  const { labels } = await call('GET', `/events/${escalation.eventId}`);
  const matchers = [{ key: 'label.group', op: '=', value: labels['group'] }];
  const endsAt = Date.now() + 2 * hour;
  const { id } = await call('POST', '/silences', { matchers, endsAt: new Date(endsAt).toISOString(), comment: 'quiet' });
  await escalation.elapse();
  expect(await escalation.read()).toMatchObject({ tier: 1, why: 'deferred_silence', dueAt: new Date(endsAt).toISOString() });
  await call('DELETE', `/silences/${id}`);
  left = [];
  await step({ silenceId: fromWireId('silence', id)! }, Date.now());
  expect(await escalation.read()).toMatchObject({ tier: 2 });
  expect(left.flatMap(({ changed }) => changed.map(({ escalationId }) => escalationId))).toEqual([escalation.uuid]);
});

test('whoever made it hears of its beginning and of its end before it comes, once and in the app', async () => {
  const { id: userId, key } = await api.buildMember(ours, 'member');
  const startsAt = Date.now() + hour;
  const endsAt = startsAt + 2 * hour;
  const owned = await api.request('POST', '/silences', {
    key: ours.key,
    body: {
      matchers: [{ key: 'label.story', op: '=', value: 'notices' }],
      startsAt: new Date(startsAt).toISOString(),
      endsAt: new Date(endsAt).toISOString(),
      comment: 'Upgrade of db-1',
    },
  });
  const silence = { silenceId: fromWireId('silence', owned.body['id'])! };
  await query(sql`update silence set creator_id = ${userId} where id = ${silence.silenceId}`);
  const feed = async () =>
    (await api.request('GET', '/notifications', { key })).body['data'].filter(({ type }: { type: string }) => type.startsWith('silence.'));
  expect(await step(silence, startsAt - 1)).toEqual({ at: startsAt, what: 'started' });
  expect(await feed()).toEqual([]);
  expect(await step(silence, startsAt)).toEqual({ at: endsAt - 15 * minute, what: 'ending_soon' });
  await step(silence, startsAt);
  expect(await feed()).toMatchObject([
    { type: 'silence.started', category: 'system', subject: 'A silence of yours has begun: Upgrade of db-1', eventId: null },
  ]);
  await Promise.all([step(silence, endsAt - 15 * minute), step(silence, endsAt - 15 * minute)]);
  expect((await feed()).map(({ type }: { type: string }) => type)).toEqual(['silence.ending_soon', 'silence.started']);
  await step(silence, endsAt);
  expect(await feed()).toHaveLength(2);
});

test('what was told proves itself: each problem that a silence let out is in the audit log', async () => {
  const story = await begin();
  const event = await story.post();
  await step(story, story.endsAt);
  const { data } = await call('GET', `/audit-logs?action=event.unmute&resourceId=${event['id']}`);
  expect(data).toMatchObject([{ action: 'event.unmute', actor: { type: 'system' } }]);
});
