import type { FinishedAttempt, RunPage } from '../db/queries/run.ts';
import type { AuditDraft } from '../domain/audit/entry.ts';
import { workflowIds, type DeliverInput } from '../workflows/messages.ts';
import type { Destination } from './destination.ts';

const actor: AuditDraft['actor'] = { type: 'system', id: 'system', subsystem: 'delivery' };

type AuditedAttempt = Pick<
  FinishedAttempt,
  'attempt' | 'outcome' | 'errorCode' | 'statusCode' | 'durationMs' | 'possibleDuplicate' | 'requestSha256' | 'next'
> & { readonly message?: SentMessage | undefined };

/** What identifies a message at its provider. */
export interface SentMessage {
  /** A mail's Message-ID. */
  readonly id: string | null;
  /** The provider's words, one line. */
  readonly reply: string | null;
}
const noMessage: SentMessage = { id: null, reply: null };

/** The person behind a page. */
function paged(page: RunPage | null): NonNullable<AuditDraft['targets']> {
  if (page === null || page.contactMethodId === null || page.userId === null) return [];
  return [
    { type: 'contact_method', id: page.contactMethodId },
    { type: 'user', id: page.userId },
  ];
}

function correlationOf(page: RunPage | null): AuditDraft['correlation'] {
  if (page === null || page.escalationId === null) return {};
  return { root: page.openingEventId ?? undefined, escalationId: page.escalationId };
}

/** The entry of one attempt; it commits with the attempt's row. */
export function auditAttempt(
  input: DeliverInput,
  destination: Pick<Destination, 'kind' | 'id' | 'name'>,
  { deliveryId, eventId, eventType, page = null }: { deliveryId: string; eventId: string; eventType: string; page?: RunPage | null },
  finished: AuditedAttempt,
): AuditDraft {
  const { attempt, outcome, errorCode, statusCode, durationMs, possibleDuplicate, requestSha256, message = noMessage, next } = finished;
  return {
    orgId: input.organizationId,
    action: 'delivery.attempt',
    actor,
    status: outcome === 'delivered' ? 'success' : 'failure',
    reason: errorCode ?? undefined,
    resource: { type: 'delivery', id: deliveryId },
    targets: [{ type: destination.kind, id: destination.id, name: destination.name }, ...paged(page)],
    correlation: { ...correlationOf(page), eventId, deliveryId, workflowId: workflowIds.deliver(input.runId) },
    details: {
      attempt,
      outcome,
      eventType,
      state: next.state,
      durationMs,
      ...(statusCode === null ? {} : { statusCode }),
      ...(possibleDuplicate ? { possibleDuplicate } : {}),
      ...(requestSha256 === null ? {} : { bodySha256: requestSha256.toString('hex') }),
      ...(message.id === null ? {} : { messageId: message.id }),
      ...(message.reply === null ? {} : { reply: message.reply }),
      ...(page === null ? {} : { purpose: page.purpose, ...(page.firing === null ? {} : { firing: page.firing }) }),
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
