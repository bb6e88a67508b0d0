import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ApiKeyEntity } from '../db/entities/api-key.ts';
import { MemberEntity } from '../db/entities/member.ts';
import type { Member } from '../db/entities/member.ts';
import { DomainError, notFound } from '../domain/errors.ts';
import { newId, toWireId } from '../domain/id.ts';
import { assertMemberChange, memberStatuses, personas } from '../domain/member.ts';
import type { MemberFacts } from '../domain/member.ts';
import { foldName } from '../domain/name.ts';
import { roles } from '../domain/permission.ts';
import type { AuditPart } from './audit-trail.ts';
import { endpoint } from './endpoint.ts';
import type { TransactionContext } from './endpoint.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { distinctOf, email, idParams, listOf, presentedId, presentedTime, text } from './schema.ts';
import { assertVersion, versionHeaders } from './version.ts';

const member = z
  .strictObject({
    id: presentedId('user'),
    email: z.string(),
    name: z.string(),
    role: z.enum(roles),
    personas: z.array(z.enum(personas)),
    status: z.enum(memberStatuses),
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'Member' });

const fields = {
  name: text(1, 100).meta({ example: 'Ada Lovelace' }),
  role: z.enum(roles).meta({ example: 'operator' }),
  personas: distinctOf(personas).meta({ example: ['sre'] }),
};

function presentMember(row: Member) {
  return {
    id: toWireId('user', row.id),
    email: row.email,
    name: row.name,
    role: row.role,
    personas: row.personas,
    status: row.status,
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

async function findMember(em: EntityManager, organizationId: string, id: string, lockMode: LockMode = LockMode.NONE): Promise<Member> {
  const row = await em.findOne(MemberEntity, { orgId: organizationId, id, removedAt: null }, { lockMode });
  if (row === null) throw notFound();
  return row;
}

/** Active owners besides `id`, locked: two who resign at once must not both find the other. */
async function countOtherOwners(em: EntityManager, organizationId: string, id: string): Promise<number> {
  const owners = await em.find(
    MemberEntity,
    { orgId: organizationId, role: 'owner', status: 'active', removedAt: null },
    { orderBy: { id: 'asc' }, lockMode: LockMode.PESSIMISTIC_WRITE },
  );
  return owners.filter((owner) => owner.id !== id).length;
}

type MemberContext = Pick<TransactionContext, 'em' | 'principal' | 'ifMatch' | 'now' | 'audit' | 'afterCommit' | 'deps'>;

/** Every change of a member: rules, row, audit entry, and the credentials looked up so far forgotten. */
async function changeMember(
  { em, principal, ifMatch, now, audit, afterCommit, deps }: MemberContext,
  id: string,
  change: { action: (before: MemberFacts) => string; apply: (row: Member) => void; expect?: MemberFacts['status']; removes?: boolean },
) {
  // owners first, in their order, then this one: everyone locks in the same order
  const otherActiveOwners = await countOtherOwners(em, principal.organizationId, id);
  const row = await findMember(em, principal.organizationId, id, LockMode.PESSIMISTIC_WRITE);
  assertVersion(row, ifMatch);
  if (change.expect !== undefined && row.status !== change.expect) {
    throw new DomainError('wrong_state', `The member is ${row.status}, not ${change.expect}.`);
  }
  const before = presentMember(row);
  change.apply(row);
  const facts: MemberFacts = { role: row.role, status: change.removes === true ? 'disabled' : row.status };
  assertMemberChange(before, facts, { held: principal.permissions, otherActiveOwners });
  row.version += 1;
  row.updatedAt = now;
  const after = presentMember(row);
  const part: AuditPart = { action: change.action(before), resource: { type: 'member', id: row.id, name: row.name }, before };
  audit(change.removes === true ? part : { ...part, after });
  afterCommit(() => deps.authentication.forget());
  return { body: after, headers: versionHeaders(row) };
}

const listMembers = endpoint({
  name: 'member.list',
  method: 'get',
  path: '/members',
  tag: 'Members',
  summary: 'List members, newest first',
  permission: 'monitoring.view',
  query: z.strictObject({
    ...pageQuery,
    status: listOf(z.enum(memberStatuses)).optional(),
    role: listOf(z.enum(roles)).optional(),
  }),
  responses: { 200: { description: 'A page of members.', schema: pageOf(member) } },
  handler: async ({ em, input: { query }, ...context }) => {
    const page = openPageById(context, query, 'member.list');
    const rows = await em.find(
      MemberEntity,
      {
        orgId: context.principal.organizationId,
        removedAt: null,
        ...(query.status === undefined ? {} : { status: { $in: query.status } }),
        ...(query.role === undefined ? {} : { role: { $in: query.role } }),
        ...page.where,
      },
      page.options,
    );
    return { body: page.present(rows, presentMember) };
  },
});

const inviteMember = endpoint({
  name: 'member.invite',
  method: 'post',
  path: '/members',
  tag: 'Members',
  summary: 'Invite a member',
  description: 'The member is `invited` until a first credential is issued for them.',
  permission: 'organization.manage',
  idempotent: true,
  body: z
    .strictObject({
      email,
      name: fields.name.optional().meta({ description: 'Default: the e-mail address.' }),
      role: fields.role.default('member'),
      personas: fields.personas.default([]),
    })
    .meta({ id: 'MemberInvite' }),
  responses: { 201: { description: 'The member.', schema: member } },
  handler: async ({ em, principal, input: { body }, now, audit }) => {
    assertMemberChange(undefined, { role: body.role, status: 'invited' }, { held: principal.permissions, otherActiveOwners: 1 });
    const row = em.create(MemberEntity, {
      id: newId(now.getTime()),
      orgId: principal.organizationId,
      email: body.email,
      emailKey: foldName(body.email),
      name: body.name ?? body.email,
      role: body.role,
      personas: body.personas,
      status: 'invited',
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    const after = presentMember(row);
    audit({ resource: { type: 'member', id: row.id, name: row.name }, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const readMember = endpoint({
  name: 'member.view',
  method: 'get',
  path: '/members/{id}',
  tag: 'Members',
  summary: 'Read a member',
  permission: 'monitoring.view',
  params: idParams('user'),
  responses: { 200: { description: 'The member.', schema: member } },
  handler: async ({ em, principal, input }) => {
    const row = await findMember(em, principal.organizationId, input.params.id);
    return { body: presentMember(row), headers: versionHeaders(row) };
  },
});

const updateMember = endpoint({
  name: 'member.update',
  method: 'patch',
  path: '/members/{id}',
  tag: 'Members',
  summary: "Change a member's name, role or personas",
  description: 'Nobody gives a role that holds more than they do; the last active owner stays one (`last_owner`).',
  permission: 'organization.manage',
  conditional: true,
  params: idParams('user'),
  body: z
    .strictObject({ name: fields.name.optional(), role: fields.role.optional(), personas: fields.personas.optional() })
    .meta({ id: 'MemberPatch' }),
  responses: { 200: { description: 'The member as it is now.', schema: member } },
  handler: async ({ input: { params, body }, ...context }) =>
    changeMember(context, params.id, {
      action: ({ role }) => (body.role === undefined || body.role === role ? 'member.update' : 'member.role_change'),
      apply: (row) => {
        row.name = body.name ?? row.name;
        row.role = body.role ?? row.role;
        row.personas = body.personas ?? row.personas;
      },
    }),
});

const disableMember = endpoint({
  name: 'member.disable',
  method: 'post',
  path: '/members/{id}/disable',
  tag: 'Members',
  summary: 'Disable a member; their keys stop working at once',
  permission: 'organization.manage',
  params: idParams('user'),
  responses: { 200: { description: 'The member as it is now.', schema: member } },
  handler: async ({ input: { params }, ...context }) =>
    changeMember(context, params.id, {
      action: () => 'member.disable',
      apply: (row) => {
        if (row.status === 'disabled') throw new DomainError('wrong_state', 'The member is disabled already.');
        row.status = 'disabled';
      },
    }),
});

const enableMember = endpoint({
  name: 'member.enable',
  method: 'post',
  path: '/members/{id}/enable',
  tag: 'Members',
  summary: 'Enable a disabled member; unrevoked keys work again',
  permission: 'organization.manage',
  params: idParams('user'),
  responses: { 200: { description: 'The member as it is now.', schema: member } },
  handler: async ({ input: { params }, ...context }) =>
    changeMember(context, params.id, {
      action: () => 'member.enable',
      expect: 'disabled',
      apply: (row) => {
        row.status = 'active';
      },
    }),
});

const removeMember = endpoint({
  name: 'member.remove',
  method: 'delete',
  path: '/members/{id}',
  tag: 'Members',
  summary: 'Remove a member and revoke their keys',
  permission: 'organization.manage',
  conditional: true,
  params: idParams('user'),
  responses: { 204: { description: 'Removed.' } },
  handler: async ({ input: { params }, ...context }) => {
    const { em, principal, now } = context;
    await changeMember(context, params.id, {
      action: () => 'member.remove',
      removes: true,
      apply: (row) => {
        row.removedAt = now;
      },
    });
    await em.nativeUpdate(
      ApiKeyEntity,
      { orgId: principal.organizationId, ownerType: 'user', ownerId: params.id, revokedAt: null },
      { revokedAt: now },
    );
    return {};
  },
});

export const memberEndpoints = [listMembers, inviteMember, readMember, updateMember, disableMember, enableMember, removeMember];
