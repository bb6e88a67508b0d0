import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** Immutable once finished. */
export const AttemptEntity = defineEntity({
  name: 'Attempt',
  tableName: 'attempt',
  properties: {
    orgId: p.uuid().primary(),
    deliveryId: p.uuid().primary(),
    number: p.integer().primary(),
    cycle: p.integer(),
    trigger: p.text(),
    lane: p.text().$type<'fast' | 'slow'>(),
    workerId: p.uuid(),
    startedAt: p.datetime(3),
    deadlineAt: p.datetime(3),
    finishedAt: p.datetime(3).nullable(),
    durationMs: p.integer().nullable(),
    timings: p.json<Record<string, number>>().columnType('jsonb').nullable(),
    outcome: p.text().nullable(),
    errorCode: p.text().nullable(),
    errorDetail: p.text().nullable(),
    statusCode: p.integer().nullable(),
    remoteAddress: p.text().nullable(),
    tlsVersion: p.text().nullable(),
    requestHeaders: p.json<Record<string, string>>().columnType('jsonb').nullable(),
    requestSha256: p.blob().nullable(),
    requestBytes: p.integer().nullable(),
    responseHeaders: p.json<Record<string, string>>().columnType('jsonb').nullable(),
    responseBody: p.text().nullable(),
    responseEncoding: p.text().nullable(),
    responseTruncated: p.boolean(),
    retryAfterMs: p.integer().nullable(),
    nextDelayMs: p.integer().nullable(),
    scheduleConsumed: p.boolean().nullable(),
    possibleDuplicate: p.boolean(),
  },
});
export type AttemptRow = InferEntity<typeof AttemptEntity>;
