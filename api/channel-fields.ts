import { z } from 'zod';
import { channelAdapters } from '../channels/index.ts';
import { describeSecrets, hintSecrets, splitSettings } from '../channels/settings.ts';
import { channelSecretsPlace } from '../db/destination-secrets.ts';
import type { ChannelRow } from '../db/entities/channel.ts';
import type { SecretBox } from '../db/secrets.ts';
import { channelTypes, isChannelType } from '../domain/channel.ts';
import type { ChannelType } from '../domain/channel.ts';
import { validationFailed } from '../domain/errors.ts';
import type { Fault } from '../domain/errors.ts';
import { toWireId } from '../domain/id.ts';
import type { Dependencies } from './dependencies.ts';
import { retryPolicy } from './retry-policy.ts';
import { presentedId, presentedTime } from './schema.ts';
import { toFaults } from './validation.ts';

export const settingsInput = z.record(z.string(), z.unknown()).meta({
  description: 'By type: see `GET /channels/types`. Secrets are write-only.',
  example: { host: 'smtp.example.com', from: 'tocsin@example.com', to: ['duty@example.com'] },
});

export const shownChannel = z
  .strictObject({
    id: presentedId('channel'),
    name: z.string(),
    type: z.enum(channelTypes),
    settings: z.record(z.string(), z.unknown()).meta({ description: 'Secret fields are `{set, hint}`.' }),
    active: z.boolean(),
    status: z.enum(['active', 'inactive']),
    disabledReason: z.string().nullable(),
    disabledAt: presentedTime.nullable(),
    retryPolicy,
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'Channel' });

/** The allow-list of what leaves the server about a channel. */
export function presentChannel(row: ChannelRow) {
  const type = storedType(row);
  return {
    id: toWireId('channel', row.id),
    name: row.name,
    type,
    settings: { ...row.settings, ...describeSecrets(channelAdapters[type], row.secretHints) },
    active: row.active,
    status: row.active ? ('active' as const) : ('inactive' as const),
    disabledReason: row.disabledReason ?? null,
    disabledAt: row.disabledAt?.toISOString() ?? null,
    retryPolicy: row.retryPolicy,
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

function storedType(row: ChannelRow): ChannelType {
  if (isChannelType(row.type)) return row.type;
  throw new Error(`Channel ${row.id} has the unknown type ${row.type}`);
}

/** Faults of settings by the rules of their type; pointers begin at the body. */
export async function inspectSettings(body: unknown, { destinations }: Pick<Dependencies, 'destinations'>): Promise<readonly Fault[]> {
  if (typeof body !== 'object' || body === null || !('type' in body) || typeof body.type !== 'string' || !isChannelType(body.type))
    return [];
  const settings = 'settings' in body ? body.settings : {};
  const read = channelAdapters[body.type].readSettings(settings, destinations);
  return 'issues' in read ? read.issues.flatMap((issue) => toFaults(issue, '/settings')) : [];
}

/** Puts checked settings into the row: secrets sealed, the rest open. */
export function storeSettings(row: ChannelRow, settings: Record<string, unknown>, { secrets, destinations }: Dependencies): void {
  const adapter = channelAdapters[storedType(row)];
  const read = adapter.readSettings(settings, destinations);
  if ('issues' in read) throw validationFailed(read.issues.flatMap((issue) => toFaults(issue, '/settings')));
  const split = splitSettings(adapter, read.settings);
  row.settings = split.open;
  row.secretHints = hintSecrets(split.secrets);
  row.secrets = Object.keys(split.secrets).length === 0 ? null : secrets.seal(JSON.stringify(split.secrets), channelSecretsPlace(row));
}

/** The secret settings of a channel. @throws SecretUnavailableError when no key of this process opens them */
export function openSecrets(row: ChannelRow, secrets: SecretBox): Record<string, unknown> {
  if (row.secrets === null || row.secrets === undefined) return {};
  return JSON.parse(secrets.open(row.secrets, channelSecretsPlace(row))) as Record<string, unknown>;
}
