import { randomBytes } from 'node:crypto';
import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { webhookSecretPlace } from '../db/destination-secrets.ts';
import { WebhookEntity } from '../db/entities/webhook.ts';
import type { WebhookRow } from '../db/entities/webhook.ts';
import { cancelOpenDeliveries } from '../db/queries/destination.ts';
import { findPoliciesNaming } from '../db/queries/policy-references.ts';
import { purgeDeliveries } from '../db/queries/purge-deliveries.ts';
import type { SecretBox } from '../db/secrets.ts';
import { changedNames } from '../domain/audit/diff.ts';
import { notFound } from '../domain/errors.ts';
import { newId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import { formatAsymmetricKey, formatSecret } from '../domain/signature.ts';
import { webhookRules } from '../domain/webhook.ts';
import { endpoint } from './endpoint.ts';
import { holdTypes, inspectPatterns } from './event-pattern.ts';
import { assertUnused, policyUsers } from './in-use.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { definedOnly, switchActive } from './patch.ts';
import { assertProjects } from './projects.ts';
import { idParams } from './schema.ts';
import { inspectAll } from './validation.ts';
import { assertVersion, versionHeaders } from './version.ts';
import {
  inspectUrl,
  presentWebhook,
  presentWithSecret,
  secretText,
  shownWebhook,
  webhookFields as fields,
  webhookWithSecret,
} from './webhook-fields.ts';

/** A webhook of the organization that is not deleted; throws `not_found`. */
export async function findWebhook(
  em: EntityManager,
  organizationId: string,
  id: string,
  lockMode: LockMode = LockMode.NONE,
): Promise<WebhookRow> {
  const row = await em.findOne(WebhookEntity, { orgId: organizationId, id, deletedAt: null }, { lockMode });
  if (row === null) throw notFound();
  return row;
}

/** Seals a webhook's current secret; null = unsigned. */
export function sealSecret(row: { orgId: string; id: string }, secret: string | null, secrets: SecretBox): Buffer | null {
  return secret === null ? null : secrets.seal(secret, webhookSecretPlace(row, 'secret'));
}

function sealHeaders(row: { orgId: string; id: string }, headers: Record<string, string>, secrets: SecretBox): Buffer | null {
  return Object.keys(headers).length === 0 ? null : secrets.seal(JSON.stringify(headers), webhookSecretPlace(row, 'headers'));
}

/** The key pair of `v1a`, made when the scheme is first asked for and kept from then on. */
function ensureSigningKey(row: WebhookRow, secrets: SecretBox): void {
  if (!row.signatureSchemes.includes('v1a') || (row.signingKey !== null && row.signingKey !== undefined)) return;
  const { secret, key } = formatAsymmetricKey(randomBytes(32));
  row.signingKey = secrets.seal(secret, webhookSecretPlace(row, 'signingKey'));
  row.signaturePublicKey = key.publicKey;
}

const listWebhooks = endpoint({
  name: 'webhook.list',
  method: 'get',
  path: '/webhooks',
  tag: 'Webhooks',
  summary: 'List webhooks, newest first',
  permission: 'monitoring.view',
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of webhooks.', schema: pageOf(shownWebhook) } },
  handler: async ({ em, input, ...context }) => {
    const page = openPageById(context, input.query, 'webhook.list');
    const where = { orgId: context.principal.organizationId, deletedAt: null, ...page.where };
    const rows = await em.find(WebhookEntity, where, page.options);
    return { body: page.present(rows, (row) => presentWebhook(row, context.deps.secrets)) };
  },
});

const createWebhook = endpoint({
  name: 'webhook.create',
  method: 'post',
  path: '/webhooks',
  tag: 'Webhooks',
  summary: 'Create a webhook',
  description: 'Without `secret` one is generated; this answer shows it once. `null` sends unsigned.',
  permission: 'monitoring.manage',
  idempotent: true,
  inspect: inspectAll(inspectUrl, inspectPatterns('eventTypes/*')),
  body: z
    .strictObject({
      name: fields.name,
      url: fields.url,
      eventTypes: fields.eventTypes,
      projectIds: fields.projectIds.default([]),
      secret: secretText.nullable().optional(),
      headers: fields.headers.default({}),
      active: fields.active.default(true),
      timeoutSeconds: fields.timeoutSeconds.default(webhookRules.timeoutSeconds.default),
      maxInFlight: fields.maxInFlight.default(webhookRules.maxInFlight.default),
      retryPolicy: fields.retryPolicy.default({ kind: 'standard' }),
      retryClientErrors: fields.retryClientErrors.default(true),
      signatureSchemes: fields.signatureSchemes.default(['v1']),
    })
    .meta({ id: 'WebhookCreate' }),
  responses: { 201: { description: 'The webhook with its secret.', schema: webhookWithSecret } },
  handler: async ({ em, principal, input: { body }, now, audit, deps: { secrets } }) => {
    await assertProjects(em, principal.organizationId, body.projectIds);
    const { secret = formatSecret(randomBytes(32)), headers, ...plain } = body;
    const place = { orgId: principal.organizationId, id: newId(now.getTime()) };
    const row = em.create(WebhookEntity, {
      ...plain,
      ...place,
      eventTypes: await holdTypes(em, principal.organizationId, body.eventTypes),
      nameKey: foldName(body.name),
      secret: sealSecret(place, secret, secrets),
      previousSecrets: [],
      headers: sealHeaders(place, headers, secrets),
      headerNames: Object.keys(headers),
      disabledReason: body.active ? null : 'user',
      disabledAt: body.active ? null : now,
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    ensureSigningKey(row, secrets);
    audit({ resource: { type: 'webhook', id: row.id, name: row.name }, after: presentWebhook(row, secrets) });
    return { body: presentWithSecret(row, secrets, secret), headers: versionHeaders(row) };
  },
});

const readWebhook = endpoint({
  name: 'webhook.view',
  method: 'get',
  path: '/webhooks/{id}',
  tag: 'Webhooks',
  summary: 'Read a webhook',
  permission: 'monitoring.view',
  params: idParams('webhook'),
  responses: { 200: { description: 'The webhook.', schema: shownWebhook } },
  handler: async ({ em, principal, input, deps }) => {
    const row = await findWebhook(em, principal.organizationId, input.params.id);
    return { body: presentWebhook(row, deps.secrets), headers: versionHeaders(row) };
  },
});

const updateWebhook = endpoint({
  name: 'webhook.update',
  method: 'patch',
  path: '/webhooks/{id}',
  tag: 'Webhooks',
  summary: 'Change a webhook',
  description:
    'Applies from the next attempt; bodies already rendered stay. Absent fields stay. `headers` replaces all of them. `secret` takes effect at once: to give receivers time, rotate it instead.',
  permission: 'monitoring.manage',
  conditional: true,
  inspect: inspectAll(inspectUrl, inspectPatterns('eventTypes/*')),
  params: idParams('webhook'),
  body: z
    .strictObject({
      name: fields.name.optional(),
      url: fields.url.optional(),
      eventTypes: fields.eventTypes.optional(),
      projectIds: fields.projectIds.optional(),
      secret: secretText.nullable().optional(),
      headers: fields.headers.nullable().optional(),
      active: fields.active.optional(),
      timeoutSeconds: fields.timeoutSeconds.optional(),
      maxInFlight: fields.maxInFlight.optional(),
      retryPolicy: fields.retryPolicy.optional(),
      retryClientErrors: fields.retryClientErrors.optional(),
      signatureSchemes: fields.signatureSchemes.optional(),
    })
    .meta({ id: 'WebhookPatch' }),
  responses: { 200: { description: 'The webhook as it is now.', schema: shownWebhook } },
  handler: async ({ em, principal, input: { params, body }, ifMatch, now, audit, deps: { secrets } }) => {
    const eventTypes = body.eventTypes && (await holdTypes(em, principal.organizationId, body.eventTypes));
    const row = await findWebhook(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    if (body.projectIds !== undefined) await assertProjects(em, principal.organizationId, body.projectIds);
    const before = presentWebhook(row, secrets);
    const { secret, headers, active, ...plain } = body;
    em.assign(row, definedOnly({ ...plain, eventTypes }));
    row.nameKey = foldName(row.name);
    if (secret !== undefined) {
      row.secret = sealSecret(row, secret, secrets);
      row.previousSecrets = [];
    }
    if (headers !== undefined) {
      row.headers = sealHeaders(row, headers ?? {}, secrets);
      row.headerNames = Object.keys(headers ?? {});
    }
    if (active !== undefined) switchActive(row, active, now);
    ensureSigningKey(row, secrets);
    row.version += 1;
    row.updatedAt = now;
    const after = presentWebhook(row, secrets);
    // what was given and is not shown counts as changed
    const hidden = [...(secret === undefined ? [] : ['secret']), ...(headers === undefined ? [] : ['headers'])];
    audit({
      resource: { type: 'webhook', id: row.id, name: row.name },
      before,
      after,
      changed: [...changedNames(before, after), ...hidden],
    });
    return { body: after, headers: versionHeaders(row) };
  },
});

const deleteWebhook = endpoint({
  name: 'webhook.delete',
  method: 'delete',
  path: '/webhooks/{id}',
  tag: 'Webhooks',
  summary: 'Delete a webhook and its deliveries',
  description:
    'Open deliveries are cancelled at once; the history goes soon after. Audit entries stay. 409 `in_use` while escalation policies name it, unless forced; forced, they keep a target that reaches nobody.',
  permission: 'monitoring.manage',
  conditional: true,
  params: idParams('webhook'),
  query: z.strictObject({ force: z.stringbool().default(false) }),
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal, input: { params, query }, ifMatch, now, audit, afterCommit, deps }) => {
    const { organizationId } = principal;
    const row = await findWebhook(em, organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    if (!query.force) assertUnused('webhook', policyUsers(await findPoliciesNaming(em, { kind: 'webhook', id: row.id })));
    const cancelled = await cancelOpenDeliveries(em, { organizationId, destinationId: row.id, reason: 'destination_deleted' });
    audit({
      resource: { type: 'webhook', id: row.id, name: row.name },
      before: presentWebhook(row, deps.secrets),
      details: { cancelledDeliveries: cancelled },
    });
    row.deletedAt = now;
    row.active = false;
    row.secret = null;
    row.previousSecrets = [];
    row.headers = null;
    row.signingKey = null;
    afterCommit(() => purgeDeliveries(deps.orm, organizationId, row.id));
    return {};
  },
});

export const webhookEndpoints = [listWebhooks, createWebhook, readWebhook, updateWebhook, deleteWebhook];
