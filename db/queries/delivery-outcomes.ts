import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';

export interface Outcomes {
  delivered: number;
  failed: number;
  cancelled: number;
}

/**
 * How deliveries ended that a run had open and no longer has. One that another run took over is not counted; one whose row is gone was
 * cancelled and deleted with its destination.
 */
export async function countOutcomes(
  em: EntityManager,
  organizationId: string,
  { runId, ids }: { runId: string; ids: readonly string[] },
): Promise<Outcomes> {
  const { rows } = await sql<Outcomes>`
    select count(*) filter (where d.state = 'delivered')::int as delivered, count(*) filter (where d.state = 'failed')::int as failed,
        count(*) filter (where d.id is null or d.state = 'cancelled')::int as cancelled
      from unnest(${ids}::uuid[]) as known (id) left join delivery d on d.org_id = ${organizationId} and d.id = known.id
      where d.id is null or (d.run_id = ${runId} and d.finished_at is not null)
  `.execute(em.getKysely());
  return rows[0]!;
}
