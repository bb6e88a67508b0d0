import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import type { AuditDraft } from '../../domain/audit/entry.ts';

export interface DisabledDestination {
  organizationId: string;
  kind: 'webhook' | 'channel';
  id: string;
  name: string;
  /** `gone`: it answered 410; `receiver_request`: it asked for nothing more. */
  reason: 'gone' | 'receiver_request';
}

/**
 * Switches a destination off because its receiver said so, and cancels what is still open for it.
 * @returns the audit entries to append in the same transaction; none when it was off already.
 */
export async function disableDestination(em: EntityManager, destination: DisabledDestination): Promise<AuditDraft[]> {
  const { organizationId, kind, id, name, reason } = destination;
  const db = em.getKysely();
  const table = sql.table(kind);
  const disabled = await sql`
    update ${table} set active = false, disabled_reason = ${reason}, disabled_at = now(), updated_at = now(), version = version + 1
      where id = ${id} and active and deleted_at is null returning id
  `.execute(db);
  const cancelled = await cancelOpenDeliveries(em, { organizationId, destinationId: id, reason: 'destination_disabled' });
  if (disabled.rows.length === 0) return [];
  return [
    {
      orgId: organizationId,
      action: `${kind}.auto_disable`,
      actor: { type: 'system', id: 'system', subsystem: 'delivery' },
      resource: { type: kind, id, name },
      reason,
      changed: ['active', 'disabledReason'],
      details: { cancelledDeliveries: cancelled },
    },
  ];
}

/**
 * Cancels every open delivery of a destination. One in flight is marked and ends cancelled with its attempt, unless that delivers it.
 * @returns how many were cancelled or marked.
 */
export async function cancelOpenDeliveries(
  em: EntityManager,
  { organizationId, destinationId, reason }: { organizationId: string; destinationId: string; reason: string },
): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    with cancelled as (
      update delivery set
          cancel_requested = true,
          error_code = case when state = 'in_flight' then error_code else ${reason} end,
          finished_at = case when state = 'in_flight' then null else now() end,
          undelivered_at = case when state = 'in_flight' then null else now() end,
          failing_at = case when state <> 'in_flight' and purpose = 'page' then coalesce(failing_at, now()) else failing_at end,
          next_attempt_at = case when state = 'in_flight' then next_attempt_at end,
          state = case when state = 'in_flight' then state else 'cancelled' end
        where org_id = ${organizationId} and destination_id = ${destinationId} and finished_at is null
        returning 1
    )
    select count(*)::int as count from cancelled
  `.execute(em.getKysely());
  return rows[0]!.count;
}

/**
 * Cancels single open deliveries. One in flight is marked and ends cancelled with its attempt, unless that delivers it.
 * @returns those that it cancelled.
 */
export async function cancelDeliveries(
  em: EntityManager,
  { organizationId, ids, reason }: { organizationId: string; ids: readonly string[]; reason: string },
): Promise<Array<{ id: string; eventId: string }>> {
  const { rows } = await sql<{ id: string; eventId: string }>`
    with marked as (
      update delivery set cancel_requested = true where org_id = ${organizationId} and id = any(${ids}::uuid[]) and state = 'in_flight'
    )
    update delivery set state = 'cancelled', finished_at = now(), undelivered_at = now(), next_attempt_at = null, error_code = ${reason},
        failing_at = case when purpose = 'page' then coalesce(failing_at, now()) else failing_at end
      where org_id = ${organizationId} and id = any(${ids}::uuid[]) and state in ('pending', 'retrying', 'held')
      returning id, event_id as "eventId"
  `.execute(em.getKysely());
  return rows;
}
