import { z } from 'zod';
import { hintSecret } from '../channels/settings.ts';
import { webhookSecretPlace } from '../db/destination-secrets.ts';
import type { WebhookRow } from '../db/entities/webhook.ts';
import { SecretUnavailableError, type SecretBox } from '../db/secrets.ts';
import type { Fault } from '../domain/errors.ts';
import { checkHeaders } from '../domain/header.ts';
import { toWireId } from '../domain/id.ts';
import { parseSecret, secretFaultDetails } from '../domain/signature.ts';
import { webhookRules } from '../domain/webhook.ts';
import type { Dependencies } from './dependencies.ts';
import { eventPattern } from './event-pattern.ts';
import { retryPolicy } from './retry-policy.ts';
import { distinct, distinctOf, presentedId, presentedTime, resourceName, wireId } from './schema.ts';

/** A secret as typed; checked, never shown again. */
export const secretText = z
  .string()
  .superRefine((text, context) => {
    const parsed = parseSecret(text);
    if ('fault' in parsed) context.addIssue({ code: 'custom', message: secretFaultDetails[parsed.fault], params: { code: parsed.fault } });
  })
  .meta({ example: 'correct horse battery staple' });

const headers = z
  .record(z.string(), z.string())
  .superRefine((value, context) => {
    for (const { name, code, detail } of checkHeaders(value)) {
      context.addIssue({ code: 'custom', path: name === undefined ? [] : [name], message: detail, params: { code } });
    }
  })
  .meta({ description: 'Sent with every delivery. The values are secrets.', example: { 'X-Team': 'payments' } });

/** What can be written; every rule but those of the URL, which depend on the process (`inspectUrl`). */
export const webhookFields = {
  name: resourceName,
  url: z.string().meta({ description: 'At most 2,048 bytes.', example: 'https://hooks.example.com/tocsin' }),
  eventTypes: distinct(eventPattern, webhookRules.eventTypes).meta({ example: ['deployment.*', 'alert.fired'] }),
  projectIds: distinct(wireId('project'), webhookRules.projectIds).meta({ description: 'Empty: all projects and none.' }),
  headers,
  active: z.boolean(),
  timeoutSeconds: z.int().min(webhookRules.timeoutSeconds.min).max(webhookRules.timeoutSeconds.max),
  maxInFlight: z.int().min(webhookRules.maxInFlight.min).max(webhookRules.maxInFlight.max),
  retryPolicy,
  retryClientErrors: z.boolean().meta({ description: 'False: 4xx answers but 408, 425 and 429 end a delivery at once.' }),
  signatureSchemes: distinctOf(['v1', 'v1a'])
    .refine((schemes) => schemes.includes('v1'), { error: 'must contain v1', params: { code: 'required' } })
    .meta({ example: ['v1'] }),
};

/** Faults of the URL in a body, as this process would connect now; what is no text is the schema's business. */
export async function inspectUrl(body: unknown, { destinations }: Pick<Dependencies, 'destinations'>): Promise<readonly Fault[]> {
  if (typeof body !== 'object' || body === null || !('url' in body) || typeof body.url !== 'string') return [];
  const fault = await destinations.vetUrl(body.url);
  return fault === undefined ? [] : [{ pointer: '/url', code: fault.reason, detail: fault.detail }];
}

const hinted = z.strictObject({ set: z.boolean(), hint: z.string().nullable() });

const shownFields = {
  id: presentedId('webhook'),
  name: z.string(),
  url: z.string(),
  eventTypes: z.array(z.string()),
  projectIds: z.array(presentedId('project')),
  headers: z.record(z.string(), z.strictObject({ set: z.literal(true) })),
  active: z.boolean(),
  status: z.enum(['active', 'inactive']),
  disabledReason: z.string().nullable().meta({ description: '`user`, `gone`, `failing` or `receiver_request`.' }),
  disabledAt: presentedTime.nullable(),
  timeoutSeconds: z.int(),
  maxInFlight: z.int(),
  retryPolicy,
  retryClientErrors: z.boolean(),
  signatureSchemes: z.array(z.string()),
  signaturePublicKey: z.string().nullable().meta({ description: 'Verifies `v1a` signatures.' }),
  warnings: z.array(z.string()).meta({ description: '`weak_secret`, `unsigned`, `secret_unavailable`.' }),
  version: z.int(),
  createdAt: presentedTime,
  updatedAt: presentedTime,
};

export const shownWebhook = z.strictObject({ ...shownFields, secret: hinted }).meta({ id: 'Webhook' });

export const webhookWithSecret = z
  .strictObject({
    ...shownFields,
    secret: z.string().nullable().meta({ description: 'The secret itself, shown this once; null = unsigned.' }),
    standardSecret: z.string().nullable().meta({ description: 'The form that Standard Webhooks libraries take.' }),
  })
  .meta({ id: 'WebhookWithSecret' });

/** The allow-list of what leaves the server about a webhook. */
export function presentWebhook(row: WebhookRow, secrets: SecretBox) {
  const { hint, warnings } = describeSecret(row, secrets);
  return {
    id: toWireId('webhook', row.id),
    name: row.name,
    url: row.url,
    eventTypes: row.eventTypes,
    projectIds: row.projectIds.map((id) => toWireId('project', id)),
    headers: Object.fromEntries(row.headerNames.map((name) => [name, { set: true as const }])),
    secret: { set: row.secret !== null && row.secret !== undefined, hint },
    active: row.active,
    status: row.active ? ('active' as const) : ('inactive' as const),
    disabledReason: row.disabledReason ?? null,
    disabledAt: row.disabledAt?.toISOString() ?? null,
    timeoutSeconds: row.timeoutSeconds,
    maxInFlight: row.maxInFlight,
    retryPolicy: row.retryPolicy,
    retryClientErrors: row.retryClientErrors,
    signatureSchemes: row.signatureSchemes,
    signaturePublicKey: row.signaturePublicKey ?? null,
    warnings,
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

/** The answer to who just set the secret. */
export function presentWithSecret(row: WebhookRow, secrets: SecretBox, secret: string | null) {
  return { ...presentWebhook(row, secrets), secret, standardSecret: secret === null ? null : standardForm(secret) };
}

/** What Standard Webhooks libraries take for a secret. */
export function standardForm(secret: string): string {
  const parsed = parseSecret(secret);
  if ('fault' in parsed) throw new Error('A stored secret was checked before');
  return parsed.standardSecret;
}

function describeSecret(row: WebhookRow, secrets: SecretBox): { hint: string | null; warnings: string[] } {
  if (row.secret === null || row.secret === undefined) return { hint: null, warnings: ['unsigned'] };
  const secret = tryOpen(row, secrets);
  if (secret === undefined) return { hint: null, warnings: ['secret_unavailable'] };
  const parsed = parseSecret(secret);
  const weak = 'weak' in parsed && parsed.weak;
  return { hint: hintSecret(secret), warnings: weak ? ['weak_secret'] : [] };
}

function tryOpen(row: WebhookRow, secrets: SecretBox): string | undefined {
  try {
    return openSecret(row, secrets) ?? undefined;
  } catch (error) {
    if (error instanceof SecretUnavailableError) return undefined;
    throw error;
  }
}

/** The current secret; null = unsigned. @throws SecretUnavailableError when no key of this process opens it */
export function openSecret(row: WebhookRow, secrets: SecretBox): string | null {
  if (row.secret === null || row.secret === undefined) return null;
  return secrets.open(row.secret, webhookSecretPlace(row, 'secret'));
}
