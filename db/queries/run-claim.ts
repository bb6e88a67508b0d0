import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';

/**
 * Gives unowned deliveries of one destination to one run. Rows that another transaction holds are left: it is claiming them.
 * @param ids UUIDs, oldest first
 * Its rows, one per claimed delivery, name the run; there are none when nothing was left to claim.
 */
export function claimRun(organizationId: string, ids: readonly string[]): RawBuilder<{ run_id: string }> {
  return sql<{ run_id: string }>`
    with claimable as (
      select id, run_seq from delivery
        where org_id = ${organizationId} and id = any(${ids}::uuid[]) and run_id is null and finished_at is null and state in ('pending', 'retrying')
        for update skip locked
    ),
    oldest as (select id::text || '.' || (run_seq + 1) as run_id from claimable order by id limit 1)
    update delivery d set run_id = oldest.run_id, run_seq = d.run_seq + 1
      from oldest where d.org_id = ${organizationId} and d.id in (select id from claimable)
      returning d.run_id
  `;
}

/** Takes deliveries that were never begun from a run that was never started, so that the relay gives them a new one. */
export async function releaseRun(em: EntityManager, organizationId: string, runId: string): Promise<void> {
  await sql`update delivery set run_id = null where org_id = ${organizationId} and run_id = ${runId} and finished_at is null and state in ('pending', 'retrying')`.execute(
    em.getKysely(),
  );
}

/** Has an unowned delivery pass over the id of its next run, whose workflow has ended without it. */
export async function skipRunId(
  em: EntityManager,
  { organizationId, id, runSeq }: { organizationId: string; id: string; runSeq: number },
): Promise<void> {
  await sql`
    update delivery set run_seq = run_seq + 1
      where org_id = ${organizationId} and id = ${id} and run_id is null and run_seq = ${runSeq} and finished_at is null and state in ('pending', 'retrying')
  `.execute(em.getKysely());
}
