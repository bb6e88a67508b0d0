import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { deleteClosedGroups } from '../../db/queries/notice.ts';
import { toWireId } from '../../domain/id.ts';
import type { ChangedNoticeGroup } from '../../db/queries/notice-group.ts';
import { channelDecision, createNoticeStage } from './notice-stage.ts';

let api: TestApi;
let ours: TestOrganization;
let stage: ReturnType<typeof createNoticeStage>;
let channelId: string;
const woken: ChangedNoticeGroup[] = [];
beforeAll(async () => {
  api = await startApi({ groups: { wake: (changed) => void woken.push(...changed) } });
});
afterAll(() => api.stop());
beforeEach(async () => {
  ours = await api.buildOrganization();
  stage = createNoticeStage(api, ours, Math.ceil(Date.now() / 1_000) * 1_000);
  const settings = { host: '127.0.0.1', from: 'a@example.com', to: ['b@example.com'] };
  channelId = (await stage.call('POST', '/channels', { name: 'mail', type: 'email', settings }))['id'];
  woken.length = 0;
});

const bundle = async (aggregate: object = {}, fields: object = {}): Promise<string> =>
  (await stage.call('POST', '/rules', { name: 'bundles', channelIds: [channelId], aggregate, ...fields }))['id'];
const fired = (name: string, fields: object = {}) => ({ type: 'alert.fired', dedupKey: name, subject: name, ...fields });
const resolved = (name: string) => ({ type: 'alert.resolved', dedupKey: name, subject: name });
const at = (hours: number, minutes: number, seconds = 0) => stage.seconds((hours * 60 + minutes) * 60 + seconds);
const hours = 3_600;

describe('notices of a rule', () => {
  test('come on the grid of their group and say what is new: wait 30s, interval 5m, repeat 4h', async () => {
    await bundle({ wait: 'PT30S', interval: 'PT5M', repeat: 'PT4H' });
    const [first] = await stage.post(at(0, 0), fired('A'));
    expect(channelDecision(first)).toEqual({ verdict: 'group', reason: 'group_wait', until: at(0, 0, 30) });
    await stage.post(at(0, 0, 10), fired('B'));
    await stage.post(at(0, 2), fired('C'));
    await stage.post(at(0, 7), resolved('A'));
    await stage.post(at(4, 12), resolved('B'));
    await stage.post(at(4, 12), resolved('C'));
    await stage.advance(at(30, 0));
    expect(await stage.notices()).toEqual([
      '30s first {A B} x1',
      '330s new {A B C} x1',
      '630s resolved {B C}; resolved A x1',
      `${4 * hours + 630}s repeat {B C} x1`,
      `${4 * hours + 930}s all_resolved {}; resolved B C x1`,
    ]);
    expect(await stage.groups()).toMatchObject([{ closed_at: expect.anything() }]);
    const { data } = await stage.call('GET', '/audit-logs?action=rule.notify');
    expect(data).toHaveLength(5);
  });

  test('have each change in exactly one, however late a tick runs', async () => {
    await bundle({ wait: 'PT30S', interval: 'PT5M' });
    await stage.post(at(0, 0), fired('A'));
    const [group] = await stage.groups();
    // Nothing ran for a while: the one tick that does is the last one that should have.
    await stage.tick(group!.id, at(0, 11));
    await stage.tick(group!.id, at(0, 11));
    await stage.post(at(0, 12), fired('B'));
    await stage.advance(at(1, 0));
    expect(await stage.notices()).toEqual(['630s first {A} x1', '930s new {A B} x1']);
  });

  test('say nothing of what is over before the first, and the end of it is told with that reason', async () => {
    await bundle();
    await stage.post(at(0, 0), fired('A'));
    const [end] = await stage.post(at(0, 0, 20), resolved('A'));
    expect(channelDecision(end)).toMatchObject({ verdict: 'suppress', reason: 'resolved_before_notice' });
    await stage.advance(at(1, 0));
    expect(await stage.notices()).toEqual([]);
    expect(await stage.groups()).toMatchObject([{ closed_at: expect.anything() }]);
    // the next one begins a group, and a grid, of its own
    await stage.post(at(2, 0), fired('A'));
    await stage.advance(at(2, 1));
    expect(await stage.notices()).toEqual([`${2 * hours + 30}s first {A} x1`]);
  });

  test('go out with the event itself when the rule waits for nothing', async () => {
    await bundle({ wait: 'PT0S', interval: 'PT5M' });
    await stage.post(at(0, 0), fired('A'), fired('B'));
    expect(await stage.notices()).toEqual(['0s first {A B} x1']);
    const [{ id: deliveryId } = { id: '' }] = await stage.query<{ id: string }>('select id from delivery');
    expect(deliveryId).not.toBe('');
    await stage.post(at(0, 1), fired('C', { severity: 'critical' }));
    await stage.post(at(0, 2), fired('A', { severity: 'critical' }));
    await stage.advance(at(0, 20));
    expect(await stage.notices()).toEqual(['0s first {A B} x1', '300s new {A B C} x1']);
  });

  test('have an occurrence in one only, and repeat it never', async () => {
    await bundle({ interval: 'PT5M', repeat: 'PT5M', groupBy: ['category'] });
    await stage.post(at(0, 0), { type: 'job.completed', subject: 'J1' }, { type: 'job.completed', subject: 'J2' });
    await stage.post(at(0, 3), { type: 'job.completed', subject: 'J3' });
    await stage.advance(at(2, 0));
    expect(await stage.notices()).toEqual(['30s first {J1 J2} x1', '330s new {J3} x1']);
  });

  test('are bundled by what the rule says, each group with a grid of its own', async () => {
    await bundle({ groupBy: ['label.team'] });
    await stage.post(at(0, 0), fired('A', { labels: { team: 'x' } }), fired('B', { labels: { team: 'y' } }));
    await stage.post(at(0, 0, 10), { type: 'job.failed', dedupKey: 'C', subject: 'C', labels: { team: 'x' } });
    await stage.advance(at(0, 1));
    expect((await stage.notices()).toSorted()).toEqual(['30s first {A C} x1', '30s first {B} x1']);
  });

  test('tell nobody of ends when the rule does not want it', async () => {
    await bundle({ sendResolved: false });
    await stage.post(at(0, 0), fired('A'), fired('B'));
    const [end] = await stage.post(at(0, 2), resolved('A'));
    expect(channelDecision(end)).toMatchObject({ verdict: 'suppress', reason: 'grouped' });
    await stage.post(at(0, 3), resolved('B'));
    await stage.advance(at(10, 0));
    expect(await stage.notices()).toEqual(['30s first {A B} x1']);
    expect(await stage.groups()).toMatchObject([{ closed_at: expect.anything() }]);
  });
});

describe('a silence', () => {
  const mute = async (from: number, to: number, name: string): Promise<string> =>
    (
      await stage.call('POST', '/silences', {
        matchers: [{ key: 'dedupKey', op: '=', value: name }],
        startsAt: new Date(from).toISOString(),
        endsAt: new Date(to).toISOString(),
        comment: 'x',
      })
    )['id'];

  test('of one of two members causes no notice; its end causes one', async () => {
    await bundle({ repeat: null });
    await stage.post(at(0, 0), fired('A'), fired('B'));
    await stage.advance(at(0, 1));
    const silence = await mute(at(0, 12), at(0, 31), 'A');
    await stage.advance(at(0, 31));
    await stage.stepSilence(silence, at(0, 31));
    for (const { id } of await stage.groups()) await stage.tick(id, at(0, 31));
    await stage.advance(at(20, 0));
    expect(await stage.notices()).toEqual(['30s first {A B} x1', '2130s new {A B} x1']);
  });

  test('keeps its members out of what notices show, and not their ends', async () => {
    await bundle({ repeat: null });
    await stage.post(at(0, 0), fired('A'), fired('B'));
    await stage.advance(at(0, 1));
    await mute(at(0, 2), at(2, 0), 'A');
    await stage.post(at(0, 3), fired('C'));
    await stage.advance(at(0, 8));
    const [end] = await stage.post(at(0, 9), resolved('A'));
    expect(channelDecision(end)).toMatchObject({ verdict: 'group', until: at(0, 10, 30) });
    await stage.advance(at(1, 0));
    expect(await stage.notices()).toEqual(['30s first {A B} x1', '330s new {B C} x1', '630s resolved {B C}; resolved A x1']);
  });

  test('lets go of what came during it into a notice', async () => {
    await bundle({ repeat: null });
    const silence = await mute(at(0, 0), at(0, 10), 'A');
    const [kept] = await stage.post(at(0, 1), fired('A'));
    expect(channelDecision(kept)).toMatchObject({ verdict: 'suppress', reason: 'silenced' });
    await stage.stepSilence(silence, at(0, 10));
    await stage.advance(at(1, 0));
    expect(await stage.notices()).toEqual(['630s first {A} x1']);
    const event = kept !== undefined && 'event' in kept ? kept.event.id : '';
    const decisions = await stage.query<{ verdict: string; reason: string }>(
      `select verdict, reason from decision where event_id = '${event}' and target_kind = 'channel' order by ordinal`,
    );
    expect(decisions).toMatchObject([{ reason: 'silenced' }, { verdict: 'group', reason: 'group_wait' }]);
  });
});

describe('a group', () => {
  test('hears of problems that a person ended, or that nobody spoke of any more', async () => {
    await stage.call('PATCH', '/organization', { settings: { problemTtl: 'PT2H' } });
    await bundle({ repeat: 'PT1H' });
    const stageOf = {
      trigger: { matchers: [{ key: 'dedupKey', op: '=', value: 'A' }] },
      tiers: [{ targets: [{ kind: 'channel', id: channelId }] }],
    };
    await stage.call('POST', '/escalation-policies', { name: 'P', ...stageOf });
    await stage.post(at(0, 0), fired('A'), fired('B'), fired('C'));
    await stage.advance(at(0, 1));
    const [escalation] = (await stage.call('GET', '/escalations'))['data'];
    await stage.call('POST', `/escalations/${escalation.id}/resolve`);
    await stage.post(at(1, 30), fired('B'));
    await stage.advance(at(6, 0));
    expect(await stage.notices()).toEqual([
      '30s first {A B C} x1',
      // The end that a person made is found at the next tick.
      `${hours + 30}s resolved {B C}; resolved A x1`,
      // C is unheard of for two hours by then, and that is no news.
      `${2 * hours + 30}s repeat {B} x1`,
      `${3 * hours + 30}s repeat {B} x1`,
    ]);
    expect(await stage.groups()).toMatchObject([{ closed_at: expect.anything() }]);
  });

  test('that repeats nothing hears of them at once, and tells at its next tick', async () => {
    await stage.call('PATCH', '/organization', { settings: { problemTtl: 'PT2H' } });
    await bundle({ repeat: null });
    const trigger = { matchers: [{ key: 'dedupKey', op: '=', value: 'A' }] };
    await stage.call('POST', '/escalation-policies', { name: 'P', trigger, tiers: [{ targets: [{ kind: 'channel', id: channelId }] }] });
    await stage.post(at(0, 0), fired('A'), fired('B'));
    await stage.advance(at(0, 1));
    const [group] = await stage.groups();
    expect(await stage.tick(group!.id, at(0, 6))).toMatchObject({ plan: { dueAt: null, lookAgainAt: at(2, 0) } });
    const [escalation] = (await stage.call('GET', '/escalations'))['data'];
    await stage.call('POST', `/escalations/${escalation.id}/resolve`);
    const [touched] = await stage.groups();
    expect(touched!.version).toBeGreaterThan(touched!.seen_version);
    expect(await stage.tick(group!.id, at(0, 7))).toMatchObject({ plan: { dueAt: at(0, 10, 30), lookAgainAt: at(2, 0) } });
    await stage.advance(at(1, 0));
    expect(await stage.notices()).toEqual(['30s first {A B} x1', '630s resolved {B}; resolved A x1']);
    // Of B nobody speaks again: the group ends without a word.
    expect(await stage.tick(group!.id, at(2, 0))).toMatchObject({ plan: { dueAt: at(2, 0, 30), lookAgainAt: null } });
    await stage.advance(at(3, 0));
    expect(await stage.notices()).toHaveLength(2);
    expect(await stage.groups()).toMatchObject([{ closed_at: expect.anything() }]);
  });

  test('keeps what it began with when its rule is edited, and ends with the rule', async () => {
    const rule = await bundle();
    await stage.post(at(0, 0), fired('A'));
    await stage.call('PATCH', `/rules/${rule}`, { aggregate: { wait: 'PT5M', interval: 'PT1H' } });
    await stage.advance(at(0, 1));
    await stage.post(at(0, 2), fired('B'));
    await stage.advance(at(0, 6));
    expect(await stage.notices()).toEqual(['30s first {A} x1', '330s new {A B} x1']);
    await stage.post(at(0, 7), fired('C'));
    await stage.call('PATCH', `/rules/${rule}`, { aggregate: null });
    await stage.advance(at(1, 0));
    expect(await stage.notices()).toHaveLength(2);
    expect(await stage.groups()).toMatchObject([{ closed_at: expect.anything() }]);
    const [single] = await stage.post(at(2, 0), fired('D'));
    expect(channelDecision(single)).toMatchObject({ verdict: 'send', reason: 'rule_match' });
  });

  test('is the only one of its key, whoever opens it first, and wakes its workflow only when its plan changes', async () => {
    await bundle({ groupBy: ['type'] });
    await Promise.all(Array.from({ length: 20 }, async (_, i) => api.request('POST', '/events', { key: ours.key, body: fired(`P${i}`) })));
    const groups = await stage.groups();
    expect(groups).toMatchObject([{ version: 1, seen_version: 0 }]);
    expect(woken).toMatchObject([{ groupId: groups[0]!.id, version: 1 }]);
    await Promise.all(Array.from({ length: 20 }, async () => api.request('POST', '/events', { key: ours.key, body: fired('P1') })));
    expect(woken).toHaveLength(1);
    const [{ members } = { members: [] }] = await stage.query<{ members: unknown[] }>(
      `select state->'members' as members from notice_group`,
    );
    expect(members).toHaveLength(20);
  });

  test('tells the end of a problem at once that began before its rule bundled', async () => {
    const rule = (await stage.call('POST', '/rules', { name: 'plain', channelIds: [channelId] }))['id'];
    await stage.post(at(0, 0), fired('A'));
    await stage.call('PATCH', `/rules/${rule}`, { aggregate: {} });
    const [end] = await stage.post(at(0, 1), resolved('A'));
    expect(channelDecision(end)).toMatchObject({ verdict: 'send', reason: 'rule_match' });
  });

  test('sends through every channel that is on, and is one organization’s', async () => {
    const settings = { host: '127.0.0.1', from: 'a@example.com', to: ['b@example.com'] };
    const second = (await stage.call('POST', '/channels', { name: 'second', type: 'email', settings }))['id'];
    const off = (await stage.call('POST', '/channels', { name: 'off', type: 'email', settings }))['id'];
    await bundle({}, { channelIds: [channelId, second, off] });
    await stage.post(at(0, 0), fired('A'));
    await stage.call('PATCH', `/channels/${off}`, { active: false });
    const [group] = await stage.groups();
    const theirs = createNoticeStage(api, await api.buildOrganization('Theirs'), at(0, 0));
    expect(await theirs.tick(group!.id, at(0, 1))).toEqual({ plan: null, deliveries: [] });
    expect(await theirs.groups()).toEqual([]);
    await stage.advance(at(0, 1));
    expect(await stage.notices()).toEqual(['30s first {A} x2']);
  });
});

test('an event names the notices that show it, and what became of them; when they are old they go with their group', async () => {
  await bundle();
  const [first] = await stage.post(at(0, 0), fired('A'));
  await stage.post(at(0, 0, 5), fired('B'));
  await stage.post(at(0, 2), resolved('B'));
  await stage.advance(at(0, 6));
  const id = first !== undefined && 'event' in first ? toWireId('event', first.event.id) : '';
  const read = async () => stage.call('GET', `/events/${id}`);
  expect((await read())['notices']).toMatchObject([
    {
      at: new Date(at(0, 0, 30)).toISOString(),
      reason: 'group_first',
      subject: 'A and 1 more',
      deliveries: [{ status: 'pending', attemptCount: 0 }],
    },
    { at: new Date(at(0, 5, 30)).toISOString(), reason: 'group_resolved', deliveries: [{ status: 'pending' }] },
  ]);
  const relay = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_relay' });
  try {
    const sweep = async (before: number) => deleteClosedGroups(relay.em.fork(), { before: new Date(before), limit: 100 });
    // Other organizations' groups go too: it is all of them that are swept.
    await sweep(at(48, 0));
    expect((await read())['notices']).toHaveLength(2);
    await stage.post(at(1, 0), resolved('A'));
    await stage.advance(at(2, 0));
    expect(await sweep(at(1, 0))).toBe(0);
    expect(await sweep(at(48, 0))).toBe(1);
  } finally {
    await relay.close(true);
  }
  expect((await read())['notices']).toEqual([]);
  for (const table of ['notice', 'notice_event', 'notice_group', 'notice_group_member'])
    expect([table, await stage.query(`select * from ${table}`)]).toEqual([table, []]);
});

test('what explain says of a bundled event is what happens, and it changes nothing', async () => {
  await bundle();
  const { decisions } = await stage.call('POST', '/events/explain', fired('A'));
  expect(decisions).toContainEqual(expect.objectContaining({ verdict: 'group', reason: 'group_wait', sendAt: expect.any(String) }));
  expect(await stage.groups()).toEqual([]);
});
