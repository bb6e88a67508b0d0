import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';

/** What the relay looks for, in all organizations; run as `tocsin_relay`. Instants are the database's own clock. */

export interface RelayDelivery {
  id: string;
  organizationId: string;
  destinationKind: 'webhook' | 'channel';
  destinationId: string;
  channelType: string;
  eventType: string;
  runSeq: number;
}

const relayColumns = sql.raw(
  `d.id, d.org_id as "organizationId", d.destination_kind as "destinationKind", d.destination_id as "destinationId",
   d.channel_type as "channelType", d.event_type as "eventType", d.run_seq as "runSeq"`,
);

/** Due deliveries that no run owns, oldest first: a crash or an outage left them unstarted. */
export async function findUnowned(em: EntityManager, { afterMs, limit }: { afterMs: number; limit: number }): Promise<RelayDelivery[]> {
  const { rows } = await sql<RelayDelivery>`
    select ${relayColumns} from delivery d
      where d.finished_at is null and d.run_id is null and d.next_attempt_at < now() - make_interval(secs => ${afterMs / 1_000})
        and d.state in ('pending', 'retrying')
      order by d.next_attempt_at limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

/** Runs with a delivery long past its time: their workflows may never have started, have been terminated, or have missed a wake. */
export async function findOverdueRuns(em: EntityManager, { afterMs, limit }: { afterMs: number; limit: number }): Promise<string[]> {
  const { rows } = await sql<{ run_id: string }>`
    select run_id from delivery
      where finished_at is null and run_id is not null and next_attempt_at < now() - make_interval(secs => ${afterMs / 1_000})
        and state in ('pending', 'retrying')
      group by run_id order by min(next_attempt_at) limit ${limit}
  `.execute(em.getKysely());
  return rows.map(({ run_id }) => run_id);
}

/** Takes a run that no longer exists away from its deliveries. */
export async function disownRun(em: EntityManager, runId: string): Promise<RelayDelivery[]> {
  const { rows } = await sql<RelayDelivery>`
    update delivery d set run_id = null where d.run_id = ${runId} and d.finished_at is null and d.state in ('pending', 'retrying')
      returning ${relayColumns}
  `.execute(em.getKysely());
  return rows;
}

export interface UnfinishedAttempt {
  organizationId: string;
  deliveryId: string;
  number: number;
}

/**
 * Attempts begun by workers that are dead (no lease, or one unrenewed for `leaseMs`) or lost by living ones (`overdueMs` past their
 * deadline): nobody will record their answers.
 */
export async function findAbandonedAttempts(
  em: EntityManager,
  { leaseMs, overdueMs, limit }: { leaseMs: number; overdueMs: number; limit: number },
): Promise<UnfinishedAttempt[]> {
  const { rows } = await sql<UnfinishedAttempt>`
    select a.org_id as "organizationId", a.delivery_id as "deliveryId", a.number from attempt a
      where a.finished_at is null
        and (a.deadline_at < now() - make_interval(secs => ${overdueMs / 1_000})
          or not exists (
            select from worker_lease l where l.worker_id = a.worker_id and l.renewed_at > now() - make_interval(secs => ${leaseMs / 1_000})))
      limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

/** Leases long dead, whose attempts have all been closed. */
export async function deleteDeadLeases(em: EntityManager): Promise<void> {
  await sql`
    delete from worker_lease l where l.renewed_at < now() - interval '1 minute'
      and not exists (select from attempt a where a.worker_id = l.worker_id and a.finished_at is null)
  `.execute(em.getKysely());
}

/** Results of synchronous tests that nobody will ask for any more. */
export async function deleteOldTests(em: EntityManager): Promise<void> {
  await sql`delete from destination_test where created_at < now() - interval '10 minutes'`.execute(em.getKysely());
}

export interface BacklogFigures {
  oldestPendingMs: number | null;
  open: number;
}

/** For health: how long the oldest due delivery has waited, and how many are open (counted to 100,000). */
export async function readBacklog(em: EntityManager): Promise<BacklogFigures> {
  const { rows } = await sql<{ oldestPendingMs: number | null; open: number }>`
    select (select extract(epoch from now() - min(next_attempt_at)) * 1000 from delivery
        where finished_at is null and state = 'pending' and next_attempt_at < now())::float8 as "oldestPendingMs",
      (select count(*) from (select 1 from delivery where finished_at is null limit 100000) as o)::int as open
  `.execute(em.getKysely());
  return rows[0]!;
}

/** Records a round of a loop. */
export async function reportLoop(em: EntityManager, name: string, workerId: string, detail: Record<string, unknown>): Promise<void> {
  await sql`
    insert into loop_status (name, worker_id, last_run_at, detail) values (${name}, ${workerId}, now(), ${JSON.stringify(detail)}::jsonb)
      on conflict (name) do update set worker_id = excluded.worker_id, last_run_at = excluded.last_run_at, detail = excluded.detail
  `.execute(em.getKysely());
}
