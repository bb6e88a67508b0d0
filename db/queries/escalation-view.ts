import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';

/** What an operator reads in the Temporal Web UI about an escalation. Ids are UUIDs, times RFC 3339. */
export interface EscalationRow {
  id: string;
  status: string;
  version: number;
  severity: string;
  subject: string;
  policyName: string;
  round: number;
  tier: number;
  dueAt: string | null;
  why: string | null;
  resolveReason: string | null;
  acknowledgedBy: { type: string; id: string } | null;
  recent: Array<{ at: string; kind: string; tier: number; round: number; reason: string | null }>;
  /** Of the latest firings, the newest first. */
  pages: PagedRow[];
}

/** One page: whom, when in the climb, why, and what became of it so far. */
export interface PagedRow {
  round: number;
  tier: number;
  /** Of the firing. */
  reason: string;
  channelType: string;
  /** Null: the destination itself was paged. */
  userId: string | null;
  destinationKind: 'webhook' | 'channel';
  destinationId: string;
  state: string;
  errorCode: string | null;
}

/** Reads the row and marks it seen: nobody has to be told of this version any more. Run in the organization. */
export async function viewEscalation(em: EntityManager, organizationId: string, escalationId: string): Promise<EscalationRow | undefined> {
  await sql`update escalation set seen_version = version
    where org_id = ${organizationId} and id = ${escalationId} and seen_version < version`.execute(em.getKysely());
  const { rows } = await sql<EscalationRow>`
    select e.id, e.status, e.version, e.severity, e.subject, p.name as "policyName", e.round, e.tier, e.due_at as "dueAt", e.why,
        e.resolve_reason as "resolveReason", e.acknowledged_by as "acknowledgedBy",
        coalesce((select json_agg(t order by t.seq desc) from (
          select seq, at, kind, tier, round, reason from escalation_timeline t
            where t.org_id = e.org_id and t.escalation_id = e.id order by seq desc limit 12) t), '[]') as recent,
        coalesce((select json_agg(g order by g.firing desc, g.id) from (
          select d.id, d.firing, f.round, f.tier, f.reason, d.channel_type as "channelType", c.user_id as "userId", d.state,
              d.error_code as "errorCode", d.destination_kind as "destinationKind", d.destination_id as "destinationId"
            from delivery d
              join escalation_firing f on f.org_id = d.org_id and f.escalation_id = d.escalation_id and f.firing = d.firing
              left join contact_method c on c.org_id = d.org_id and c.id = d.contact_method_id
            where d.org_id = e.org_id and d.escalation_id = e.id order by d.firing desc, d.id limit 10) g), '[]') as pages
      from escalation e left join escalation_policy_version p on p.id = e.policy_id and p.version = e.policy_version
      where e.org_id = ${organizationId} and e.id = ${escalationId}
  `.execute(em.getKysely());
  return rows[0];
}

/** What is due by `at`, if anything is. Run in the organization. */
export async function findDue(
  em: EntityManager,
  organizationId: string,
  escalationId: string,
  at: number,
): Promise<{ why: string; version: number } | undefined> {
  const { rows } = await sql<{ why: string; version: number }>`select why, version from escalation
    where org_id = ${organizationId} and id = ${escalationId} and due_at <= ${new Date(at).toISOString()}`.execute(em.getKysely());
  return rows[0];
}

/** What a command with this request id was answered; undefined: it is new. Run in the organization. */
export async function findCommandAnswer<T>(
  em: EntityManager,
  organizationId: string,
  escalationId: string,
  requestId: string,
): Promise<T | undefined> {
  const { rows } = await sql<{ answer: T }>`select answer from escalation_command
    where org_id = ${organizationId} and escalation_id = ${escalationId} and request_id = ${requestId}`.execute(em.getKysely());
  return rows[0]?.answer;
}

export async function keepCommandAnswer(
  em: EntityManager,
  {
    organizationId,
    escalationId,
    requestId,
    answer,
    at,
  }: { organizationId: string; escalationId: string; requestId: string; answer: unknown; at: number },
): Promise<void> {
  await sql`insert into escalation_command (org_id, escalation_id, request_id, answer, created_at)
    values (${organizationId}, ${escalationId}, ${requestId}, ${JSON.stringify(answer)}::jsonb, ${new Date(at).toISOString()})`.execute(
    em.getKysely(),
  );
}
