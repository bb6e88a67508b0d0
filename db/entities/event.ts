import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { EventActor, EventLink, EventResource } from '../../domain/event.ts';

export const EventEntity = defineEntity({
  name: 'Event',
  tableName: 'event',
  properties: {
    orgId: p.uuid().primary(),
    id: p.uuid().primary(),
    projectId: p.uuid().nullable(),
    tenantId: p.text().nullable(),
    type: p.text(),
    postedType: p.text(),
    category: p.text(),
    severity: p.text(),
    subject: p.text(),
    message: p.text().nullable(),
    source: p.text(),
    environment: p.text().nullable(),
    gitCommitSha: p.text().nullable(),
    resource: p.json<EventResource>().columnType('jsonb').nullable(),
    actor: p.json<EventActor>().columnType('jsonb').nullable(),
    labels: p.json<Record<string, string>>().columnType('jsonb'),
    links: p.json<EventLink[]>().columnType('jsonb'),
    /** The producer's JSON text: key order and number text as sent. */
    data: p.text().nullable(),
    audience: p.array().columnType('uuid[]').nullable(),
    dedupKey: p.text(),
    groupKey: p.text().nullable(),
    occurredAt: p.datetime(3),
    acceptedAt: p.datetime(3),
    principalType: p.text(),
    principalId: p.uuid(),
    body: p.blob().nullable().lazy(),
  },
});
export type EventRow = InferEntity<typeof EventEntity>;
