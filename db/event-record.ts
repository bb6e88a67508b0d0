import { renderEventBody } from '../domain/event-body.ts';
import type { AcceptedEvent } from '../domain/event.ts';
import { findEventType } from '../domain/event-type.ts';
import { newId, toWireId } from '../domain/id.ts';
import { decide, type Decision, type RoutingFacts } from '../domain/routing.ts';
import type { OwnEvent } from './escalation-messages.ts';
import type { IntakeDelivery, IntakeRecord } from './queries/intake.ts';
import type { UnownedDelivery } from './queries/unowned.ts';

/** What is written of an event that was decided about. */
export function recordOf(
  { event, decisions }: { event: AcceptedEvent; decisions: readonly Decision[] },
  principal: { type: string; id: string },
): IntakeRecord {
  const deliveries: IntakeDelivery[] = [];
  const notifications: IntakeRecord['notifications'] = [];
  const recorded = decisions.map((decision) => {
    const { target, verdict } = decision;
    let deliveryId: string | null = null;
    if (verdict === 'send' && (target.kind === 'webhook' || target.kind === 'channel')) {
      deliveryId = newId(event.acceptedAt);
      const channelType = target.channelType!;
      deliveries.push({
        id: deliveryId,
        destinationKind: target.kind,
        destinationId: target.id!,
        channelType,
        // An in-app channel's message is the notification written with the event.
        state: channelType === 'in_app' ? 'delivered' : 'pending',
      });
    } else if (verdict === 'send') {
      notifications.push({ id: newId(event.acceptedAt), userId: target.kind === 'user' ? target.id : null });
    }
    return { ...decision, deliveryId };
  });
  return {
    event,
    principal: { type: principal.type, id: principal.id },
    body: deliveries.some(({ destinationKind }) => destinationKind === 'webhook') ? renderEventBody(event) : null,
    decisions: recorded,
    deliveries,
    notifications,
  };
}

/** The deliveries of an event that need a run. */
export function unownedOf(organizationId: string, { event, deliveries }: IntakeRecord): UnownedDelivery[] {
  return deliveries
    .filter(({ state }) => state === 'pending')
    .map(({ id, destinationKind, destinationId, channelType }) => ({
      id,
      organizationId,
      destinationKind,
      destinationId,
      channelType,
      eventType: event.type,
      runSeq: 0,
      purpose: null,
    }));
}

/** Tocsin's own principal. */
export const tocsin = { type: 'system', id: '00000000-0000-0000-0000-000000000000' };

/**
 * Events that escalations make: for webhooks and rules. Nobody gets them in the app by default, for those whom they concern are told there by
 * the escalation itself; and nothing comes of them, so that no escalation feeds on itself.
 */
export function recordOwnEvents(events: readonly OwnEvent[], organizationId: string, at: number, facts: RoutingFacts): IntakeRecord[] {
  return events.map((own) => {
    const event = ownEvent(own, organizationId, at);
    const record = recordOf({ event, decisions: decide(event, facts, { change: 'occurred', muted: null }) }, tocsin);
    // A page to a webhook sends this body, whether or not the webhook is subscribed.
    return { ...record, body: record.body ?? renderEventBody(event) };
  });
}

function ownEvent({ id, type, severity, escalationId, about }: OwnEvent, organizationId: string, at: number): AcceptedEvent {
  const escalation = toWireId('escalation', escalationId);
  return {
    ...eventOfTocsin(type, { id, organizationId, at }),
    severity,
    subject: about.subject,
    projectId: about.projectId,
    tenantId: about.tenantId,
    environment: about.environment,
    resource: { type: 'escalation', id: escalation },
    data: JSON.stringify({ escalation_id: escalation, event_id: toWireId('event', about.eventId) }),
    dedupKey: `auto:${escalation}`,
  };
}

/** An event that Tocsin makes, of a type of the catalogue; to be filled in. Nobody gets it in the app unless `audience` says so. */
export function eventOfTocsin(type: string, { id, organizationId, at }: { id: string; organizationId: string; at: number }): AcceptedEvent {
  const { category, feed, effect, family, defaultSeverity, description } = findEventType(type)!;
  return {
    id,
    organizationId,
    type,
    postedType: type,
    category,
    feed,
    effect,
    family,
    severity: defaultSeverity,
    subject: description,
    message: null,
    source: 'tocsin',
    projectId: null,
    tenantId: null,
    environment: null,
    gitCommitSha: null,
    resource: null,
    actor: null,
    labels: {},
    links: [],
    data: null,
    audience: [],
    dedupKey: `auto:${toWireId('event', id)}`,
    groupKey: null,
    occurredAt: at,
    acceptedAt: at,
  };
}
