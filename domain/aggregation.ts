import type { Fault } from './errors.ts';
import { isAtLeast, type Severity } from './severity.ts';

/** How a rule bundles what it sends. Milliseconds. */
export interface Aggregate {
  /** Events with equal values of these share a group. */
  groupBy: readonly string[];
  /** From a group's first event to its first notice. */
  waitMs: number;
  /** Between notices. */
  intervalMs: number;
  /** After this long without news, problems are told again; null: never. */
  repeatMs: number | null;
  sendResolved: boolean;
}

export const defaultAggregate: Aggregate = {
  groupBy: ['type', 'projectId'],
  waitMs: 30_000,
  intervalMs: 300_000,
  repeatMs: 14_400_000,
  sendResolved: true,
};

export const aggregateRules = {
  waitMs: { max: 600_000 },
  /** Its least is a minute, or what the configuration lowers it to. */
  intervalMs: { max: 86_400_000 },
  /** Its least is the interval. */
  repeatMs: { max: 30 * 86_400_000 },
} as const;

/** Every fault of the durations; pointers are relative to the aggregate. */
export function aggregateFaults({ waitMs, intervalMs, repeatMs }: Aggregate, { minIntervalMs }: { minIntervalMs: number }): Fault[] {
  const ranges = [
    ['/wait', waitMs, 0, aggregateRules.waitMs.max],
    ['/interval', intervalMs, minIntervalMs, aggregateRules.intervalMs.max],
    ['/repeat', repeatMs ?? intervalMs, intervalMs, aggregateRules.repeatMs.max],
  ] as const;
  return ranges
    .filter(([, value, min, max]) => value < min || value > max)
    .map(([pointer, , min, max]) => ({ pointer, code: 'out_of_range', detail: `must be ${min / 1_000} to ${max / 1_000} seconds` }));
}

/** A problem, which fires until it is resolved, or an occurrence, which fires until it has been in one notice. */
export interface GroupMember {
  /** Of this one opening, this one event: a problem that opens anew is another member. */
  id: string;
  kind: 'problem' | 'occurrence';
  /** The worst so far. */
  severity: Severity;
  /** Silenced: it counts, but is neither shown nor a cause of notices. */
  muted: boolean;
}

interface TrackedMember extends GroupMember {
  firing: boolean;
  /** Its severity in the last notice; null: not in it. */
  noticedSeverity: Severity | null;
  /** Some notice has shown it, so its end is news. */
  shown: boolean;
  /** No longer muted, and no notice since. */
  unmuted: boolean;
}

/** Plain data, one row, written only under its lock: so each change is in exactly one tick. Instants are Unix milliseconds. */
export interface GroupState {
  /** As the rule had it when the group began: an edit must not move the ticks of a group. */
  aggregate: Aggregate;
  /** When its first event was accepted. Tick k is at `openedAt` + wait + k x interval, however late anything runs. */
  openedAt: number;
  members: readonly TrackedMember[];
  /** The last tick that ran; -1: none. */
  lastTick: number;
  /** The next tick at which there will be something to do, if nothing changes; null: none. */
  dueTick: number | null;
  /** The instant of the tick of the last notice, not of its sending; null: none yet. */
  lastNoticeAt: number | null;
  closed: boolean;
}

export type GroupChange =
  /** A problem opened or got worse, or something occurred, and no silence covers it. */
  | { kind: 'fired'; member: Omit<GroupMember, 'muted'> }
  | { kind: 'resolved'; id: string }
  /** Its life is over, which nobody said and nobody is told. */
  | { kind: 'expired'; id: string }
  | { kind: 'muted'; id: string }
  /** No silence covers it any longer. */
  | { kind: 'unmuted'; id: string };

/** The reason that a notice's decision has is `group_` + this. */
export type NoticeReason = 'first' | 'new' | 'resolved' | 'all_resolved' | 'repeat';

export interface GroupNotice {
  /** With the group it identifies the notice. */
  tick: number;
  /** The instant of the tick. */
  at: number;
  reason: NoticeReason;
  /** What it shows, in order of arrival: never a muted member. */
  firing: GroupMember[];
  /** Problems shown before that have ended since the last notice; empty unless `sendResolved`. */
  resolved: GroupMember[];
}

export function openGroup(aggregate: Aggregate, member: Omit<GroupMember, 'muted'>, acceptedAt: number): GroupState {
  const empty = { aggregate, openedAt: acceptedAt, members: [], lastTick: -1, dueTick: null, lastNoticeAt: null, closed: false };
  return changeGroup(empty, { kind: 'fired', member }, acceptedAt).state;
}

/** When to run `tick`; null: not before something changes. With a wait of 0 that is at once, for the transaction that opened the group. */
export function nextTickAt(state: GroupState): number | null {
  return state.dueTick === null ? null : tickAt(state, state.dueTick);
}

/**
 * One change of a group. `resolvedBeforeNotice`: what ended was never shown, so nothing will be said of it. Of an unknown id everything but
 * `fired` changes nothing. Throws when something fires in a closed group, where nobody would hear of it: it opens the next one.
 */
export function changeGroup(state: GroupState, change: GroupChange, at: number): { state: GroupState; resolvedBeforeNotice: boolean } {
  const id = change.kind === 'fired' ? change.member.id : change.id;
  if (state.closed && change.kind === 'fired') throw new Error(`${id} fires in a group that is closed`);
  const before = state.members.find((member) => member.id === id);
  if (state.closed || (before === undefined && change.kind !== 'fired')) return { state, resolvedBeforeNotice: false };
  const after = changeMember(before, change);
  const members =
    before === undefined && after !== null
      ? [...state.members, after]
      : state.members.flatMap((member) => (member !== before ? [member] : after === null ? [] : [after]));
  return {
    state: { ...state, members, dueTick: change.kind === 'muted' ? state.dueTick : earliestTick(state, at) },
    resolvedBeforeNotice: change.kind === 'resolved' && after === null,
  };
}

/** @returns null when the group need not remember it. */
function changeMember(before: TrackedMember | undefined, change: GroupChange): TrackedMember | null {
  if (change.kind === 'fired') {
    const fired = { ...change.member, muted: false, firing: true };
    if (before === undefined) return { ...fired, noticedSeverity: null, shown: false, unmuted: false };
    return { ...before, ...fired, unmuted: before.unmuted || before.muted };
  }
  if (before === undefined) return null;
  switch (change.kind) {
    case 'resolved':
      return before.shown ? { ...before, firing: false } : null;
    case 'expired':
      return null;
    case 'muted':
      return { ...before, muted: true };
    case 'unmuted':
      return { ...before, muted: false, unmuted: before.unmuted || before.muted };
  }
}

/**
 * Runs the last tick that is not later than `at`, if one is due: after an outage one tick does the work of all that were missed. Of the
 * reasons the first that holds is the notice's. A group that has nothing firing is closed, with or without a notice.
 */
export function tick(state: GroupState, at: number): { state: GroupState; notice: GroupNotice | null } {
  const number = Math.floor((at - tickAt(state, 0)) / state.aggregate.intervalMs);
  if (state.dueTick === null || number < state.dueTick) return { state, notice: null };
  const instant = tickAt(state, number);
  const firing = state.members.filter((member) => member.firing);
  const shown = firing.filter((member) => !member.muted);
  const ended = state.aggregate.sendResolved ? state.members.filter((member) => !member.firing) : [];
  const reason = noticeReason(state, { firing, shown, ended, instant });

  const notice = reason && { tick: number, at: instant, reason, firing: shown.map(present), resolved: ended.map(present) };
  const ticked = { ...state, lastTick: number, closed: firing.length === 0 };
  const told = notice === null ? ticked : { ...ticked, members: firing.flatMap(remember), lastNoticeAt: instant };
  return { state: { ...told, dueTick: dueTickAfter(told) }, notice };
}

interface TickFacts {
  firing: readonly TrackedMember[];
  shown: readonly TrackedMember[];
  ended: readonly TrackedMember[];
  instant: number;
}

/** A notice without anything to show would be noise: muted members alone are never a reason. */
function noticeReason({ lastNoticeAt, aggregate }: GroupState, { firing, shown, ended, instant }: TickFacts): NoticeReason | null {
  if (lastNoticeAt === null) return shown.length > 0 ? 'first' : null;
  if (shown.some(isNews)) return 'new';
  if (ended.length > 0) return firing.length === 0 ? 'all_resolved' : 'resolved';
  const { repeatMs } = aggregate;
  return repeatMs !== null && shown.some(isProblem) && instant - lastNoticeAt >= repeatMs ? 'repeat' : null;
}

function isNews({ noticedSeverity, severity, unmuted }: TrackedMember): boolean {
  return noticedSeverity === null || !isAtLeast(noticedSeverity, severity) || unmuted;
}

function isProblem({ kind }: GroupMember): boolean {
  return kind === 'problem';
}

/** A firing member after a notice. A muted one was compared, not shown: an occurrence waits for the notice that shows it. */
function remember(member: TrackedMember): TrackedMember[] {
  if (member.kind === 'occurrence' && !member.muted) return [];
  return [{ ...member, noticedSeverity: member.severity, shown: member.shown || !member.muted, unmuted: false }];
}

/** After a tick everything is told: what is left is to close an empty group, and to repeat. */
function dueTickAfter(state: GroupState): number | null {
  const { members, lastTick, lastNoticeAt } = state;
  const { repeatMs } = state.aggregate;
  if (state.closed) return null;
  if (!members.some(({ firing }) => firing)) return lastTick + 1;
  if (repeatMs === null || lastNoticeAt === null) return null;
  const repeats = members.some((member) => member.firing && !member.muted && isProblem(member));
  return repeats ? earliestTick({ ...state, dueTick: null }, lastNoticeAt + repeatMs) : null;
}

/** The first tick at or after `at` that has not run, or the one that is due already: what comes in after it, but before it runs, is in it. */
function earliestTick(state: GroupState, at: number): number {
  const next = Math.max(state.lastTick + 1, Math.ceil((at - tickAt(state, 0)) / state.aggregate.intervalMs));
  return state.dueTick === null ? next : Math.min(state.dueTick, next);
}

function tickAt({ openedAt, aggregate }: GroupState, number: number): number {
  return openedAt + aggregate.waitMs + number * aggregate.intervalMs;
}

function present({ id, kind, severity, muted }: TrackedMember): GroupMember {
  return { id, kind, severity, muted };
}
