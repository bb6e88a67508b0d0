import { defineEntity, p } from '@mikro-orm/core';
import type { InferEntity } from '@mikro-orm/core';
import type { Permission } from '../../domain/permission.ts';

/** A machine that acts in an organization, with the permissions that its creator gave it. */
export const ServiceAccountEntity = defineEntity({
  name: 'ServiceAccount',
  tableName: 'service_account',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    name: p.text(),
    nameKey: p.text(),
    description: p.text(),
    permissions: p.array<Permission>().columnType('text[]'),
    /** The user or service account that made it; audit entries of its actions name this. */
    creatorId: p.uuid(),
    version: p.integer(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    deletedAt: p.datetime(3).nullable(),
  },
});

export type ServiceAccount = InferEntity<typeof ServiceAccountEntity>;
