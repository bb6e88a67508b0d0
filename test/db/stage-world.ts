import type pg from 'pg';
import { formatDuration } from '../../domain/duration.ts';
import type { EscalationPolicy, Target } from '../../domain/escalation-policy.ts';
import { toWireId } from '../../domain/id.ts';
import type { Simulation } from '../../domain/simulation.ts';
import type { RequestOptions, TestAnswer, TestApi } from '../api/start-api.ts';
import type { StageClock } from './stage-clock.ts';

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

/** An organization in which a simulation happens. */
export interface World {
  simulation: Simulation;
  organizationId: string;
  call: (method: string, path: string, options?: Omit<RequestOptions, 'raw'>) => Promise<TestAnswer>;
  /** Posts what must be taken. @returns the id */
  make: (path: string, body: object) => Promise<string>;
  members: ReadonlyMap<string, { id: string; key: string }>;
  /** Ids on the wire. */
  policies: ReadonlyMap<string, string>;
  target: (target: Target) => object;
  /** A policy's definition as bodies have it. */
  definition: (policy: EscalationPolicy) => object;
}

const minute = 60_000;
/** Somebody has to be in a schedule. */
const nobody = 'gone';

export async function buildWorld(
  { api, database, clock }: { api: TestApi; database: pg.Client; clock: StageClock },
  simulation: Simulation,
  { people, unreachable, schedules }: Cast,
): Promise<World> {
  const organization = await api.buildOrganization('Stage');
  const call: World['call'] = async (method, path, options) => api.request(method, path, { key: organization.key, ...options });
  const make: World['make'] = async (path, body) => {
    const { status, text, body: made } = await call('POST', path, { body });
    if (status >= 300) throw new Error(`${path}: ${text}`);
    return made['id'];
  };
  const settings = { host: '127.0.0.1', port: 25, security: 'none', from: 'tocsin@example.com' };
  const sender = await make('/channels', { name: 'sender', type: 'email', settings });
  await call('PATCH', '/organization', { body: { settings: { senderChannels: { email: sender } } } });

  const members = new Map<string, { id: string; key: string }>();
  for (const name of [...people, nobody]) members.set(name, await api.buildMember(organization, 'operator'));
  const pageless = [...unreachable, nobody].map((name) => members.get(name)!.id);
  await database.query('update contact_method set page = false where user_id = any($1::uuid[])', [pageless]);
  const user = (name: string): string => toWireId('user', members.get(name)!.id);

  const scheduleIds = new Map<string, string>();
  for (const [name, { always, added }] of Object.entries(schedules)) {
    const weekly = { start: '2026-01-05T00:00', unit: 'week', length: 1 };
    const rotations = (always.length === 0 ? [nobody] : always).map((participant) => ({ ...weekly, participants: [user(participant)] }));
    const id = await make('/schedules', { name, timeZone: 'UTC', layers: [{ rotations }] });
    scheduleIds.set(name, id);
    for (const { userId, from, to } of added) {
      const times = { startsAt: clock.iso(clock.origin + from * minute), endsAt: clock.iso(clock.origin + to * minute) };
      await make(`/schedules/${id}/overrides`, { kind: 'add', userId: user(userId), ...times });
    }
  }
  const calendarIds = new Map<string, string>();
  for (const { id: name, timeZone, intervals, holidays } of simulation.calendars.values())
    calendarIds.set(name, await make('/calendars', { name, timeZone, intervals, holidays }));

  const target: World['target'] = ({ kind, id }) => ({ kind, id: kind === 'schedule' ? scheduleIds.get(id)! : user(id) });
  const definition: World['definition'] = (policy) => presentDefinition(policy, { target, calendarIds });
  const policies = new Map<string, string>();
  for (const [index, policy] of simulation.policies.entries()) {
    // events come to the first alone
    const trigger = index === 0 ? { categories: ['alert', 'security'] } : null;
    const body = { name: policy.id, trigger, ...definition(policy) };
    policies.set(policy.id, await make('/escalation-policies?force=true', body));
  }
  return { simulation, organizationId: organization.id, call, make, members, policies, target, definition };
}

function presentDefinition(
  policy: EscalationPolicy,
  { target, calendarIds }: Pick<World, 'target'> & { calendarIds: ReadonlyMap<string, string> },
): object {
  const calendar = (id: string | null): string | null => (id === null ? null : calendarIds.get(id)!);
  return {
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
  };
}
