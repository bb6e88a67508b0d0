import { defineEntity, p } from '@mikro-orm/core';
import type { InferEntity } from '@mikro-orm/core';
import type { OrganizationSettings } from '../../domain/organization.ts';

/** A tenant: everything else belongs to one. Its id is what row security compares. */
export const OrganizationEntity = defineEntity({
  name: 'Organization',
  tableName: 'organization',
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    settings: p.json<OrganizationSettings>(),
    version: p.integer(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
  },
});

export type Organization = InferEntity<typeof OrganizationEntity>;
