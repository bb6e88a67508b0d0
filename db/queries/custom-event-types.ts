import type { EntityManager } from '@mikro-orm/postgresql';
import type { CustomEventType } from '../../domain/custom-event-type.ts';
import type { Category, Effect, Feed } from '../../domain/event-type.ts';
import type { Severity } from '../../domain/severity.ts';
import { CustomEventTypeEntity, type CustomEventTypeRow } from '../entities/custom-event-type.ts';

/** The row as the domain has it. */
export function customEventTypeOf(row: CustomEventTypeRow): CustomEventType {
  return {
    type: row.type,
    category: row.category as Category,
    feed: row.feed as Feed,
    description: row.description,
    defaultSeverity: row.defaultSeverity as Severity,
    effect: row.effect as Effect,
    family: row.family,
    aliases: row.aliases,
  };
}

/** Every type that the organization has added. */
export async function findCustomEventTypes(em: EntityManager, organizationId: string): Promise<CustomEventTypeRow[]> {
  return em.find(CustomEventTypeEntity, { orgId: organizationId, deletedAt: null }, { orderBy: { type: 'asc' } });
}
