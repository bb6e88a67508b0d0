import { validationFailed } from './errors.ts';
import type { Effect } from './escalation-effect.ts';
import type { Recipient } from './escalation-input.ts';
import type { GroupState, Plan } from './escalation-state.ts';
import type { SimulatedStep } from './simulated-group.ts';
import type { PolicySimulation, SimulatedEntry, SimulatedEscalation, SimulatedPage, SimulationPlan } from './simulation-plan.ts';

/** Of the reducer. Messages are as many at most. */
export const mostSteps = 10_000;

/** Writes down what the groups of a simulation do. */
export interface SimulationRecord {
  readonly result: Omit<PolicySimulation, 'final'>;
  /** The events by the members that they brought. */
  readonly brought: Map<string, number>;
  /** `Infinity`: its messages arrive. */
  rejectedAfterMs: (recipient: Recipient) => number;
  /** The id of the next escalation. */
  nameEscalation: () => string;
  /**
   * What a step did to the group that was in the state `before`.
   * @throws DomainError `validation_failed` with `too_many_steps`
   */
  add: (before: GroupState, step: SimulatedStep, by: SimulatedEntry['by']) => void;
  /** A command for which there was no escalation. */
  refuse: (at: number, event: number, by: SimulatedEntry['by']) => void;
  /** Every escalation there was, with what its group waits for. */
  end: (groups: Iterable<{ state: () => GroupState; plan: () => Plan | null }>) => SimulatedEscalation[];
}

export function beginRecord({ startAt, rejections }: SimulationPlan, most: number): SimulationRecord {
  const result: SimulationRecord['result'] = { verdicts: [], messages: [], timeline: [], steps: 0 };
  const brought = new Map<string, number>();
  const superseded: SimulatedEscalation[] = [];
  const rejected = new Map(rejections.map(({ id, afterMs }) => [id, afterMs]));
  let escalations = 0;

  const note = (effect: Effect, at: number, by: SimulatedEntry['by']): void => {
    switch (effect.kind) {
      case 'fire':
        send('page', effect, at);
        return;
      case 'fallback':
        send('fallback', effect, at);
        return;
      case 'remind':
        send('reminder', { ...effect, firing: null }, at);
        return;
      case 'timeline': {
        const { at: notedAt, what: kind, escalationId, status, round, tier, firing, reason, key } = effect;
        const escalation = escalationId === null ? null : numberOf(escalationId);
        const event = key === null ? null : (brought.get(key) ?? null);
        result.timeline.push({ at: notedAt, kind, escalation, status, round, tier, firing, reason, event, by });
        return;
      }
      case 'opened':
      case 'cancel_pages':
      case 'update':
      case 'post':
      case 'close_problems':
        return;
    }
  };
  const send = (
    kind: SimulatedPage['kind'],
    told: Pick<SimulatedPage, 'round' | 'tier' | 'firing'> & { escalationId: string; recipients: readonly Recipient[] },
    at: number,
  ): void => {
    const { round, tier, firing, escalationId, recipients } = told;
    for (const recipient of recipients) {
      const rejectedAfterMs = rejected.get(recipient.id);
      const rejectedAt = rejectedAfterMs === undefined ? null : at + rejectedAfterMs;
      result.messages.push({ at, kind, escalation: numberOf(escalationId), round, tier, firing, recipient, rejectedAt });
    }
  };
  const describe = ({ escalation, members }: GroupState, plan: Plan | null): SimulatedEscalation[] => {
    if (escalation === null) return [];
    const { id, phase, severity, round, tier, openedAt } = escalation;
    const events = [...new Set(members.map(({ key }) => brought.get(key)!))];
    const waits = { dueAt: plan?.dueAt ?? null, why: plan?.why ?? null };
    return [{ escalation: numberOf(id), status: phase.status, severity, round, tier, ...waits, openedAt, events }];
  };

  return {
    result,
    brought,
    rejectedAfterMs: ({ id }) => rejected.get(id) ?? Infinity,
    nameEscalation: () => `escalation ${(escalations += 1)}`,
    add(before, step, by) {
      if (before.escalation?.id !== step.state.escalation?.id) superseded.push(...describe(before, null));
      for (const effect of step.effects) note(effect, step.at, by);
      result.steps += 1;
      if (result.steps > most || result.messages.length > most) throw tooLong(step.at, { startAt, most });
    },
    refuse(at, event, by) {
      const nothing = { escalation: null, status: null, round: 0, tier: 0, firing: 0 };
      result.timeline.push({ ...nothing, at, kind: 'refused', reason: 'no_escalation', event, by });
    },
    end: (groups) =>
      [...superseded, ...[...groups].flatMap((group) => describe(group.state(), group.plan()))].toSorted(
        (a, b) => a.escalation - b.escalation,
      ),
  };
}

/** From 1, in the order of their opening. */
function numberOf(escalationId: string): number {
  return Number(escalationId.slice('escalation '.length));
}

function tooLong(at: number, { startAt, most }: { startAt: number; most: number }): Error {
  const minutes = Math.round((at - startAt) / 60_000);
  const detail = `takes more than ${most} steps or messages: it came as far as ${new Date(at).toISOString()}, ${minutes} minutes after the start`;
  return validationFailed([{ pointer: '/horizon', code: 'too_many_steps', detail }]);
}
