import { defineEntity, p } from '@mikro-orm/core';
import type { InferEntity } from '@mikro-orm/core';
import type { Permission } from '../../domain/permission.ts';

/** A credential. Of the key itself only SHA-256 hashes and a hint are stored. */
export const ApiKeyEntity = defineEntity({
  name: 'ApiKey',
  tableName: 'api_key',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    name: p.text(),
    ownerType: p.text().$type<'user' | 'service_account'>(),
    ownerId: p.uuid(),
    keyHash: p.blob(),
    /** The key before the last rotation, valid until `previousExpiresAt`. */
    previousKeyHash: p.blob().nullable(),
    previousExpiresAt: p.datetime(3).nullable(),
    hint: p.text(),
    permissions: p.array<Permission>().columnType('text[]'),
    expiresAt: p.datetime(3).nullable(),
    revokedAt: p.datetime(3).nullable(),
    /** Written lazily, at most once a minute per process. */
    lastUsedAt: p.datetime(3).nullable(),
    creatorId: p.uuid().nullable(),
    createdAt: p.datetime(3),
  },
});

export type ApiKey = InferEntity<typeof ApiKeyEntity>;
