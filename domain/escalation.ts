import { divert, reconsiderWait } from './escalation-climb.ts';
import { beginDraft, note, statusOf, type Draft } from './escalation-draft.ts';
import type { GroupStep, Outcome } from './escalation-effect.ts';
import { answerForEnded, obey } from './escalation-commands.ts';
import type { EscalationFacts, GroupInput } from './escalation-input.ts';
import { reconsiderSilenced, takeArrival, takeResolution } from './escalation-members.ts';
import type { GroupState, Plan } from './escalation-state.ts';
import { elapse, elapseDue, nextTimer } from './escalation-timers.ts';

/**
 * What becomes of an escalation group when `input` happens at the instant `at`: the only place that decides. Intake, commands, callbacks and
 * timers call it in the transaction that holds the group's lock and carry out its effects in the same one. Pure: the same arguments give the
 * same step, and the state that comes in is not changed.
 *
 * `at` MUST NOT be before that of an earlier step of the group; of a timer it is its due time or later. Of equal instants the caller takes
 * first resolves, then acknowledgements, other commands, events, and timers last: an acknowledgement at the very instant of a tier prevents
 * it.
 * @throws Error when the facts lack what the state has pinned
 */
export function stepGroup(state: GroupState, input: GroupInput, at: number, facts: EscalationFacts): GroupStep {
  const draft = beginDraft(state, at, facts);
  const outcome = apply(draft, input);
  if (outcome !== 'applied') return { state, effects: draft.effects, plan: planOf(beginDraft(state, at, facts)), outcome };
  draft.state.version += 1;
  return { state: draft.state, effects: draft.effects, plan: planOf(draft), outcome };
}

function apply(draft: Draft, input: GroupInput): Outcome {
  switch (input.kind) {
    case 'problem':
    case 'occurrence': {
      const { key, kind, severity } = input;
      return changed(takeArrival(draft, { key, kind, severity, due: draft.at, reason: 'opened' }));
    }
    case 'problem_resolved':
      return changed(takeResolution(draft, input.key));
    case 'command':
      return command(draft, input);
    case 'due':
      return due(draft, input.version);
    case 'firing_failing': {
      const { escalation } = draft.state;
      const isLast = escalation?.id === input.escalationId && escalation.firing === input.firing;
      return changed(isLast && divert(draft));
    }
    case 'silences_changed':
      return changed(reconsiderSilences(draft));
  }
}

function command(draft: Draft, { escalationId, command, by }: Extract<GroupInput, { kind: 'command' }>): Outcome {
  const { escalation } = draft.state;
  const hasEnded = escalation?.id !== escalationId || statusOf(draft) === 'resolved';
  const outcome = hasEnded ? answerForEnded(command) : obey(draft, command, by);
  if (outcome === 'noop') note(draft, 'noop', { reason: command.name });
  else if (outcome !== 'applied') note(draft, 'refused', { reason: outcome.refused });
  return outcome;
}

/** What is known comes before what was hidden, whichever of the two timers of a silence's end is heard first. */
function reconsiderSilences(draft: Draft): boolean {
  const wasDue = elapseDue(draft);
  const hasGoneOn = draft.state.escalation !== null && reconsiderWait(draft);
  const isDue = elapseDue(draft);
  return reconsiderSilenced(draft) || wasDue || hasGoneOn || isDue;
}

/** Timers are set for what was planned once, and may come twice: only the plan of now counts. */
function due(draft: Draft, version: number): Outcome {
  const timer = nextTimer(draft);
  if (timer === null || version !== draft.state.version || timer.at > draft.at) return 'noop';
  elapse(draft, timer);
  return 'applied';
}

function planOf(draft: Draft): Plan | null {
  const timer = nextTimer(draft);
  return timer === null ? null : { dueAt: timer.at, why: timer.why, version: draft.state.version };
}

function changed(hasChanged: boolean): Outcome {
  return hasChanged ? 'applied' : 'noop';
}
