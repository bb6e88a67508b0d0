import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';

/** An escalation of which a page reaches nobody soon. Ids are UUIDs. */
export interface FailingEscalation {
  organizationId: string;
  escalationId: string;
}

/** Those that have not taken notice of it, in all organizations; run as `tocsin_relay`. */
export async function findFailingEscalations(
  em: EntityManager,
  { afterMs, limit }: { afterMs: number; limit: number },
): Promise<FailingEscalation[]> {
  const { rows } = await sql<FailingEscalation>`
    select distinct org_id as "organizationId", escalation_id as "escalationId" from (
      select org_id, escalation_id from delivery
        where failing_at is not null and not failing_seen and failing_at < clock_timestamp() - make_interval(secs => ${afterMs / 1_000})
        order by failing_at limit ${limit}) as failing
  `.execute(em.getKysely());
  return rows;
}

/**
 * Notes that the escalation has seen its failing pages. The group MUST be locked, and `isFiringFailing` asked afterwards, in the same
 * transaction: what fails in between is considered, and seen once more.
 */
export async function markFailingSeen(em: EntityManager, { organizationId, escalationId }: FailingEscalation): Promise<void> {
  await sql`
    with unseen as materialized (
      select id from delivery
        where org_id = ${organizationId} and escalation_id = ${escalationId} and failing_at is not null and not failing_seen
        order by id for update
    )
    update delivery d set failing_seen = true from unseen where d.org_id = ${organizationId} and d.id = unseen.id
  `.execute(em.getKysely());
}

/** Whether no page of the firing reaches anybody outside the app soon; from the first time on the firing's row tells since when. */
export async function isFiringFailing(
  em: EntityManager,
  { organizationId, escalationId, firing }: FailingEscalation & { firing: number },
  at: number,
): Promise<boolean> {
  const { rows } = await sql<{ failing: boolean | null }>`
    select bool_and(d.state <> 'delivered' and (d.failing_at is not null or d.finished_at is not null)) as failing
      from delivery d
      where d.org_id = ${organizationId} and d.escalation_id = ${escalationId} and d.firing = ${firing} and d.purpose = 'page'
        and d.channel_type <> 'in_app'
  `.execute(em.getKysely());
  const failing = rows[0]?.failing === true;
  if (failing)
    await sql`update escalation_firing set failing_at = coalesce(failing_at, ${new Date(at).toISOString()})
      where org_id = ${organizationId} and escalation_id = ${escalationId} and firing = ${firing}`.execute(em.getKysely());
  return failing;
}
