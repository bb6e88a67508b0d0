import type { Calendar } from '../../domain/calendar.ts';
import type { EscalationFacts, GroupCommand, GroupInput, Recipient } from '../../domain/escalation-input.ts';
import type { Effect, GroupStep } from '../../domain/escalation-effect.ts';
import type { EscalationPolicy, Target, Tier } from '../../domain/escalation-policy.ts';
import { emptyGroup, type GroupState } from '../../domain/escalation-state.ts';
import { stepGroup } from '../../domain/escalation.ts';
import type { Severity } from '../../domain/severity.ts';
import { simulate, type ScriptCommand, type ScriptStep, type Simulation } from '../../domain/simulation.ts';

/** Words for escalation stories: minutes from a Thursday noon, and one line for all that was sent. */

export const minute = 60_000;
export const hour = 60 * minute;
export const start = Date.parse('2026-10-01T12:00:00Z');
export const at = (minutes: number): number => start + minutes * minute;

export const user = (id: string): Target => ({ kind: 'user', id });
export const tier = (target: Target | readonly Target[], rest: Partial<Tier> = {}): Tier => ({
  name: null,
  targets: 'kind' in target ? [target] : target,
  timeoutMs: 10 * minute,
  when: 'always',
  calendarId: null,
  ...rest,
});

/** Policy P of the acceptance table, without its repeat: a schedule on which u1 is, u2, u3, ten minutes each; fallback f. */
export function buildPolicy(overrides: Partial<EscalationPolicy> = {}): EscalationPolicy {
  return {
    id: 'P',
    version: 1,
    name: 'P',
    enabled: true,
    ownerUserId: null,
    trigger: null,
    groupBy: ['type'],
    groupWaitMs: 0,
    tiers: [tier({ kind: 'schedule', id: 's' }), tier(user('u2')), tier(user('u3'))],
    calendarId: null,
    defer: null,
    repeat: null,
    acknowledgementTimeoutMs: null,
    acknowledgementReminder: false,
    cooldownMs: 30 * minute,
    cooldownScope: 'full',
    hardStopMs: 7 * 24 * hour,
    fallback: [user('f')],
    followUp: 'none',
    autoResolve: true,
    minProof: 'any',
    ...overrides,
  };
}

/** The policy as the table has it. */
export const P = buildPolicy({ repeat: { everyMs: 30 * minute, max: 1 } });
export const Q = buildPolicy({ id: 'Q', tiers: [tier(user('q1'))] });

/** Everybody has one address, of the same name; of the schedule that is u1's; `nobody` has none. */
export function reach(target: Target): Recipient[] {
  if (target.id === 'nobody') return [];
  const id = target.kind === 'schedule' ? 'u1' : target.id;
  return [{ kind: 'contact', id, userId: id }];
}

/** Open each day between two hours UTC. */
export function openBetween(from: string, until: string, rest: Partial<Calendar> = {}): Calendar {
  return {
    id: 'hours',
    version: 1,
    name: 'hours',
    timeZone: 'Etc/UTC',
    intervals: [{ times: [{ start: from, end: until }] }],
    holidays: [],
    ...rest,
  };
}

export const opens = (minutes: number, key = 'A', severity: Severity = 'high'): ScriptStep => ({
  at: at(minutes),
  kind: 'problem',
  key,
  severity,
});
export const occurs = (minutes: number, key = 'A', severity: Severity = 'high'): ScriptStep => ({
  at: at(minutes),
  kind: 'occurrence',
  key,
  severity,
});
export const resolves = (minutes: number, key = 'A'): ScriptStep => ({ at: at(minutes), kind: 'resolved', key });
export const commands = (minutes: number, command: ScriptCommand): ScriptStep => ({
  at: at(minutes),
  kind: 'command',
  actor: 'u1',
  command,
});
export const acks = (minutes: number): ScriptStep => commands(minutes, { name: 'acknowledge' });
export const escalates = (minutes: number, round: number, tier: number, toTier?: number): ScriptStep =>
  commands(minutes, { name: 'escalate', expected: { round, tier }, ...(toTier === undefined ? {} : { toTier }) });
export const snoozes = (minutes: number, until: number): ScriptStep => commands(minutes, { name: 'snooze', untilMs: at(until) });
export const edits = (minutes: number, policy: EscalationPolicy): ScriptStep => ({ at: at(minutes), kind: 'policy_changed', policy });
export const rebases = (minutes: number, policyVersion: number): ScriptStep => commands(minutes, { name: 'rebase', policyVersion });

export type Story = Partial<Omit<Simulation, 'policies' | 'script'>> & { policy?: EscalationPolicy };

/** A story of a day, as `u1@0 f@30`: who was sent something in which minute; `2s` is a second, `!` a reminder. */
export function tell(script: readonly ScriptStep[], story: Story = {}): string {
  const { messages } = play(script, story);
  return messages.map((message) => `${message.recipientId}${message.kind === 'reminder' ? '!' : ''}@${when(message.at)}`).join(' ');
}

/** What states it went through, as `triggered@0 resolved@5`. */
export function tellStates(script: readonly ScriptStep[], story: Story = {}): string {
  return play(script, story)
    .states.map(({ at: instant, state }) => `${state}@${when(instant)}`)
    .join(' ');
}

export function play(script: readonly ScriptStep[], { policy = P, ...story }: Story): ReturnType<typeof simulate> {
  return simulate({
    policies: [policy, Q],
    calendars: new Map(),
    reach,
    failures: new Map(),
    silences: [],
    until: at(24 * 60),
    ...story,
    script,
  });
}

export function when(instant: number): string {
  const elapsed = instant - start;
  return elapsed % minute === 0 ? `${elapsed / minute}` : `${elapsed / 1_000}s`;
}

export const opened = (key: string, severity: Severity = 'high'): GroupInput => ({ kind: 'problem', key, severity });
export const resolved = (key: string): GroupInput => ({ kind: 'problem_resolved', key });
export const acknowledge = { name: 'acknowledge', extend: false } as const;

/** A group that is stepped by hand. Every state that goes in is frozen and went through JSON, as a stored one would. */
export interface Group {
  state: GroupState;
  last: GroupStep;
  send: (minutes: number, input: GroupInput) => GroupStep;
  command: (minutes: number, command: GroupCommand, escalationId?: string) => GroupStep;
  /** Lets the plan come to pass when it is due, or later. */
  elapse: (minutes?: number) => GroupStep;
}

export function beginGroup(policies: readonly EscalationPolicy[] = [P, Q], overrides: Partial<EscalationFacts> = {}): Group {
  let escalations = 0;
  const facts: EscalationFacts = {
    policy: (id, version) => policies.findLast((policy) => policy.id === id && (version === null || policy.version === version)),
    calendar: () => undefined,
    recipients: reach,
    silencedUntil: () => null,
    newId: () => `E${(escalations += 1)}`,
    ...overrides,
  };
  const state = freeze(emptyGroup('P'));
  const group: Group = {
    state,
    last: { state, effects: [], plan: null, outcome: 'noop' },
    send: (minutes, input) => {
      const step = stepGroup(group.state, input, at(minutes), facts);
      group.state = freeze(JSON.parse(JSON.stringify(step.state)) as GroupState);
      group.last = step;
      return step;
    },
    command: (minutes, command, escalationId = group.state.escalation?.id ?? '') =>
      group.send(minutes, { kind: 'command', escalationId, command, by: { userId: 'u1', proof: 'session' } }),
    elapse: (minutes) => {
      const { plan } = group.last;
      if (plan === null) throw new Error('Nothing is due.');
      return group.send(minutes ?? (plan.dueAt - start) / minute, { kind: 'due', version: plan.version });
    },
  };
  return group;
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(freeze);
  return value;
}

/** A step in a few words: the state it leads to, then what matters of its effects, in order. */
export function summarize({ state, effects }: GroupStep): string {
  return [state.escalation?.phase.status ?? 'none', ...effects.flatMap(summarizeEffect)].join(' ');
}

function summarizeEffect(effect: Effect): string[] {
  switch (effect.kind) {
    case 'fire':
      return effect.recipients.map(({ id }) => `${id}(${effect.round},${effect.tier})`);
    case 'fallback':
      return effect.recipients.map(({ id }) => id);
    case 'remind':
      return effect.recipients.map(({ id }) => `${id}!`);
    case 'opened':
      return [effect.previousId === null ? 'new' : `new after ${effect.previousId}`];
    case 'close_problems':
      return [`closes:${effect.keys.join()}`];
    case 'timeline':
      return effect.what === 'restarted' || effect.what === 'attached' ? [`${effect.what}:${effect.reason}`] : plain(effect);
    case 'cancel_pages':
    case 'update':
    case 'post':
      return [];
  }
}

function plain({ what, reason }: Extract<Effect, { kind: 'timeline' }>): string[] {
  if (what === 'refused') return [reason ?? ''];
  return what === 'noop' || what === 'severity_raised' || what === 'late' ? [what] : [];
}
