import type { FinishedAttempt, PageMark } from '../db/queries/run.ts';
import type { AuditDraft } from '../domain/audit/entry.ts';
import { workflowIds, type DeliverInput } from '../workflows/messages.ts';
import type { Destination } from './destination.ts';

const actor: AuditDraft['actor'] = { type: 'system', id: 'system', subsystem: 'delivery' };

/** The entry of one attempt; it commits with the attempt's row. */
export function auditAttempt(
  input: DeliverInput,
  destination: Pick<Destination, 'kind' | 'id' | 'name'>,
  { deliveryId, eventId, eventType, page }: { deliveryId: string; eventId: string; eventType: string; page?: PageMark | null },
  finished: Pick<FinishedAttempt, 'attempt' | 'outcome' | 'errorCode' | 'statusCode' | 'durationMs' | 'possibleDuplicate' | 'next'>,
): AuditDraft {
  const { attempt, outcome, errorCode, statusCode, durationMs, possibleDuplicate, next } = finished;
  return {
    orgId: input.organizationId,
    action: 'delivery.attempt',
    actor,
    status: outcome === 'delivered' ? 'success' : 'failure',
    reason: errorCode ?? undefined,
    resource: { type: 'delivery', id: deliveryId },
    targets: [{ type: destination.kind, id: destination.id, name: destination.name }],
    correlation: { eventId, deliveryId, escalationId: page?.escalationId, workflowId: workflowIds.deliver(input.runId) },
    details: {
      attempt,
      outcome,
      eventType,
      state: next.state,
      durationMs,
      ...(statusCode === null ? {} : { statusCode }),
      ...(possibleDuplicate ? { possibleDuplicate } : {}),
    },
  };
}

export function auditCancel(input: DeliverInput, delivery: { id: string; eventId: string }, reason: string): AuditDraft {
  return {
    orgId: input.organizationId,
    action: 'delivery.cancel',
    actor,
    reason,
    resource: { type: 'delivery', id: delivery.id },
    targets: [{ type: input.channelType === 'webhook' ? 'webhook' : 'channel', id: input.destinationId }],
    correlation: { eventId: delivery.eventId, deliveryId: delivery.id, workflowId: workflowIds.deliver(input.runId) },
  };
}
