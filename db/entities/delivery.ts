import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { DeliveryState } from '../../domain/delivery.ts';
import type { MessagePurpose } from '../../domain/message.ts';

export const DeliveryEntity = defineEntity({
  name: 'Delivery',
  tableName: 'delivery',
  properties: {
    orgId: p.uuid().primary(),
    id: p.uuid().primary(),
    eventId: p.uuid(),
    eventType: p.text(),
    destinationKind: p.text().$type<'webhook' | 'channel'>(),
    destinationId: p.uuid(),
    /** `webhook` for webhooks, else the channel's type. */
    channelType: p.text(),
    state: p.text().$type<DeliveryState>(),
    /** 1, and one more for each retry of a delivery that had ended. */
    cycle: p.integer(),
    /** The run that owns it; null: none yet. */
    runId: p.text().nullable(),
    runSeq: p.integer(),
    schedulePos: p.integer(),
    /** Attempts of this cycle; `totalAttempts` of all. */
    attemptCount: p.integer(),
    totalAttempts: p.integer(),
    interruptions: p.integer(),
    rateLimits: p.integer(),
    trigger: p.text().$type<'schedule' | 'manual'>(),
    nextAttemptAt: p.datetime(3).nullable(),
    holdReason: p.text().nullable(),
    cancelRequested: p.boolean(),
    statusCode: p.integer().nullable(),
    errorCode: p.text().nullable(),
    claimedBy: p.text().nullable(),
    providerRef: p.json<Record<string, unknown>>().columnType('jsonb').nullable(),
    /** Of an escalation's message. */
    escalationId: p.uuid().nullable(),
    purpose: p.text().$type<MessagePurpose>().nullable(),
    firing: p.integer().nullable(),
    /** The notice that it tells, of a rule that bundles. */
    noticeId: p.uuid().nullable(),
    /** The page that an update follows. */
    updateOf: p.uuid().nullable(),
    /** Since when it was clear that a page reaches nobody soon. */
    failingAt: p.datetime(3).nullable(),
    createdAt: p.datetime(3),
    finishedAt: p.datetime(3).nullable(),
    /** `finishedAt` of those that ended failed or cancelled. */
    undeliveredAt: p.datetime(3).nullable(),
  },
});
export type DeliveryRow = InferEntity<typeof DeliveryEntity>;
