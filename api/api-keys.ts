import { randomBytes } from 'node:crypto';
import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ApiKeyEntity } from '../db/entities/api-key.ts';
import type { ApiKey } from '../db/entities/api-key.ts';
import { MemberEntity } from '../db/entities/member.ts';
import { ServiceAccountEntity } from '../db/entities/service-account.ts';
import { apiKeyHint, apiKeyState, makeApiKey } from '../domain/api-key.ts';
import { DomainError, notFound, validationFailed } from '../domain/errors.ts';
import { sha256 } from '../domain/hash.ts';
import { newId, toWireId } from '../domain/id.ts';
import { permissions, rolePermissions } from '../domain/permission.ts';
import type { Permission } from '../domain/permission.ts';
import { assertMayGive, assertPermission } from './authorization.ts';
import type { Principal } from './authorization.ts';
import { endpoint } from './endpoint.ts';
import type { TransactionContext } from './endpoint.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { distinctOf, idParams, presentedId, presentedTime, resourceName, time, wireId } from './schema.ts';

const apiKeyFields = {
  id: presentedId('api_key'),
  name: z.string(),
  ownerId: z.string().meta({ description: 'The member or service account that it acts as.' }),
  hint: z.string().meta({ description: 'Its first characters.', example: 'tsn_4fTq…' }),
  permissions: z.array(z.enum(permissions)),
  status: z.enum(['active', 'expired', 'revoked']),
  expiresAt: presentedTime.nullable(),
  revokedAt: presentedTime.nullable(),
  lastUsedAt: presentedTime.nullable().meta({ description: 'To the minute.' }),
  createdAt: presentedTime,
};
const apiKey = z.strictObject(apiKeyFields).meta({ id: 'ApiKey' });
const shownApiKey = z
  .strictObject({ ...apiKeyFields, key: z.string().meta({ description: 'The key itself, shown this once.', example: 'tsn_4fTq…' }) })
  .meta({ id: 'ApiKeyWithSecret' });

function presentApiKey(row: ApiKey, now: Date) {
  return {
    id: toWireId('api_key', row.id),
    name: row.name,
    ownerId: toWireId(row.ownerType, row.ownerId),
    hint: row.hint,
    permissions: row.permissions,
    status: apiKeyState({ expiresAt: row.expiresAt ?? null, revokedAt: row.revokedAt ?? null }, now),
    expiresAt: row.expiresAt?.toISOString() ?? null,
    revokedAt: row.revokedAt?.toISOString() ?? null,
    lastUsedAt: row.lastUsedAt?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
  };
}

interface Owner {
  readonly type: 'user' | 'service_account';
  readonly id: string;
  readonly permissions: readonly Permission[];
}

/** Whom a new key is for. Others than oneself need `organization.manage`; an invited member joins with their first key. */
async function findOwner(context: TransactionContext, ownerId: { user: string } | { service_account: string }): Promise<Owner> {
  const { em, principal } = context;
  if ('service_account' in ownerId) {
    const id = ownerId.service_account;
    if (id !== principal.id) assertPermission(principal, 'organization.manage');
    const row = await em.findOne(ServiceAccountEntity, { orgId: principal.organizationId, id, deletedAt: null });
    if (row === null) throw unknownOwner();
    return { type: 'service_account', id, permissions: row.permissions };
  }
  const id = ownerId.user;
  if (id !== principal.id) assertPermission(principal, 'organization.manage');
  const row = await em.findOne(
    MemberEntity,
    { orgId: principal.organizationId, id, removedAt: null },
    { lockMode: LockMode.PESSIMISTIC_WRITE },
  );
  if (row === null) throw unknownOwner();
  if (row.status === 'disabled') throw new DomainError('wrong_state', 'The member is disabled.');
  if (row.status === 'invited') {
    row.status = 'active';
    row.version += 1;
    row.updatedAt = context.now;
    context.audit({ action: 'member.join', resource: { type: 'member', id: row.id, name: row.name } });
  }
  return { type: 'user', id, permissions: rolePermissions[row.role] };
}

function unknownOwner(): DomainError {
  return validationFailed([{ pointer: '/ownerId', code: 'unknown_owner', detail: 'is no member or service account of this organization' }]);
}

/** What the new key may do: what was asked for, which the owner must have and the creator must have to give; default: all of both. */
function choosePermissions(asked: readonly Permission[] | undefined, owner: Owner, principal: Principal): Permission[] {
  if (asked === undefined) return permissions.filter((each) => owner.permissions.includes(each) && principal.permissions.has(each));
  assertMayGive(principal, asked);
  const missing = asked.filter((each) => !owner.permissions.includes(each));
  if (missing.length > 0) {
    throw validationFailed([{ pointer: '/permissions', code: 'beyond_owner', detail: `the owner does not have ${missing.join(', ')}` }]);
  }
  return [...asked];
}

const createApiKey = endpoint({
  name: 'api_key.create',
  method: 'post',
  path: '/api-keys',
  tag: 'API keys',
  summary: 'Create an API key',
  description: 'For oneself, or with `organization.manage` for any member or service account. The key is in this answer and nowhere else.',
  permission: 'authenticated',
  idempotent: true,
  body: z
    .strictObject({
      name: resourceName.meta({ example: 'laptop' }),
      ownerId: z
        .union([wireId('user').transform((user) => ({ user })), wireId('service_account').transform((id) => ({ service_account: id }))])
        .optional()
        .meta({ description: 'Default: the caller.' }),
      permissions: distinctOf(permissions).optional().meta({ description: 'Default: all that owner and caller have.' }),
      expiresAt: time.optional().meta({ description: 'Default: never.' }),
    })
    .meta({ id: 'ApiKeyCreate' }),
  responses: { 201: { description: 'The key.', schema: shownApiKey } },
  handler: async (context) => {
    const { em, principal, input, now, audit } = context;
    const { body } = input;
    assertFuture(body.expiresAt, now);
    const self = principal.type === 'user' ? { user: principal.id } : { service_account: principal.id };
    const owner = await findOwner(context, body.ownerId ?? self);
    const key = makeApiKey(randomBytes);
    const row = em.create(ApiKeyEntity, {
      id: newId(now.getTime()),
      orgId: principal.organizationId,
      name: body.name,
      ownerType: owner.type,
      ownerId: owner.id,
      keyHash: sha256(key),
      hint: apiKeyHint(key),
      permissions: choosePermissions(body.permissions, owner, principal),
      expiresAt: body.expiresAt ?? null,
      creatorId: principal.id,
      createdAt: now,
    });
    const after = presentApiKey(row, now);
    audit({ resource: { type: 'api_key', id: row.id, name: row.name }, after });
    return { body: { ...after, key } };
  },
});

function assertFuture(expiresAt: Date | undefined, now: Date): void {
  if (expiresAt !== undefined && expiresAt <= now) {
    throw validationFailed([{ pointer: '/expiresAt', code: 'in_the_past', detail: 'must be in the future' }]);
  }
}

/** Keys that the caller may see: their own, or with `organization.manage` all. */
function visibleTo(principal: Principal) {
  const all = { orgId: principal.organizationId };
  return principal.permissions.has('organization.manage') ? all : { ...all, ownerType: principal.type, ownerId: principal.id };
}

const listApiKeys = endpoint({
  name: 'api_key.list',
  method: 'get',
  path: '/api-keys',
  tag: 'API keys',
  summary: 'List API keys, newest first',
  description: "The caller's own; with `organization.manage` all of the organization.",
  permission: 'authenticated',
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of keys.', schema: pageOf(apiKey) } },
  handler: async ({ em, input, ...context }) => {
    const page = openPageById(context, input.query, 'api_key.list');
    const rows = await em.find(ApiKeyEntity, { ...visibleTo(context.principal), ...page.where }, page.options);
    return { body: page.present(rows, (row) => presentApiKey(row, context.now)) };
  },
});

const readApiKey = endpoint({
  name: 'api_key.view',
  method: 'get',
  path: '/api-keys/{id}',
  tag: 'API keys',
  summary: 'Read an API key',
  permission: 'authenticated',
  params: idParams('api_key'),
  responses: { 200: { description: 'The key, without the key itself.', schema: apiKey } },
  handler: async ({ em, principal, input, now }) => {
    const row = await em.findOne(ApiKeyEntity, { ...visibleTo(principal), id: input.params.id });
    if (row === null) throw notFound();
    return { body: presentApiKey(row, now) };
  },
});

async function lockActiveKey(em: EntityManager, principal: Principal, id: string, now: Date): Promise<ApiKey> {
  const row = await em.findOne(ApiKeyEntity, { ...visibleTo(principal), id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  if (row === null) throw notFound();
  const { status } = presentApiKey(row, now);
  if (status !== 'active') throw new DomainError('wrong_state', `The key is ${status}.`);
  return row;
}

const rotateApiKey = endpoint({
  name: 'api_key.rotate',
  method: 'post',
  path: '/api-keys/{id}/rotate',
  tag: 'API keys',
  summary: 'Replace the secret of an API key',
  description: 'Id, name and permissions stay. The old key works for the grace period, so that both ends need not change at once.',
  permission: 'authenticated',
  idempotent: true,
  params: idParams('api_key'),
  body: z
    .strictObject({ graceSeconds: z.int().min(0).max(604_800).default(0) })
    .prefault({})
    .meta({ id: 'ApiKeyRotate' }),
  responses: { 200: { description: 'The key.', schema: shownApiKey } },
  handler: async ({ em, principal, input: { params, body }, now, audit, afterCommit, deps }) => {
    const row = await lockActiveKey(em, principal, params.id, now);
    // whoever rotates gets to see the key, and with it all that it may do
    assertMayGive(principal, row.permissions);
    const { graceSeconds } = body;
    const key = makeApiKey(randomBytes);
    row.previousKeyHash = graceSeconds > 0 ? row.keyHash : null;
    row.previousExpiresAt = graceSeconds > 0 ? new Date(now.getTime() + graceSeconds * 1000) : null;
    row.keyHash = sha256(key);
    row.hint = apiKeyHint(key);
    audit({ resource: { type: 'api_key', id: row.id, name: row.name }, details: { graceSeconds } });
    afterCommit(() => deps.authentication.forget());
    return { body: { ...presentApiKey(row, now), key } };
  },
});

async function revoke({ em, principal, now, audit, afterCommit, deps }: TransactionContext, id: string) {
  const row = await lockActiveKey(em, principal, id, now);
  const before = presentApiKey(row, now);
  row.revokedAt = now;
  row.previousKeyHash = null;
  row.previousExpiresAt = null;
  const after = presentApiKey(row, now);
  audit({ action: 'api_key.revoke', resource: { type: 'api_key', id: row.id, name: row.name }, before, after });
  afterCommit(() => deps.authentication.forget());
  return after;
}

const revokeApiKey = endpoint({
  name: 'api_key.revoke',
  method: 'post',
  path: '/api-keys/{id}/revoke',
  tag: 'API keys',
  summary: 'Revoke an API key at once',
  description: 'Other processes refuse it within two seconds.',
  permission: 'authenticated',
  params: idParams('api_key'),
  responses: { 200: { description: 'The key as it is now.', schema: apiKey } },
  handler: async ({ input, ...context }) => ({ body: await revoke(context, input.params.id) }),
});

const deleteApiKey = endpoint({
  name: 'api_key.delete',
  method: 'delete',
  path: '/api-keys/{id}',
  tag: 'API keys',
  summary: 'Revoke an API key at once',
  description: 'The same as `revoke`. The key stays listed as revoked: entries of the audit log name it.',
  permission: 'authenticated',
  params: idParams('api_key'),
  responses: { 204: { description: 'Revoked.' } },
  handler: async ({ input, ...context }) => {
    await revoke(context, input.params.id);
    return {};
  },
});

export const apiKeyEndpoints = [listApiKeys, createApiKey, readApiKey, rotateApiKey, revokeApiKey, deleteApiKey];
