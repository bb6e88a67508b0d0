import { reconsiderWait } from './escalation-climb.ts';
import { escalationOf, firingMembers, isAbove, isCooling, note, policyOf, statusOf, worse, type Draft } from './escalation-draft.ts';
import { open, resolve, restart } from './escalation-lifecycle.ts';
import type { Attachment, GroupState, HeldProblem, Member, MemberKind, RestartReason } from './escalation-state.ts';
import type { Severity } from './severity.ts';

/** What problems and occurrences do to a group. Each function tells whether it changed anything. */

export interface Arrival {
  key: string;
  kind: MemberKind;
  severity: Severity;
  /** When it should have come. */
  due: number;
  /** `unmuted`: a silence kept it back until now. */
  reason: 'opened' | 'unmuted';
}

/** What the group does about an arrival. */
type Answer =
  | { kind: 'count' }
  | { kind: 'attach'; how: Attachment }
  | { kind: 'restart'; reason: RestartReason }
  /** A new escalation. */
  | { kind: 'open'; reason: 'opened' | 'severity_raised' };

/** A problem came, or became worse; or something occurred. A silence keeps it back, unless it says nothing new anyway. */
export function takeArrival(draft: Draft, arriving: Arrival): boolean {
  const { state, facts } = draft;
  // What was kept back of it until now comes with it.
  const held = arriving.kind === 'problem' ? state.held.find(({ key }) => key === arriving.key) : undefined;
  if (held !== undefined && arriving.reason === 'opened' && !isAbove(arriving.severity, held.severity)) return false;
  const arrival =
    held === undefined ? arriving : { ...arriving, ...released(draft, held), severity: worse(held.severity, arriving.severity) };
  // Problems are told apart by their keys while they last. Occurrences do not last, so each is news.
  const member = arrival.kind === 'problem' ? state.members.find((each) => isSame(arrival)(each) && each.firing) : undefined;
  const isRaised = state.escalation === null || isAbove(arrival.severity, state.escalation.severity);

  const silencedUntil = facts.silencedUntil(arrival.key);
  if (silencedUntil !== null) {
    // What merely occurred is over when the silence ends.
    const isWorthTelling = arrival.kind === 'problem' && (member === undefined || isAbove(arrival.severity, member.severity));
    return isWorthTelling && hold(draft, arrival, silencedUntil);
  }
  if (held !== undefined) state.held = state.held.filter((other) => other !== held);
  return admit(draft, arrival, answerTo(draft, member !== undefined, isRaised)) || held !== undefined;
}

/** The first two rows of the transition table. `isRaised`: worse than anything that the escalation was about so far. */
function answerTo(draft: Draft, isKnown: boolean, isRaised: boolean): Answer {
  const count: Answer = { kind: 'count' };
  const raised: Answer = { kind: 'restart', reason: 'severity_raised' };
  switch (statusOf(draft)) {
    case 'triggered':
      return { kind: 'attach', how: 'grouped' };
    case 'acknowledged':
      if (isRaised) return raised;
      if (isKnown) return count;
      return isCooling(draft) ? { kind: 'attach', how: 'cooldown' } : { kind: 'restart', reason: 'new_after_cooldown' };
    case 'snoozed':
      if (isRaised) return raised;
      return isKnown ? count : { kind: 'attach', how: 'snoozed' };
    case 'exhausted':
      if (isRaised) return raised;
      return isKnown ? count : { kind: 'restart', reason: 'new_problem' };
    case 'resolved':
      if (isKnown && !isRaised) return count;
      if (!isCooling(draft)) return { kind: 'open', reason: 'opened' };
      return isRaised ? { kind: 'open', reason: 'severity_raised' } : { kind: 'attach', how: 'cooldown' };
  }
}

function admit(draft: Draft, arrival: Arrival, answer: Answer): boolean {
  switch (answer.kind) {
    case 'count':
      return attach(draft, arrival, 'grouped');
    case 'attach': {
      // What is told a second time changes nothing.
      if (!attach(draft, arrival, answer.how)) return false;
      reconsiderWait(draft);
      return true;
    }
    case 'restart':
      attach(draft, arrival, 'grouped');
      restart(draft, arrival.reason === 'unmuted' && answer.reason !== 'severity_raised' ? 'unmuted' : answer.reason, arrival.due);
      return true;
    case 'open': {
      const { key, kind, severity, due, reason } = arrival;
      // In the tail of a cooldown, what it hid goes along.
      const hidden = firingMembers(draft).filter((member) => !isSame(arrival)(member));
      const previous = isCooling(draft) || hidden.length > 0 ? draft.state.escalation : null;
      return open(draft, {
        members: [...hidden, { key, kind, severity, firing: true, attached: 'opened', mutedUntil: null }],
        due,
        reason: reason === 'unmuted' ? reason : answer.reason,
        previousId: previous?.id ?? null,
      });
    }
  }
}

function attach(draft: Draft, { key, kind, severity }: Arrival, how: Attachment): boolean {
  const { state } = draft;
  const escalation = escalationOf(draft);
  if (isAbove(severity, escalation.severity)) {
    escalation.severity = severity;
    note(draft, 'severity_raised', { key });
  }
  const mutedUntil = how === 'cooldown' && state.cooldown !== null ? state.cooldown.until : null;
  const member = state.members.find(isSame({ key, kind }));
  if (member === undefined) {
    state.members = [...state.members, { key, kind, severity, firing: true, attached: how, mutedUntil }];
  } else if (!member.firing) {
    replace(state, member, { ...member, severity, firing: true, attached: how, mutedUntil });
  } else {
    // Of an occurrence that people know, the cooldown may hide the next; what is hidden stays so.
    const repeated = { ...member, severity: worse(severity, member.severity), mutedUntil: mutedUntil ?? member.mutedUntil };
    if (repeated.severity === member.severity && repeated.mutedUntil === member.mutedUntil) return false;
    replace(state, member, repeated);
    return true;
  }
  note(draft, 'attached', { reason: how, key });
  return true;
}

/** A problem is over. The last one ends the escalation, unless the policy leaves that to people. */
export function takeResolution(draft: Draft, key: string): boolean {
  const { state } = draft;
  const held = state.held.find((other) => other.key === key);
  if (held !== undefined) state.held = state.held.filter((other) => other !== held);
  const member = state.members.find(isSame({ key, kind: 'problem' }));
  if (member === undefined || !member.firing) return held !== undefined;
  replace(state, member, { ...member, firing: false, mutedUntil: null });
  note(draft, 'member_resolved', { key });
  const isLast = firingMembers(draft).length === 0;
  if (isLast && statusOf(draft) !== 'resolved' && policyOf(draft).autoResolve) resolve(draft, 'members_resolved');
  return true;
}

/** A silenced problem says nothing; it comes again when the silence ends. */
function hold(draft: Draft, { key, severity }: Arrival, until: number): boolean {
  const { state } = draft;
  const held = state.held.find((other) => other.key === key);
  if (held !== undefined && held.until === until && held.severity === severity) return false;
  state.held = [...state.held.filter((other) => other !== held), { key, severity, until }];
  if (held === undefined) note(draft, 'held', { key });
  return true;
}

/** Lets in what silences no longer keep back. */
export function releaseHeld(draft: Draft): boolean {
  const { state, facts } = draft;
  const free: HeldProblem[] = [];
  let changed = false;
  state.held = state.held.map((held) => {
    const until = facts.silencedUntil(held.key);
    if (until === null) free.push(held);
    changed ||= until !== held.until;
    return until === null ? held : { ...held, until };
  });
  // The worst first: what it sets going takes in the others.
  free.sort((a, b) => Number(isAbove(b.severity, a.severity)) - Number(isAbove(a.severity, b.severity)));
  for (const held of free) takeArrival(draft, { kind: 'problem', key: held.key, severity: held.severity, ...released(draft, held) });
  return changed;
}

/** It comes when its silence should have ended, or now when somebody ended that sooner. */
function released({ at }: Draft, { until }: HeldProblem): Pick<Arrival, 'due' | 'reason'> {
  return { due: Math.min(until, at), reason: 'unmuted' };
}

/** The cooldown is over, at `due`: what it hid and is still there is told after all, unless somebody silenced it meanwhile. */
export function unmute(draft: Draft, due: number): void {
  const { state, facts, at } = draft;
  let isNews = false;
  state.members = state.members.map((member) => {
    if (member.mutedUntil === null || member.mutedUntil > at) return member;
    const mutedUntil = facts.silencedUntil(member.key);
    isNews ||= member.firing && mutedUntil === null;
    return { ...member, mutedUntil };
  });
  if (!isNews) return;
  if (statusOf(draft) !== 'resolved') return restart(draft, 'unmuted', due);
  open(draft, { members: firingMembers(draft), due, reason: 'unmuted', previousId: escalationOf(draft).id });
}

/** Looks again at everything that silences hide. */
export function reconsiderSilenced(draft: Draft): boolean {
  const { state, facts, at } = draft;
  const cooldownEnd = state.cooldown?.until ?? at;
  let changed = false;
  state.members = state.members.map((member) => {
    // Muted for longer than the cooldown lasts: by a silence, see `unmute`.
    if (member.mutedUntil === null || member.mutedUntil <= cooldownEnd) return member;
    const mutedUntil = facts.silencedUntil(member.key) ?? at;
    if (mutedUntil === member.mutedUntil) return member;
    changed = true;
    return { ...member, mutedUntil };
  });
  return releaseHeld(draft) || changed;
}

function replace(state: GroupState, member: Member, by: Member): void {
  state.members = state.members.map((other) => (other === member ? by : other));
}

/** Problems and occurrences may have the same key. */
function isSame({ key, kind }: { key: string; kind: MemberKind }): (member: { key: string; kind: MemberKind }) => boolean {
  return (member) => member.key === key && member.kind === kind;
}
