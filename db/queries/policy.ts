import type { EntityManager } from '@mikro-orm/postgresql';
import type { Calendar } from '../../domain/calendar.ts';
import type { EscalationPolicy } from '../../domain/escalation-policy.ts';
import { type CalendarColumns, CalendarEntity } from '../entities/calendar.ts';
import type { EscalationPolicyColumns } from '../entities/escalation-policy.ts';

/** The policy as the domain has it, of its row or of the row of one of its versions. */
export function policyOf(
  row: Pick<EscalationPolicyColumns, 'id' | 'version' | 'name' | 'enabled' | 'ownerUserId' | 'definition'>,
): EscalationPolicy {
  const { id, version, name, enabled, ownerUserId, definition } = row;
  return { ...definition, id, version, name, enabled, ownerUserId: ownerUserId ?? null };
}

/** The calendar as the domain has it, of its row or of the row of one of its versions. */
export function calendarOf(row: Pick<CalendarColumns, 'id' | 'version' | 'name' | 'timeZone' | 'intervals' | 'holidays'>): Calendar {
  const { id, version, name, timeZone, intervals, holidays } = row;
  return { id, version, name, timeZone, intervals, holidays };
}

/** Current calendars by id; what is deleted or unknown is missing. Run in the organization. */
export async function readCalendars(em: EntityManager, ids: readonly string[]): Promise<ReadonlyMap<string, Calendar>> {
  if (ids.length === 0) return new Map();
  const rows = await em.find(CalendarEntity, { id: { $in: [...ids] }, deletedAt: null });
  return new Map(rows.map((row) => [row.id, calendarOf(row)]));
}

/** The calendars that a policy asks. */
export function calendarIdsOf({ calendarId, tiers }: Pick<EscalationPolicy, 'calendarId' | 'tiers'>): string[] {
  return [...new Set([calendarId, ...tiers.map((tier) => tier.calendarId)])].filter((id) => id !== null);
}
