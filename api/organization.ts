import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ChannelEntity } from '../db/entities/channel.ts';
import { OrganizationEntity } from '../db/entities/organization.ts';
import type { Organization } from '../db/entities/organization.ts';
import { contactTypes } from '../domain/contact-method.ts';
import { formatDuration } from '../domain/duration.ts';
import { validationFailed } from '../domain/errors.ts';
import { toWireId } from '../domain/id.ts';
import type { OrganizationSettings } from '../domain/organization.ts';
import { problemTtlRules } from '../domain/problem.ts';
import { duration, inspectLeast, presentedDuration } from './duration.ts';
import { endpoint } from './endpoint.ts';
import { mergePatch } from './patch.ts';
import { email, presentedId, presentedTime, resourceName, wireId } from './schema.ts';
import { assertVersion, versionHeaders } from './version.ts';

const auditAttempts = z.enum(['every', 'terminal']);

/** Settings as an answer shows them. */
const shownSettings = z.strictObject({
  fallbackEmail: email.optional().meta({ description: 'Receives what would otherwise reach nobody.' }),
  senderChannels: z
    .partialRecord(z.enum(contactTypes), presentedId('channel'))
    .optional()
    .meta({ description: 'The channel through which people are reached at their addresses, by its type.' }),
  problemTtl: presentedDuration
    .optional()
    .meta({ description: 'How long an open problem of which nothing is heard stays open. Default: P1D.', example: 'P1D' }),
  auditAttempts: auditAttempts.optional().meta({ description: 'Which delivery attempts become audit entries. Default: every.' }),
});

const settingsPatch = z.strictObject({
  fallbackEmail: email.nullable().optional(),
  senderChannels: z
    .partialRecord(z.enum(contactTypes), wireId('channel').nullable())
    .nullable()
    .optional()
    .meta({ description: 'Absent types stay; `null` unsets one.' }),
  problemTtl: duration(problemTtlRules.maxMs).nullable().optional().meta({ description: 'PT1H at least.', example: 'P1D' }),
  auditAttempts: auditAttempts.nullable().optional(),
});

const organization = z
  .strictObject({
    id: presentedId('organization'),
    name: z.string(),
    settings: shownSettings,
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'Organization' });

function presentOrganization(row: Organization) {
  return {
    id: toWireId('organization', row.id),
    name: row.name,
    settings: presentSettings(row.settings),
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

/** An absent setting has its default. */
function presentSettings({ senderChannels, problemTtlMs, ...plain }: OrganizationSettings) {
  const senders = Object.entries(senderChannels ?? {}).map(([type, id]) => [type, toWireId('channel', id)] as const);
  return {
    ...plain,
    ...(senders.length === 0 ? {} : { senderChannels: Object.fromEntries(senders) as Record<string, string> }),
    ...(problemTtlMs === undefined ? {} : { problemTtl: formatDuration(problemTtlMs) }),
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
  inspect: inspectLeast({ 'settings/problemTtl': problemTtlRules.minMs }),
  body: z.strictObject({ name: resourceName.optional(), settings: settingsPatch.optional() }).meta({ id: 'OrganizationPatch' }),
  responses: { 200: { description: 'The organization as it is now.', schema: organization } },
  handler: async ({ em, principal, input: { body }, ifMatch, now, audit }) => {
    // before the organization is held: deleting a channel holds that first
    await assertSenders(em, principal.organizationId, body.settings?.senderChannels ?? {});
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

type SettingsPatch = z.output<typeof settingsPatch>;
type SenderPatch = NonNullable<SettingsPatch['senderChannels']>;

/** A sender is a channel of its own type: another one cannot speak to such an address. Held, so that it is not deleted meanwhile. */
async function assertSenders(em: EntityManager, organizationId: string, senders: SenderPatch): Promise<void> {
  const asked = Object.entries(senders).flatMap(([type, id]) => (id === null ? [] : [{ type, id }]));
  if (asked.length === 0) return;
  const ids = asked.map(({ id }) => id);
  const rows = await em.find(
    ChannelEntity,
    { orgId: organizationId, id: { $in: ids }, deletedAt: null },
    { orderBy: { id: 'asc' }, lockMode: LockMode.PESSIMISTIC_READ },
  );
  const faults = asked.flatMap(({ type, id }) => {
    const channel = rows.find((row) => row.id === id);
    const pointer = `/settings/senderChannels/${type}`;
    if (channel === undefined) return [{ pointer, code: 'unknown_channel', detail: 'is no channel of this organization' }];
    return channel.type === type ? [] : [{ pointer, code: 'wrong_type', detail: `must be a channel of type ${type}, not ${channel.type}` }];
  });
  if (faults.length > 0) throw validationFailed(faults);
}

function mergeSettings(current: OrganizationSettings, { senderChannels, problemTtl, ...plain }: SettingsPatch): OrganizationSettings {
  return mergePatch(current, {
    ...plain,
    problemTtlMs: problemTtl,
    senderChannels: senderChannels && mergePatch(current.senderChannels ?? {}, senderChannels),
  });
}

export const organizationEndpoints = [readOrganization, updateOrganization];
