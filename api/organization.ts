import { LockMode } from '@mikro-orm/core';
import { z } from 'zod';
import { OrganizationEntity } from '../db/entities/organization.ts';
import type { Organization } from '../db/entities/organization.ts';
import { toWireId } from '../domain/id.ts';
import type { OrganizationSettings } from '../domain/organization.ts';
import { endpoint } from './endpoint.ts';
import { email, presentedId, presentedTime, resourceName } from './schema.ts';
import { assertVersion, versionHeaders } from './version.ts';

const auditAttempts = z.enum(['every', 'terminal']);

const settings = z.strictObject({
  fallbackEmail: email.optional().meta({ description: 'Receives what would otherwise reach nobody.' }),
  auditAttempts: auditAttempts.optional().meta({ description: 'Which delivery attempts become audit entries. Default: every.' }),
});

const settingsPatch = z.strictObject({
  fallbackEmail: email.nullable().optional(),
  auditAttempts: auditAttempts.nullable().optional(),
});

const organization = z
  .strictObject({
    id: presentedId('organization'),
    name: z.string(),
    settings,
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'Organization' });

function presentOrganization(row: Organization) {
  return {
    id: toWireId('organization', row.id),
    name: row.name,
    settings: row.settings,
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

const readOrganization = endpoint({
  name: 'organization.view',
  method: 'get',
  path: '/organization',
  tag: 'Organization',
  summary: 'The organization of the credential',
  permission: 'authenticated',
  responses: { 200: { description: 'The organization.', schema: organization } },
  handler: async ({ em, principal }) => {
    const row = await em.findOneOrFail(OrganizationEntity, { id: principal.organizationId });
    return { body: presentOrganization(row), headers: versionHeaders(row) };
  },
});

const updateOrganization = endpoint({
  name: 'organization.update',
  method: 'patch',
  path: '/organization',
  tag: 'Organization',
  summary: 'Change its name or settings',
  description: 'Absent settings stay; `null` restores the default.',
  permission: 'organization.manage',
  conditional: true,
  body: z.strictObject({ name: resourceName.optional(), settings: settingsPatch.optional() }).meta({ id: 'OrganizationPatch' }),
  responses: { 200: { description: 'The organization as it is now.', schema: organization } },
  handler: async ({ em, principal, input: { body }, ifMatch, now, audit }) => {
    const row = await em.findOneOrFail(OrganizationEntity, { id: principal.organizationId }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    assertVersion(row, ifMatch);
    const before = presentOrganization(row);
    if (body.name !== undefined) row.name = body.name;
    if (body.settings !== undefined) row.settings = mergeSettings(row.settings, body.settings);
    row.version += 1;
    row.updatedAt = now;
    const after = presentOrganization(row);
    audit({ resource: { type: 'organization', id: row.id, name: row.name }, before, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

function mergeSettings(current: OrganizationSettings, patch: z.output<typeof settingsPatch>): OrganizationSettings {
  const merged = Object.entries({ ...current, ...patch }).filter(([, value]) => value !== null && value !== undefined);
  return settings.parse(Object.fromEntries(merged)) as OrganizationSettings;
}

export const organizationEndpoints = [readOrganization, updateOrganization];
