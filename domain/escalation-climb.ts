import { correct, currentSeverity, enter, escalationOf, note, policyOf, type Draft } from './escalation-draft.ts';
import type { Recipient } from './escalation-input.ts';
import type { EscalationPolicy, Tier } from './escalation-policy.ts';
import type { Escalation, FiringReason, NextStep } from './escalation-state.ts';
import { findWait, isOutsideHours, reach, type Wait } from './escalation-wait.ts';

/**
 * The way up: the tiers of a round, the rounds of a climb, and what comes when nobody answers. With T(r,n) for tier n of round r, S(r) for
 * the start of a round and E(r) for its end:
 *
 *     T(r,1) = S(r)    T(r,n+1) = T(r,n) + timeout(n)    E(r) = T(r,last) + timeout(last)    S(r+1) = max(E(r), S(r) + every)
 *
 * A `due` is such a nominal instant. It differs from `draft.at` when the step comes late.
 */

/** Lateness up to this is jitter and does not add up: the next time is counted from when this one was due. */
const jitterMs = 5_000;

/** `due`, or now when that is too long ago. A short timeout bears only half of itself, so that overdue tiers never come in a burst. */
export function countFrom({ at }: Draft, due: number, timeoutMs = Number.POSITIVE_INFINITY): number {
  return at - due <= Math.min(jitterMs, timeoutMs / 2) ? due : at;
}

/** Fires the first tier from `from` on that reaches anybody. Without one the round is over. */
export function climbRound(draft: Draft, from: number, due: number, reason: FiringReason): void {
  if (climb(draft, from, due, reason) === 'nobody') endRound(draft, countFrom(draft, due));
}

/**
 * A person asked for more: the next tier, or `toTier`. Positions only go forward, so a tier that has fired already, like tier 1 after the
 * last one, fires in a new round. That round is not counted.
 */
export function climbOn(draft: Draft, toTier: number | null): void {
  const escalation = escalationOf(draft);
  const from = toTier ?? escalation.tier + 1;
  const isAbove = from > escalation.tier;
  if (isAbove && climb(draft, from, draft.at, 'escalate') !== 'nobody') return;
  enterRound(escalation);
  climbRound(draft, isAbove ? 1 : from, draft.at, 'escalate');
}

/** S of a round that the policy repeats has come. */
export function repeatRound(draft: Draft, due: number): void {
  const escalation = escalationOf(draft);
  escalation.repeats += 1;
  enterRound(escalation);
  climbRound(draft, 1, due, 'repeat');
}

function enterRound(escalation: Escalation): void {
  escalation.round += 1;
  escalation.tier = 0;
}

/** E of the current round has come, at `over`. A round in which nobody could be reached is not worth repeating. */
export function endRound(draft: Draft, over: number): void {
  const escalation = escalationOf(draft);
  if (escalation.tier === 0) exhaust(draft, over);
  else enter(draft, { status: 'triggered', next: stepAfterRound(escalation, policyOf(draft), over) });
}

/**
 * No page of the last firing gets through: the next tier fires now, and after the last one the round is over now. Whether anything changed:
 * a tier that waits, or a round that is over, is not made to come sooner.
 */
export function divert(draft: Draft): boolean {
  const escalation = escalationOf(draft);
  const { phase } = escalation;
  if (phase.status !== 'triggered') return false;
  const { next } = phase;
  if (next.kind === 'tier') {
    if (next.wait !== null) return false;
    note(draft, 'tier_unreachable');
    climbRound(draft, next.tier, draft.at, 'tier_unreachable');
    return true;
  }
  const sooner = stepAfterRound(escalation, policyOf(draft), draft.at);
  if (sooner.at >= next.at) return false;
  enter(draft, { status: 'triggered', next: sooner });
  note(draft, 'tier_unreachable');
  return true;
}

/** A tier outside its hours, or one that reaches nobody, takes no time. */
function climb(draft: Draft, from: number, due: number, reason: FiringReason): 'fired' | 'waits' | 'nobody' {
  for (const [index, tier] of policyOf(draft).tiers.entries()) {
    const number = index + 1;
    if (number < from) continue;
    const moment = countFrom(draft, due, tier.timeoutMs);
    const wait = findWait(draft, moment);
    if (wait !== null) {
      defer(draft, number, wait, reason);
      return 'waits';
    }
    const recipients = reach(draft, tier.targets);
    const skip = isOutsideHours(draft, tier, moment) ? 'outside_hours' : recipients.length === 0 ? 'no_recipients' : null;
    if (skip === null) {
      fire(draft, { tier, number, due, moment, reason, recipients });
      return 'fired';
    }
    note(draft, 'tier_skipped', { tier: number, reason: skip });
  }
  return 'nobody';
}

interface Firing {
  tier: Tier;
  number: number;
  due: number;
  /** T: what follows is counted from it. */
  moment: number;
  reason: FiringReason;
  recipients: readonly Recipient[];
}

function fire(draft: Draft, { tier, number, due, moment, reason, recipients }: Firing): void {
  const escalation = escalationOf(draft);
  const isOpening = isBeforeFirstTier(escalation);
  if (escalation.tier === 0) escalation.roundStartedAt = moment;
  escalation.tier = number;
  escalation.firedAt = moment;
  escalation.firing += 1;
  enter(draft, { status: 'triggered', next: stepAfter(escalation, policyOf(draft)) });
  if (isOpening) startAt(escalation, moment);

  const severity = currentSeverity(draft);
  const { id: escalationId, round, firing } = escalation;
  const late = moment !== due;
  if (late) note(draft, 'late');
  note(draft, 'tier_fired', { reason });
  draft.effects.push(
    {
      kind: 'fire',
      escalationId,
      firing,
      round,
      tier: number,
      scheduledAt: due,
      late,
      reason,
      severity,
      targets: tier.targets,
      recipients,
    },
    { kind: 'post', escalationId, eventType: 'escalation.triggered', severity },
  );
}

function defer(draft: Draft, tier: number, { why, until }: Wait, reason: FiringReason): void {
  const escalation = escalationOf(draft);
  enter(draft, { status: 'triggered', next: { kind: 'tier', tier, at: until, reason, wait: { why, since: draft.at } } });
  // Until a calendar opens T0 has not come; a silence instead stops the clock of the hard stop, see `enter`.
  if (why === 'deferred_hours' && isBeforeFirstTier(escalation)) startAt(escalation, until);
  note(draft, 'tier_deferred', { tier, reason: why });
}

/** What a tier waits for may have changed: it fires, or waits for something else. Whether anything changed. */
export function reconsiderWait(draft: Draft): boolean {
  const { phase } = escalationOf(draft);
  if (phase.status !== 'triggered' || phase.next.kind !== 'tier' || phase.next.wait === null) return false;
  const { tier, at: until, reason, wait } = phase.next;
  const found = findWait(draft, draft.at);
  if (found?.why === wait.why && found.until === until) return false;
  climbRound(draft, tier, Math.min(until, draft.at), reason);
  return true;
}

/** What comes after the tier that fired last. */
export function stepAfter(escalation: Escalation, policy: EscalationPolicy): NextStep {
  const { tier, firedAt } = escalation;
  const timeout = policy.tiers[tier - 1]?.timeoutMs;
  if (timeout === undefined || firedAt === null) throw new Error('No tier has fired yet.');
  if (tier === policy.tiers.length) return stepAfterRound(escalation, policy, firedAt + timeout);
  return { kind: 'tier', tier: tier + 1, at: firedAt + timeout, reason: 'timeout', wait: null };
}

function stepAfterRound({ repeats, roundStartedAt }: Escalation, { repeat }: EscalationPolicy, over: number): NextStep {
  if (repeat === null || (repeat.max !== null && repeats >= repeat.max)) return { kind: 'end', at: over };
  return { kind: 'round', at: Math.max(over, roundStartedAt + repeat.everyMs) };
}

/** Nobody answered, and nobody is left but the fallback. */
export function exhaust(draft: Draft, due: number): void {
  const escalation = escalationOf(draft);
  enter(draft, { status: 'exhausted', since: countFrom(draft, due) });
  // Also when nobody could be reached: what somebody sets going after that is no beginning.
  escalation.restartedAt ??= escalation.t0;
  note(draft, 'exhausted');
  correct(draft, 'exhausted', null);
  const { id: escalationId, round, tier } = escalation;
  const targets = policyOf(draft).fallback;
  const recipients = reach(draft, targets);
  if (recipients.length > 0) {
    escalation.firing += 1;
    draft.effects.push({ kind: 'fallback', escalationId, firing: escalation.firing, round, tier, targets, recipients });
  }
  draft.effects.push({ kind: 'post', escalationId, eventType: 'escalation.exhausted', severity: 'high' });
}

function isBeforeFirstTier({ restartedAt, firing }: Escalation): boolean {
  return restartedAt === null && firing === 0;
}

function startAt(escalation: Escalation, t0: number): void {
  escalation.t0 = t0;
  escalation.hardStopFrom = t0;
}
