import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** An event type that an organization adds to the catalogue. */
export const CustomEventTypeEntity = defineEntity({
  name: 'CustomEventType',
  tableName: 'custom_event_type',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    /** Never changes; unique among those that are not deleted. */
    type: p.text(),
    category: p.text(),
    feed: p.text(),
    description: p.text(),
    defaultSeverity: p.text(),
    effect: p.text(),
    family: p.text(),
    aliases: p.array().columnType('text[]'),
    version: p.integer(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    deletedAt: p.datetime(3).nullable(),
  },
});
export type CustomEventTypeRow = InferEntity<typeof CustomEventTypeEntity>;
