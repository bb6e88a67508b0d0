import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import pg from 'pg';
import { createEscalationActivities } from '../../activities/escalation.ts';
import { createFailingPages } from '../../activities/failing-pages.ts';
import { createSilenceActivities } from '../../activities/silence.ts';
import { createFactsCache } from '../../db/queries/routing-facts.ts';
import type { EscalationPolicy, Target } from '../../domain/escalation-policy.ts';
import { formatDuration } from '../../domain/duration.ts';
import { toWireId } from '../../domain/id.ts';
import type { ScriptCommand, ScriptStep } from '../../domain/simulation.ts';
import type { ChangedEscalation } from '../../temporal/escalation-starter.ts';
import { startApi, type TestAnswer, type TestApi } from '../api/start-api.ts';
import {
  ack,
  at,
  type Case,
  escalate,
  officeHours,
  p,
  printMessages,
  problem,
  simulationOf,
  start,
  stories,
  tier,
} from '../reference/stories.ts';

/**
 * The stories once more, on the whole system but for Temporal and the way out: what happens comes over the API, what is due is done by the
 * worker's activities, and every message is a row of PostgreSQL. Only the clock is the test's.
 */

const week = 7 * 86_400_000;
/** The stories happen in some week; here it is the last one that is over, because the audit log takes nothing that is yet to come. */
const shift = Math.floor((Date.now() - 86_400_000 - start) / week) * week;
const setTime = (storyTime: number): void => {
  jest.setSystemTime(storyTime + shift);
};
const iso = (storyTime: number): string => new Date(storyTime + shift).toISOString();

/** Escalations whose workflow intake told to look again. */
const wakes: ChangedEscalation[] = [];
let api: TestApi;
let database: pg.Client;
let work: ReturnType<typeof createEscalationActivities> & ReturnType<typeof createSilenceActivities>;
let tellFailing: ReturnType<typeof createFailingPages>;

beforeAll(async () => {
  api = await startApi({ deps: { minIntervalMs: 1 }, escalations: { wake: (changed) => void wakes.push(...changed) } });
  database = new pg.Client({ connectionString: api.databaseUrl });
  await database.connect();
  const deps = {
    orm: api.orm,
    facts: createFactsCache(),
    starter: { offer: () => {} },
    escalations: { wake: () => {} },
    groups: { wake: () => {} },
    log: api.deps.log,
    namespace: 'default',
  };
  work = { ...createEscalationActivities(deps), ...createSilenceActivities(deps) };
  tellFailing = createFailingPages(deps);
  const real = ['hrtime', 'nextTick', 'performance', 'queueMicrotask', 'setImmediate', 'clearImmediate'] as const;
  jest.useFakeTimers({ now: start + shift, doNotFake: [...real, 'setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] });
});
afterAll(async () => {
  jest.useRealTimers();
  await database.end();
  await api.stop();
});

const people = ['u1', 'u2', 'u3', 'u9', 'q1', 'f'] as const;

/** An organization in which the story can happen. */
async function buildWorld({ policy = {}, unreachable = [] }: Case) {
  setTime(at(0) - 60_000);
  const organization = await api.buildOrganization('Stage');
  const call = async (method: string, path: string, body?: unknown, key = organization.key): Promise<TestAnswer> =>
    api.request(method, path, { key, ...(body === undefined ? {} : { body }) });
  const make = async (path: string, body: object): Promise<string> => {
    const answer = await call('POST', path, body);
    if (answer.status >= 300) throw new Error(answer.text);
    return answer.body['id'];
  };
  const settings = { host: '127.0.0.1', port: 25, security: 'none', from: 'tocsin@example.com' };
  const sender = await make('/channels', { name: 'sender', type: 'email', settings });
  await call('PATCH', '/organization', { settings: { senderChannels: { email: sender } } });
  const members = new Map<string, { id: string; key: string }>();
  for (const name of people) members.set(name, await api.buildMember(organization, 'operator'));
  const wire = (name: string) => toWireId('user', members.get(name)!.id);
  for (const name of unreachable)
    await database.query('update contact_method set page = false where user_id = $1', [members.get(name)!.id]);
  const rotation = { participants: [wire('u1')], start: '2026-01-05T00:00', unit: 'week', length: 1 };
  const schedule = await make('/schedules', { name: 'rota', timeZone: 'UTC', layers: [{ rotations: [rotation] }] });
  const { name, timeZone, intervals, holidays } = officeHours;
  const calendar = await make('/calendars', { name, timeZone, intervals, holidays });

  const target = ({ kind, id }: Target) => ({ kind, id: kind === 'schedule' ? schedule : wire(id) });
  const fields = (change: EscalationPolicy) => ({
    groupBy: change.groupBy,
    groupWait: formatDuration(change.groupWaitMs),
    tiers: change.tiers.map(({ targets, timeoutMs, when, calendarId }) => ({
      targets: targets.map(target),
      timeout: formatDuration(timeoutMs),
      when,
      ...(calendarId === null ? {} : { calendarId: calendar }),
    })),
    ...(change.calendarId === null ? {} : { calendarId: calendar }),
    defer: change.defer,
    repeat: change.repeat === null ? null : { every: formatDuration(change.repeat.everyMs), max: change.repeat.max },
    acknowledgementTimeout: change.acknowledgementTimeoutMs === null ? null : formatDuration(change.acknowledgementTimeoutMs),
    acknowledgementReminder: change.acknowledgementReminder,
    cooldown: formatDuration(change.cooldownMs),
    cooldownScope: change.cooldownScope,
    hardStop: formatDuration(change.hardStopMs),
    fallback: change.fallback.map(target),
    followUp: change.followUp,
  });
  const policies = {
    P: await make('/escalation-policies?force=true', {
      name: 'P',
      trigger: { categories: ['alert', 'security'] },
      ...fields({ ...p, ...policy }),
    }),
    Q: await make('/escalation-policies?force=true', { name: 'Q', ...fields({ ...p, tiers: [tier('q1')] }) }),
  };
  return { organization, call, members, target, fields, policies };
}

type World = Awaited<ReturnType<typeof buildWorld>>;

/** Of equal instants, as the specification orders them. */
function rank(step: ScriptStep): number {
  if (step.kind === 'policy_changed') return 0;
  if (step.kind === 'resolved') return 1;
  if (step.kind !== 'command') return 4;
  return step.command.name === 'resolve' ? 1 : step.command.name === 'acknowledge' ? 2 : 3;
}

async function play(script: readonly ScriptStep[], given: Case): Promise<{ messages: string; refusals: string[]; world: World }> {
  const world = await buildWorld(given);
  const refusals: string[] = [];
  await addSilences(world, given);
  for (const step of script.toSorted((a, b) => a.at - b.at || rank(a) - rank(b))) {
    await elapseUntil(world, step.at - 1, given);
    setTime(step.at);
    const code = await follow(world, step);
    if (code !== undefined) refusals.push(code);
  }
  await elapseUntil(world, simulationOf([...script], given).until, given);
  return { messages: await messagesOf(world), refusals, world };
}

async function addSilences({ call }: World, { silences = [] }: Case): Promise<void> {
  for (const { startsAt, endsAt, keys } of silences) {
    const matchers = [{ key: 'dedupKey', op: 'in', value: keys }];
    const body = { matchers, startsAt: iso(startsAt), endsAt: iso(endsAt), comment: 'Quiet' };
    const { status, text } = await call('POST', '/silences', body);
    if (status !== 201) throw new Error(text);
  }
}

/** @returns the code of its refusal */
async function follow(world: World, step: ScriptStep): Promise<string | undefined> {
  const { call, members, policies, fields, target } = world;
  const answer = await (async () => {
    switch (step.kind) {
      case 'problem':
        return call('POST', '/events', { type: 'alert.fired', dedupKey: step.key, severity: step.severity });
      case 'occurrence':
        return call('POST', '/events', { type: 'break_glass.opened', dedupKey: step.key, severity: step.severity });
      case 'resolved':
        return call('POST', '/events', { type: 'alert.resolved', dedupKey: step.key });
      case 'policy_changed':
        return call('PATCH', `/escalation-policies/${policies.P}?force=true`, { tiers: fields(step.policy).tiers });
      case 'command': {
        const { data } = (await call('GET', `/escalations?limit=1`)).body;
        const [name, body] = commandOf(step.command, { policies, target });
        return call('POST', `/escalations/${data[0].id}/${name}`, body, members.get(step.actor)!.key);
      }
    }
  })();
  if (answer.status < 300) return undefined;
  if (answer.status !== 409) throw new Error(`${JSON.stringify(step)}: ${answer.text}`);
  return answer.body['code'];
}

function commandOf(command: ScriptCommand, { policies, target }: Pick<World, 'policies' | 'target'>): [name: string, body: object] {
  switch (command.name) {
    case 'snooze':
      return ['snooze', { until: iso(command.untilMs) }];
    case 'reassign':
      return ['reassign', { policyId: policies[command.policyId as 'P' | 'Q'] }];
    case 'reassign_targets':
      return ['reassign', { targets: command.targets.map(target) }];
    default: {
      const { name, ...body } = command;
      return [name, body];
    }
  }
}

/** Everything that comes by itself up to and including an instant, in its order: pages that fail, then what is due. */
async function elapseUntil(world: World, limit: number, { failures }: Case): Promise<void> {
  const organizationId = world.organization.id;
  for (;;) {
    const failing = failures === undefined ? undefined : await nextFailure(world, failures);
    const { rows } = await database.query<{ kind: string; id: string; due: Date }>(
      `select * from (
         select 'escalation' as kind, id, due_at as due from escalation where org_id = $1 and due_at is not null
         union all select 'silence', silence_id, due_at from silence_clock where org_id = $1 and due_at is not null) as d
       order by due, kind limit 1`,
      [organizationId],
    );
    const [next] = rows;
    const failsAt = failing?.at ?? Infinity;
    const dueAt = next === undefined ? Infinity : next.due.getTime() - shift;
    if (Math.min(failsAt, dueAt) > limit) return;
    setTime(Math.max(Date.now() - shift, Math.min(failsAt, dueAt)));
    if (failing !== undefined && failsAt <= dueAt) {
      await database.query(`update delivery set failing_at = $2 where id = $1`, [failing.id, iso(failsAt)]);
      await tellFailing([{ organizationId, escalationId: failing.escalationId }]);
    } else if (next!.kind === 'escalation') await work.stepEscalation({ organizationId, escalationId: next!.id });
    else await work.advanceSilence({ organizationId, silenceId: next!.id });
  }
}

/** The page that fails next, of those that are going to. */
async function nextFailure({ organization, members }: World, failures: NonNullable<Case['failures']>) {
  const failing = [...failures].map(([name, { rejectedAfterMs }]) => ({ userId: members.get(name)!.id, rejectedAfterMs }));
  const { rows } = await database.query<{ id: string; escalation_id: string; created_at: Date; user_id: string }>(
    `select d.id, d.escalation_id, d.created_at, c.user_id from delivery d join contact_method c on c.id = d.contact_method_id
       where d.org_id = $1 and d.purpose = 'page' and d.failing_at is null and c.user_id = any($2::uuid[]) order by d.created_at`,
    [organization.id, failing.map(({ userId }) => userId)],
  );
  const [first] = rows;
  if (first === undefined) return undefined;
  const { rejectedAfterMs } = failing.find(({ userId }) => userId === first.user_id)!;
  return { id: first.id, escalationId: first.escalation_id, at: first.created_at.getTime() - shift + rejectedAfterMs };
}

async function messagesOf({ organization, members }: World): Promise<string> {
  const { rows } = await database.query<{ at: Date; purpose: string; user_id: string }>(
    `select d.created_at as at, d.purpose, c.user_id from delivery d join contact_method c on c.id = d.contact_method_id
       where d.org_id = $1 and d.purpose in ('page', 'fallback', 'reminder') order by d.created_at, d.id`,
    [organization.id],
  );
  const names = new Map([...members].map(([name, { id }]) => [id, name]));
  return printMessages(
    rows.map(({ at: time, purpose, user_id }) => ({
      at: time.getTime() - shift,
      kind: purpose as 'page' | 'fallback' | 'reminder',
      recipientId: names.get(user_id) ?? user_id,
    })),
  );
}

describe.each(Object.entries(stories))('%s', (_title, rows) => {
  test.each([...rows])('%s: %s', async (...[, expected, script, given = {}]) => {
    expect((await play(script, given)).messages).toBe(expected);
  });
});

test('3: a page that was made and not begun when somebody acknowledges is cancelled by that', async () => {
  const { world } = await play([problem(0), ack(10 + 1 / 60_000)], { horizon: 20 });
  const { rows } = await database.query(
    `select firing, state, error_code from delivery where org_id = $1 and purpose = 'page' order by firing`,
    [world.organization.id],
  );
  // Nobody sends here, so neither has begun.
  expect(rows).toEqual([1, 2].map((firing) => ({ firing, state: 'cancelled', error_code: 'cancelled_by_ack' })));
});

test('9: of two who escalate from the same tier one is answered 200, the other 409', async () => {
  const { refusals } = await play([problem(0), escalate(3, 1, 1), escalate(3, 1, 1), ack(4)], { horizon: 20 });
  expect(refusals).toEqual(['tier_mismatch']);
});

test('16: 10,000 equal events in a minute page once, are counted, and wake the workflow three times at most', async () => {
  const world = await buildWorld({});
  wakes.length = 0;
  const event = { type: 'alert.fired', dedupKey: 'A', severity: 'high' };
  setTime(at(0));
  for (let batch = 0; batch < 100; batch += 1) {
    setTime(at(batch / 100));
    const { status } = await world.call('POST', '/events/batch', { events: Array.from({ length: 100 }, () => event) });
    expect(status).toBe(202);
  }
  expect(wakes.length).toBeLessThanOrEqual(3);
  setTime(at(5));
  const { data } = (await world.call('GET', '/escalations?limit=1')).body;
  await world.call('POST', `/escalations/${data[0].id}/acknowledge`, {}, world.members.get('u1')!.key);
  await elapseUntil(world, at(120), {});
  expect(await messagesOf(world)).toBe('u1@0');
  expect((await database.query(`select count from problem where org_id = $1`, [world.organization.id])).rows).toEqual([{ count: '10000' }]);
}, 60_000);

test('17: 50 problems of one group from 20 producers at once are one escalation, and page once', async () => {
  const world = await buildWorld({});
  setTime(at(0));
  const keys = Array.from({ length: 50 }, (_, i) => `problem ${i}`);
  const answers = await Promise.all(
    Array.from({ length: 20 }, async (_, producer) =>
      Promise.all(
        keys
          .filter((_key, i) => i % 20 === producer || i % 20 === (producer + 1) % 20)
          .map(async (dedupKey) => world.call('POST', '/events', { type: 'alert.fired', dedupKey, severity: 'high' })),
      ),
    ),
  );
  expect(new Set(answers.flat().map(({ status }) => status))).toEqual(new Set([202]));
  setTime(at(5));
  const { data } = (await world.call('GET', '/escalations')).body;
  expect(data).toHaveLength(1);
  await world.call('POST', `/escalations/${data[0].id}/acknowledge`, {}, world.members.get('u1')!.key);
  await elapseUntil(world, at(120), {});
  expect(await messagesOf(world)).toBe('u1@0');
  const { rows } = await database.query(`select count(*)::int as members from escalation_member where org_id = $1 and firing`, [
    world.organization.id,
  ]);
  expect(rows).toEqual([{ members: 50 }]);
});
