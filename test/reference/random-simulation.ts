import type { Calendar } from '../../domain/calendar.ts';
import type { EscalationPolicy, Target, Tier } from '../../domain/escalation-policy.ts';
import type { Severity } from '../../domain/severity.ts';
import type { Recipient, ScriptCommand, ScriptSilence, ScriptStep, Simulation } from '../../domain/simulation.ts';
import { modelEscalations } from './escalation-model.ts';

/** A simulation as data, so that it can be made smaller and printed. */
export interface RandomSimulation {
  policies: EscalationPolicy[];
  /** Of recipients, how long their pages last until they are rejected. */
  failures: Record<string, number>;
  script: ScriptStep[];
  silences: ScriptSilence[];
  until: number;
}

/** Midnight of a Monday, in UTC. */
export const start = Date.parse('2026-10-05T00:00:00Z');
export const minute = 60_000;

/** What happens ends on Tuesday at midnight; whoever looks a year ahead finds less to look at. */
const weekdays = ['monday:tuesday'];
/** Open for half of every hour. */
const halfHours: Calendar = {
  id: 'half-hours',
  version: 1,
  name: 'half hours',
  timeZone: 'UTC',
  intervals: [{ times: Array.from({ length: 24 }, (_, hour) => ({ start: `${pad(hour)}:20`, end: `${pad(hour)}:50` })), weekdays }],
  holidays: [],
};
/** Open after the first hour and a half. */
const afterwards: Calendar = { ...halfHours, id: 'afterwards', intervals: [{ times: [{ start: '01:30', end: '24:00' }], weekdays }] };
const calendars = new Map([halfHours, afterwards].map((calendar) => [calendar.id, calendar]));

function pad(hour: number): string {
  return `${hour}`.padStart(2, '0');
}

/** Who is on call: whoever always is, and others from one minute until another. */
export const schedules: Readonly<Record<string, { always: string[]; added: Array<{ userId: string; from: number; to: number }> }>> = {
  pair: { always: ['u1', 'u2'], added: [] },
  'on-call': {
    always: [],
    added: [
      { userId: 'u3', from: -60, to: 20 },
      { userId: 'u1', from: 60, to: 7 * 24 * 60 },
    ],
  },
};
/** Everybody else who is a target; no message reaches `nobody`. */
export const people = ['u1', 'u2', 'u3', 'u4', 'f', 'nobody'] as const;

/** Who answers for a target; for a schedule it depends on the time. */
function reach({ kind, id }: Target, at: number): Recipient[] {
  const elapsed = (at - start) / minute;
  const { always, added } = kind === 'schedule' ? schedules[id]! : { always: id === 'nobody' ? [] : [id], added: [] };
  const others = added.filter(({ from, to }) => from <= elapsed && elapsed < to).map(({ userId }) => userId);
  return [...always, ...others].map((recipient) => ({ kind: 'contact', id: recipient, userId: recipient }));
}

/** What `simulate` and the model take. */
export function toSimulation({ failures, ...random }: RandomSimulation): Simulation {
  const rejections = Object.entries(failures).map(([id, rejectedAfterMs]) => [id, { rejectedAfterMs }] as const);
  return { ...random, calendars, reach, failures: new Map(rejections) };
}

/** Mulberry32: the same numbers for the same seed. */
class Dice {
  #state: number;
  constructor(seed: number) {
    this.#state = seed;
  }
  /** In [0, 1). */
  roll(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  chance(probability: number): boolean {
    return this.roll() < probability;
  }
  pick<T>(...options: readonly T[]): T {
    return options[Math.floor(this.roll() * options.length)]!;
  }
  times<T>(least: number, most: number, make: () => T): T[] {
    return Array.from({ length: least + Math.floor(this.roll() * (most - least + 1)) }, make);
  }
}

/** Durations and instants come from few values, so that many of them meet. */
export function randomSimulation(seed: number): RandomSimulation {
  const dice = new Dice(seed);
  const policy = randomPolicy(dice, 'P');
  // what a rebase makes of times that run already is told of tiers only
  const { hardStopMs, acknowledgementTimeoutMs, acknowledgementReminder, autoResolve } = policy;
  const running = { hardStopMs, acknowledgementTimeoutMs, acknowledgementReminder, autoResolve };
  const edited = { ...randomPolicy(dice, 'P'), ...running, version: 2 };
  const other = { ...randomPolicy(dice, 'Q'), autoResolve };
  const made: RandomSimulation = {
    policies: [policy, other],
    failures: Object.fromEntries(
      ['u1', 'u2', 'u3'].flatMap((id) => (dice.chance(0.15) ? [[id, dice.pick(0, 5, 10) * minute + 2_000]] : [])),
    ),
    script: [{ at: start, kind: 'problem', key: 'a', severity: randomSeverity(dice) }],
    // what a silence means to an escalation none of whose problems is open any more is nowhere told
    silences: policy.autoResolve && dice.chance(0.4) ? dice.times(1, 3, () => randomSilence(dice)) : [],
    until: start + 24 * 60 * minute,
  };
  const instants = dice.times(3, 12, () => randomInstant(dice, 180)).sort((a, b) => a - b);
  // never at the instant of something else: the order of an edit among equals is nowhere told
  const editAt = dice.chance(0.4) ? dice.pick(...instants) - minute / 2 : Infinity;
  for (const at of instants) {
    if (at > editAt && !made.script.some(({ kind }) => kind === 'policy_changed')) {
      made.script.push({ at: editAt, kind: 'policy_changed', policy: edited });
    }
    made.script.push(...dice.times(1, 2, () => randomStep(dice, made, at)));
  }
  return made;
}

const target = (id: string): Target => ({ kind: id in schedules ? 'schedule' : 'user', id });

function randomPolicy(dice: Dice, id: string): EscalationPolicy {
  return {
    id,
    version: 1,
    name: id,
    enabled: true,
    ownerUserId: null,
    trigger: { types: [], categories: [], projectIds: [], minSeverity: 'info', matchers: [] },
    // the same of all events: they are one group
    groupBy: ['projectId'],
    groupWaitMs: dice.pick(0, 0, 5, 10) * minute,
    tiers: randomTiers(dice),
    calendarId: dice.pick(...calendars.keys()),
    defer: dice.chance(0.35) ? { maxSeverity: dice.pick('low', 'medium', 'high') } : null,
    repeat: randomRepeat(dice),
    acknowledgementTimeoutMs: dice.pick(null, null, 10 * minute, 15 * minute, 30 * minute),
    acknowledgementReminder: dice.chance(0.5),
    cooldownMs: dice.pick(0, 10, 30, 30, 60) * minute,
    cooldownScope: dice.pick('full', 'full', 'until_resolved'),
    hardStopMs: dice.pick(60, 90, 180) * minute,
    fallback: dice.pick([], [target('f')], [target('f'), target('pair')]),
    followUp: 'in_place',
    autoResolve: dice.chance(0.85),
    minProof: 'any',
  };
}

function randomTiers(dice: Dice): Tier[] {
  return dice.times(1, 4, () => ({
    name: null,
    targets: randomTargets(dice),
    timeoutMs: dice.pick(5, 10, 10, 20) * minute,
    when: dice.pick('always', 'always', 'always', 'open', 'closed'),
    calendarId: dice.pick(null, 'half-hours'),
  }));
}

function randomTargets(dice: Dice): Target[] {
  return dice.times(1, 2, () => target(dice.pick('u1', 'u2', 'u3', 'u4', 'pair', 'on-call', 'nobody')));
}

function randomRepeat(dice: Dice): EscalationPolicy['repeat'] {
  return dice.chance(0.4) ? null : { everyMs: dice.pick(5, 10, 30) * minute, max: dice.pick(0, 1, 2, null) };
}

function randomSeverity(dice: Dice): Severity {
  return dice.pick('low', 'medium', 'medium', 'high', 'high', 'critical');
}

/** On a grid of five minutes, or a millisecond beside it. */
function randomInstant(dice: Dice, minutes: number): number {
  return start + (1 + Math.floor(dice.roll() * (minutes / 5))) * 5 * minute + dice.pick(0, 0, 0, 0, 0, 0, -1, 1);
}

function randomSilence(dice: Dice): ScriptSilence {
  const startsAt = start + dice.pick(0, 5, 10, 20, 30, 60) * minute;
  return {
    startsAt,
    endsAt: startsAt + dice.pick(5, 10, 20, 60, 90) * minute,
    keys: dice.pick(['a'], ['b'], ['a', 'b'], ['a', 'b', 'c', 'o']),
  };
}

function randomStep(dice: Dice, made: RandomSimulation, at: number): ScriptStep {
  const key = dice.pick('a', 'a', 'b', 'c');
  if (dice.chance(0.35)) return { at, kind: 'problem', key, severity: randomSeverity(dice) };
  if (dice.chance(0.25)) return { at, kind: 'resolved', key };
  if (dice.chance(0.07)) return { at, kind: 'occurrence', key: 'o', severity: randomSeverity(dice) };
  return { at, kind: 'command', actor: 'u1', command: randomCommand(dice, made, at) };
}

function randomCommand(dice: Dice, made: RandomSimulation, at: number): ScriptCommand {
  const name = dice.pick(
    'acknowledge',
    'acknowledge',
    'acknowledge',
    'escalate',
    'escalate',
    'unacknowledge',
    'snooze',
    'edited',
    'resolve',
  );
  switch (name) {
    case 'acknowledge':
      return { name, extend: dice.chance(0.2) };
    case 'escalate':
      return randomEscalate(dice, made, at);
    case 'snooze':
      return { name, untilMs: at + dice.pick(5, 10, 30, 60) * minute };
    case 'edited':
      if (made.script.some(({ kind }) => kind === 'policy_changed')) return { name: 'rebase', policyVersion: 2 };
      return dice.chance(0.5)
        ? { name: 'reassign', policyId: dice.pick('P', 'Q') }
        : { name: 'reassign_targets', targets: randomTargets(dice) };
    case 'unacknowledge':
    case 'resolve':
      return { name };
  }
}

/** Mostly from the tier that was paged last, as somebody does who looks at it. */
function randomEscalate(dice: Dice, made: RandomSimulation, at: number): ScriptCommand {
  const { messages } = modelEscalations({ ...toSimulation(made), until: at });
  const page = messages.findLast(({ kind }) => kind === 'page');
  const expected =
    page && dice.chance(0.8) ? { round: page.round, tier: page.tier } : { round: dice.pick(1, 2), tier: dice.pick(0, 1, 2, 3) };
  const beyond = made.policies[0]!.tiers.length > expected.tier && dice.chance(0.2);
  return { name: 'escalate', expected, ...(beyond ? { toTier: made.policies[0]!.tiers.length } : {}) };
}
