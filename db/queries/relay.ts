import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import type { ChangedNoticeGroup } from './notice-group.ts';
import { unownedColumns, type UnownedDelivery } from './unowned.ts';

/** What the relay looks for, in all organizations; run as `tocsin_relay`. Instants are the database's own clock. */

/** Due deliveries that no run owns, oldest first: a crash or an outage left them unstarted. `calls`: only what calls somebody, which goes before. */
export async function findUnowned(
  em: EntityManager,
  { afterMs, limit, calls }: { afterMs: number; limit: number; calls: boolean },
): Promise<UnownedDelivery[]> {
  const { rows } = await sql<UnownedDelivery>`
    select ${unownedColumns} from delivery d
      where d.finished_at is null and d.run_id is null and d.next_attempt_at < now() - make_interval(secs => ${afterMs / 1_000})
        and d.state in ('pending', 'retrying') ${calls ? sql`and d.purpose not in ('escalation_update', 'mandatory')` : sql``}
      order by d.next_attempt_at limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

/** Runs with a delivery long past its time: their workflows may never have started, have been terminated, or have missed a wake. */
export async function findOverdueRuns(em: EntityManager, { afterMs, limit }: { afterMs: number; limit: number }): Promise<RunName[]> {
  const { rows } = await sql<RunName>`
    select org_id as "organizationId", run_id as "runId" from delivery
      where finished_at is null and run_id is not null and next_attempt_at < now() - make_interval(secs => ${afterMs / 1_000})
        and state in ('pending', 'retrying')
      group by org_id, run_id order by min(next_attempt_at) limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

export interface RunName {
  organizationId: string;
  runId: string;
}

/** Takes a run that no longer exists away from its deliveries. */
export async function disownRun(em: EntityManager, { organizationId, runId }: RunName): Promise<UnownedDelivery[]> {
  const { rows } = await sql<UnownedDelivery>`
    update delivery d set run_id = null where d.org_id = ${organizationId} and d.run_id = ${runId} and d.finished_at is null and d.state in ('pending', 'retrying')
      returning ${unownedColumns}
  `.execute(em.getKysely());
  return rows;
}

export interface UnfinishedAttempt {
  organizationId: string;
  deliveryId: string;
  number: number;
}

/**
 * Workers whose lease has run out; also those who ended it themselves. What they had begun, nobody will finish. While the database was away
 * nobody could renew, so after its start everybody has the time of a lease to do so.
 */
export async function findDeadWorkers(em: EntityManager, { leaseMs, except }: { leaseMs: number; except: string }): Promise<string[]> {
  const { rows } = await sql<{ worker_id: string }>`
    select worker_id from worker_lease
      where worker_id <> ${except}
        and (renewed_at = '-infinity' or greatest(renewed_at, pg_postmaster_start_time()) < now() - make_interval(secs => ${leaseMs / 1_000}))
  `.execute(em.getKysely());
  return rows.map(({ worker_id }) => worker_id);
}

/** Attempts begun by these workers and not finished; looks through the deliveries that are open. */
export async function findAttemptsOf(em: EntityManager, workerIds: readonly string[], limit: number): Promise<UnfinishedAttempt[]> {
  const { rows } = await sql<UnfinishedAttempt>`
    select a.org_id as "organizationId", a.delivery_id as "deliveryId", a.number
      from delivery d join attempt a on a.org_id = d.org_id and a.delivery_id = d.id and a.number = d.total_attempts
      where d.finished_at is null and d.state = 'in_flight' and a.finished_at is null and a.worker_id = any(${workerIds}::uuid[])
      limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

/**
 * Attempts that a living worker should long have finished, and those of workers that are forgotten already: a statement that a worker sent
 * as it died may be carried out after its lease was.
 */
export async function findLostAttempts(
  em: EntityManager,
  { overdueMs, limit }: { overdueMs: number; limit: number },
): Promise<UnfinishedAttempt[]> {
  const { rows } = await sql<UnfinishedAttempt>`
    select a.org_id as "organizationId", a.delivery_id as "deliveryId", a.number
      from delivery d join attempt a on a.org_id = d.org_id and a.delivery_id = d.id and a.number = d.total_attempts
      where d.finished_at is null and d.state = 'in_flight' and a.finished_at is null
        and (a.deadline_at < now() - make_interval(secs => ${overdueMs / 1_000})
          or not exists (select from worker_lease l where l.worker_id = a.worker_id))
      limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

/** Forgets workers of which nothing is left to close. */
export async function deleteLeases(em: EntityManager, workerIds: readonly string[]): Promise<void> {
  await sql`delete from worker_lease where worker_id = any(${workerIds}::uuid[])`.execute(em.getKysely());
}

/** Results of synchronous tests that nobody will ask for any more. */
export async function deleteOldTests(em: EntityManager): Promise<void> {
  await sql`delete from destination_test where created_at < now() - interval '10 minutes'`.execute(em.getKysely());
}

/** Idempotency keys past their 24 hours. */
export async function deleteExpiredKeys(em: EntityManager): Promise<void> {
  await sql`select delete_expired_idempotency(now() - interval '24 hours', 5000)`.execute(em.getKysely());
}

/** Has the planner learn the size of tables that have grown many times over since it last looked. */
export async function analyzeGrownTables(em: EntityManager): Promise<void> {
  await sql`select analyze_grown_tables()`.execute(em.getKysely());
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

export interface UnseenEscalation {
  organizationId: string;
  escalationId: string;
  policyId: string;
  version: number;
}

/** Escalations that wait for a workflow: their row is newer than any has seen, or what is due has not been done. */
export async function findUnseenEscalations(
  em: EntityManager,
  { afterMs, limit }: { afterMs: number; limit: number },
): Promise<UnseenEscalation[]> {
  const { rows } = await sql<UnseenEscalation>`
    (select org_id as "organizationId", id as "escalationId", policy_id as "policyId", version from escalation
      where seen_version < version and changed_at < clock_timestamp() - make_interval(secs => ${afterMs / 1_000}) order by changed_at limit ${limit})
    union
    (select org_id, id, policy_id, version from escalation
      where due_at < clock_timestamp() - make_interval(secs => ${afterMs / 1_000}) order by due_at limit ${limit})
  `.execute(em.getKysely());
  return rows;
}

/** Silences that have not done what was due: their workflows may never have started, or be gone. */
export async function findOverdueSilences(
  em: EntityManager,
  { afterMs, limit }: { afterMs: number; limit: number },
): Promise<Array<{ organizationId: string; silenceId: string }>> {
  const { rows } = await sql<{ organizationId: string; silenceId: string }>`
    select org_id as "organizationId", silence_id as "silenceId" from silence_clock
      where due_at < clock_timestamp() - make_interval(secs => ${afterMs / 1_000}) order by due_at limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

/** Groups of notices that wait for a workflow: their plan is newer than any has seen, or the tick that is due has not been run. */
export async function findUnseenGroups(
  em: EntityManager,
  { afterMs, limit }: { afterMs: number; limit: number },
): Promise<ChangedNoticeGroup[]> {
  const { rows } = await sql<ChangedNoticeGroup>`
    (select org_id as "organizationId", id as "groupId", version from notice_group
      where seen_version < version and changed_at < clock_timestamp() - make_interval(secs => ${afterMs / 1_000}) order by changed_at limit ${limit})
    union
    (select org_id, id, version from notice_group
      where due_at < clock_timestamp() - make_interval(secs => ${afterMs / 1_000}) order by due_at limit ${limit})
  `.execute(em.getKysely());
  return rows;
}
