import { type RawBuilder, sql } from 'kysely';
import type { Target } from '../../domain/escalation-policy.ts';
import type { EscalationStatus, GroupState, Member } from '../../domain/escalation-state.ts';
import type { CancelReason, TimelineEntry } from '../../domain/escalation-effect.ts';
import type { EscalationNews } from '../../domain/escalation-news.ts';
import type { Severity } from '../../domain/severity.ts';

/** Ids are UUIDs, times Unix milliseconds. */
export interface EscalationRecord {
  id: string;
  groupId: string;
  policyId: string;
  policyVersion: number;
  projectId: string | null;
  eventId: string;
  subject: string;
  previousId: string | null;
  status: EscalationStatus;
  severity: Severity;
  version: number;
  round: number;
  tier: number;
  firing: number;
  dueAt: number | null;
  why: string | null;
  openedAt: number;
  acknowledgedAt: number | null;
  /** Null: by nobody, or by whom the row says already. */
  acknowledgedBy: { type: string; id: string } | null;
  resolvedAt: number | null;
  resolveReason: string | null;
}

export interface MemberRecord extends Member {
  escalationId: string;
  eventId: string;
}

/** What a silence keeps from a group, or no longer does. */
export interface HeldRecord {
  groupId: string;
  problemId: string;
  isHeld: boolean;
}

export interface FiringRecord {
  escalationId: string;
  firing: number;
  kind: 'tier' | 'fallback';
  round: number;
  tier: number;
  reason: string;
  targets: readonly Target[];
  scheduledAt: number;
}

/** A message of an escalation to one recipient. */
export interface PageRecord {
  id: string;
  /** Null: of none, but to a person all the same. */
  escalationId: string | null;
  /** Null: not of a firing. */
  firing: number | null;
  purpose: 'page' | 'fallback' | 'reminder' | 'mandatory';
  /** What it says besides; of reminders. */
  news: EscalationNews | null;
  /** Why it must not be sent any more: the transaction that made it took it back. */
  cancelledBy: CancelReason | null;
  eventId: string;
  eventType: string;
  contactMethodId: string | null;
  destinationKind: 'webhook' | 'channel';
  destinationId: string;
  channelType: string;
}

export interface NoticeRecord {
  id: string;
  escalationId: string;
  /** Null: everybody's. */
  userId: string | null;
  eventId: string;
  type: string;
  severity: Severity;
  projectId: string | null;
  subject: string;
  message: string | null;
}

export interface TimelineRecord extends TimelineEntry {
  escalationId: string;
  actor: { type: string; id: string } | null;
  proof: string | null;
  /** UUID of the audit entry that tells the same; null: there is none, or it is not written yet. */
  auditEntryId: string | null;
}

export function saveGroups(
  organizationId: string,
  groups: ReadonlyArray<{ id: string; state: GroupState }>,
  at: number,
): RawBuilder<unknown> {
  return sql`
    update escalation_group g set state = s.state, stepped_at = greatest(g.stepped_at, ${time(at)}::timestamptz)
      from unnest(${groups.map(({ id }) => id)}::uuid[], ${groups.map(({ state }) => JSON.stringify(state))}::jsonb[]) as s (id, state)
      where g.org_id = ${organizationId} and g.id = s.id
  `;
}

/** Those that ended come first: a group has one that has not. */
export function saveEscalations(organizationId: string, escalations: readonly EscalationRecord[], at: number): RawBuilder<unknown> {
  const rows = escalations.toSorted((a, b) => Number(b.status === 'resolved') - Number(a.status === 'resolved'));
  const column = <T>(value: (one: EscalationRecord) => T): T[] => rows.map(value);
  return sql`
    insert into escalation (org_id, id, group_id, policy_id, policy_version, project_id, event_id, subject, previous_id, status, severity,
        version, round, tier, firing, due_at, why, opened_at, acknowledged_at, acknowledged_by, resolved_at, resolve_reason, changed_at)
      select ${organizationId}, *, ${time(at)}::timestamptz from unnest(
        ${column(({ id }) => id)}::uuid[], ${column(({ groupId }) => groupId)}::uuid[], ${column(({ policyId }) => policyId)}::uuid[],
        ${column(({ policyVersion }) => policyVersion)}::int[], ${column(({ projectId }) => projectId)}::uuid[],
        ${column(({ eventId }) => eventId)}::uuid[], ${column(({ subject }) => subject)}::text[],
        ${column(({ previousId }) => previousId)}::uuid[], ${column(({ status }) => status)}::text[],
        ${column(({ severity }) => severity)}::text[], ${column(({ version }) => version)}::int[], ${column(({ round }) => round)}::int[],
        ${column(({ tier }) => tier)}::int[], ${column(({ firing }) => firing)}::int[], ${column(({ dueAt }) => time(dueAt))}::timestamptz[],
        ${column(({ why }) => why)}::text[], ${column(({ openedAt }) => time(openedAt))}::timestamptz[],
        ${column(({ acknowledgedAt }) => time(acknowledgedAt))}::timestamptz[],
        ${column(({ acknowledgedBy }) => (acknowledgedBy === null ? null : JSON.stringify(acknowledgedBy)))}::jsonb[],
        ${column(({ resolvedAt }) => time(resolvedAt))}::timestamptz[], ${column(({ resolveReason }) => resolveReason)}::text[])
      on conflict (org_id, id) do update set policy_id = excluded.policy_id, policy_version = excluded.policy_version,
        status = excluded.status, severity = excluded.severity, version = excluded.version, round = excluded.round, tier = excluded.tier,
        firing = excluded.firing, due_at = excluded.due_at, why = excluded.why, acknowledged_at = excluded.acknowledged_at,
        acknowledged_by = case when excluded.acknowledged_at is not null then coalesce(excluded.acknowledged_by, escalation.acknowledged_by) end,
        resolved_at = excluded.resolved_at, resolve_reason = excluded.resolve_reason, changed_at = excluded.changed_at
  `;
}

/** Nothing is due for these any more: their group is at a newer one. */
export function retireEscalations(organizationId: string, ids: readonly string[]): RawBuilder<unknown> {
  return sql`update escalation set due_at = null, why = null, version = version + 1
    where org_id = ${organizationId} and id = any(${ids}::uuid[]) and due_at is not null`;
}

/** What these held is their group's newer escalation's, or nobody's: to be executed after `saveMembers`. */
export function releaseMembers(organizationId: string, escalationIds: readonly string[]): RawBuilder<unknown> {
  return sql`update escalation_member set firing = false
    where org_id = ${organizationId} and escalation_id = any(${escalationIds}::uuid[]) and firing`;
}

export function saveMembers(organizationId: string, members: readonly MemberRecord[], at: number): RawBuilder<unknown> {
  const column = <T>(value: (one: MemberRecord) => T): T[] => members.map(value);
  return sql`
    insert into escalation_member (org_id, escalation_id, key, kind, event_id, severity, attached, firing, attached_at)
      select ${organizationId}, *, ${time(at)}::timestamptz from unnest(
        ${column(({ escalationId }) => escalationId)}::uuid[], ${column(({ key }) => key)}::uuid[], ${column(({ kind }) => kind)}::text[],
        ${column(({ eventId }) => eventId)}::uuid[], ${column(({ severity }) => severity)}::text[],
        ${column(({ attached }) => attached)}::text[], ${column(({ firing }) => firing)}::boolean[])
      on conflict (org_id, escalation_id, key) do update
        set severity = excluded.severity, attached = excluded.attached, firing = excluded.firing
  `;
}

export function saveHeld(organizationId: string, records: readonly HeldRecord[]): Array<RawBuilder<unknown>> {
  const [held, freed] = [records.filter(({ isHeld }) => isHeld), records.filter(({ isHeld }) => !isHeld)];
  const keys = (rows: readonly HeldRecord[]) =>
    sql`unnest(${rows.map(({ groupId }) => groupId)}::uuid[], ${rows.map(({ problemId }) => problemId)}::uuid[])`;
  return [
    ...(held.length === 0
      ? []
      : [
          sql`insert into escalation_held (org_id, group_id, problem_id) select ${organizationId}, * from ${keys(held)} on conflict do nothing`,
        ]),
    ...(freed.length === 0
      ? []
      : [
          sql`delete from escalation_held h using ${keys(freed)} as f (group_id, problem_id)
            where h.org_id = ${organizationId} and h.group_id = f.group_id and h.problem_id = f.problem_id`,
        ]),
  ];
}

export function insertFirings(organizationId: string, firings: readonly FiringRecord[], at: number): RawBuilder<unknown> {
  const column = <T>(value: (one: FiringRecord) => T): T[] => firings.map(value);
  return sql`
    insert into escalation_firing (org_id, escalation_id, firing, kind, round, tier, reason, targets, scheduled_at, fired_at)
      select ${organizationId}, *, ${time(at)}::timestamptz from unnest(
        ${column(({ escalationId }) => escalationId)}::uuid[], ${column(({ firing }) => firing)}::int[], ${column(({ kind }) => kind)}::text[],
        ${column(({ round }) => round)}::int[], ${column(({ tier }) => tier)}::int[], ${column(({ reason }) => reason)}::text[],
        ${column(({ targets }) => JSON.stringify(targets))}::jsonb[], ${column(({ scheduledAt }) => time(scheduledAt))}::timestamptz[])
  `;
}

/** A page that is there already stays as it is: a firing reaches each recipient once. */
export function insertPages(organizationId: string, pages: readonly PageRecord[], at: number): RawBuilder<unknown> {
  const column = <T>(value: (one: PageRecord) => T): T[] => pages.map(value);
  return sql`
    insert into delivery (org_id, id, escalation_id, firing, purpose, event_id, event_type, contact_method_id, destination_kind, destination_id,
        channel_type, news, error_code, state, created_at, next_attempt_at, finished_at, undelivered_at)
      select ${organizationId}, p.*, case when p.cancelled is null then 'pending' else 'cancelled' end, ${time(at)}::timestamptz,
          case when p.cancelled is null then ${time(at)}::timestamptz end, case when p.cancelled is not null then ${time(at)}::timestamptz end,
          case when p.cancelled is not null then ${time(at)}::timestamptz end from unnest(
        ${column(({ id }) => id)}::uuid[], ${column(({ escalationId }) => escalationId)}::uuid[], ${column(({ firing }) => firing)}::int[],
        ${column(({ purpose }) => purpose)}::text[], ${column(({ eventId }) => eventId)}::uuid[], ${column(({ eventType }) => eventType)}::text[],
        ${column(({ contactMethodId }) => contactMethodId)}::uuid[], ${column(({ destinationKind }) => destinationKind)}::text[],
        ${column(({ destinationId }) => destinationId)}::uuid[], ${column(({ channelType }) => channelType)}::text[],
        ${column(({ news }) => (news === null ? null : JSON.stringify(news)))}::jsonb[], ${column(({ cancelledBy }) => cancelledBy)}::text[])
        as p (id, escalation_id, firing, purpose, event_id, event_type, contact_method_id, destination_kind, destination_id, channel_type, news, cancelled)
      on conflict do nothing
  `;
}

/** No page of these escalations that has not begun begins any more; one that is under way ends as cancelled unless it arrives. */
export function cancelPages(
  organizationId: string,
  cancelled: ReadonlyArray<{ escalationId: string; reason: string }>,
  at: number,
): RawBuilder<unknown> {
  return sql`
    with open as materialized (
      select d.id, c.reason
        from unnest(${cancelled.map(({ escalationId }) => escalationId)}::uuid[], ${cancelled.map(({ reason }) => reason)}::text[])
            as c (escalation_id, reason)
          join delivery d on d.org_id = ${organizationId} and d.escalation_id = c.escalation_id
        where d.finished_at is null and d.purpose not in ('escalation_update', 'mandatory')
        order by d.id for update of d
    )
    update delivery d set state = case when d.state = 'in_flight' then d.state else 'cancelled' end,
        cancel_requested = true, error_code = case when d.state = 'in_flight' then d.error_code else c.reason end, hold_reason = null,
        next_attempt_at = case when d.state = 'in_flight' then d.next_attempt_at end,
        finished_at = case when d.state <> 'in_flight' then ${time(at)}::timestamptz end,
        undelivered_at = case when d.state <> 'in_flight' then ${time(at)}::timestamptz end
      from open c where d.org_id = ${organizationId} and d.id = c.id
  `;
}

export function insertNotices(organizationId: string, notices: readonly NoticeRecord[], at: number): RawBuilder<unknown> {
  const column = <T>(value: (one: NoticeRecord) => T): T[] => notices.map(value);
  return sql`
    insert into notification (org_id, id, user_id, event_id, escalation_id, type, severity, project_id, subject, message, feed, created_at)
      select ${organizationId}, *, 'alert', ${time(at)}::timestamptz from unnest(
        ${column(({ id }) => id)}::uuid[], ${column(({ userId }) => userId)}::uuid[], ${column(({ eventId }) => eventId)}::uuid[],
        ${column(({ escalationId }) => escalationId)}::uuid[], ${column(({ type }) => type)}::text[],
        ${column(({ severity }) => severity)}::text[], ${column(({ projectId }) => projectId)}::uuid[],
        ${column(({ subject }) => subject)}::text[], ${column(({ message }) => message)}::text[])
  `;
}

export function insertTimeline(organizationId: string, entries: readonly TimelineRecord[]): RawBuilder<unknown> {
  const column = <T>(value: (one: TimelineRecord) => T): T[] => entries.map(value);
  return sql`
    insert into escalation_timeline (org_id, escalation_id, at, kind, status, round, tier, firing, reason, member_key, actor, proof, audit_entry_id)
      select ${organizationId}, * from unnest(
        ${column(({ escalationId }) => escalationId)}::uuid[], ${column(({ at }) => time(at))}::timestamptz[],
        ${column(({ what }) => what)}::text[], ${column(({ status }) => status)}::text[], ${column(({ round }) => round)}::int[],
        ${column(({ tier }) => tier)}::int[], ${column(({ firing }) => firing)}::int[], ${column(({ reason }) => reason)}::text[],
        ${column(({ key }) => key)}::uuid[], ${column(({ actor }) => (actor === null ? null : JSON.stringify(actor)))}::jsonb[],
        ${column(({ proof }) => proof)}::text[], ${column(({ auditEntryId }) => auditEntryId)}::uuid[])
  `;
}

/**
 * Has the lines of a command, whose step was made at `at`, name its audit entry, when that is written after them.
 * @param entryId UUID
 */
export function nameAuditEntry(
  organizationId: string,
  { escalationId, at, entryId }: { escalationId: string; at: number; entryId: string },
): RawBuilder<unknown> {
  return sql`update escalation_timeline set audit_entry_id = ${entryId}
    where org_id = ${organizationId} and escalation_id = ${escalationId} and at = ${time(at)}::timestamptz and actor is not null and audit_entry_id is null`;
}

/** Ends the problems that no escalation holds any more, and has the groups of notices that tell of them look. Their locks MUST be held. */
export function closeProblems(organizationId: string, ids: readonly string[], at: number): RawBuilder<unknown> {
  return sql`
    with ended as (
      update problem p set ended_at = ${time(at)}, ended_by = 'command'
        where p.org_id = ${organizationId} and p.id = any(${ids}::uuid[]) and p.ended_at is null
          and not exists (select from escalation_member m where m.org_id = p.org_id and m.key = p.id and m.firing)
        returning p.id
    )
    update notice_group g set version = g.version + 1, changed_at = ${time(at)}
      where g.org_id = ${organizationId} and g.id in (
        select n.id from notice_group n where n.org_id = ${organizationId} and n.closed_at is null and n.id in (
            select m.group_id from notice_group_member m join ended on m.key = ended.id where m.org_id = ${organizationId})
          order by n.id for update)
  `;
}

function time(ms: number): string;
function time(ms: number | null): string | null;
function time(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
