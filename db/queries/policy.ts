import type { EntityManager } from '@mikro-orm/postgresql';
import type { Calendar } from '../../domain/calendar.ts';
import type { EscalationPolicy } from '../../domain/escalation-policy.ts';
import { type CalendarColumns, CalendarEntity, CalendarVersionEntity } from '../entities/calendar.ts';
import { type EscalationPolicyColumns, EscalationPolicyEntity, EscalationPolicyVersionEntity } from '../entities/escalation-policy.ts';

/** A configuration row at one of its versions. */
export interface VersionedId {
  readonly id: string;
  readonly version: number;
}

/** Policies that are not deleted, disabled ones too, in the order of their ids; run in the organization. */
export async function readPolicies(em: EntityManager): Promise<EscalationPolicy[]> {
  const rows = await em.find(EscalationPolicyEntity, { deletedAt: null }, { orderBy: { id: 'asc' } });
  return rows.map(policyOf);
}

/** A policy as it was at a version, also when it is deleted now; run in the organization. @throws when it never had this version */
export async function readPolicyVersion(em: EntityManager, { id, version }: VersionedId): Promise<EscalationPolicy> {
  return policyOf(await em.findOneOrFail(EscalationPolicyVersionEntity, { id, version }));
}

/** A calendar as it was at a version, also when it is deleted now; run in the organization. @throws when it never had this version */
export async function readCalendarVersion(em: EntityManager, { id, version }: VersionedId): Promise<Calendar> {
  return calendarOf(await em.findOneOrFail(CalendarVersionEntity, { id, version }));
}

/** Current calendars by id; what is deleted or unknown is missing. Run in the organization. */
export async function readCalendars(em: EntityManager, ids: readonly string[]): Promise<ReadonlyMap<string, Calendar>> {
  if (ids.length === 0) return new Map();
  const rows = await em.find(CalendarEntity, { id: { $in: [...ids] }, deletedAt: null });
  return new Map(rows.map((row) => [row.id, calendarOf(row)]));
}

/** The policy as the domain has it. */
export function policyOf({ id, version, name, enabled, ownerUserId, definition }: EscalationPolicyColumns): EscalationPolicy {
  return { id, version, name, enabled, ownerUserId: ownerUserId ?? null, ...definition };
}

function calendarOf({ id, version, name, timeZone, intervals, holidays }: CalendarColumns): Calendar {
  return { id, version, name, timeZone, intervals, holidays };
}

/** The calendars that a policy asks. */
export function calendarIdsOf({ calendarId, tiers }: Pick<EscalationPolicy, 'calendarId' | 'tiers'>): string[] {
  return [...new Set([calendarId, ...tiers.map((tier) => tier.calendarId)])].filter((id) => id !== null);
}
