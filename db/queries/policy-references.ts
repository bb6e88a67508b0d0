import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import type { Target } from '../../domain/escalation-policy.ts';

export interface NamingPolicy {
  readonly id: string;
  readonly name: string;
}

/** Policies whose tiers or fallback name the target; run in the organization. Versions that only running escalations keep do not count. */
export async function findPoliciesNaming(em: EntityManager, { kind, id }: Target): Promise<readonly NamingPolicy[]> {
  const target = { kind, id };
  return findPoliciesHolding(em, [{ tiers: [{ targets: [target] }] }, { fallback: [target] }]);
}

/** Policies that ask the calendar, themselves or for one of their tiers; run in the organization. */
export async function findPoliciesAsking(em: EntityManager, calendarId: string): Promise<readonly NamingPolicy[]> {
  return findPoliciesHolding(em, [{ calendarId }, { tiers: [{ calendarId }] }]);
}

async function findPoliciesHolding(em: EntityManager, parts: readonly object[]): Promise<readonly NamingPolicy[]> {
  const wanted = parts.map((part) => JSON.stringify(part));
  const { rows } = await sql<NamingPolicy>`
    select id, name from escalation_policy
      where deleted_at is null and definition @> any(${wanted}::text[]::jsonb[])
      order by id
  `.execute(em.getKysely());
  return rows;
}
