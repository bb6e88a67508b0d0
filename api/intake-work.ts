import type { IntakeDelivery, IntakeRecord } from '../db/queries/intake.ts';
import type { OrganizationFacts } from '../db/queries/routing-facts.ts';
import type { UnownedDelivery } from '../db/queries/unowned.ts';
import { renderEventBody } from '../channels/webhook.ts';
import type { AuditDraft } from '../domain/audit/entry.ts';
import { DomainError } from '../domain/errors.ts';
import type { AcceptedEvent } from '../domain/event.ts';
import { newId } from '../domain/id.ts';
import { decide, type Decision } from '../domain/routing.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { Principal } from './authorization.ts';
import type { StoredAnswer } from './idempotency.ts';

/** What one request posts: one event, or a batch whose members stand or fall alone. */
export interface IntakeRequest {
  principal: Principal;
  now: Date;
  trail: AuditTrail;
  /** All but what intake itself decides; made with `draftEvent`. */
  events: readonly DraftEvent[];
  idempotency?: {
    key: string;
    requestHash: Buffer;
    answer: (outcomes: readonly IntakeOutcome[], entryIds: readonly string[]) => StoredAnswer;
  };
}

/** An event before it has been accepted. */
export type DraftEvent = Omit<AcceptedEvent, 'id' | 'organizationId' | 'acceptedAt'>;

export type IntakeOutcome = { event: AcceptedEvent; decisions: Decision[] } | { error: DomainError };

export type IntakeResult = { outcomes: IntakeOutcome[]; entryIds: string[] } | { replay: StoredAnswer };

/** What a transaction is about to write, and what it will answer. */
export interface IntakeWork {
  results: IntakeResult[];
  records: IntakeRecord[];
  drafts: AuditDraft[];
}

/** Decides for every event of these requests; a request whose idempotency key was answered before gets that answer again. */
export function routeAll(
  organizationId: string,
  requests: readonly IntakeRequest[],
  replays: ReadonlyMap<IntakeRequest, StoredAnswer>,
  facts: OrganizationFacts,
): IntakeWork {
  const work: IntakeWork = { results: [], records: [], drafts: [] };
  for (const request of requests) {
    const replay = replays.get(request);
    if (replay !== undefined) {
      work.results.push({ replay });
      continue;
    }
    const outcomes = request.events.map((draft) => route(organizationId, draft, request.now, facts));
    work.results.push({ outcomes, entryIds: [] });
    for (const outcome of outcomes) {
      if ('error' in outcome) continue;
      work.records.push(recordOf(outcome, request.principal));
      work.drafts.push(request.trail.complete(auditPart(outcome), 202));
    }
  }
  return work;
}

/** One entry per accepted event, in the order of the events. */
export function giveEntryIds(results: readonly IntakeResult[], entryIds: readonly string[]): void {
  let taken = 0;
  for (const result of results) {
    if ('replay' in result) continue;
    const own = result.outcomes.filter((outcome) => !('error' in outcome)).length;
    result.entryIds = entryIds.slice(taken, (taken += own));
  }
}

/** The deliveries that need a run. */
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
    }));
}

/** One event through the rules, without any side effect. */
export function route(organizationId: string, draft: DraftEvent, at: Date, facts: OrganizationFacts): IntakeOutcome {
  if (draft.projectId !== null && !facts.projectIds.has(draft.projectId)) {
    return { error: new DomainError('project_not_found', 'The project is not one of this organization.') };
  }
  const acceptedAt = at.getTime();
  const event: AcceptedEvent = { ...draft, id: newId(acceptedAt), organizationId, acceptedAt };
  return { event, decisions: decide(event, facts.routing) };
}

function recordOf({ event, decisions }: { event: AcceptedEvent; decisions: Decision[] }, principal: Principal): IntakeRecord {
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

function auditPart({ event, decisions }: { event: AcceptedEvent; decisions: Decision[] }) {
  const sent = decisions.filter(({ verdict }) => verdict === 'send').length;
  return {
    action: 'event.ingest',
    resource: { type: 'event', id: event.id },
    projectId: event.projectId ?? undefined,
    tenantId: event.tenantId ?? undefined,
    gitCommitSha: event.gitCommitSha ?? undefined,
    correlation: { eventId: event.id },
    details: { eventType: event.type, severity: event.severity, sent, suppressed: decisions.length - sent },
  };
}
