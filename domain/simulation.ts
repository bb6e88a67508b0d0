import type { Calendar } from './calendar.ts';
import type { Effect, Outcome, TimelineEntry } from './escalation-effect.ts';
import type { GroupCommand, GroupInput, Recipient } from './escalation-input.ts';
import type { EscalationPolicy, Target } from './escalation-policy.ts';
import type { Severity } from './severity.ts';
import { createSimulatedGroup, type SimulatedStep } from './simulated-group.ts';

export type { Recipient } from './escalation-input.ts';

/** One thing that happens to an escalation group, at a Unix millisecond. Of equal instants the first listed comes first within its kind. */
export type ScriptStep =
  | { at: number; kind: 'problem'; key: string; severity: Severity }
  | { at: number; kind: 'resolved'; key: string }
  | { at: number; kind: 'occurrence'; key: string; severity: Severity }
  | { at: number; kind: 'policy_changed'; policy: EscalationPolicy }
  | { at: number; kind: 'command'; actor: string; command: ScriptCommand };

export type ScriptCommand =
  | { name: 'acknowledge'; extend?: boolean }
  | { name: 'unacknowledge' }
  | { name: 'escalate'; expected: { round: number; tier: number }; toTier?: number }
  | { name: 'snooze'; untilMs: number }
  | { name: 'reassign'; policyId: string }
  | { name: 'reassign_targets'; targets: readonly Target[] }
  | { name: 'rebase'; policyVersion: number }
  | { name: 'resolve' };

/** Problems with these keys are mute in [startsAt, endsAt). */
export interface ScriptSilence {
  startsAt: number;
  endsAt: number;
  keys: readonly string[];
}

export interface Simulation {
  /** The first is the group's; others can be reassigned to. */
  policies: readonly EscalationPolicy[];
  calendars: ReadonlyMap<string, Calendar>;
  /** Who is reached outside the app by a target at an instant; nobody: the target is unreachable. */
  reach: (target: Target, at: number) => readonly Recipient[];
  /** How the pages of a recipient fare; missing: delivered at once. */
  failures: ReadonlyMap<string, { rejectedAfterMs: number }>;
  script: readonly ScriptStep[];
  silences: readonly ScriptSilence[];
  /** Nothing later is looked at. */
  until: number;
}

export interface SimulatedMessage {
  at: number;
  kind: 'page' | 'fallback' | 'reminder';
  recipientId: string;
  /** From 1; a fallback and a reminder have those of their escalation. */
  round: number;
  tier: number;
}

export interface SimulatedState {
  at: number;
  state: 'triggered' | 'acknowledged' | 'snoozed' | 'exhausted' | 'resolved';
}

/** What comes of a simulation. Two messages to one recipient at one instant for one firing are one. */
export interface SimulationOutcome {
  messages: SimulatedMessage[];
  states: SimulatedState[];
  /** Commands that were refused, by their place in the script, with the error code: `tier_mismatch`, `wrong_state`. */
  refusals: Array<{ step: number; code: string }>;
}

/**
 * What would become of one group, to the millisecond: the reducer of production under a clock that jumps from one instant at which something
 * happens to the next. Pure; nothing is written or sent.
 * @throws Error when there is no policy
 */
export function simulate(simulation: Simulation): SimulationOutcome {
  const outcome: SimulationOutcome = { messages: [], states: [], refusals: [] };
  const group = simulateGroup(simulation, outcome);
  const script = simulation.script
    .map((step, index) => ({ step, index }))
    .filter(({ step }) => step.at <= simulation.until)
    .sort((a, b) => a.step.at - b.step.at || precedence(a.step) - precedence(b.step));
  for (const { step, index } of script) {
    group.runUntil(step.at - 1);
    const result = group.follow(step);
    if (typeof result === 'object') outcome.refusals.push({ step: index, code: result.refused });
  }
  group.runUntil(simulation.until);
  return outcome;
}

/** Of equal instants, as `stepGroup` asks for; configuration is what it is before anything happens. */
function precedence(step: ScriptStep): number {
  switch (step.kind) {
    case 'policy_changed':
      return 0;
    case 'resolved':
      return 1;
    case 'command':
      return step.command.name === 'resolve' ? 1 : step.command.name === 'acknowledge' ? 2 : 3;
    case 'problem':
    case 'occurrence':
      return 4;
  }
}

/** Messages and states go to `outcome`. */
function simulateGroup({ policies, calendars, reach, failures, silences }: Simulation, outcome: SimulationOutcome) {
  const [own] = policies;
  if (own === undefined) throw new Error('A simulation needs a policy.');
  const versions = [...policies];
  /** Keys of the script, by what they are in the group: there each is one of its own. */
  const occurrences = new Map<string, string>();
  let escalations = 0;
  let shown = '';
  const group = createSimulatedGroup(own.id, {
    policy: (id, version) => versions.findLast((policy) => policy.id === id && (version === null || policy.version === version)),
    calendar: (id) => calendars.get(id),
    recipients: reach,
    silencedUntil: (key, at) => silencedUntil(silences, occurrences.get(key) ?? key, at),
    rejectedAfterMs: ({ id }) => failures.get(id)?.rejectedAfterMs ?? Infinity,
    newEscalationId: () => `escalation-${(escalations += 1)}`,
  });

  const record = ({ effects, outcome: result, at }: SimulatedStep): Outcome => {
    for (const effect of effects) note(effect, at);
    return result;
  };
  const note = (effect: Effect, at: number): void => {
    switch (effect.kind) {
      case 'fire':
        send('page', effect, at);
        break;
      case 'fallback':
        send('fallback', effect, at);
        break;
      case 'remind':
        send('reminder', effect, at);
        break;
      case 'timeline':
        show(effect, at);
        break;
      case 'opened':
      case 'cancel_pages':
      case 'update':
      case 'post':
      case 'close_problems':
        break;
    }
  };
  const send = (
    kind: SimulatedMessage['kind'],
    { recipients, round, tier }: Extract<Effect, { recipients: unknown }>,
    at: number,
  ): void => {
    // A fallback may come before any tier has fired.
    for (const { id } of recipients) outcome.messages.push({ at, kind, recipientId: id, round, tier: Math.max(1, tier) });
  };
  const show = ({ escalationId, status }: TimelineEntry, at: number): void => {
    if (status === null || shown === `${escalationId} ${status}`) return;
    shown = `${escalationId} ${status}`;
    outcome.states.push({ at, state: status });
  };

  const rename = (step: Extract<ScriptStep, { kind: 'occurrence' }>) => {
    const key = `${step.key} ${occurrences.size + 1}`;
    occurrences.set(key, step.key);
    return { ...step, key };
  };

  return {
    follow(step: ScriptStep): Outcome {
      if (step.kind === 'policy_changed') {
        versions.push(step.policy);
        return 'applied';
      }
      const input = toInput(step.kind === 'occurrence' ? rename(step) : step, group.state().escalation?.id ?? '');
      return record(group.apply(input, step.at));
    },
    /** Does what comes by itself up to and including an instant: pages that fail, then timers. */
    runUntil(limit: number): void {
      while (group.nextAt() <= limit) record(group.advance());
    },
  };
}

function toInput(step: Exclude<ScriptStep, { kind: 'policy_changed' }>, escalationId: string): GroupInput {
  switch (step.kind) {
    case 'problem':
    case 'occurrence':
      return { kind: step.kind, key: step.key, severity: step.severity };
    case 'resolved':
      return { kind: 'problem_resolved', key: step.key };
    case 'command':
      return { kind: 'command', escalationId, command: toCommand(step.command), by: { userId: step.actor, proof: 'session' } };
  }
}

function toCommand(command: ScriptCommand): GroupCommand {
  switch (command.name) {
    case 'acknowledge':
      return { name: 'acknowledge', extend: command.extend ?? false };
    case 'escalate':
      return { name: 'escalate', expected: command.expected, toTier: command.toTier ?? null };
    case 'snooze':
      return { name: 'snooze', until: command.untilMs };
    case 'reassign':
      return { name: 'reassign', to: { policyId: command.policyId } };
    case 'reassign_targets':
      return { name: 'reassign', to: { targets: command.targets } };
    case 'rebase':
      return { name: 'rebase', version: command.policyVersion };
    case 'unacknowledge':
    case 'resolve':
      return command;
  }
}

/** When the key is first free again: where one silence ends in another, that goes on. Null: it is free. */
function silencedUntil(silences: readonly ScriptSilence[], key: string, at: number): number | null {
  const about = silences.filter(({ keys }) => keys.includes(key));
  for (let until = at; ;) {
    const longer = about.find(({ startsAt, endsAt }) => startsAt <= until && until < endsAt);
    if (longer === undefined) return until === at ? null : until;
    until = longer.endsAt;
  }
}
