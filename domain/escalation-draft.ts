import type { EscalationFacts } from './escalation-input.ts';
import type { Effect, TimelineEntry, TimelineKind, UpdateChange } from './escalation-effect.ts';
import type { EscalationPolicy } from './escalation-policy.ts';
import type { Escalation, EscalationStatus, GroupState, Member, Phase, ResolveReason, RestartReason } from './escalation-state.ts';
import { isAtLeast, type Severity } from './severity.ts';

/** One step in the making: the transitions change `state`, a copy, and add to `effects`. */
export interface Draft {
  readonly state: GroupState;
  /** Now. */
  readonly at: number;
  readonly facts: EscalationFacts;
  readonly effects: Effect[];
}

/** What a step begins with. Members, phases and the like are replaced as a whole, never changed, so copying their holders is enough. */
export function beginDraft(state: GroupState, at: number, facts: EscalationFacts): Draft {
  const escalation = state.escalation === null ? null : { ...state.escalation };
  return { state: { ...state, escalation }, at, facts, effects: [] };
}

/** The newest escalation, in a place where there must be one. */
export function escalationOf({ state }: Draft): Escalation {
  if (state.escalation === null) throw new Error('The group has no escalation.');
  return state.escalation;
}

/** A group without an escalation is where one that has ended is. */
export function statusOf({ state }: Draft): EscalationStatus {
  return state.escalation?.phase.status ?? 'resolved';
}

/** What the escalation runs on. */
export function policyOf(draft: Draft): EscalationPolicy {
  const { policyId, version, only } = escalationOf(draft).snapshot;
  const policy = pinnedPolicy(draft, policyId, version);
  if (only === null) return policy;
  return { ...policy, tiers: [{ name: null, targets: only.targets, timeoutMs: only.timeoutMs, when: 'always', calendarId: null }] };
}

/** The group's own policy, whatever the escalation was reassigned to. */
export function homePolicyOf(draft: Draft): EscalationPolicy {
  return pinnedPolicy(draft, draft.state.policyId, escalationOf(draft).homeVersion);
}

function pinnedPolicy({ facts }: Draft, id: string, version: number): EscalationPolicy {
  const policy = facts.policy(id, version);
  if (policy === undefined) throw new Error(`Version ${version} of policy ${id} is pinned and was not given.`);
  return policy;
}

/** Of a tier that a silence holds up, as if it ended now: until then the clock stands still. */
export function hardStopAt(draft: Draft): number {
  const { hardStopFrom, phase } = escalationOf(draft);
  return hardStopFrom + silentFor(draft, phase) + policyOf(draft).hardStopMs;
}

/** A hard stop that has come when an escalation gets going again is counted anew from there, or it would end it at once. */
export function keepHardStopAhead(draft: Draft): void {
  if (hardStopAt(draft) <= draft.at) escalationOf(draft).hardStopFrom = draft.at;
}

/** Changes the phase, or what it waits for. The hard stop's clock stands still while a silence holds up a tier. */
export function enter(draft: Draft, phase: Phase): void {
  const escalation = escalationOf(draft);
  escalation.hardStopFrom += silentFor(draft, escalation.phase);
  escalation.phase = phase;
}

function silentFor({ at }: Draft, phase: Phase): number {
  const since = suspendedSince(phase);
  return since === null ? 0 : at - since;
}

/** Since when a silence holds up the next tier; null: none does. */
export function suspendedSince(phase: Phase): number | null {
  if (phase.status !== 'triggered' || phase.next.kind !== 'tier' || phase.next.wait?.why !== 'deferred_silence') return null;
  return phase.next.wait.since;
}

/** Members about which something is still wrong. */
export function firingMembers({ state }: Draft): Member[] {
  return state.members.filter(({ firing }) => firing);
}

/** Of what is firing; when nothing is any more (the policy leaves ending to people), the worst there was. */
export function currentSeverity(draft: Draft): Severity {
  return worst(firingMembers(draft)) ?? escalationOf(draft).severity;
}

export function isAbove(severity: Severity, other: Severity): boolean {
  return !isAtLeast(other, severity);
}

export function worse(severity: Severity, other: Severity): Severity {
  return isAbove(severity, other) ? severity : other;
}

/** Undefined: of none. */
export function worst(members: ReadonlyArray<{ severity: Severity }>): Severity | undefined {
  return members.map(({ severity }) => severity).reduce<Severity | undefined>((first, next) => worse(next, first ?? next), undefined);
}

/** During it new problems attach quietly. */
export function isCooling({ state, at }: Draft): boolean {
  return state.cooldown !== null && at < state.cooldown.until;
}

/** Adds a line to the timeline; what is left out is as the escalation is now. */
export function note(draft: Draft, what: TimelineKind, details: Partial<Pick<TimelineEntry, 'tier' | 'reason' | 'key'>> = {}): void {
  const { escalation } = draft.state;
  draft.effects.push({
    kind: 'timeline',
    what,
    escalationId: escalation?.id ?? null,
    status: escalation?.phase.status ?? null,
    at: draft.at,
    round: escalation?.round ?? 0,
    tier: escalation?.tier ?? 0,
    firing: escalation?.firing ?? 0,
    reason: null,
    key: null,
    ...details,
  });
}

/** Lets those who were told before know of a change; before the first firing there are none. */
export function correct(draft: Draft, change: UpdateChange, reason: RestartReason | ResolveReason | null): void {
  const { id: escalationId, firing } = escalationOf(draft);
  if (firing === 0) return;
  // An end that only time brought is no news to people; other systems still learn of it.
  const followUp = reason === 'expired' ? 'none' : policyOf(draft).followUp;
  draft.effects.push({ kind: 'update', escalationId, change, followUp, reason });
}
