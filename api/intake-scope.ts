import type { RawBuilder } from 'kysely';
import { newGroup } from '../db/escalation-step.ts';
import { findGroups, type GroupSelection, insertGroups, lockGroups, readGroups, type StoredGroup } from '../db/queries/escalation-group.ts';
import { findNoticeGroups, lockNoticeGroups, lockNoticeKeys, type StoredNoticeGroup } from '../db/queries/notice-group.ts';
import { findOccurrences, findProblems, lockStandings, readStandings } from '../db/queries/problem.ts';
import type { OrganizationFacts } from '../db/queries/routing-facts.ts';
import { createIntakeEscalations, groupsOf } from './intake-escalations.ts';
import { createIntakeNotices, noticeGroupsOf } from './intake-notices.ts';
import { createStandings, standingKeyOf } from './intake-standings.ts';
import type { DraftEvent, IntakeScope } from './intake-work.ts';

/** What has to be read before events can be decided about, and what becomes of its rows. */
export interface ScopePlan {
  /** Empty: nothing. */
  statements: Array<RawBuilder<unknown>>;
  /** @param rows of the statements */
  read(rows: readonly unknown[][]): IntakeScope;
}

/**
 * @param at the latest instant at which one of the events is accepted
 * @param lock whether the events are to be stored: then nobody else may change what is read until the transaction ends
 */
export function planScope(
  organizationId: string,
  facts: OrganizationFacts,
  events: readonly DraftEvent[],
  { at, lock }: { at: number; lock: boolean },
): ScopePlan {
  const keys = events.map(standingKeyOf).filter((key) => key !== undefined);
  const selection = groupsOf(events, facts);
  const fresh = selection.keys.map(({ policyId, groupKey }) => newGroup(policyId, groupKey, at));
  const hasGroups = selection.keys.length + selection.problems.length > 0;
  const bundled = noticeGroupsOf(events, facts.routing);
  const reads = {
    problems: keys.length === 0 ? undefined : findProblems(organizationId, keys),
    occurrences: keys.length === 0 ? undefined : findOccurrences(organizationId, keys),
    groups: hasGroups ? findGroups(organizationId, selection satisfies GroupSelection) : undefined,
    notices: bundled.keys.length + bundled.problems.length > 0 ? findNoticeGroups(organizationId, bundled) : undefined,
  };
  const statements = [
    ...(lock && keys.length > 0 ? [lockStandings(keys)] : []),
    ...[reads.problems, reads.occurrences].filter((one) => one !== undefined),
    ...(lock && fresh.length > 0 ? [insertGroups(organizationId, fresh, at)] : []),
    ...(lock && hasGroups ? [lockGroups(organizationId, selection)] : []),
    ...(reads.groups === undefined ? [] : [reads.groups]),
    ...(lock && bundled.keys.length > 0 ? [lockNoticeKeys(bundled.keys)] : []),
    ...(lock && reads.notices !== undefined ? [lockNoticeGroups(organizationId, bundled)] : []),
    ...(reads.notices === undefined ? [] : [reads.notices]),
  ];
  return {
    statements,
    read(rows) {
      const rowsOf = (statement: RawBuilder<unknown> | undefined): unknown[] =>
        statement === undefined ? [] : rows[statements.indexOf(statement)]!;
      const stored = readGroups(rowsOf(reads.groups));
      const known = new Set(stored.map(({ policyId, groupKey }) => `${policyId} ${groupKey}`));
      const groups = [...stored, ...fresh.filter(({ policyId, groupKey }) => !known.has(`${policyId} ${groupKey}`)).map(emptyStored)];
      return {
        standings: createStandings(readStandings({ problems: rowsOf(reads.problems), occurrences: rowsOf(reads.occurrences) }), facts),
        escalations: createIntakeEscalations(organizationId, facts, groups, at),
        notices: createIntakeNotices(organizationId, facts, rowsOf(reads.notices) as StoredNoticeGroup[], at),
      };
    },
  };
}

function emptyStored(group: ReturnType<typeof newGroup>): StoredGroup {
  return { ...group, steppedAt: 0, policies: [], calendars: [], about: null, memberEvents: new Map() };
}
