import { randomBytes } from 'node:crypto';
import { LockMode } from '@mikro-orm/core';
import { z } from 'zod';
import { webhookSecretPlace } from '../db/destination-secrets.ts';
import type { PreviousSecret } from '../db/entities/webhook.ts';
import { DomainError } from '../domain/errors.ts';
import { formatSecret } from '../domain/signature.ts';
import { retireSecret, webhookRules } from '../domain/webhook.ts';
import { endpoint } from './endpoint.ts';
import { idParams, presentedTime } from './schema.ts';
import { versionHeaders } from './version.ts';
import { openSecret, presentWithSecret, secretText, standardForm, webhookWithSecret } from './webhook-fields.ts';
import { findWebhook, sealSecret } from './webhooks.ts';

const { rotationGraceSeconds } = webhookRules;

const rotateSecret = endpoint({
  name: 'webhook.rotate_secret',
  method: 'post',
  path: '/webhooks/{id}/rotate-secret',
  tag: 'Webhooks',
  summary: 'Replace the signing secret',
  description:
    'The old one signs as well until the grace period ends, so that receivers can change theirs meanwhile; 0 drops all old ones.',
  permission: 'monitoring.manage',
  idempotent: true,
  params: idParams('webhook'),
  body: z
    .strictObject({
      secret: secretText.optional().meta({ description: 'Default: a generated one.' }),
      graceSeconds: z.int().min(0).max(rotationGraceSeconds.max).default(rotationGraceSeconds.default),
    })
    .prefault({})
    .meta({ id: 'WebhookRotateSecret' }),
  responses: { 200: { description: 'The webhook with its new secret.', schema: webhookWithSecret } },
  handler: async ({ em, principal, input: { params, body }, now, audit, deps: { secrets } }) => {
    const row = await findWebhook(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    // sealed bytes stand for the secrets: what is only moved need not be opened
    const kept = retireSecret({
      current: row.secret?.toString('base64') ?? null,
      previous: row.previousSecrets.map(({ sealed, expiresAt }) => ({ secret: sealed, expiresAtMs: Date.parse(expiresAt) })),
      graceSeconds: body.graceSeconds,
      nowMs: now.getTime(),
    });
    if ('fault' in kept) throw new DomainError(kept.fault, 'Too many old secrets still sign; rotate with graceSeconds 0, or wait.');
    const secret = body.secret ?? formatSecret(randomBytes(32));
    row.previousSecrets = kept.map(({ secret: sealed, expiresAtMs }): PreviousSecret => ({
      sealed,
      expiresAt: new Date(expiresAtMs).toISOString(),
    }));
    row.secret = sealSecret(row, secret, secrets);
    row.version += 1;
    row.updatedAt = now;
    audit({
      resource: { type: 'webhook', id: row.id, name: row.name },
      changed: ['secret'],
      details: { graceSeconds: body.graceSeconds, previousKept: kept.length },
    });
    return { body: presentWithSecret(row, secrets, secret), headers: versionHeaders(row) };
  },
});

const shownSecret = z.strictObject({ secret: z.string(), standardSecret: z.string() });

const readSecret = endpoint({
  name: 'webhook.view_secret',
  method: 'get',
  path: '/webhooks/{id}/secret',
  tag: 'Webhooks',
  summary: 'Read the signing secret',
  description: 'Needs its own permission, and each reading is in the audit log.',
  permission: 'webhook_secrets.view',
  audited: true,
  params: idParams('webhook'),
  responses: {
    200: {
      description: 'The current secret (null = unsigned), and the old ones that still sign, newest first.',
      schema: z
        .strictObject({
          current: shownSecret.nullable(),
          previous: z.array(shownSecret.extend({ expiresAt: presentedTime })),
          signaturePublicKey: z.string().nullable(),
        })
        .meta({ id: 'WebhookSecrets' }),
    },
  },
  handler: async ({ em, principal, input, now, audit, deps: { secrets } }) => {
    const row = await findWebhook(em, principal.organizationId, input.params.id);
    const current = openSecret(row, secrets);
    const previous = row.previousSecrets
      .filter(({ expiresAt }) => Date.parse(expiresAt) > now.getTime())
      .map(({ sealed, expiresAt }) => {
        const secret = secrets.open(Buffer.from(sealed, 'base64'), webhookSecretPlace(row, 'secret'));
        return { secret, standardSecret: standardForm(secret), expiresAt };
      });
    audit({ resource: { type: 'webhook', id: row.id, name: row.name } });
    return {
      body: {
        current: current === null ? null : { secret: current, standardSecret: standardForm(current) },
        previous,
        signaturePublicKey: row.signaturePublicKey ?? null,
      },
    };
  },
});

export const webhookSecretEndpoints = [rotateSecret, readSecret];
