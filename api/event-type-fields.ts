import { z } from 'zod';
import type { CustomEventTypeRow } from '../db/entities/custom-event-type.ts';
import { customTypeRules } from '../domain/custom-event-type.ts';
import { categories, effects, type EventType, feeds } from '../domain/event-type.ts';
import { toWireId } from '../domain/id.ts';
import { severities } from '../domain/severity.ts';
import { distinct, presentedId, presentedTime, text } from './schema.ts';

/** Events of these Tocsin posts itself. */
const ownCategories = ['escalation', 'operations'] as const;

const name = z.string().max(customTypeRules.typeLength);

/** What can be written. How names must look is asked by `typeNameFaults`. */
export const eventTypeFields = {
  type: name.meta({ example: 'payment.charge_failed', description: 'Two to four lower-case words separated by dots.' }),
  anyCategory: z.enum(categories),
  category: z.enum(categories).exclude(ownCategories),
  feed: z.enum(feeds).meta({ description: 'The tab of the in-app feed.' }),
  description: text(1, customTypeRules.descriptionLength).meta({ description: 'The subject of events without one.' }),
  defaultSeverity: z.enum(severities),
  effect: z.enum(effects).meta({ description: 'On the problem of its family with the same dedup key.' }),
  family: name.meta({ example: 'payment' }),
  aliases: distinct(name, { max: customTypeRules.aliases }).meta({ description: 'Spellings that are taken too.' }),
};

export const shownType = z
  .strictObject({
    id: presentedId('event_type').nullable().meta({ description: 'Null: built in.' }),
    type: z.string(),
    category: z.enum(categories),
    feed: z.string(),
    description: z.string(),
    audience: z.array(z.string()),
    defaultSeverity: z.enum(severities),
    effect: z.string(),
    family: z.string(),
    aliases: z.array(z.string()),
    builtIn: z.boolean(),
    postedByTocsin: z.boolean(),
    deprecated: z.boolean(),
    sample: z.unknown(),
    version: z.int().nullable(),
    createdAt: presentedTime.nullable(),
    updatedAt: presentedTime.nullable(),
  })
  .meta({ id: 'EventType' });

/** @param row of a type that the organization has added */
export function presentType({ own, ...type }: EventType, row: CustomEventTypeRow | null) {
  return {
    id: row === null ? null : toWireId('event_type', row.id),
    ...type,
    audience: [...type.audience],
    aliases: [...type.aliases],
    builtIn: row === null,
    postedByTocsin: own,
    deprecated: false,
    sample: {
      type: type.type,
      severity: type.defaultSeverity,
      subject: type.description,
      source: 'example',
      resource: { type: type.family.split('.')[0]!, id: 'api-platform' },
    },
    version: row?.version ?? null,
    createdAt: row?.createdAt.toISOString() ?? null,
    updatedAt: row?.updatedAt.toISOString() ?? null,
  };
}
