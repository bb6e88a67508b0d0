import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { createEscalationActivities } from '../../activities/escalation.ts';
import { toWireId } from '../../domain/id.ts';
import type { ScriptCommand, ScriptStep } from '../../domain/simulation.ts';
import type { RequestOptions, TestAnswer } from '../api/start-api.ts';
import type { Choose } from '../reference/manner.ts';
import type { StageClock } from './stage-clock.ts';
import type { World } from './stage-world.ts';

export type CommandStep = Extract<ScriptStep, { kind: 'command' }>;
export type PolicyStep = Extract<ScriptStep, { kind: 'policy_changed' }>;
export type EventStep = Exclude<ScriptStep, CommandStep | PolicyStep>;

/** Makes steps of scripts happen. */
export interface Teller {
  changePolicy: (world: World, step: PolicyStep) => Promise<void>;
  /** Events of one instant in their order, in one transaction or each in its own; any request may be repeated. */
  postEvents: (world: World, steps: readonly EventStep[], choose: Choose) => Promise<void>;
  /** Over the API, by an event or through Temporal. @returns `impossible` when there is no escalation yet that it could be given to */
  giveCommand: (world: World, step: CommandStep, choose: Choose) => Promise<'done' | 'impossible' | { refused: string }>;
}

interface Deps {
  database: pg.Client;
  clock: StageClock;
  work: Pick<ReturnType<typeof createEscalationActivities>, 'commandEscalation'>;
}

export function createTeller({ database, clock, work }: Deps): Teller {
  async function giveCommand(world: World, step: CommandStep, choose: Choose): ReturnType<Teller['giveCommand']> {
    const escalation = await findEscalation(world);
    if (escalation === undefined) return 'impossible';
    const { id: escalationId, status: state, dedupKey } = escalation;
    const { at, command, actor } = step;
    const { id: userId, key } = world.members.get(actor)!;
    const isRepeated = choose(`repeated ${command.name} ${at}`, false, true);
    const way = choose(`${command.name} ${at}`, 'api', 'temporal', 'event');
    const isAcknowledge = command.name === 'acknowledge' && command.extend !== true;
    if (way === 'event' && isAcknowledge && state !== 'resolved' && dedupKey !== null) {
      const { status, text } = await post(world, '/events', { body: { type: 'alert.acknowledged', dedupKey }, key }, isRepeated);
      if (status !== 202) throw new Error(text);
      return 'done';
    }
    if (way === 'temporal' && (isAcknowledge || command.name === 'resolve')) {
      const { organizationId } = world;
      const request = { organizationId, escalationId, requestId: randomUUID(), actor: toWireId('user', userId) };
      for (let times = isRepeated ? 2 : 1; times > 0; times -= 1) {
        const answer = await work.commandEscalation({ ...request, command: isAcknowledge ? 'acknowledge' : 'resolve' });
        if ('refused' in answer) throw new Error(answer.refused);
      }
      return 'done';
    }
    const [name, body] = bodyOf(command, world);
    const answer = await post(world, `/escalations/${toWireId('escalation', escalationId)}/${name}`, { body, key }, isRepeated);
    if (answer.status < 300) return 'done';
    if (answer.status !== 409 && answer.status !== 422) throw new Error(`${JSON.stringify(step)}: ${answer.text}`);
    const code: string = answer.status === 409 ? answer.body['code'] : answer.body['errors'][0].code;
    return { refused: code === 'unknown_version' ? 'unknown_policy' : code };
  }

  /** The one that goes on, or else the last; with the dedup key of a problem that it is about. */
  async function findEscalation({ organizationId }: World) {
    const { rows } = await database.query<{ id: string; status: string; dedupKey: string | null }>(
      `select e.id, e.status, min(p.dedup_key) as "dedupKey" from escalation e
         left join escalation_member m on m.org_id = e.org_id and m.escalation_id = e.id and m.firing
         left join problem p on p.org_id = m.org_id and p.id = m.key
         where e.org_id = $1 group by e.id, e.status order by e.status = 'resolved', e.id desc limit 1`,
      [organizationId],
    );
    return rows[0];
  }

  function bodyOf(command: ScriptCommand, { policies, target }: World): [name: string, body: object] {
    switch (command.name) {
      case 'snooze':
        return ['snooze', { until: clock.iso(command.untilMs) }];
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

  return {
    async changePolicy({ call, policies, definition }, { policy }) {
      const path = `/escalation-policies/${policies.get(policy.id)!}?force=true`;
      const { status, text } = await call('PATCH', path, { body: definition(policy) });
      if (status !== 200) throw new Error(text);
    },
    async postEvents(world, steps, choose) {
      if (choose('alerts come by', 'events', 'alertmanager') === 'events') return postOwn(world, steps, choose);
      for (const some of runsOf(steps)) {
        if (isAlert(some[0]!)) await postAlerts(world, some.filter(isAlert), choose);
        else await postOwn(world, some, choose);
      }
    },
    giveCommand,
  };
}

/** Events as Tocsin has them. */
async function postOwn(world: World, steps: readonly EventStep[], choose: Choose): Promise<void> {
  const { at } = steps[0]!;
  const events = steps.map(eventOf);
  if (choose(`batch ${at}`, false, true)) {
    const { status, text, body } = await post(world, '/events/batch', { body: { events } }, choose(`repeated ${at}`, false, true));
    const results: Array<{ error?: object }> = body['data'];
    if (status !== 202 || results.some(({ error }) => error !== undefined)) throw new Error(text);
    return;
  }
  for (const [index, event] of events.entries()) {
    const isExplained = choose(`explained ${at} ${index}`, false, false, true);
    const explained = isExplained ? await world.call('POST', '/events/explain', { body: event }) : undefined;
    const { status, text, body } = await post(world, '/events', { body: event }, choose(`repeated ${at} ${index}`, false, true));
    if (status !== 202) throw new Error(text);
    if (explained !== undefined && JSON.stringify(decisionsOf(explained.body)) !== JSON.stringify(decisionsOf(body)))
      throw new Error(`Explained ${explained.text}, and decided ${text}`);
  }
}

/** What both an explanation and an answer tell. */
function decisionsOf(body: TestAnswer['body']): object[] {
  const decisions: Array<{ target: object; verdict: string; reason: string }> = body['decisions'];
  return decisions.map(({ target, verdict, reason }) => ({ target, verdict, reason }));
}

/** Alerts as Alertmanager tells of them, all at once or one by one; it says again what it is not sure of. */
async function postAlerts(world: World, steps: readonly AlertStep[], choose: Choose): Promise<void> {
  const { at } = steps[0]!;
  const alerts = steps.map((step) => ({
    status: step.kind === 'problem' ? 'firing' : 'resolved',
    fingerprint: step.key,
    labels: { key: step.key, ...(step.kind === 'problem' ? { severity: step.severity } : {}) },
  }));
  for (const some of choose(`batch ${at}`, false, true) ? [alerts] : alerts.map((alert) => [alert])) {
    const isRepeated = some.length === 1 && choose(`repeated ${at} ${JSON.stringify(some)}`, false, true);
    for (let times = isRepeated ? 2 : 1; times > 0; times -= 1) {
      const { status, text } = await world.call('POST', '/intake/alertmanager', { body: { version: '4', alerts: some } });
      if (status !== 200) throw new Error(text);
    }
  }
}

type AlertStep = Exclude<EventStep, { kind: 'occurrence' }>;
function isAlert(step: EventStep): step is AlertStep {
  return step.kind !== 'occurrence';
}

/** In their order, alerts and others apart. */
function runsOf(steps: readonly EventStep[]): EventStep[][] {
  const runs: EventStep[][] = [];
  for (const step of steps) {
    const last = runs.at(-1);
    if (last !== undefined && isAlert(last[0]!) === isAlert(step)) last.push(step);
    else runs.push([step]);
  }
  return runs;
}

function eventOf(step: EventStep): object {
  const { kind, key } = step;
  switch (kind) {
    case 'problem':
      return { type: 'alert.fired', dedupKey: key, labels: { key }, severity: step.severity };
    case 'occurrence':
      // without a dedup key: each is one of its own, however soon it comes after another
      return { type: 'break_glass.opened', labels: { key }, severity: step.severity };
    case 'resolved':
      return { type: 'alert.resolved', dedupKey: key, labels: { key } };
  }
}

/** A repeated request has the key of the first, and gets its answer. */
async function post({ call }: World, path: string, options: RequestOptions, isRepeated: boolean): Promise<TestAnswer> {
  if (!isRepeated) return call('POST', path, options);
  const send = async () => call('POST', path, { ...options, headers });
  const headers = { 'Idempotency-Key': randomUUID() };
  const first = await send();
  const second = await send();
  if (second.status !== first.status || (first.status < 300 && second.text !== first.text))
    throw new Error(`${first.text}\n${second.text}`);
  return first;
}
