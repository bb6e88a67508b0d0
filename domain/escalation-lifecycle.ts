import { climbRound } from './escalation-climb.ts';
import {
  correct,
  enter,
  escalationOf,
  firingMembers,
  homePolicyOf,
  keepHardStopAhead,
  note,
  worst,
  type Draft,
} from './escalation-draft.ts';
import type { CancelReason } from './escalation-effect.ts';
import type { EscalationFacts } from './escalation-input.ts';
import type { EscalationPolicy } from './escalation-policy.ts';
import type { Member, OpenReason, ResolveReason, RestartReason, Snapshot } from './escalation-state.ts';

/** Beginnings and ends of an escalation. */

export interface Opening {
  /** At least one. */
  members: readonly Member[];
  /** When it should open; T0, unless the policy waits for more problems of the group. */
  due: number;
  reason: OpenReason;
  /** The escalation that hid the members until now. */
  previousId: string | null;
}

/** Opens an escalation in place of one that has ended, on the newest version of the policy; false: that one opens none. */
export function open(draft: Draft, { members, due, reason, previousId }: Opening): boolean {
  const { state, facts, at } = draft;
  const policy = facts.policy(state.policyId, null);
  const severity = worst(members);
  if (severity === undefined) throw new Error('An escalation is about something.');
  if (policy === undefined || !policy.enabled) {
    note(draft, 'noop', { reason: 'policy_disabled' });
    return false;
  }

  // What was hidden has waited long enough.
  const t0 = due + (reason === 'unmuted' ? 0 : policy.groupWaitMs);
  state.members = members.map((member) => ({ ...member, mutedUntil: null }));
  state.cooldown = null;
  state.escalation = {
    id: facts.newId(at),
    previousId,
    phase: { status: 'triggered', next: { kind: 'tier', tier: 1, at: t0, reason, wait: null } },
    openedAt: at,
    severity,
    homeVersion: policy.version,
    snapshot: pin(policy, facts),
    t0,
    hardStopFrom: t0,
    restartedAt: null,
    round: 1,
    roundStartedAt: t0,
    repeats: 0,
    tier: 0,
    firedAt: null,
    firing: 0,
  };
  draft.effects.push({
    kind: 'opened',
    escalationId: state.escalation.id,
    previousId,
    policy: { id: policy.id, version: policy.version },
    reason,
  });
  note(draft, 'opened', { reason });
  if (t0 <= at) climbRound(draft, 1, t0, reason);
  return true;
}

/** Holds a policy and its calendars at their versions of now. */
export function pin(policy: EscalationPolicy, facts: EscalationFacts): Snapshot {
  const calendars: Record<string, number> = {};
  for (const id of [policy.calendarId, ...policy.tiers.map(({ calendarId }) => calendarId)]) {
    const version = id === null ? undefined : facts.calendar(id, null)?.version;
    if (id !== null && version !== undefined) calendars[id] = version;
  }
  return { policyId: policy.id, version: policy.version, calendars, only: null };
}

/** Begins again at round 1, tier 1 or `tier`. Whatever the cooldown hid is part of it. */
export function restart(draft: Draft, reason: RestartReason, due: number, tier = 1): void {
  const escalation = escalationOf(draft);
  draft.state.cooldown = null;
  endMutes(draft);
  escalation.restartedAt = due;
  escalation.round = 1;
  escalation.repeats = 0;
  escalation.tier = 0;
  enter(draft, { status: 'triggered', next: { kind: 'tier', tier, at: due, reason, wait: null } });
  keepHardStopAhead(draft);
  note(draft, 'restarted', { reason });
  correct(draft, 'restarted', reason);
  climbRound(draft, tier, due, reason);
}

/** Ends the escalation, and every membership that has not ended by itself. */
export function resolve(draft: Draft, reason: ResolveReason): void {
  const { state, at } = draft;
  const { id: escalationId, firing } = escalationOf(draft);
  const keys = firingMembers(draft).flatMap(({ kind, key }) => (kind === 'problem' ? [key] : []));
  enter(draft, { status: 'resolved', since: at, reason });
  state.members = state.members.map((member) => (member.firing ? { ...member, firing: false, mutedUntil: null } : member));
  // That one of them became worse while a silence held that back ends with it.
  state.held = state.held.filter(({ key }) => !keys.includes(key));
  // What comes after an escalation that only time has ended must page at once.
  if (reason === 'expired' || homePolicyOf(draft).cooldownScope === 'until_resolved') state.cooldown = null;
  note(draft, 'resolved', { reason });
  cancelPages(draft, 'cancelled_by_resolve');
  correct(draft, 'resolved', reason);
  if (firing > 0) draft.effects.push({ kind: 'post', escalationId, eventType: 'escalation.resolved', severity: 'info' });
  if (keys.length > 0) draft.effects.push({ kind: 'close_problems', escalationId, keys });
}

export function cancelPages(draft: Draft, reason: CancelReason): void {
  const { id: escalationId, firing } = escalationOf(draft);
  if (firing > 0) draft.effects.push({ kind: 'cancel_pages', escalationId, reason });
}

/** Somebody knows of what was hidden so far, or is about to. Whether anything was. */
export function endMutes({ state }: Draft): boolean {
  const wasHidden = state.members.some(({ mutedUntil }) => mutedUntil !== null);
  if (wasHidden) state.members = state.members.map((member) => (member.mutedUntil === null ? member : { ...member, mutedUntil: null }));
  return wasHidden;
}
