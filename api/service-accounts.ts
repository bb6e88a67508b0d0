import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ApiKeyEntity } from '../db/entities/api-key.ts';
import { ServiceAccountEntity } from '../db/entities/service-account.ts';
import type { ServiceAccount } from '../db/entities/service-account.ts';
import { notFound } from '../domain/errors.ts';
import { newId, toWireId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import { permissions } from '../domain/permission.ts';
import { assertMayGive } from './authorization.ts';
import { endpoint } from './endpoint.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { distinctOf, idParams, presentedId, presentedTime, prose, resourceName } from './schema.ts';
import { assertVersion, versionHeaders } from './version.ts';

const serviceAccount = z
  .strictObject({
    id: presentedId('service_account'),
    name: z.string(),
    description: z.string(),
    permissions: z.array(z.enum(permissions)),
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'ServiceAccount' });

const fields = {
  name: resourceName.meta({ example: 'deploy pipeline' }),
  description: prose(2000),
  permissions: distinctOf(permissions).meta({
    description: 'No more than the caller has. Keys of the account hold at most these.',
    example: ['events.write'],
  }),
};

function presentServiceAccount(row: ServiceAccount) {
  return {
    id: toWireId('service_account', row.id),
    name: row.name,
    description: row.description,
    permissions: row.permissions,
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

async function findServiceAccount(em: EntityManager, organizationId: string, id: string, lockMode: LockMode = LockMode.NONE) {
  const row = await em.findOne(ServiceAccountEntity, { orgId: organizationId, id, deletedAt: null }, { lockMode });
  if (row === null) throw notFound();
  return row;
}

const listServiceAccounts = endpoint({
  name: 'service_account.list',
  method: 'get',
  path: '/service-accounts',
  tag: 'Service accounts',
  summary: 'List service accounts, newest first',
  permission: 'organization.manage',
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of service accounts.', schema: pageOf(serviceAccount) } },
  handler: async ({ em, input, ...context }) => {
    const page = openPageById(context, input.query, 'service_account.list');
    const where = { orgId: context.principal.organizationId, deletedAt: null, ...page.where };
    return { body: page.present(await em.find(ServiceAccountEntity, where, page.options), presentServiceAccount) };
  },
});

const createServiceAccount = endpoint({
  name: 'service_account.create',
  method: 'post',
  path: '/service-accounts',
  tag: 'Service accounts',
  summary: 'Create a service account',
  permission: 'organization.manage',
  idempotent: true,
  body: z
    .strictObject({ name: fields.name, description: fields.description.default(''), permissions: fields.permissions })
    .meta({ id: 'ServiceAccountCreate' }),
  responses: { 201: { description: 'The service account.', schema: serviceAccount } },
  handler: async ({ em, principal, input: { body }, now, audit }) => {
    assertMayGive(principal, body.permissions);
    const row = em.create(ServiceAccountEntity, {
      id: newId(now.getTime()),
      orgId: principal.organizationId,
      name: body.name,
      nameKey: foldName(body.name),
      description: body.description,
      permissions: body.permissions,
      creatorId: principal.id,
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    const after = presentServiceAccount(row);
    audit({ resource: { type: 'service_account', id: row.id, name: row.name }, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const readServiceAccount = endpoint({
  name: 'service_account.view',
  method: 'get',
  path: '/service-accounts/{id}',
  tag: 'Service accounts',
  summary: 'Read a service account',
  permission: 'organization.manage',
  params: idParams('service_account'),
  responses: { 200: { description: 'The service account.', schema: serviceAccount } },
  handler: async ({ em, principal, input }) => {
    const row = await findServiceAccount(em, principal.organizationId, input.params.id);
    return { body: presentServiceAccount(row), headers: versionHeaders(row) };
  },
});

const updateServiceAccount = endpoint({
  name: 'service_account.update',
  method: 'patch',
  path: '/service-accounts/{id}',
  tag: 'Service accounts',
  summary: 'Change a service account',
  permission: 'organization.manage',
  conditional: true,
  params: idParams('service_account'),
  body: z
    .strictObject({
      name: fields.name.optional(),
      description: fields.description.optional(),
      permissions: fields.permissions.optional(),
    })
    .meta({ id: 'ServiceAccountPatch' }),
  responses: { 200: { description: 'The service account as it is now.', schema: serviceAccount } },
  handler: async ({ em, principal, input: { params, body }, ifMatch, now, audit, afterCommit, deps }) => {
    const row = await findServiceAccount(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    const before = presentServiceAccount(row);
    if (body.permissions !== undefined) {
      // what it has already may stay; only what is added must be the caller's to give
      assertMayGive(
        principal,
        body.permissions.filter((permission) => !row.permissions.includes(permission)),
      );
      row.permissions = body.permissions;
    }
    row.name = body.name ?? row.name;
    row.nameKey = foldName(row.name);
    row.description = body.description ?? row.description;
    row.version += 1;
    row.updatedAt = now;
    const after = presentServiceAccount(row);
    audit({ resource: { type: 'service_account', id: row.id, name: row.name }, before, after });
    afterCommit(() => deps.authentication.forget());
    return { body: after, headers: versionHeaders(row) };
  },
});

const deleteServiceAccount = endpoint({
  name: 'service_account.delete',
  method: 'delete',
  path: '/service-accounts/{id}',
  tag: 'Service accounts',
  summary: 'Delete a service account and revoke its keys',
  permission: 'organization.manage',
  conditional: true,
  params: idParams('service_account'),
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal, input: { params }, ifMatch, now, audit, afterCommit, deps }) => {
    const row = await findServiceAccount(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    audit({ resource: { type: 'service_account', id: row.id, name: row.name }, before: presentServiceAccount(row) });
    row.deletedAt = now;
    await em.nativeUpdate(
      ApiKeyEntity,
      { orgId: principal.organizationId, ownerType: 'service_account', ownerId: row.id, revokedAt: null },
      { revokedAt: now },
    );
    afterCommit(() => deps.authentication.forget());
    return {};
  },
});

export const serviceAccountEndpoints = [
  listServiceAccounts,
  createServiceAccount,
  readServiceAccount,
  updateServiceAccount,
  deleteServiceAccount,
];
