import { jest } from '@jest/globals';
import pg from 'pg';
import { createEscalationActivities } from '../../activities/escalation.ts';
import { createFailingPages } from '../../activities/failing-pages.ts';
import { createSilenceActivities } from '../../activities/silence.ts';
import { createFactsCache } from '../../db/queries/routing-facts.ts';
import { formatDuration } from '../../domain/duration.ts';
import type { EscalationPolicy, Target } from '../../domain/escalation-policy.ts';
import { toWireId } from '../../domain/id.ts';
import type {
  ScriptCommand,
  ScriptStep,
  SimulatedMessage,
  SimulatedState,
  Simulation,
  SimulationOutcome,
} from '../../domain/simulation.ts';
import type { ChangedEscalation } from '../../temporal/escalation-starter.ts';
import { startApi, type TestAnswer } from '../api/start-api.ts';

/**
 * Plays simulations on the whole system but for Temporal and the way out: what happens comes over the API, what is due is done by the
 * worker's activities, and every message is a row of PostgreSQL. Only the clock is the stage's. That a page is rejected is written to its
 * delivery, as its attempt would.
 */
export interface Stage {
  /** Everything to the simulation's end, in an organization of its own. */
  play: (simulation: Simulation, cast: Cast) => Promise<Played>;
  /** An organization in which the simulation can happen, a minute before its origin. */
  prepare: (simulation: Simulation, cast: Cast) => Promise<World>;
  /** What comes by itself up to and including an instant of the simulation. */
  elapseUntil: (world: World, at: number) => Promise<void>;
  messagesOf: (world: World) => Promise<SimulatedMessage[]>;
  setTime: (at: number) => void;
  /** Escalations whose workflow intake told to look again, so far. */
  readonly wakes: ChangedEscalation[];
  readonly database: pg.Client;
  stop: () => Promise<void>;
}

/** Who there is; a simulation's `reach` tells only what comes of it. */
export interface Cast {
  people: readonly string[];
  /** Of them, who has no address for pages. */
  unreachable: readonly string[];
  /** By the ids of targets. */
  schedules: Readonly<Record<string, Roster>>;
}

/** Who is on call at any time, and who besides from one minute after the origin until another. */
export interface Roster {
  always: readonly string[];
  added: ReadonlyArray<{ userId: string; from: number; to: number }>;
}

export interface Played extends SimulationOutcome {
  /** Places in the script of commands that nobody could give, for there was no escalation yet. */
  impossible: number[];
  world: World;
}

export interface World {
  simulation: Simulation;
  organizationId: string;
  call: (method: string, path: string, body?: object, key?: string) => Promise<TestAnswer>;
  members: ReadonlyMap<string, { id: string; key: string }>;
  /** Ids on the wire. */
  policies: ReadonlyMap<string, string>;
  target: (target: Target) => object;
  /** A policy's definition as bodies have it. */
  definition: (policy: EscalationPolicy) => object;
}

const minute = 60_000;
const week = 7 * 24 * 60 * minute;

/**
 * @param origin when simulations begin: they happen in some week, and here in the last one that is over, for the audit log takes nothing that
 * is yet to come
 */
export async function openStage(origin: number): Promise<Stage> {
  const shift = Math.floor((Date.now() - 2 * 24 * 60 * minute - origin) / week) * week;
  const setTime = (at: number): void => {
    jest.setSystemTime(at + shift);
  };
  const iso = (at: number): string => new Date(at + shift).toISOString();
  const instantOf = (date: Date): number => date.getTime() - shift;

  const wakes: ChangedEscalation[] = [];
  const api = await startApi({ deps: { minIntervalMs: 1 }, escalations: { wake: (changed) => void wakes.push(...changed) } });
  const database = new pg.Client({ connectionString: api.databaseUrl });
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
  const { stepEscalation } = createEscalationActivities(deps);
  const { advanceSilence } = createSilenceActivities(deps);
  const tellFailing = createFailingPages(deps);
  const real = ['hrtime', 'nextTick', 'performance', 'queueMicrotask', 'setImmediate', 'clearImmediate'] as const;
  jest.useFakeTimers({ now: origin + shift, doNotFake: [...real, 'setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] });

  async function prepare(simulation: Simulation, { people, unreachable, schedules }: Cast): Promise<World> {
    const { policies, calendars, silences } = simulation;
    setTime(origin - minute);
    const organization = await api.buildOrganization('Stage');
    const call: World['call'] = async (method, path, body, key = organization.key) =>
      api.request(method, path, { key, ...(body === undefined ? {} : { body }) });
    const make = async (path: string, body: object): Promise<string> => {
      const { status, text, body: made } = await call('POST', path, body);
      if (status >= 300) throw new Error(text);
      return made['id'];
    };
    const settings = { host: '127.0.0.1', port: 25, security: 'none', from: 'tocsin@example.com' };
    const sender = await make('/channels', { name: 'sender', type: 'email', settings });
    await call('PATCH', '/organization', { settings: { senderChannels: { email: sender } } });

    const members = new Map<string, { id: string; key: string }>();
    for (const name of [...people, 'gone']) members.set(name, await api.buildMember(organization, 'operator'));
    const pageless = [...unreachable, 'gone'].map((name) => members.get(name)!.id);
    await database.query('update contact_method set page = false where user_id = any($1::uuid[])', [pageless]);
    const user = (name: string): string => toWireId('user', members.get(name)!.id);

    const ids = new Map<string, string>();
    for (const [id, { always, added }] of Object.entries(schedules)) {
      const weekly = { start: '2026-01-05T00:00', unit: 'week', length: 1 };
      // somebody has to be in it
      const rotations = (always.length === 0 ? ['gone'] : always).map((name) => ({ ...weekly, participants: [user(name)] }));
      const schedule = await make('/schedules', { name: id, timeZone: 'UTC', layers: [{ rotations }] });
      ids.set(id, schedule);
      for (const { userId, from, to } of added) {
        const times = { startsAt: iso(origin + from * minute), endsAt: iso(origin + to * minute) };
        await make(`/schedules/${schedule}/overrides`, { kind: 'add', userId: user(userId), ...times });
      }
    }
    for (const { id, timeZone, intervals, holidays } of calendars.values())
      ids.set(id, await make('/calendars', { name: id, timeZone, intervals, holidays }));

    const target: World['target'] = ({ kind, id }) => ({ kind, id: kind === 'schedule' ? ids.get(id)! : user(id) });
    const calendar = (id: string | null): string | null => (id === null ? null : ids.get(id)!);
    const definition: World['definition'] = (policy) => ({
      groupBy: policy.groupBy,
      groupWait: formatDuration(policy.groupWaitMs),
      tiers: policy.tiers.map(({ targets, timeoutMs, when, calendarId }) => ({
        targets: targets.map(target),
        timeout: formatDuration(timeoutMs),
        when,
        calendarId: calendar(calendarId),
      })),
      calendarId: calendar(policy.calendarId),
      defer: policy.defer,
      repeat: policy.repeat === null ? null : { every: formatDuration(policy.repeat.everyMs), max: policy.repeat.max },
      acknowledgementTimeout: policy.acknowledgementTimeoutMs === null ? null : formatDuration(policy.acknowledgementTimeoutMs),
      acknowledgementReminder: policy.acknowledgementReminder,
      cooldown: formatDuration(policy.cooldownMs),
      cooldownScope: policy.cooldownScope,
      hardStop: formatDuration(policy.hardStopMs),
      fallback: policy.fallback.map(target),
      followUp: policy.followUp,
      autoResolve: policy.autoResolve,
    });
    const made = new Map<string, string>();
    for (const [index, policy] of policies.entries()) {
      // events come to the first alone
      const trigger = index === 0 ? { categories: ['alert', 'security'] } : null;
      made.set(policy.id, await make('/escalation-policies?force=true', { name: policy.id, trigger, ...definition(policy) }));
    }
    for (const { startsAt, endsAt, keys } of silences) {
      const matchers = [{ key: 'label.key', op: 'in', value: keys }];
      await make('/silences', { matchers, startsAt: iso(startsAt), endsAt: iso(endsAt), comment: 'Quiet' });
    }
    return { simulation, organizationId: organization.id, call, members, policies: made, target, definition };
  }

  async function play(simulation: Simulation, cast: Cast): Promise<Played> {
    const world = await prepare(simulation, cast);
    const refusals: Played['refusals'] = [];
    const impossible: number[] = [];
    const steps = simulation.script.map((step, index) => ({ step, index }));
    for (const { step, index } of steps.sort((a, b) => a.step.at - b.step.at || rank(a.step) - rank(b.step))) {
      await elapseUntil(world, step.at - 1);
      setTime(step.at);
      const result = await follow(world, step);
      if (result === 'impossible') impossible.push(index);
      else if (result !== 'done') refusals.push({ step: index, code: result.refused });
    }
    await elapseUntil(world, simulation.until);
    return { messages: await messagesOf(world), states: await statesOf(world), refusals, impossible, world };
  }

  async function follow(world: World, step: ScriptStep): Promise<'done' | 'impossible' | { refused: string }> {
    const answer = await tell(world, step);
    if (answer === undefined) return 'impossible';
    const { status, text, body } = answer;
    if (status < 300) return 'done';
    if (step.kind !== 'command' || (status !== 409 && status !== 422)) throw new Error(`${JSON.stringify(step)}: ${text}`);
    const code: string = status === 409 ? body['code'] : body['errors'][0].code;
    return { refused: code === 'unknown_version' ? 'unknown_policy' : code };
  }

  /** Says it to the API. @returns undefined when there is nothing to say it of */
  async function tell(
    { organizationId, call, members, policies, definition, target }: World,
    step: ScriptStep,
  ): Promise<TestAnswer | undefined> {
    switch (step.kind) {
      case 'problem': {
        const { key, severity } = step;
        return call('POST', '/events', { type: 'alert.fired', dedupKey: key, labels: { key }, severity });
      }
      case 'occurrence': {
        const { key, severity } = step;
        // without a dedup key: each is one of its own, however soon it comes after another
        return call('POST', '/events', { type: 'break_glass.opened', labels: { key }, severity });
      }
      case 'resolved':
        return call('POST', '/events', { type: 'alert.resolved', dedupKey: step.key, labels: { key: step.key } });
      case 'policy_changed':
        return call('PATCH', `/escalation-policies/${policies.get(step.policy.id)!}?force=true`, definition(step.policy));
      case 'command': {
        const { rows } = await database.query<{ id: string }>(
          `select id from escalation where org_id = $1 order by status = 'resolved', id desc limit 1`,
          [organizationId],
        );
        const [escalation] = rows;
        if (escalation === undefined) return undefined;
        const [name, body] = commandOf(step.command, { policies, target });
        return call('POST', `/escalations/${toWireId('escalation', escalation.id)}/${name}`, body, members.get(step.actor)!.key);
      }
    }
  }

  function commandOf(command: ScriptCommand, { policies, target }: Pick<World, 'policies' | 'target'>): [name: string, body: object] {
    switch (command.name) {
      case 'snooze':
        return ['snooze', { until: iso(command.untilMs) }];
      case 'reassign':
        return ['reassign', { policyId: policies.get(command.policyId)! }];
      case 'reassign_targets':
        return ['reassign', { targets: command.targets.map(target) }];
      default: {
        const { name, ...body } = command;
        return [name, body];
      }
    }
  }

  /** In their order: pages that fail, then what is due. */
  async function elapseUntil(world: World, limit: number): Promise<void> {
    const { organizationId } = world;
    for (;;) {
      const failing = await nextFailure(world);
      const { rows } = await database.query<{ kind: string; id: string; due: Date | null }>(
        `select * from (
           select 'escalation' as kind, id, due_at as due from escalation
             where org_id = $1 and (due_at is not null or status = 'triggered')
           union all select 'silence', silence_id, due_at from silence_clock where org_id = $1 and due_at is not null) as d
         order by due nulls first, kind limit 1`,
        [organizationId],
      );
      const [next] = rows;
      if (next?.due === null) throw new Error('An escalation is triggered and waits for nothing: nobody would ever be paged.');
      const failsAt = failing?.at ?? Infinity;
      const dueAt = next === undefined ? Infinity : instantOf(next.due);
      const at = Math.min(failsAt, dueAt);
      if (at > limit) return;
      setTime(Math.max(Date.now() - shift, at));
      if (failing !== undefined && failsAt <= dueAt) {
        await database.query(`update delivery set failing_at = $2 where id = any($1::uuid[])`, [failing.ids, iso(failsAt)]);
        await tellFailing([{ organizationId, escalationId: failing.escalationId }]);
      } else if (next!.kind === 'escalation') await stepEscalation({ organizationId, escalationId: next!.id });
      else await advanceSilence({ organizationId, silenceId: next!.id });
    }
  }

  /** The pages that fail next, of those that are going to. */
  async function nextFailure({ simulation: { failures }, organizationId, members }: World) {
    if (failures.size === 0) return undefined;
    const failing = [...failures].map(([name, { rejectedAfterMs }]) => ({ userId: members.get(name)!.id, rejectedAfterMs }));
    const { rows } = await database.query<{ ids: string[]; escalationId: string; at: Date }>(
      `select array_agg(id) as ids, escalation_id as "escalationId", at from (
         select d.id, d.escalation_id, d.created_at + f.after_ms * interval '1 ms' as at
           from delivery d join contact_method c on c.id = d.contact_method_id
             join unnest($2::uuid[], $3::int[]) as f (user_id, after_ms) on f.user_id = c.user_id
           where d.org_id = $1 and d.purpose = 'page' and d.failing_at is null) as failing
         group by escalation_id, at order by at limit 1`,
      [organizationId, failing.map(({ userId }) => userId), failing.map(({ rejectedAfterMs }) => rejectedAfterMs)],
    );
    return rows[0] && { ...rows[0], at: instantOf(rows[0].at) };
  }

  async function messagesOf({ organizationId, members }: World): Promise<SimulatedMessage[]> {
    const { rows } = await database.query<Omit<SimulatedMessage, 'at' | 'recipientId'> & { at: Date; userId: string }>(
      `select d.created_at as at, d.purpose as kind, c.user_id as "userId",
              coalesce(f.round, (d.news ->> 'round')::int) as round, greatest(coalesce(f.tier, (d.news ->> 'tier')::int), 1) as tier
         from delivery d join contact_method c on c.id = d.contact_method_id
           left join escalation_firing f on f.org_id = d.org_id and f.escalation_id = d.escalation_id and f.firing = d.firing
         where d.org_id = $1 and d.purpose in ('page', 'fallback', 'reminder') order by d.created_at, d.id`,
      [organizationId],
    );
    const names = new Map([...members].map(([name, { id }]) => [id, name]));
    return rows.map(({ at, kind, userId, round, tier }) => ({ at: instantOf(at), kind, recipientId: names.get(userId)!, round, tier }));
  }

  async function statesOf({ organizationId }: World): Promise<SimulatedState[]> {
    const { rows } = await database.query<{ at: Date; escalationId: string; state: SimulatedState['state'] }>(
      `select at, escalation_id as "escalationId", status as state from escalation_timeline
         where org_id = $1 and status is not null order by seq`,
      [organizationId],
    );
    return rows
      .filter(({ escalationId, state }, index) => rows[index - 1]?.escalationId !== escalationId || rows[index - 1]!.state !== state)
      .map(({ at, state }) => ({ at: instantOf(at), state }));
  }

  return {
    play,
    prepare,
    elapseUntil,
    messagesOf,
    setTime,
    wakes,
    database,
    async stop() {
      jest.useRealTimers();
      await database.end();
      await api.stop();
    },
  };
}

/** Of equal instants, as the specification orders them. */
function rank(step: ScriptStep): number {
  if (step.kind === 'policy_changed') return 0;
  if (step.kind === 'resolved') return 1;
  if (step.kind !== 'command') return 4;
  return step.command.name === 'resolve' ? 1 : step.command.name === 'acknowledge' ? 2 : 3;
}
