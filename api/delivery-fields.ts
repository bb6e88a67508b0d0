import { z } from 'zod';
import type { AttemptRow } from '../db/entities/attempt.ts';
import type { DeliveryRow } from '../db/entities/delivery.ts';
import { deliveryStates } from '../domain/delivery.ts';
import { toWireId } from '../domain/id.ts';
import { messagePurposes } from '../domain/message.ts';
import { workflowIds } from '../workflows/messages.ts';
import { presentedId, presentedTime } from './schema.ts';

const deliveryFields = {
  id: presentedId('delivery'),
  eventId: presentedId('event'),
  eventType: z.string(),
  destination: z.strictObject({
    kind: z.enum(['webhook', 'channel']),
    id: z.string(),
    name: z.string().nullable(),
    channelType: z.string(),
  }),
  status: z.enum(deliveryStates),
  cycle: z.int().meta({ description: '1, and one more for each retry of a delivery that had ended.' }),
  attemptCount: z.int().meta({ description: 'Of this cycle.' }),
  totalAttempts: z.int(),
  nextAttemptAt: presentedTime.nullable(),
  holdReason: z.string().nullable(),
  statusCode: z.int().nullable().meta({ description: 'Of the last attempt.' }),
  errorCode: z.string().nullable(),
  claimedBy: z.string().nullable().meta({ description: 'Who keeps it from being cleaned up.' }),
  workflowId: z.string().nullable().meta({ description: 'Where operators find it in Temporal.' }),
  escalation: z
    .strictObject({
      id: presentedId('escalation'),
      purpose: z
        .enum(messagePurposes)
        .meta({ description: 'Why it is sent: `escalation_update` tells those who were paged what became of it.' }),
      firing: z.int().nullable().meta({ description: 'The firing that it is a page of.' }),
      updateOf: presentedId('delivery').nullable().meta({ description: 'The page that an update follows.' }),
      failingAt: presentedTime.nullable().meta({ description: 'When it was clear that a page reaches nobody soon.' }),
    })
    .nullable()
    .meta({ description: 'Of a message that an escalation sends.' }),
  createdAt: presentedTime,
  finishedAt: presentedTime.nullable(),
};

export const shownDelivery = z.strictObject(deliveryFields).meta({ id: 'Delivery' });

const attempt = z
  .strictObject({
    number: z.int().meta({ description: 'From 1, never reset.' }),
    cycle: z.int(),
    trigger: z.string().meta({ description: '`schedule` or `manual`.' }),
    lane: z.enum(['fast', 'slow']),
    startedAt: presentedTime,
    finishedAt: presentedTime.nullable(),
    durationMs: z.int().nullable(),
    timings: z.record(z.string(), z.number()).nullable().meta({ description: 'Milliseconds from the start to the end of each part.' }),
    outcome: z.string().nullable(),
    statusCode: z.int().nullable(),
    errorCode: z.string().nullable(),
    error: z.string().nullable(),
    remoteAddress: z.string().nullable(),
    tlsVersion: z.string().nullable(),
    requestHeaders: z.record(z.string(), z.string()).nullable().meta({ description: 'Secrets are redacted.' }),
    requestBytes: z.int().nullable(),
    requestSha256: z.string().nullable(),
    responseHeaders: z.record(z.string(), z.string()).nullable(),
    responseBody: z.string().nullable(),
    responseEncoding: z.string().nullable(),
    responseTruncated: z.boolean(),
    retryAfterMs: z.int().nullable(),
    nextDelayMs: z.int().nullable(),
    possibleDuplicate: z.boolean().meta({ description: 'An answer may have been lost: the receiver may have had it before.' }),
  })
  .meta({ id: 'Attempt' });

export const deliveryWithAttempts = z.strictObject({ ...deliveryFields, attempts: z.array(attempt) }).meta({ id: 'DeliveryWithAttempts' });

/** @param names names of destinations by UUID; a deleted one has none. */
export function presentDelivery(row: DeliveryRow, names: ReadonlyMap<string, string>) {
  return {
    id: toWireId('delivery', row.id),
    eventId: toWireId('event', row.eventId),
    eventType: row.eventType,
    destination: {
      kind: row.destinationKind,
      id: toWireId(row.destinationKind, row.destinationId),
      name: names.get(row.destinationId) ?? null,
      channelType: row.channelType,
    },
    status: row.state,
    cycle: row.cycle,
    attemptCount: row.attemptCount,
    totalAttempts: row.totalAttempts,
    nextAttemptAt: row.nextAttemptAt?.toISOString() ?? null,
    holdReason: row.holdReason ?? null,
    statusCode: row.statusCode ?? null,
    errorCode: row.errorCode ?? null,
    claimedBy: row.claimedBy ?? null,
    workflowId: row.runId === null || row.runId === undefined ? null : workflowIds.deliver(row.runId),
    escalation: presentEscalationPart(row),
    createdAt: row.createdAt.toISOString(),
    finishedAt: row.finishedAt?.toISOString() ?? null,
  };
}

function presentEscalationPart({ escalationId, purpose, firing, updateOf, failingAt }: DeliveryRow) {
  if (!escalationId || !purpose) return null;
  return {
    id: toWireId('escalation', escalationId),
    purpose,
    firing: firing ?? null,
    updateOf: updateOf ? toWireId('delivery', updateOf) : null,
    failingAt: failingAt?.toISOString() ?? null,
  };
}

export function presentAttempt(row: AttemptRow) {
  return {
    number: row.number,
    cycle: row.cycle,
    trigger: row.trigger,
    lane: row.lane,
    startedAt: row.startedAt.toISOString(),
    finishedAt: row.finishedAt?.toISOString() ?? null,
    durationMs: row.durationMs ?? null,
    timings: row.timings ?? null,
    outcome: row.outcome ?? null,
    statusCode: row.statusCode ?? null,
    errorCode: row.errorCode ?? null,
    error: row.errorDetail ?? null,
    remoteAddress: row.remoteAddress ?? null,
    tlsVersion: row.tlsVersion ?? null,
    requestHeaders: row.requestHeaders ?? null,
    requestBytes: row.requestBytes ?? null,
    requestSha256: row.requestSha256?.toString('hex') ?? null,
    responseHeaders: row.responseHeaders ?? null,
    responseBody: row.responseBody ?? null,
    responseEncoding: row.responseEncoding ?? null,
    responseTruncated: row.responseTruncated,
    retryAfterMs: row.retryAfterMs ?? null,
    nextDelayMs: row.nextDelayMs ?? null,
    possibleDuplicate: row.possibleDuplicate,
  };
}
