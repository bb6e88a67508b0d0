import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';

/**
 * Gives unowned deliveries of one destination to one run. Rows that another transaction holds are left: it is claiming them.
 * @param ids UUIDs, oldest first
 * @returns undefined when none was left to claim
 */
export async function claimRun(
  em: EntityManager,
  organizationId: string,
  ids: readonly string[],
): Promise<{ runId: string; size: number } | undefined> {
  const { rows } = await sql<{ run_id: string }>`
    with claimable as (
      select id, run_seq from delivery
        where org_id = ${organizationId} and id = any(${ids}::uuid[]) and run_id is null and finished_at is null and state in ('pending', 'retrying')
        for update skip locked
    ),
    oldest as (select id::text || '.' || (run_seq + 1) as run_id from claimable order by id limit 1)
    update delivery d set run_id = oldest.run_id, run_seq = d.run_seq + 1
      from oldest where d.org_id = ${organizationId} and d.id in (select id from claimable)
      returning d.run_id
  `.execute(em.getKysely());
  return rows[0] === undefined ? undefined : { runId: rows[0].run_id, size: rows.length };
}

/** Takes deliveries that were never begun from a run that was never started, so that the relay gives them a new one. */
export async function releaseRun(em: EntityManager, runId: string): Promise<void> {
  await sql`update delivery set run_id = null where run_id = ${runId} and finished_at is null and state in ('pending', 'retrying')`.execute(
    em.getKysely(),
  );
}
