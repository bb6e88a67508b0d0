import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { channelAdapters } from '../channels/index.ts';
import { patchSettings } from '../channels/settings.ts';
import { ChannelEntity } from '../db/entities/channel.ts';
import type { ChannelRow } from '../db/entities/channel.ts';
import { OrganizationEntity } from '../db/entities/organization.ts';
import type { Organization } from '../db/entities/organization.ts';
import { RuleEntity } from '../db/entities/rule.ts';
import { cancelOpenDeliveries } from '../db/queries/destination.ts';
import { findPoliciesNaming } from '../db/queries/policy-references.ts';
import { purgeDeliveries } from '../db/queries/purge-deliveries.ts';
import { changedNames } from '../domain/audit/diff.ts';
import { channelTypes } from '../domain/channel.ts';
import { notFound } from '../domain/errors.ts';
import { newId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import { inspectSettings, openSecrets, presentChannel, settingsInput, shownChannel, storeSettings } from './channel-fields.ts';
import { endpoint } from './endpoint.ts';
import { assertUnused, policyUsers } from './in-use.ts';
import type { User } from './in-use.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { mergePatch, switchActive } from './patch.ts';
import { retryPolicy } from './retry-policy.ts';
import { idParams, listOf, resourceName } from './schema.ts';
import { assertVersion, versionHeaders } from './version.ts';

/** A channel of the organization that is not deleted; throws `not_found`. */
export async function findChannel(
  em: EntityManager,
  organizationId: string,
  id: string,
  lockMode: LockMode = LockMode.NONE,
): Promise<ChannelRow> {
  const row = await em.findOne(ChannelEntity, { orgId: organizationId, id, deletedAt: null }, { lockMode });
  if (row === null) throw notFound();
  return row;
}

/** The organization, locked, when it reaches people through the channel. */
async function findAsSender(em: EntityManager, { orgId, id }: ChannelRow): Promise<Organization | undefined> {
  const row = await em.findOneOrFail(OrganizationEntity, { id: orgId }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  return Object.values(row.settings.senderChannels ?? {}).includes(id) ? row : undefined;
}

function senderUser({ id, name }: Organization): User {
  return { kind: 'organization', id, name };
}

const listChannelTypes = endpoint({
  name: 'channel.types',
  method: 'get',
  path: '/channels/types',
  tag: 'Channels',
  summary: 'Channel types with the JSON Schema of their settings',
  permission: 'monitoring.view',
  responses: {
    200: {
      description: 'All types.',
      schema: z.strictObject({
        data: z.array(
          z.strictObject({
            type: z.enum(channelTypes),
            secretFields: z.array(z.string()),
            settingsSchema: z.record(z.string(), z.unknown()),
          }),
        ),
      }),
    },
  },
  handler: async () => ({
    body: {
      data: channelTypes.map((type) => {
        const { secretFields, settingsSchema } = channelAdapters[type];
        return { type, secretFields, settingsSchema: z.toJSONSchema(settingsSchema, { io: 'input', unrepresentable: 'any' }) };
      }),
    },
  }),
});

const listChannels = endpoint({
  name: 'channel.list',
  method: 'get',
  path: '/channels',
  tag: 'Channels',
  summary: 'List channels, newest first',
  permission: 'monitoring.view',
  query: z.strictObject({ ...pageQuery, type: listOf(z.enum(channelTypes)).optional() }),
  responses: { 200: { description: 'A page of channels.', schema: pageOf(shownChannel) } },
  handler: async ({ em, input: { query }, ...context }) => {
    const page = openPageById(context, query, 'channel.list');
    const rows = await em.find(
      ChannelEntity,
      {
        orgId: context.principal.organizationId,
        deletedAt: null,
        ...(query.type === undefined ? {} : { type: { $in: query.type } }),
        ...page.where,
      },
      page.options,
    );
    return { body: page.present(rows, presentChannel) };
  },
});

const createChannel = endpoint({
  name: 'channel.create',
  method: 'post',
  path: '/channels',
  tag: 'Channels',
  summary: 'Create a channel',
  permission: 'monitoring.manage',
  idempotent: true,
  inspect: inspectSettings,
  body: z
    .strictObject({
      name: resourceName,
      type: z.enum(channelTypes).meta({ example: 'email' }),
      settings: settingsInput.default({}),
      active: z.boolean().default(true),
      retryPolicy: retryPolicy.default({ kind: 'standard' }),
    })
    .meta({ id: 'ChannelCreate' }),
  responses: { 201: { description: 'The channel.', schema: shownChannel } },
  handler: async ({ em, principal, input: { body }, now, audit, deps }) => {
    const row = em.create(ChannelEntity, {
      id: newId(now.getTime()),
      orgId: principal.organizationId,
      name: body.name,
      nameKey: foldName(body.name),
      type: body.type,
      settings: {},
      secretHints: {},
      active: body.active,
      disabledReason: body.active ? null : 'user',
      disabledAt: body.active ? null : now,
      retryPolicy: body.retryPolicy,
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    storeSettings(row, body.settings, deps);
    const after = presentChannel(row);
    audit({ resource: { type: 'channel', id: row.id, name: row.name }, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const readChannel = endpoint({
  name: 'channel.view',
  method: 'get',
  path: '/channels/{id}',
  tag: 'Channels',
  summary: 'Read a channel',
  permission: 'monitoring.view',
  params: idParams('channel'),
  responses: { 200: { description: 'The channel.', schema: shownChannel } },
  handler: async ({ em, principal, input }) => {
    const row = await findChannel(em, principal.organizationId, input.params.id);
    return { body: presentChannel(row), headers: versionHeaders(row) };
  },
});

const updateChannel = endpoint({
  name: 'channel.update',
  method: 'patch',
  path: '/channels/{id}',
  tag: 'Channels',
  summary: 'Change a channel',
  description: 'Within `settings` absent fields stay and `null` clears. The type cannot change.',
  permission: 'monitoring.manage',
  conditional: true,
  params: idParams('channel'),
  body: z
    .strictObject({
      name: resourceName.optional(),
      settings: settingsInput.optional(),
      active: z.boolean().optional(),
      retryPolicy: retryPolicy.optional(),
    })
    .meta({ id: 'ChannelPatch' }),
  responses: { 200: { description: 'The channel as it is now.', schema: shownChannel } },
  handler: async ({ em, principal, input: { params, body }, ifMatch, now, audit, deps }) => {
    const row = await findChannel(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    const before = presentChannel(row);
    row.name = body.name ?? row.name;
    row.nameKey = foldName(row.name);
    row.retryPolicy = body.retryPolicy ?? row.retryPolicy;
    if (body.settings !== undefined) {
      storeSettings(row, patchSettings({ ...row.settings, ...openSecrets(row, deps.secrets) }, body.settings), deps);
    }
    if (body.active !== undefined) switchActive(row, body.active, now);
    row.version += 1;
    row.updatedAt = now;
    const after = presentChannel(row);
    // a secret that was given counts as changed, whatever its hints show
    const secrets = channelAdapters[after.type].secretFields.filter((field) => body.settings !== undefined && field in body.settings);
    const changed = [...changedNames(before, after), ...(secrets.length === 0 ? [] : ['settings'])];
    audit({ resource: { type: 'channel', id: row.id, name: row.name }, before, after, changed });
    return { body: after, headers: versionHeaders(row) };
  },
});

const deleteChannel = endpoint({
  name: 'channel.delete',
  method: 'delete',
  path: '/channels/{id}',
  tag: 'Channels',
  summary: 'Delete a channel and its deliveries',
  description:
    '409 `in_use` while rules, escalation policies or `senderChannels` name it, unless forced. Forced, rules and `senderChannels` lose it; policies keep a target that reaches nobody.',
  permission: 'monitoring.manage',
  conditional: true,
  params: idParams('channel'),
  query: z.strictObject({ force: z.stringbool().default(false) }),
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal, input: { params, query }, ifMatch, now, audit, afterCommit, deps }) => {
    const { organizationId } = principal;
    const row = await findChannel(em, organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    const rules = await em.find(
      RuleEntity,
      { orgId: organizationId, deletedAt: null, channelIds: { $contains: [row.id] } },
      { orderBy: { id: 'asc' }, lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    const sending = await findAsSender(em, row);
    if (!query.force) {
      const policies = await findPoliciesNaming(em, { kind: 'channel', id: row.id });
      const users = rules.map(({ id, name }): User => ({ kind: 'rule', id, name }));
      assertUnused('channel', [...users, ...policyUsers(policies), ...(sending === undefined ? [] : [senderUser(sending)])]);
    }
    for (const rule of rules) {
      rule.channelIds = rule.channelIds.filter((id) => id !== row.id);
      rule.version += 1;
      rule.updatedAt = now;
      audit({ action: 'rule.update', resource: { type: 'rule', id: rule.id, name: rule.name }, changed: ['channelIds'] });
    }
    if (sending !== undefined) {
      const before = sending.settings.senderChannels;
      sending.settings = mergePatch(sending.settings, { senderChannels: mergePatch(before ?? {}, { [row.type]: null }) });
      sending.version += 1;
      sending.updatedAt = now;
      audit({
        action: 'organization.update',
        resource: { type: 'organization', id: sending.id, name: sending.name },
        changed: ['settings'],
      });
    }
    const cancelled = await cancelOpenDeliveries(em, { organizationId, destinationId: row.id, reason: 'destination_deleted' });
    audit({
      resource: { type: 'channel', id: row.id, name: row.name },
      before: presentChannel(row),
      details: { cancelledDeliveries: cancelled },
    });
    row.deletedAt = now;
    row.active = false;
    row.secrets = null;
    afterCommit(() => purgeDeliveries(deps.orm, organizationId, row.id));
    return {};
  },
});

export const channelEndpoints = [listChannelTypes, listChannels, createChannel, readChannel, updateChannel, deleteChannel];
