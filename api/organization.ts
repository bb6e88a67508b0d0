import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ChannelEntity } from '../db/entities/channel.ts';
import { OrganizationEntity } from '../db/entities/organization.ts';
import type { Organization } from '../db/entities/organization.ts';
import { contactTypes } from '../domain/contact-method.ts';
import { customTypeRules } from '../domain/custom-event-type.ts';
import { formatDuration } from '../domain/duration.ts';
import { validationFailed } from '../domain/errors.ts';
import { toWireId } from '../domain/id.ts';
import type { OrganizationSettings } from '../domain/organization.ts';
import { problemTtlRules } from '../domain/problem.ts';
import { duration, inspectLeast, presentedDuration } from './duration.ts';
import { endpoint } from './endpoint.ts';
import { eventPattern, holdTypes, inspectPatterns } from './event-pattern.ts';
import { mergePatch } from './patch.ts';
import { email, presentedId, presentedTime, resourceName, text, wireId } from './schema.ts';
import { inspectAll } from './validation.ts';
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
  acceptUnknownTypes: z
    .boolean()
    .optional()
    .meta({ description: 'Whether events of types that nobody has described are taken; they merely occur. Default: false.' }),
  foreignTypes: z
    .record(z.string(), z.string())
    .optional()
    .meta({ description: 'Event types by the `type` of CloudEvents whose producers call them otherwise.' }),
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
  acceptUnknownTypes: z.boolean().nullable().optional(),
  foreignTypes: z
    .record(
      text(1, 256),
      eventPattern.refine((type) => !type.includes('*'), { error: 'must be one event type', params: { code: 'not_exact' } }).nullable(),
    )
    .nullable()
    .optional()
    .meta({ description: 'Absent names stay; `null` unsets one.', example: { 'com.example.cluster.agent-lost': 'agent.disconnect' } }),
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
  inspect: inspectAll(inspectLeast({ 'settings/problemTtl': problemTtlRules.minMs }), inspectPatterns('settings/foreignTypes/*')),
  body: z.strictObject({ name: resourceName.optional(), settings: settingsPatch.optional() }).meta({ id: 'OrganizationPatch' }),
  responses: { 200: { description: 'The organization as it is now.', schema: organization } },
  handler: async ({ em, principal, input: { body }, ifMatch, now, audit }) => {
    // before the organization is held: deleting a channel holds that first
    await assertSenders(em, principal.organizationId, body.settings?.senderChannels ?? {});
    const foreignTypes = await holdForeignTypes(em, principal.organizationId, body.settings?.foreignTypes);
    const row = await em.findOneOrFail(OrganizationEntity, { id: principal.organizationId }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    assertVersion(row, ifMatch);
    const before = presentOrganization(row);
    if (body.name !== undefined) row.name = body.name;
    if (body.settings !== undefined) row.settings = mergeSettings(row.settings, { ...body.settings, foreignTypes });
    row.version += 1;
    row.updatedAt = now;
    const after = presentOrganization(row);
    audit({ resource: { type: 'organization', id: row.id, name: row.name }, before, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

/** Also before the organization is held: so is a type that is being deleted. */
async function holdForeignTypes(
  em: EntityManager,
  organizationId: string,
  patch: SettingsPatch['foreignTypes'],
): Promise<SettingsPatch['foreignTypes']> {
  if (!patch) return patch;
  const held: Record<string, string | null> = {};
  for (const [name, type] of Object.entries(patch)) held[name] = type && (await holdTypes(em, organizationId, [type]))[0]!;
  return held;
}

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

function mergeSettings(
  current: OrganizationSettings,
  { senderChannels, foreignTypes, problemTtl, ...plain }: SettingsPatch,
): OrganizationSettings {
  const merged = mergePatch(current, {
    ...plain,
    problemTtlMs: problemTtl,
    senderChannels: senderChannels && mergePatch(current.senderChannels ?? {}, senderChannels),
    foreignTypes: foreignTypes && mergePatch(current.foreignTypes ?? {}, foreignTypes),
  });
  const { mapped: max } = customTypeRules;
  if (Object.keys(merged.foreignTypes ?? {}).length > max)
    throw validationFailed([{ pointer: '/settings/foreignTypes', code: 'too_big', detail: `must have at most ${max} names` }]);
  return merged;
}

export const organizationEndpoints = [readOrganization, updateOrganization];
