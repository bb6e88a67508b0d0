import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';

/** What the watchdog looks for. The first functions look at all organizations, as `tocsin_relay`; instants are the database's clock. */

export const lateKinds = ['escalation', 'silence', 'notice', 'delivery'] as const;
export type LateKind = (typeof lateKinds)[number];

export interface Lateness {
  organizationId: string;
  kind: LateKind;
  /** Counted to 10,000. */
  count: number;
  oldestMs: number;
}

/** What should have happened more than `afterMs` ago and did not, by organization and kind. */
export async function findLateness(em: EntityManager, afterMs: number): Promise<Lateness[]> {
  const before = sql`clock_timestamp() - make_interval(secs => ${afterMs / 1_000})`;
  const { rows } = await sql<Lateness>`
    select org_id as "organizationId", kind, count(*)::int as count,
        (extract(epoch from clock_timestamp() - min(due_at)) * 1000)::float8 as "oldestMs"
      from (
        (select org_id, 'escalation' as kind, due_at from escalation where due_at < ${before} order by due_at limit 10000)
        union all
        (select org_id, 'silence', due_at from silence_clock where due_at < ${before} order by due_at limit 10000)
        union all
        (select org_id, 'notice', due_at from notice_group where due_at < ${before} order by due_at limit 10000)
        union all
        (select org_id, 'delivery', next_attempt_at from delivery
          where finished_at is null and state in ('pending', 'retrying') and next_attempt_at < ${before} order by next_attempt_at limit 10000)
      ) as late
      group by org_id, kind
  `.execute(em.getKysely());
  return rows;
}

export interface LateEscalation {
  organizationId: string;
  escalationId: string;
  policyId: string;
  version: number;
  /** RFC 3339. */
  dueAt: string;
}

/** Escalations that are late, the oldest first, and those of them about which nobody was told, or not everybody yet. */
export async function findLateEscalations(
  em: EntityManager,
  { afterMs, limit, untold }: { afterMs: number; limit: number; untold: boolean },
): Promise<LateEscalation[]> {
  const { rows } = await sql<LateEscalation>`
    select e.org_id as "organizationId", e.id as "escalationId", e.policy_id as "policyId", e.version, e.due_at as "dueAt" from escalation e
      where e.due_at < clock_timestamp() - make_interval(secs => ${afterMs / 1_000})
        and (not ${untold}::boolean
          or not exists (select from watchdog_alarm a where a.org_id = e.org_id and a.escalation_id = e.id and a.due_at = e.due_at)
          or exists (select from watchdog_alarm a where a.org_id = e.org_id and a.escalation_id = e.id and a.due_at = e.due_at
              and a.next_at < clock_timestamp()))
      order by e.due_at limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

/** Organizations for which an alarm is on. */
export async function findEpisodes(em: EntityManager): Promise<string[]> {
  const { rows } = await sql<{ org_id: string }>`select org_id from watchdog_episode where ended_at is null`.execute(em.getKysely());
  return rows.map(({ org_id }) => org_id);
}

/** @returns the event of an episode that is open, if one is. Run in the organization, as the functions below. */
export async function findEpisode(em: EntityManager, organizationId: string): Promise<string | undefined> {
  const { rows } = await sql<{ eventId: string }>`
    select event_id as "eventId" from watchdog_episode where org_id = ${organizationId} and ended_at is null`.execute(em.getKysely());
  return rows[0]?.eventId;
}

export async function beginEpisode(em: EntityManager, organizationId: string, eventId: string, at: number): Promise<void> {
  await sql`insert into watchdog_episode (org_id, event_id, began_at) values (${organizationId}, ${eventId}, ${iso(at)})`.execute(
    em.getKysely(),
  );
}

export async function endEpisode(em: EntityManager, organizationId: string, at: number): Promise<void> {
  await sql`update watchdog_episode set ended_at = ${iso(at)} where org_id = ${organizationId} and ended_at is null`.execute(
    em.getKysely(),
  );
}

/** Locks the escalation while it is still late for this instant; whoever steps it waits. */
export async function lockLate(em: EntityManager, organizationId: string, { escalationId, dueAt }: LateEscalation): Promise<boolean> {
  const { rows } = await sql`select 1 from escalation
    where org_id = ${organizationId} and id = ${escalationId} and due_at = ${dueAt}::timestamptz for update`.execute(em.getKysely());
  return rows.length > 0;
}

export interface Alarm {
  id: string;
  recipientKind: 'contact' | 'channel' | 'webhook' | 'fallback_email' | 'nobody';
  /** Of a fallback address and of nobody: zeros. */
  recipientId: string;
  /** What a webhook gets; null: no recipient is one. */
  eventId: string | null;
  attempts: number;
}

/** @returns how many of them are new: each recipient has one about one instant */
export async function insertAlarms(
  em: EntityManager,
  organizationId: string,
  {
    late: { escalationId, dueAt },
    alarms,
    eventId,
    at,
  }: { late: LateEscalation; alarms: ReadonlyArray<Omit<Alarm, 'attempts' | 'eventId'>>; eventId: string | null; at: number },
): Promise<number> {
  const { rows } = await sql`
    insert into watchdog_alarm (org_id, escalation_id, due_at, event_id, next_at, id, recipient_kind, recipient_id)
      select ${organizationId}, ${escalationId}, ${dueAt}::timestamptz, ${eventId}::uuid, case when kind <> 'nobody' then ${iso(at)}::timestamptz end, id, kind, recipient
        from unnest(${alarms.map(({ id }) => id)}::uuid[], ${alarms.map(({ recipientKind }) => recipientKind)}::text[],
          ${alarms.map(({ recipientId }) => recipientId)}::uuid[]) as a (id, kind, recipient)
      on conflict do nothing returning 1
  `.execute(em.getKysely());
  return rows.length;
}

/** Takes the messages that are to be sent now: until `nextAt` nobody else does. */
export async function takeAlarms(
  em: EntityManager,
  organizationId: string,
  { escalationId, dueAt }: LateEscalation,
  { at, nextAt }: { at: number; nextAt: number },
): Promise<Alarm[]> {
  const { rows } = await sql<Alarm>`
    update watchdog_alarm set attempts = attempts + 1, next_at = ${iso(nextAt)}
      where org_id = ${organizationId} and escalation_id = ${escalationId} and due_at = ${dueAt}::timestamptz and next_at <= ${iso(at)}
      returning id, recipient_kind as "recipientKind", recipient_id as "recipientId", event_id as "eventId", attempts
  `.execute(em.getKysely());
  return rows;
}

/** @param sentAt null: given up */
export async function closeAlarm(em: EntityManager, organizationId: string, id: string, sentAt: number | null): Promise<void> {
  await sql`update watchdog_alarm set next_at = null, sent_at = ${sentAt === null ? null : iso(sentAt)}
    where org_id = ${organizationId} and id = ${id}`.execute(em.getKysely());
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
