import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import type { Target } from '../../domain/escalation-policy.ts';
import type { Attachment, EscalationStatus, MemberKind, ResolveReason } from '../../domain/escalation-state.ts';
import type { DeliveryState } from '../../domain/delivery.ts';
import { firstIdAt } from '../../domain/id.ts';
import type { Severity } from '../../domain/severity.ts';

/** Escalations as they are read. All of these run in the organization; ids are UUIDs, times as PostgreSQL writes them. */

export interface EscalationRow {
  id: string;
  policyId: string;
  policyVersion: number;
  policyName: string | null;
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
  dueAt: string | null;
  why: string | null;
  openedAt: string;
  acknowledgedAt: string | null;
  acknowledgedBy: ActorColumn | null;
  resolvedAt: string | null;
  resolveReason: ResolveReason | null;
}

/** The id is a UUID where the type is one of ours; a Temporal signal's is what its sender claimed. */
export interface ActorColumn {
  type: string;
  id: string;
}

export interface EscalationFilter {
  statuses?: readonly EscalationStatus[] | undefined;
  severities?: readonly Severity[] | undefined;
  policyId?: string | undefined;
  projectId?: string | undefined;
  /** Opened in [from, to). */
  from?: Date | undefined;
  to?: Date | undefined;
}

interface PageKeys<K> {
  /** The last key of the page before. */
  after: K | undefined;
  limit: number;
}

const columns = sql`e.id, e.policy_id as "policyId", e.policy_version as "policyVersion", v.name as "policyName", e.project_id as "projectId",
  e.event_id as "eventId", e.subject, e.previous_id as "previousId", e.status, e.severity, e.version, e.round, e.tier, e.firing, e.due_at as "dueAt",
  e.why, e.opened_at as "openedAt", e.acknowledged_at as "acknowledgedAt", e.acknowledged_by as "acknowledgedBy",
  e.resolved_at as "resolvedAt", e.resolve_reason as "resolveReason"`;
const policyVersion = sql`left join escalation_policy_version v on v.id = e.policy_id and v.version = e.policy_version`;

/** Newest first. */
export async function listEscalations(
  em: EntityManager,
  organizationId: string,
  { statuses, severities, policyId, projectId, from, to }: EscalationFilter,
  { after, limit }: PageKeys<string>,
): Promise<EscalationRow[]> {
  const conditions = [
    sql`e.org_id = ${organizationId}`,
    ...(after === undefined ? [] : [sql`e.id < ${after}::uuid`]),
    // An escalation's id begins with the instant of its opening, and every index ends with the id.
    ...(from === undefined ? [] : [sql`e.id >= ${firstIdAt(from.getTime())}::uuid`]),
    ...(to === undefined ? [] : [sql`e.id < ${firstIdAt(to.getTime())}::uuid`]),
    ...(severities === undefined ? [] : [sql`e.severity = any(${[...severities]}::text[])`]),
    ...(policyId === undefined ? [] : [sql`e.policy_id = ${policyId}::uuid`]),
    ...(projectId === undefined ? [] : [sql`e.project_id = ${projectId}::uuid`]),
  ];
  const newest = (also: readonly RawBuilder<unknown>[] = []) =>
    sql`select * from escalation e where ${sql.join([...conditions, ...also], sql` and `)} order by e.id desc limit ${limit}`;
  // Few are open among many: each state's newest come from the index, instead of all states being read until enough fit.
  const found =
    statuses === undefined
      ? newest()
      : sql`select found.* from unnest(${[...new Set(statuses)]}::text[]) as s (status), lateral (${newest([sql`e.status = s.status`])}) as found`;
  const { rows } = await sql<EscalationRow>`
    select ${columns} from (${found}) as e ${policyVersion} order by e.id desc limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

/** Undefined: the organization has no such escalation. */
export async function findEscalation(em: EntityManager, organizationId: string, id: string): Promise<EscalationRow | undefined> {
  const { rows } = await sql<EscalationRow>`
    select ${columns} from escalation e ${policyVersion} where e.org_id = ${organizationId} and e.id = ${id}
  `.execute(em.getKysely());
  return rows[0];
}

/** Those that the event is a member of, newest first: a few at most, one for each policy and its successors. */
export async function listEscalationsOfEvent(
  em: EntityManager,
  organizationId: string,
  { eventId, limit }: { eventId: string; limit: number },
): Promise<EscalationRow[]> {
  const { rows } = await sql<EscalationRow>`
    select ${columns} from (
        select distinct escalation_id from escalation_member where org_id = ${organizationId} and event_id = ${eventId}
      ) m join escalation e on e.org_id = ${organizationId} and e.id = m.escalation_id ${policyVersion}
      order by e.id desc limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

/** Whether one of its pages or notices went to the user. */
export async function wasPaged(
  em: EntityManager,
  organizationId: string,
  { escalationId, openedAt, userId }: { escalationId: string; openedAt: string; userId: string },
): Promise<boolean> {
  const { rows } = await sql<{ paged: boolean }>`
    select exists (
        select from delivery d join contact_method c on c.org_id = d.org_id and c.id = d.contact_method_id
          where d.org_id = ${organizationId} and d.escalation_id = ${escalationId} and c.user_id = ${userId})
      or exists (
        select from notification n
          where n.org_id = ${organizationId} and n.user_id = ${userId} and n.escalation_id = ${escalationId}
            and n.id >= ${firstIdAt(Date.parse(openedAt))}::uuid) as paged
  `.execute(em.getKysely());
  return rows[0]!.paged;
}

export interface EscalationMemberRow {
  key: string;
  kind: MemberKind;
  eventId: string;
  type: string | null;
  subject: string | null;
  severity: Severity;
  attached: Attachment;
  attachedAt: string;
  firing: boolean;
  /** How often the problem was reported. */
  count: number;
}

/** Members in the order in which their problems began, those hidden from people only when `hidden`. */
export async function listMembers(
  em: EntityManager,
  { organizationId, escalationId, hidden }: { organizationId: string; escalationId: string; hidden: boolean },
  { after, limit }: PageKeys<string>,
): Promise<EscalationMemberRow[]> {
  const { rows } = await sql<EscalationMemberRow>`
    select m.key, m.kind, m.event_id as "eventId", ev.type, ev.subject, m.severity, m.attached, m.attached_at as "attachedAt", m.firing,
        coalesce(p.count, 1)::float8 as count
      from escalation_member m
        left join problem p on p.org_id = m.org_id and p.id = m.key
        left join event ev on ev.org_id = m.org_id and ev.id = m.event_id
      where m.org_id = ${organizationId} and m.escalation_id = ${escalationId}
        ${after === undefined ? sql`` : sql`and m.key > ${after}::uuid`} ${hidden ? sql`and m.attached <> 'opened'` : sql``}
      order by m.key limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

export async function countMembers(em: EntityManager, organizationId: string, escalationId: string): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::float8 as count from escalation_member where org_id = ${organizationId} and escalation_id = ${escalationId}
  `.execute(em.getKysely());
  return rows[0]!.count;
}

export interface FiringRow {
  firing: number;
  kind: 'tier' | 'fallback';
  round: number;
  tier: number;
  reason: string;
  targets: Target[];
  scheduledAt: string;
  firedAt: string;
  failingAt: string | null;
  pages: PageRow[];
}

export interface PageRow {
  deliveryId: string;
  recipientKind: 'contact' | 'channel' | 'webhook';
  recipientId: string;
  userId: string | null;
  channelType: string;
  state: DeliveryState;
  errorCode: string | null;
  finishedAt: string | null;
}

/** The latest firings, oldest of them first. */
export async function listFirings(em: EntityManager, organizationId: string, escalationId: string, limit: number): Promise<FiringRow[]> {
  const { rows } = await sql<FiringRow>`
    select f.firing, f.kind, f.round, f.tier, f.reason, f.targets, f.scheduled_at as "scheduledAt", f.fired_at as "firedAt",
        f.failing_at as "failingAt",
        coalesce((
          select json_agg(json_build_object('deliveryId', d.id, 'channelType', d.channel_type, 'state', d.state, 'errorCode', d.error_code,
              'finishedAt', d.finished_at, 'userId', c.user_id, 'recipientId', coalesce(d.contact_method_id, d.destination_id),
              'recipientKind', case when d.contact_method_id is null then d.destination_kind else 'contact' end) order by d.id)
            from delivery d left join contact_method c on c.org_id = d.org_id and c.id = d.contact_method_id
            where d.org_id = f.org_id and d.escalation_id = f.escalation_id and d.firing = f.firing), '[]') as pages
      from escalation_firing f
      where f.org_id = ${organizationId} and f.escalation_id = ${escalationId}
      order by f.firing desc limit ${limit}
  `.execute(em.getKysely());
  return rows.toReversed();
}

export interface TimelineRow {
  /** Digits. */
  seq: string;
  at: string;
  kind: string;
  status: EscalationStatus | null;
  round: number;
  tier: number;
  firing: number;
  reason: string | null;
  /** The event that brought the member that the entry is about. */
  eventId: string | null;
  actor: ActorColumn | null;
  proof: string | null;
  /** Of the message that it is about. */
  deliveryId: string | null;
  /** Digits: the place in the audit log of the entry that tells the same; null: there is none, or it has no place yet. */
  auditIndex: string | null;
}

/** In the order in which it happened. */
export async function listTimeline(
  em: EntityManager,
  organizationId: string,
  escalationId: string,
  { after, limit }: PageKeys<string>,
): Promise<TimelineRow[]> {
  const { rows } = await sql<TimelineRow>`
    select t.seq::text as seq, t.at, t.kind, t.status, t.round, t.tier, t.firing, t.reason, m.event_id as "eventId", t.actor, t.proof,
        t.delivery_id as "deliveryId",
        (select l.idx::text from audit.tree r join audit.leaf l on l.tree_id = r.tree_id
          where r.org_id = t.org_id and l.entry_id = t.audit_entry_id order by r.epoch limit 1) as "auditIndex"
      from escalation_timeline t
        left join escalation_member m on m.org_id = t.org_id and m.escalation_id = t.escalation_id and m.key = t.member_key
      where t.org_id = ${organizationId} and t.escalation_id = ${escalationId} ${after === undefined ? sql`` : sql`and t.seq > ${after}::bigint`}
      order by t.seq limit ${limit}
  `.execute(em.getKysely());
  return rows;
}
