import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { CustomEventTypeEntity } from '../db/entities/custom-event-type.ts';
import type { EventTypes } from '../domain/custom-event-type.ts';
import type { Fault } from '../domain/errors.ts';
import { eventTypes, findEventType } from '../domain/event-type.ts';
import { isEventTypePattern, isPatternSyntax } from '../domain/webhook.ts';
import type { Principal } from './authorization.ts';
import type { Dependencies } from './dependencies.ts';
import { valuesAt } from './validation.ts';

/** What is wrong with a name that no type has. */
export const unknownType = { code: 'unknown_event_type', detail: 'is neither a known event type nor a pattern that matches one' } as const;

/**
 * An exact event type (built-in aliases become the canonical name), `alert.*` or `*`. Whether there is such a type is asked by
 * `inspectPatterns`, for an organization may have its own.
 */
export const eventPattern = z
  .string()
  .max(100)
  .transform((text, context) => {
    if (isPatternSyntax(text)) return findEventType(text)?.type ?? text;
    context.addIssue({ code: 'custom', message: unknownType.detail, params: { code: unknownType.code } });
    return z.NEVER;
  })
  .meta({ example: 'deployment.failed' });

const builtInNames = eventTypes.map(({ type }) => type);

/** An `inspect` for the patterns at `place` of a body: names of members separated by slashes, with `*` for every element. */
export function inspectPatterns(place: string) {
  return async (body: unknown, { intake }: Pick<Dependencies, 'intake'>, { organizationId }: Principal): Promise<Fault[]> => {
    const asked = [...valuesAt(body, place.split('/'), '')].flatMap(({ pointer, value }) =>
      typeof value === 'string' && isPatternSyntax(value) && !isBuiltIn(value) ? [{ pointer, pattern: value }] : [],
    );
    if (asked.length === 0) return [];
    const unknownIn = (types: EventTypes) => asked.filter(({ pattern }) => !canMatch(pattern, types));
    if (unknownIn(await intake.types(organizationId)).length === 0) return [];
    return unknownIn(await intake.currentTypes(organizationId)).map(({ pointer }) => ({ pointer, ...unknownType }));
  };
}

function isBuiltIn(pattern: string): boolean {
  return findEventType(pattern) !== undefined || isEventTypePattern(pattern, builtInNames);
}

/** Unknown types, where they are taken, may be named by anything that is written like a pattern. */
function canMatch(pattern: string, { known, custom, acceptsUnknown }: EventTypes): boolean {
  if (acceptsUnknown || known(pattern) !== undefined) return true;
  return isEventTypePattern(
    pattern,
    custom.map(({ type }) => type),
  );
}

/**
 * The patterns with the canonical names of the organization's own types, each of which is held against deletion until the transaction ends:
 * whoever deletes one looks for what names it, and must find us.
 */
export async function holdTypes(em: EntityManager, organizationId: string, patterns: readonly string[]): Promise<string[]> {
  const names = patterns.filter((pattern) => !isBuiltIn(pattern) && !pattern.endsWith('.*'));
  if (names.length === 0) return [...patterns];
  const rows = await em.find(
    CustomEventTypeEntity,
    { orgId: organizationId, deletedAt: null, $or: [{ type: { $in: names } }, { aliases: { $overlap: names } }] },
    { orderBy: { id: 'asc' }, lockMode: LockMode.PESSIMISTIC_READ },
  );
  const canonical = new Map(rows.flatMap(({ type, aliases }) => [type, ...aliases].map((spelling) => [spelling, type] as const)));
  return [...new Set(patterns.map((pattern) => canonical.get(pattern) ?? pattern))];
}

/** The same for the types of a trigger. */
export async function holdTriggerTypes<T extends { types: readonly string[] }>(
  em: EntityManager,
  organizationId: string,
  trigger: T,
): Promise<T> {
  return { ...trigger, types: await holdTypes(em, organizationId, trigger.types) };
}
