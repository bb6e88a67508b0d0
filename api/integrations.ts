import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { hintSecrets } from '../channels/settings.ts';
import { IntegrationEntity } from '../db/entities/integration.ts';
import type { IntegrationRow } from '../db/entities/integration.ts';
import { sealIntegrationSecrets } from '../db/integration-secrets.ts';
import type { SecretBox } from '../db/secrets.ts';
import { changedNames } from '../domain/audit/diff.ts';
import { notFound } from '../domain/errors.ts';
import { newId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import { endpoint } from './endpoint.ts';
import { integrationFields as fields, presentIntegration, referencesOf, shownIntegration } from './integration-fields.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { definedOnly } from './patch.ts';
import { assertReferences } from './references.ts';
import { idParams } from './schema.ts';
import { assertVersion, versionHeaders } from './version.ts';

async function findIntegration(
  em: EntityManager,
  organizationId: string,
  id: string,
  lockMode: LockMode = LockMode.NONE,
): Promise<IntegrationRow> {
  const row = await em.findOne(IntegrationEntity, { orgId: organizationId, id, deletedAt: null }, { lockMode });
  if (row === null) throw notFound();
  return row;
}

function storeSecret(row: IntegrationRow, signingSecret: string, box: SecretBox): void {
  row.secrets = sealIntegrationSecrets(row, { signingSecret }, box);
  row.secretHints = hintSecrets({ signingSecret });
}

const listIntegrations = endpoint({
  name: 'integration.list',
  method: 'get',
  path: '/integrations',
  tag: 'Integrations',
  summary: 'List integrations, newest first',
  permission: 'monitoring.view',
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of integrations.', schema: pageOf(shownIntegration) } },
  handler: async ({ em, input, ...context }) => {
    const page = openPageById(context, input.query, 'integration.list');
    const where = { orgId: context.principal.organizationId, deletedAt: null, ...page.where };
    return { body: page.present(await em.find(IntegrationEntity, where, page.options), presentIntegration) };
  },
});

const createIntegration = endpoint({
  name: 'integration.create',
  method: 'post',
  path: '/integrations',
  tag: 'Integrations',
  summary: 'Create an integration',
  description: 'Lets people act on escalations from where they read of them. Its calls come to `callPath` and must be signed.',
  permission: 'monitoring.manage',
  idempotent: true,
  body: z
    .strictObject({
      name: fields.name,
      type: fields.type,
      settings: fields.settings,
      userLinks: fields.userLinks.default({}),
      active: fields.active.default(true),
    })
    .meta({ id: 'IntegrationCreate' }),
  responses: { 201: { description: 'The integration.', schema: shownIntegration } },
  handler: async ({ em, principal, input: { body }, now, audit, deps }) => {
    const { organizationId } = principal;
    const { settings, ...plain } = body;
    const { signingSecret, ...open } = settings;
    await assertReferences(em, organizationId, referencesOf({ ...open, ...plain }));
    const row = em.create(IntegrationEntity, {
      ...plain,
      id: newId(now.getTime()),
      orgId: organizationId,
      nameKey: foldName(body.name),
      settings: open,
      secretHints: {},
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    storeSecret(row, signingSecret, deps.secrets);
    const after = presentIntegration(row);
    audit({ resource: { type: 'integration', id: row.id, name: row.name }, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const readIntegration = endpoint({
  name: 'integration.view',
  method: 'get',
  path: '/integrations/{id}',
  tag: 'Integrations',
  summary: 'Read an integration',
  permission: 'monitoring.view',
  params: idParams('integration'),
  responses: { 200: { description: 'The integration.', schema: shownIntegration } },
  handler: async ({ em, principal, input }) => {
    const row = await findIntegration(em, principal.organizationId, input.params.id);
    return { body: presentIntegration(row), headers: versionHeaders(row) };
  },
});

const updateIntegration = endpoint({
  name: 'integration.update',
  method: 'patch',
  path: '/integrations/{id}',
  tag: 'Integrations',
  summary: 'Change an integration',
  description: 'Absent fields stay, also within `settings`; `userLinks` replaces all of them. The type cannot change.',
  permission: 'monitoring.manage',
  conditional: true,
  params: idParams('integration'),
  body: z
    .strictObject({
      name: fields.name.optional(),
      settings: fields.settingsPatch.optional(),
      userLinks: fields.userLinks.optional(),
      active: fields.active.optional(),
    })
    .meta({ id: 'IntegrationPatch' }),
  responses: { 200: { description: 'The integration as it is now.', schema: shownIntegration } },
  handler: async ({ em, principal, input: { params, body }, ifMatch, now, audit, deps }) => {
    const { organizationId } = principal;
    const row = await findIntegration(em, organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    const { settings = {}, ...plain } = body;
    const { signingSecret, ...open } = settings;
    await assertReferences(em, organizationId, referencesOf({ ...open, ...plain }));
    const before = presentIntegration(row);
    em.assign(row, definedOnly(plain));
    row.settings = { ...row.settings, ...definedOnly(open) };
    if (signingSecret !== undefined) storeSecret(row, signingSecret, deps.secrets);
    row.nameKey = foldName(row.name);
    row.version += 1;
    row.updatedAt = now;
    const after = presentIntegration(row);
    // a secret that was given counts as changed, whatever its hint shows
    const changed = [...new Set([...changedNames(before, after), ...(signingSecret === undefined ? [] : ['settings'])])];
    audit({ resource: { type: 'integration', id: row.id, name: row.name }, before, after, changed });
    return { body: after, headers: versionHeaders(row) };
  },
});

const deleteIntegration = endpoint({
  name: 'integration.delete',
  method: 'delete',
  path: '/integrations/{id}',
  tag: 'Integrations',
  summary: 'Delete an integration',
  description: 'Its calls are refused from then on.',
  permission: 'monitoring.manage',
  conditional: true,
  params: idParams('integration'),
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal, input: { params }, ifMatch, now, audit }) => {
    const row = await findIntegration(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    audit({ resource: { type: 'integration', id: row.id, name: row.name }, before: presentIntegration(row) });
    row.deletedAt = now;
    row.active = false;
    row.secrets = null;
    return {};
  },
});

export const integrationEndpoints = [listIntegrations, createIntegration, readIntegration, updateIntegration, deleteIntegration];
