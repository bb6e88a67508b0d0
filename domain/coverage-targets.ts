import type { CoverageCause, CoverageFacts, CoverageReason } from './coverage.ts';
import type { Target } from './escalation-policy.ts';
import { onCallPieces, type TimeRange } from './on-call.ts';
import type { Override, Schedule } from './schedule.ts';

/** Whom a target reaches, from the instant that was asked for up to `until`, whichever tier it is in. Equal ones have the same number. */
export interface TargetState {
  number: number;
  userIds: readonly string[];
  destination: boolean;
  causes: ReadonlyArray<Pick<CoverageCause, 'reason' | 'userId'>>;
  until: number;
}

/** The state of a target at instants that never go back. Only schedules change. */
export function watchTarget({ kind, id }: Target, facts: CoverageFacts, { from, to }: TimeRange): (at: number) => TargetState {
  const unknown = { number: 0, userIds: [], destination: false, causes: [{ reason: 'unknown_target', userId: null }], until: to } as const;
  switch (kind) {
    case 'user': {
      const state = { ...reachUsers([id], facts), number: 0, until: to };
      return () => state;
    }
    case 'schedule': {
      const known = facts.schedules.get(id);
      return known === undefined ? () => unknown : watchSchedule(known, facts, { from, to });
    }
    case 'channel':
    case 'webhook': {
      const found = (kind === 'channel' ? facts.channels : facts.webhooks).get(id);
      if (found === undefined) return () => unknown;
      const causes = found.active ? [] : [{ reason: `inactive_${kind}`, userId: null } as const];
      return () => ({ number: 0, userIds: [], destination: found.active, causes, until: to });
    }
  }
}

function watchSchedule(
  { schedule, overrides }: { schedule: Schedule; overrides: readonly Override[] },
  facts: CoverageFacts,
  { from, to }: TimeRange,
): (at: number) => TargetState {
  const pieces = onCallPieces(schedule, overrides, { from, to });
  const known = new Map<string, Omit<TargetState, 'until'>>();
  let state: TargetState | undefined;
  return (at) => {
    while (state === undefined || state.until <= at) {
      const next = pieces.next();
      if (next.done === true) throw new RangeError(`Coverage ends at ${to}, and was asked for ${at}`);
      const { onCall, end } = next.value;
      // in one order, or equal pieces would seem to differ
      const userIds = [...onCall.keys()].toSorted();
      const key = userIds.join();
      const found = known.get(key) ?? { ...reachOnCall(userIds, facts), number: known.size };
      known.set(key, found);
      state = { ...found, until: end };
    }
    return state;
  };
}

type ReachedUsers = Pick<TargetState, 'userIds' | 'destination' | 'causes'>;

function reachOnCall(userIds: readonly string[], facts: CoverageFacts): ReachedUsers {
  return userIds.length === 0 ? { userIds, destination: false, causes: [{ reason: 'gap', userId: null }] } : reachUsers(userIds, facts);
}

function reachUsers(userIds: readonly string[], { users }: CoverageFacts): ReachedUsers {
  const causes = userIds.flatMap((userId) => {
    const reason = whyUnreachable(users.get(userId));
    return reason === null ? [] : [{ reason, userId }];
  });
  return { userIds: userIds.filter((userId) => whyUnreachable(users.get(userId)) === null), destination: false, causes };
}

/** Why a page to the user would reach nobody; null: it would reach them. */
export function whyUnreachable(user: { active: boolean; pageMethods: number } | undefined): CoverageReason | null {
  if (user === undefined) return 'unknown_target';
  if (!user.active) return 'inactive_user';
  return user.pageMethods > 0 ? null : 'no_page_method';
}
