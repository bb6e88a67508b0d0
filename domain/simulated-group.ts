import type { Calendar } from './calendar.ts';
import type { Effect, GroupStep } from './escalation-effect.ts';
import type { GroupInput, Recipient } from './escalation-input.ts';
import type { EscalationPolicy, Target } from './escalation-policy.ts';
import { emptyGroup, type GroupState, type Plan } from './escalation-state.ts';
import { stepGroup } from './escalation.ts';

/** What a simulated group finds around it, at instants of its own clock (Unix milliseconds). */
export interface SimulatedWorld {
  /** Null as version: the newest. */
  policy: (id: string, version: number | null) => EscalationPolicy | undefined;
  calendar: (id: string) => Calendar | undefined;
  /** Who is reached outside the app by a target; nobody: the target is unreachable. */
  recipients: (target: Target, at: number) => readonly Recipient[];
  /** When the member with this key is first no longer silenced; null: it is not. */
  silencedUntil: (key: string, at: number) => number | null;
  /** How long after it was sent a page to the recipient is rejected; `Infinity`: it arrives. */
  rejectedAfterMs: (recipient: Recipient) => number;
  newEscalationId: () => string;
}

/** A step, and when it was taken. */
export type SimulatedStep = GroupStep & { at: number };

/** One escalation group under a clock that jumps from one instant at which something happens to the next. */
export interface SimulatedGroup {
  state: () => GroupState;
  plan: () => Plan | null;
  /** Something happens to it. An instant that the clock has passed is now. */
  apply: (input: GroupInput, at: number) => SimulatedStep;
  /** When it next does something by itself: a page that fails, or a timer. `Infinity`: never. */
  nextAt: () => number;
  /** Does that. There MUST be something. */
  advance: () => SimulatedStep;
}

interface FailingFiring {
  at: number;
  escalationId: string;
  firing: number;
}

/** A group that nothing happened to yet, stepped by the reducer of production. */
export function createSimulatedGroup(policyId: string, world: SimulatedWorld): SimulatedGroup {
  const failing: FailingFiring[] = [];
  let state = emptyGroup(policyId);
  let plan: Plan | null = null;
  let now = Number.NEGATIVE_INFINITY;

  const apply = (input: GroupInput, at: number): SimulatedStep => {
    now = Math.max(now, at);
    const step = stepGroup(state, input, now, {
      policy: world.policy,
      calendar: world.calendar,
      recipients: (target) => world.recipients(target, now),
      silencedUntil: (key) => world.silencedUntil(key, now),
      newId: world.newEscalationId,
    });
    ({ state, plan } = step);
    for (const effect of step.effects) if (effect.kind === 'fire') watch(effect);
    return { ...step, at: now };
  };

  /** A firing fails when all of its pages have. */
  const watch = ({ recipients, escalationId, firing }: Extract<Effect, { kind: 'fire' }>): void => {
    const rejectedAfterMs = Math.max(...recipients.map(world.rejectedAfterMs));
    if (rejectedAfterMs < Infinity) failing.push({ at: now + rejectedAfterMs, escalationId, firing });
  };
  const nextFailing = (): FailingFiring | null =>
    failing.reduce<FailingFiring | null>((first, other) => (first === null || other.at < first.at ? other : first), null);

  return {
    state: () => state,
    plan: () => plan,
    apply,
    nextAt: () => Math.min(nextFailing()?.at ?? Infinity, plan?.dueAt ?? Infinity),
    advance() {
      const next = nextFailing();
      const dueAt = plan?.dueAt ?? Infinity;
      if (next !== null && next.at <= dueAt) {
        failing.splice(failing.indexOf(next), 1);
        return apply({ kind: 'firing_failing', escalationId: next.escalationId, firing: next.firing }, next.at);
      }
      if (plan === null) throw new Error('Nothing happens by itself.');
      // What is overdue after a change of policy happens now, not in the past.
      return apply({ kind: 'due', version: plan.version }, dueAt);
    },
  };
}
