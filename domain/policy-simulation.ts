import type { GroupCommand, GroupInput } from './escalation-input.ts';
import type { EscalationPolicy } from './escalation-policy.ts';
import { verdictOf } from './escalation-verdict.ts';
import type { Gradual } from './gradual.ts';
import { deriveGroupKey } from './group-key.ts';
import { matchPolicies } from './policy-match.ts';
import { recipientsOf } from './recipients.ts';
import { silencedUntil } from './silence.ts';
import { createSimulatedGroup, type SimulatedGroup, type SimulatedStep } from './simulated-group.ts';
import type {
  PlannedCommand,
  PolicySimulation,
  SimulatedCommand,
  SimulatedEntry,
  SimulationFacts,
  SimulationPlan,
} from './simulation-plan.ts';
import { createSimulatedProblems, type SimulatedEvent } from './simulation-problems.ts';
import { beginRecord, mostSteps } from './simulation-record.ts';

/**
 * What a policy would make of a plan, from nothing: every event through problems, trigger, rules and groups, every command and timer through
 * the reducer of production. Pure: nothing is written or sent.
 * @param most steps of the reducer, and messages
 * @throws DomainError `validation_failed` with `too_many_steps`
 */
export function* simulatePolicy(facts: SimulationFacts, plan: SimulationPlan, most = mostSteps): Gradual<PolicySimulation> {
  const simulation = beginSimulation(facts, plan, most);
  const script = [
    ...plan.events.map(({ afterMs, event }, index) => ({ afterMs, rank: rankOf(event), index, order: null })),
    ...plan.actors.map((order) => ({ afterMs: order.afterMs, rank: rankOf(order.command), index: 0, order })),
  ].toSorted((a, b) => a.afterMs - b.afterMs || a.rank - b.rank);
  for (const { afterMs, index, order } of script) {
    if (afterMs > plan.horizonMs) break;
    yield* simulation.runUntil(plan.startAt + afterMs - 1);
    if (order === null) yield* simulation.accept(index);
    else simulation.obey(order);
  }
  yield* simulation.runUntil(plan.startAt + plan.horizonMs);
  return simulation.end();
}

/** Of equal instants, as the reducer asks for. */
function rankOf(what: SimulatedEvent | SimulatedCommand): number {
  if ('name' in what) return what.name === 'resolve' ? 0 : what.name === 'acknowledge' ? 1 : 2;
  return what.effect === 'resolve' ? 0 : what.effect === 'acknowledge' ? 1 : 3;
}

function beginSimulation(facts: SimulationFacts, plan: SimulationPlan, most: number) {
  const { versions, configuration } = facts;
  const policy = { ...facts.policy, enabled: true };
  const groups = new Map<string, SimulatedGroup>();
  const problems = createSimulatedProblems(facts);
  const record = beginRecord(plan, most);
  const { brought, result } = record;
  /** By member: the last event that was about it. */
  const latest = new Map<string, SimulatedEvent>();

  const policyOf = (id: string, version: number | null): EscalationPolicy | undefined => {
    if (id !== policy.id) return configuration.policies.get(id);
    return version === null || version === policy.version ? policy : versions.find((one) => one.version === version);
  };
  const groupOf = (event: SimulatedEvent): SimulatedGroup => {
    const key = deriveGroupKey(policy.id, policy.groupBy, event);
    let group = groups.get(key);
    if (group === undefined) groups.set(key, (group = createGroup()));
    return group;
  };
  const createGroup = (): SimulatedGroup =>
    createSimulatedGroup(policy.id, {
      policy: policyOf,
      calendar: (id) => configuration.calendars.get(id),
      recipients: (target, at) => recipientsOf(target, at, configuration),
      silencedUntil: (key, at) => silencedUntil(configuration.silences, latest.get(key)!, at),
      rejectedAfterMs: record.rejectedAfterMs,
      newEscalationId: record.nameEscalation,
    });
  /** Groups that know of the problem, those from which a silence keeps it too. */
  const holders = (key: string): SimulatedGroup[] =>
    [...groups.values()].filter((group) => {
      const { members, held } = group.state();
      return members.some((member) => member.key === key && member.firing) || held.some((one) => one.key === key);
    });

  /** Takes a step of a group, and writes down what it does. */
  const take = (group: SimulatedGroup, step: () => SimulatedStep, by: SimulatedEntry['by'] = null): SimulatedStep => {
    const before = group.state();
    const taken = step();
    record.add(before, taken, by);
    for (const effect of taken.effects)
      if (effect.kind === 'close_problems') problems.close(effect.keys.filter((key) => holders(key).length === 0));
    return taken;
  };
  const apply = (group: SimulatedGroup, input: GroupInput, at: number, by: SimulatedEntry['by'] = null): SimulatedStep =>
    take(group, () => group.apply(input, at), by);
  const command = (group: SimulatedGroup, asked: SimulatedCommand, by: NonNullable<SimulatedEntry['by']>, at: number): void => {
    const { id: escalationId, round, tier } = group.state().escalation!;
    apply(group, { kind: 'command', escalationId, command: toCommand(asked, { round, tier }, at), by }, at, by);
  };

  return {
    *accept(index: number): Gradual<undefined> {
      const { afterMs, event } = plan.events[index]!;
      const at = plan.startAt + afterMs;
      const { change, member, endedKey, openKey } = problems.apply(event, at);
      if (openKey !== null) latest.set(openKey, event);
      for (const group of endedKey === null ? [] : holders(endedKey)) {
        apply(group, { kind: 'problem_resolved', key: endedKey! }, at);
        yield;
      }
      if (change === 'acknowledged' && openKey !== null)
        for (const group of holders(openKey))
          command(group, { name: 'acknowledge', extend: false }, { userId: null, proof: 'api_key' }, at);
      if (member === null || !isTaken(event, { policy, rules: facts.rules })) {
        const verdict = endedKey === null ? 'none' : 'resolve';
        result.verdicts.push({ event: index, at, verdict, reason: member === null ? change : 'no_policy' });
        return undefined;
      }
      const { kind, key } = member;
      if (!brought.has(key)) brought.set(key, index);
      latest.set(key, event);
      const step = apply(groupOf(event), { kind, key, severity: event.severity }, at);
      result.verdicts.push({ event: index, at, ...verdictOf(step, key) });
      yield;
      return undefined;
    },

    /** Tells the escalation of the group that the command's event belongs to. */
    obey({ afterMs, event, userId, proof, command: asked }: PlannedCommand): void {
      const at = plan.startAt + afterMs;
      const group = groupOf(plan.events[event]!.event);
      const by = { userId, proof };
      if (group.state().escalation === null) record.refuse(at, event, by);
      else command(group, asked, by, at);
    },

    /** What comes by itself up to and including an instant, the earliest first. */
    *runUntil(limit: number): Gradual<undefined> {
      for (;;) {
        let next: SimulatedGroup | undefined;
        for (const group of groups.values()) if (group.nextAt() < (next?.nextAt() ?? limit + 1)) next = group;
        if (next === undefined) return undefined;
        take(next, next.advance);
        yield;
      }
    },

    end: (): PolicySimulation => ({ ...result, final: record.end(groups.values()) }),
  };
}

/** Whether the event goes to the policy. One without a trigger is simulated as if rules sent it everything. */
function isTaken(event: SimulatedEvent, { policy, rules }: Pick<SimulationFacts, 'policy' | 'rules'>): boolean {
  if (event.category === 'escalation' || event.effect === 'resolve' || event.effect === 'acknowledge') return false;
  return policy.trigger === null || matchPolicies(event, rules, new Map([[policy.id, policy]])).length > 0;
}

function toCommand(command: SimulatedCommand, position: { round: number; tier: number }, at: number): GroupCommand {
  switch (command.name) {
    case 'escalate':
      return { ...command, expected: command.expected ?? position };
    case 'snooze':
      return { name: 'snooze', until: at + command.forMs };
    case 'acknowledge':
    case 'unacknowledge':
    case 'reassign':
    case 'rebase':
    case 'resolve':
      return command;
  }
}
