/**
 * Carries out what the rules of aggregation decide: intake, the end of a silence and ticks lock the groups, change them here and write what
 * comes of it, all in one transaction.
 */
import type { RawBuilder } from 'kysely';
import {
  type Aggregate,
  changeGroup,
  type GroupChange,
  type GroupNotice,
  type GroupState,
  nextTickAt,
  openGroup,
  tick,
} from '../domain/aggregation.ts';
import type { AuditDraft } from '../domain/audit/draft.ts';
import type { AcceptedEvent } from '../domain/event.ts';
import { deriveGroupKey } from '../domain/group-key.ts';
import { newId } from '../domain/id.ts';
import { describeNotice, type NoticeSubject, shownMember } from '../domain/notice.ts';
import type { RoutingFacts } from '../domain/routing.ts';
import type { MatchedEvent, Rule } from '../domain/rule.ts';
import {
  type ChangedNoticeGroup,
  insertNoticeDeliveries,
  insertNotices,
  type NoticeDelivery,
  type NoticeGroupKey,
  type NoticeMemberRecord,
  type NoticeRecord,
  saveNoticeGroups,
  saveNoticeMembers,
  type StoredNoticeGroup,
} from './queries/notice-group.ts';
import type { UnownedDelivery } from './queries/unowned.ts';

/** A rule that bundles what it sends. */
export type BundlingRule = Rule & { aggregate: Aggregate };

interface Joining {
  key: string;
  kind: 'problem' | 'occurrence';
  channelIds: readonly string[];
  at: number;
}

/** What the end of a problem means for those that a group tells. */
export interface GroupEnding {
  channelIds: readonly string[];
  /** Nobody was told that it had begun. */
  beforeNotice: boolean;
  /** When those who know of it hear that it ended; null: they do not. */
  until: number | null;
}

export interface NoticeSteps {
  /** @returns when its next notice is due, or null */
  fire(rule: BundlingRule, event: AcceptedEvent, member: Joining): number | null;
  /** A problem is over. */
  end(key: string, how: 'resolved' | 'expired', at: number): GroupEnding[];
  /** Anything else that happens to a group. */
  change(groupId: string, change: GroupChange, at: number): void;
  stateOf(groupId: string): GroupState;
  /** Runs the tick of the group that is due at `at`, if one is. */
  tick(groupId: string, at: number, abouts: ReadonlyMap<string, NoticeSubject>): void;
  /** Runs tick 0 of the groups that began here and wait for nothing. */
  tickAtOnce(at: number): void;
  /** In the order in which they MUST be executed, after the events are inserted. */
  statements(): Array<RawBuilder<unknown>>;
  audit(): AuditDraft[];
  outcome(): { deliveries: UnownedDelivery[]; changed: ChangedNoticeGroup[] };
}

interface OpenGroup {
  stored: StoredNoticeGroup;
  isNew: boolean;
  state: GroupState;
  channelIds: readonly string[];
}

/** @param groups every open group that is changed here, locked */
export function createNoticeSteps({
  organizationId,
  at,
  routing,
  groups,
}: {
  organizationId: string;
  at: number;
  routing: Pick<RoutingFacts, 'channels'>;
  groups: readonly StoredNoticeGroup[];
}): NoticeSteps {
  const open = new Map<string, OpenGroup>(
    groups.map((stored) => [stored.id, { stored, isNew: false, state: stored.state, channelIds: stored.channelIds }]),
  );
  const members = new Map<string, NoticeMemberRecord>();
  const notices: NoticeRecord[] = [];
  const deliveries: NoticeDelivery[] = [];
  const drafts: AuditDraft[] = [];

  const groupOf = (groupId: string): OpenGroup => {
    const group = open.get(groupId);
    if (group === undefined) throw new Error(`The group ${groupId} is not held`);
    return group;
  };

  const emit = ({ stored, channelIds }: OpenGroup, notice: GroupNotice, abouts: ReadonlyMap<string, NoticeSubject>): void => {
    const show = (shown: GroupNotice['firing']) =>
      shown.flatMap((member) => {
        const about = abouts.get(member.id);
        return about === undefined ? [] : [shownMember(member, about)];
      });
    const [firing, resolved] = [show(notice.firing), show(notice.resolved)];
    const { id: groupId, ruleId } = stored;
    const record = {
      id: newId(at),
      groupId,
      ruleId,
      tick: notice.tick,
      at: notice.at,
      reason: notice.reason,
      firing,
      resolved,
      ...describeNotice(notice.reason, firing, resolved),
    };
    notices.push(record);
    const sent = channelIds.flatMap((channelId): NoticeDelivery[] => {
      const channel = routing.channels.get(channelId);
      const { id: noticeId, eventId, eventType } = record;
      return channel?.active === true ? [{ id: newId(at), noticeId, eventId, eventType, channelId, channelType: channel.type }] : [];
    });
    deliveries.push(...sent);
    drafts.push({
      orgId: organizationId,
      action: 'rule.notify',
      actor: { type: 'system', id: 'system', subsystem: 'notification_group' },
      resource: { type: 'rule', id: ruleId },
      correlation: { eventId: record.eventId },
      details: {
        reason: `group_${notice.reason}`,
        groupId,
        tick: notice.tick,
        firing: firing.length,
        resolved: resolved.length,
        sent: sent.length,
      },
    });
  };

  const run = (group: OpenGroup, now: number, abouts: ReadonlyMap<string, NoticeSubject>): void => {
    const { state, notice } = tick(group.state, now);
    group.state = state;
    if (notice !== null) emit(group, notice, abouts);
  };

  return {
    fire(rule, event, { key, kind, channelIds, at: joinedAt }) {
      const { ruleId, groupKey } = keyOf(rule, event);
      const member = { id: key, kind, severity: event.severity };
      let group = [...open.values()].find(({ stored, state }) => stored.ruleId === ruleId && stored.groupKey === groupKey && !state.closed);
      if (group === undefined) {
        const state = openGroup(rule.aggregate, member, joinedAt);
        const stored = { id: newId(joinedAt), ruleId, groupKey, channelIds, state, version: 0 };
        open.set(stored.id, (group = { stored, isNew: true, state, channelIds }));
      } else {
        group.state = changeGroup(group.state, { kind: 'fired', member }, joinedAt).state;
        if (channelIds.some((id) => !group!.channelIds.includes(id))) group.channelIds = [...new Set([...group.channelIds, ...channelIds])];
      }
      const groupId = group.stored.id;
      members.set(`${groupId} ${key}`, { groupId, key, about: aboutOf(event, joinedAt) });
      return nextTickAt(group.state);
    },
    end(key, how, endedAt) {
      return [...open.values()].flatMap((group): GroupEnding[] => {
        if (!group.state.members.some(({ id, firing }) => id === key && firing)) return [];
        const { state, resolvedBeforeNotice } = changeGroup(group.state, { kind: how, id: key }, endedAt);
        group.state = state;
        return [
          {
            channelIds: group.channelIds,
            beforeNotice: resolvedBeforeNotice,
            until: how === 'resolved' && !resolvedBeforeNotice && state.aggregate.sendResolved ? nextTickAt(state) : null,
          },
        ];
      });
    },
    change(groupId, change, changedAt) {
      const group = groupOf(groupId);
      group.state = changeGroup(group.state, change, changedAt).state;
    },
    stateOf: (groupId) => groupOf(groupId).state,
    tick: (groupId, now, abouts) => run(groupOf(groupId), now, abouts),
    tickAtOnce(now) {
      for (const group of open.values()) {
        if (!group.isNew || group.state.aggregate.waitMs > 0) continue;
        const own = [...members.values()].filter(({ groupId }) => groupId === group.stored.id);
        run(group, now, new Map(own.map(({ key, about }) => [key, about])));
      }
    },
    statements() {
      const changed = planned().filter(({ isChanged }) => isChanged);
      const when = <T>(rows: readonly T[], statement: (rows: readonly T[]) => RawBuilder<unknown>) =>
        rows.length === 0 ? [] : [statement(rows)];
      return [
        ...when(changed, (rows) =>
          saveNoticeGroups(
            organizationId,
            rows.map(({ group, version, dueAt }) => ({
              ...group.stored,
              state: group.state,
              channelIds: group.channelIds,
              version,
              dueAt,
            })),
            at,
          ),
        ),
        ...when([...members.values()], (rows) => saveNoticeMembers(organizationId, rows)),
        ...when(notices, (rows) => insertNotices(organizationId, rows)),
        ...when(deliveries, (rows) => insertNoticeDeliveries(organizationId, rows, at)),
      ];
    },
    audit: () => drafts,
    outcome: () => ({
      deliveries: deliveries.map(({ id, channelId, channelType, eventType }) => ({
        id,
        organizationId,
        destinationKind: 'channel',
        destinationId: channelId,
        channelType,
        eventType,
        runSeq: 0,
        purpose: null,
      })),
      changed: planned().flatMap(({ group, version }) =>
        version === group.stored.version ? [] : [{ organizationId, groupId: group.stored.id, version }],
      ),
    }),
  };

  /** The version is the plan's: what changes nothing of it wakes nobody. */
  function planned() {
    return [...open.values()].map((group) => {
      const { stored, state, isNew } = group;
      const dueAt = nextTickAt(state);
      const isOther = isNew || state.closed !== stored.state.closed || dueAt !== nextTickAt(stored.state);
      const isChanged = isNew || state !== stored.state || group.channelIds !== stored.channelIds;
      return { group, dueAt, version: stored.version + (isOther ? 1 : 0), isChanged };
    });
  }
}

/** The group of the event under a rule that bundles. */
export function keyOf(rule: BundlingRule, event: MatchedEvent): NoticeGroupKey {
  return { ruleId: rule.id, groupKey: deriveGroupKey(rule.id, rule.aggregate.groupBy, event) };
}

function aboutOf(event: AcceptedEvent, joinedAt: number): NoticeSubject {
  const { type, category, severity, projectId, tenantId, environment, source, resource, dedupKey, groupKey, labels, subject } = event;
  const matched = { type, category, severity, projectId, tenantId, environment, source, resource, dedupKey, groupKey, labels };
  return { eventId: event.id, subject, joinedAt, ...matched };
}
