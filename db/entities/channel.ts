import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { RetryPolicy } from '../../domain/retry.ts';

export const ChannelEntity = defineEntity({
  name: 'Channel',
  tableName: 'channel',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    name: p.text(),
    nameKey: p.text(),
    type: p.text(),
    /** Without the secret fields. */
    settings: p.json<Record<string, unknown>>().columnType('jsonb'),
    /** Sealed JSON object of the secret fields. */
    secrets: p.blob().nullable(),
    /** Secret field -> its last characters, when it is long enough to show any. */
    secretHints: p.json<Record<string, string | null>>().columnType('jsonb'),
    active: p.boolean(),
    disabledReason: p.text().nullable(),
    disabledAt: p.datetime(3).nullable(),
    retryPolicy: p.json<RetryPolicy>().columnType('jsonb'),
    version: p.integer(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    deletedAt: p.datetime(3).nullable(),
  },
});
export type ChannelRow = InferEntity<typeof ChannelEntity>;
