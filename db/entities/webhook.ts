import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { RetryPolicy } from '../../domain/retry.ts';

/** An old secret that still signs until it expires (rotation grace). `sealed`: base64 of what db/secrets.ts made. */
export interface PreviousSecret {
  sealed: string;
  expiresAt: string;
}

export const WebhookEntity = defineEntity({
  name: 'Webhook',
  tableName: 'webhook',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    name: p.text(),
    nameKey: p.text(),
    url: p.text(),
    eventTypes: p.array().columnType('text[]'),
    projectIds: p.array().columnType('uuid[]'),
    /** Sealed; null = unsigned. */
    secret: p.blob().nullable(),
    previousSecrets: p.json<PreviousSecret[]>().columnType('jsonb'),
    /** Sealed JSON object: the values are secrets. */
    headers: p.blob().nullable(),
    headerNames: p.array().columnType('text[]'),
    active: p.boolean(),
    disabledReason: p.text().nullable(),
    disabledAt: p.datetime(3).nullable(),
    timeoutSeconds: p.integer(),
    maxInFlight: p.integer(),
    retryPolicy: p.json<RetryPolicy>().columnType('jsonb'),
    retryClientErrors: p.boolean(),
    signatureSchemes: p.array().columnType('text[]'),
    /** Sealed `whsk_…`. */
    signingKey: p.blob().nullable(),
    signaturePublicKey: p.text().nullable(),
    version: p.integer(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    deletedAt: p.datetime(3).nullable(),
  },
});
export type WebhookRow = InferEntity<typeof WebhookEntity>;
