import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { LoopStatusEntity } from '../entities/loop-status.ts';

export interface SystemHealthFacts {
  /** Worker processes whose lease was renewed within 5 s. */
  readonly liveWorkers: number;
  /** Of this organization, counted to 100,000. */
  readonly openDeliveries: number;
  /** Of this organization; null when none is due. */
  readonly oldestPendingSeconds: number | null;
  readonly loops: ReadonlyArray<{ readonly name: string; readonly lastRunAt: Date; readonly detail: Record<string, unknown> }>;
}

/** What the rows say about the health of the whole; loops and workers are the installation's, deliveries the organization's. */
export async function readSystemHealth(em: EntityManager, organizationId: string): Promise<SystemHealthFacts> {
  const { rows } = await sql<Omit<SystemHealthFacts, 'loops'>>`
    select (select count(*) from worker_lease where renewed_at > now() - interval '5 seconds')::int as "liveWorkers",
      (select count(*) from (select from delivery where org_id = ${organizationId} and finished_at is null limit 100000) o)::int as "openDeliveries",
      (select extract(epoch from now() - min(next_attempt_at)) from delivery
        where org_id = ${organizationId} and finished_at is null and state = 'pending' and next_attempt_at < now())::float8
        as "oldestPendingSeconds"`.execute(em.getKysely());
  const loops = await em.find(LoopStatusEntity, {}, { orderBy: { name: 'asc' } });
  return { ...rows[0]!, loops: loops.map(({ name, lastRunAt, detail }) => ({ name, lastRunAt, detail })) };
}
