import { defineEntity, p } from '@mikro-orm/core';
import type { InferEntity } from '@mikro-orm/core';

/** The first answer to a request that carried an `Idempotency-Key`, kept 24 h. */
export const IdempotencyEntity = defineEntity({
  name: 'Idempotency',
  tableName: 'idempotency',
  properties: {
    orgId: p.uuid().primary(),
    principalId: p.uuid().primary(),
    key: p.text().primary(),
    /** SHA-256 over method, route and body: the same key with another request is refused. */
    requestHash: p.blob(),
    status: p.integer().nullable(),
    headers: p.json<Record<string, string>>().nullable(),
    /** Encrypted: the first answer may hold a secret that is shown once. */
    body: p.blob().nullable(),
    createdAt: p.datetime(3),
  },
});

export type Idempotency = InferEntity<typeof IdempotencyEntity>;
