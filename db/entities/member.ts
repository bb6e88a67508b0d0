import { defineEntity, p } from '@mikro-orm/core';
import type { InferEntity } from '@mikro-orm/core';
import type { MemberStatus, Persona } from '../../domain/member.ts';
import type { Role } from '../../domain/permission.ts';

/**
 * A person in one organization; `id` is the user id. One person in two organizations has two: no tenant can learn from an id
 * that somebody also belongs to another.
 */
export const MemberEntity = defineEntity({
  name: 'Member',
  tableName: 'member',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    email: p.text(),
    /** `foldName(email)`; unique among the organization's members who were not removed. */
    emailKey: p.text(),
    name: p.text(),
    role: p.text().$type<Role>(),
    personas: p.array<Persona>().columnType('text[]'),
    status: p.text().$type<MemberStatus>(),
    version: p.integer(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    removedAt: p.datetime(3).nullable(),
  },
});

export type Member = InferEntity<typeof MemberEntity>;
