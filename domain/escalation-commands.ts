import { climbOn, stepAfter } from './escalation-climb.ts';
import {
  correct,
  enter,
  escalationOf,
  hardStopAt,
  homePolicyOf,
  keepHardStopAhead,
  note,
  policyOf,
  type Draft,
} from './escalation-draft.ts';
import type { Outcome } from './escalation-effect.ts';
import { unacknowledgedBy, type CommandAuthor, type GroupCommand } from './escalation-input.ts';
import { cancelPages, endMutes, pin, resolve, restart } from './escalation-lifecycle.ts';
import type { AcknowledgementProof, EscalationPolicy } from './escalation-policy.ts';
import type { NextStep } from './escalation-state.ts';

/** What people and integrations tell an escalation to do. */

type CommandNamed<Name extends GroupCommand['name']> = Extract<GroupCommand, { name: Name }>;

/** Commands on an escalation that has ended: what it wants is so already, or can no longer be. */
export function answerForEnded({ name }: GroupCommand): Outcome {
  switch (name) {
    case 'acknowledge':
    case 'unacknowledge':
    case 'resolve':
      return 'noop';
    case 'escalate':
    case 'snooze':
    case 'reassign':
    case 'rebase':
      return { refused: 'wrong_state' };
  }
}

/** Applies a command to the group's escalation, which MUST NOT have ended. */
export function obey(draft: Draft, command: GroupCommand, by: CommandAuthor): Outcome {
  switch (command.name) {
    case 'acknowledge':
      return acknowledge(draft, command, by);
    case 'unacknowledge':
      return unacknowledge(draft, by);
    case 'escalate':
      return escalate(draft, command);
    case 'snooze':
      return snooze(draft, command);
    case 'reassign':
      return reassign(draft, command);
    case 'rebase':
      return rebase(draft, command);
    case 'resolve':
      resolve(draft, 'manual');
      return 'applied';
  }
}

function acknowledge(draft: Draft, { extend }: CommandNamed<'acknowledge'>, { userId, proof }: CommandAuthor): Outcome {
  const { state, at } = draft;
  const escalation = escalationOf(draft);
  const { phase } = escalation;
  if (!isProofEnough(policyOf(draft).minProof, proof)) return { refused: 'proof_too_weak' };
  if (phase.status === 'acknowledged') {
    // Whoever acknowledges again has seen what the cooldown hides.
    const covers = endMutes(draft);
    if (extend) {
      enter(draft, { ...phase, timeoutFrom: at, reminded: false });
      keepHardStopAhead(draft);
    }
    if (!covers && !extend) return 'noop';
    note(draft, 'acknowledged_again', { reason: extend ? 'extended' : 'covered' });
    return 'applied';
  }
  enter(draft, { status: 'acknowledged', since: at, timeoutFrom: at, userId, reminded: false });
  keepHardStopAhead(draft);
  const { cooldownMs } = homePolicyOf(draft);
  state.cooldown = cooldownMs === 0 ? null : { from: at, until: at + cooldownMs, escalationId: escalation.id };
  note(draft, 'acknowledged');
  cancelPages(draft, 'cancelled_by_ack');
  correct(draft, 'acknowledged', null);
  draft.effects.push({ kind: 'post', escalationId: escalation.id, eventType: 'escalation.acknowledged', severity: 'info' });
  return 'applied';
}

function isProofEnough(asked: EscalationPolicy['minProof'], proof: AcknowledgementProof): boolean {
  switch (asked) {
    case 'any':
      return true;
    case 'no_unsigned':
      return proof !== 'provider_unsigned';
    case 'no_link':
      return proof !== 'provider_unsigned' && proof !== 'link_token';
    case 'session':
      return proof === 'session';
  }
}

function unacknowledge(draft: Draft, by: CommandAuthor): Outcome {
  if (escalationOf(draft).phase.status !== 'acknowledged') return 'noop';
  restart(draft, unacknowledgedBy(by), draft.at);
  return 'applied';
}

function escalate(draft: Draft, { expected, toTier }: CommandNamed<'escalate'>): Outcome {
  const escalation = escalationOf(draft);
  const { round, tier, phase } = escalation;
  if (expected.round !== round || expected.tier !== tier) return { refused: 'tier_mismatch' };
  if (toTier !== null && policyOf(draft).tiers[toTier - 1] === undefined) return { refused: 'unknown_tier' };
  if (phase.status === 'exhausted') {
    restart(draft, 'escalate', draft.at, toTier ?? 1);
    return 'applied';
  }
  const isTakenBack = phase.status !== 'triggered';
  enter(draft, { status: 'triggered', next: { kind: 'tier', tier: toTier ?? tier + 1, at: draft.at, reason: 'escalate', wait: null } });
  keepHardStopAhead(draft);
  note(draft, 'escalated');
  if (isTakenBack) {
    draft.state.cooldown = null;
    endMutes(draft);
    correct(draft, 'restarted', 'escalate');
  }
  climbOn(draft, toTier);
  return 'applied';
}

function snooze(draft: Draft, { until }: CommandNamed<'snooze'>): Outcome {
  const { at } = draft;
  const { id: escalationId, phase } = escalationOf(draft);
  if (phase.status === 'exhausted') return { refused: 'wrong_state' };
  if (until >= hardStopAt(draft)) return { refused: 'after_hard_stop' };
  enter(draft, { status: 'snoozed', since: at, until });
  // Its end tells of everything that is still there.
  endMutes(draft);
  note(draft, 'snoozed');
  cancelPages(draft, 'cancelled_by_snooze');
  draft.effects.push({ kind: 'post', escalationId, eventType: 'escalation.snoozed', severity: 'info' });
  return 'applied';
}

/** Replaces what the escalation runs on. Whose it is, and with that its cooldown, stays. */
function reassign(draft: Draft, { to }: CommandNamed<'reassign'>): Outcome {
  const escalation = escalationOf(draft);
  if ('targets' in to) {
    const { tiers } = policyOf(draft);
    const timeoutMs = (tiers[escalation.tier - 1] ?? tiers[0]!).timeoutMs;
    escalation.snapshot = { ...escalation.snapshot, only: { targets: to.targets, timeoutMs } };
  } else {
    const policy = draft.facts.policy(to.policyId, null);
    if (policy === undefined) return { refused: 'unknown_policy' };
    escalation.snapshot = pin(policy, draft.facts);
  }
  note(draft, 'reassigned');
  cancelPages(draft, 'cancelled_by_reassign');
  restart(draft, 'reassign', draft.at);
  return 'applied';
}

/** Goes on at the same place under another version; what is due by it is due at once. */
function rebase(draft: Draft, { version }: CommandNamed<'rebase'>): Outcome {
  const escalation = escalationOf(draft);
  const { snapshot, phase } = escalation;
  if (version === snapshot.version && snapshot.only === null) return 'noop';
  const policy = draft.facts.policy(snapshot.policyId, version);
  if (policy === undefined) return { refused: 'unknown_policy' };
  escalation.snapshot = pin(policy, draft.facts);
  if (policy.id === draft.state.policyId) escalation.homeVersion = version;
  escalation.tier = Math.min(escalation.tier, policy.tiers.length);
  if (phase.status === 'triggered') enter(draft, { status: 'triggered', next: rebasedStep(draft, phase.next) });
  note(draft, 'rebased');
  return 'applied';
}

function rebasedStep(draft: Draft, next: NextStep): NextStep {
  const escalation = escalationOf(draft);
  if (escalation.tier > 0) {
    const step = stepAfter(escalation, policyOf(draft));
    return { ...step, at: Math.max(step.at, draft.at) };
  }
  // Nothing fired yet in this round: it waits for its start, or for what the new version may not ask for.
  if (next.kind !== 'tier' || next.wait === null) return next;
  return { ...next, tier: Math.min(next.tier, policyOf(draft).tiers.length), at: draft.at, wait: null };
}
