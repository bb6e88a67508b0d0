import type { EntityManager } from '@mikro-orm/postgresql';
import type { AcceptedEvent } from '../../domain/event.ts';
import { findEventType, type Category } from '../../domain/event-type.ts';
import { problemKey } from '../../domain/hash.ts';
import { type MessageView, viewEvent } from '../../domain/message.ts';
import type { Severity } from '../../domain/severity.ts';
import { EventEntity, type EventRow } from '../entities/event.ts';
import { OrganizationEntity } from '../entities/organization.ts';
import { ProjectEntity } from '../entities/project.ts';

/** What channels say of an event. The event's row never changes, so every attempt says the same. */
export async function readMessage(em: EntityManager, organizationId: string, eventId: string): Promise<MessageView> {
  const event = await em.findOneOrFail(EventEntity, { orgId: organizationId, id: eventId });
  const organization = await em.findOneOrFail(OrganizationEntity, { id: organizationId });
  const project = event.projectId ? await em.findOne(ProjectEntity, { id: event.projectId }) : null;
  return viewEvent(acceptedEventOf(event), {
    organizationName: organization.name,
    projectName: project?.name ?? null,
    url: null,
    threadKey: problemKey(organizationId, event.dedupKey),
  });
}

/** What webhooks get of an event. @throws Error when it was accepted without one, or is gone */
export async function eventBodyOf(em: EntityManager, organizationId: string, eventId: string): Promise<Buffer> {
  const { body } = await em.findOneOrFail(EventEntity, { orgId: organizationId, id: eventId }, { populate: ['body'] });
  if (!body) throw new Error(`Event ${eventId} has no body.`);
  return Buffer.from(body);
}

/** The event as routing and rendering see it. */
export function acceptedEventOf(row: EventRow): AcceptedEvent {
  const type = findEventType(row.type);
  return {
    id: row.id,
    organizationId: row.orgId,
    type: row.type,
    postedType: row.postedType,
    category: row.category as Category,
    feed: type?.feed ?? 'system',
    effect: type?.effect ?? 'occur',
    family: type?.family ?? row.type,
    severity: row.severity as Severity,
    subject: row.subject,
    message: row.message ?? null,
    source: row.source,
    projectId: row.projectId ?? null,
    tenantId: row.tenantId ?? null,
    environment: row.environment ?? null,
    gitCommitSha: row.gitCommitSha ?? null,
    resource: row.resource ?? null,
    actor: row.actor ?? null,
    labels: row.labels,
    links: row.links,
    data: row.data ?? null,
    audience: row.audience ?? null,
    dedupKey: row.dedupKey,
    groupKey: row.groupKey ?? null,
    occurredAt: row.occurredAt.getTime(),
    acceptedAt: row.acceptedAt.getTime(),
  };
}
