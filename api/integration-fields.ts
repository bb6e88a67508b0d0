import { z } from 'zod';
import type { IntegrationRow } from '../db/entities/integration.ts';
import { toWireId } from '../domain/id.ts';
import { integrationTypes, supportedIntegrations } from '../domain/integration.ts';
import { basePath } from './endpoint.ts';
import type { Reference } from './references.ts';
import { presentedId, presentedTime, resourceName, wireId } from './schema.ts';

const slackId = (first: string, noun: string) =>
  z
    .string()
    .max(40)
    .regex(new RegExp(`^[${first}][A-Z0-9]{2,}$`), `must be the id of a Slack ${noun}`);

/** Of a Slack app. */
const settingsFields = {
  teamId: slackId('TE', 'workspace').meta({ description: 'Calls of other workspaces are refused.', example: 'T0123ABCD' }),
  channelId: wireId('channel').meta({ description: 'The Slack channel whose messages carry the buttons.' }),
  signingSecret: z
    .string()
    .min(16)
    .max(256)
    .regex(/^[\x21-\x7e]+$/, 'must be the signing secret of the Slack app')
    .meta({ description: 'Write-only. Calls without its signature are refused.' }),
};

/** What can be written. */
export const integrationFields = {
  name: resourceName.meta({ example: 'Slack workspace' }),
  type: z
    .enum(integrationTypes)
    .refine((type) => supportedIntegrations.includes(type), {
      error: `is not supported yet; supported: ${supportedIntegrations.join(', ')}`,
      params: { code: 'not_supported' },
    })
    .meta({ description: `Now only: ${supportedIntegrations.join(', ')}.`, example: 'slack' }),
  settings: z
    .strictObject({ ...settingsFields, channelId: settingsFields.channelId.nullable().default(null) })
    .meta({ id: 'SlackSettings' }),
  settingsPatch: z
    .strictObject({
      teamId: settingsFields.teamId.optional(),
      channelId: settingsFields.channelId.nullable().optional(),
      signingSecret: settingsFields.signingSecret.optional(),
    })
    .meta({ id: 'SlackSettingsPatch' }),
  userLinks: z
    .record(slackId('UW', 'user'), wireId('user'))
    .refine((links) => Object.keys(links).length <= 1_000, { error: 'must have at most 1000 members', params: { code: 'too_big' } })
    .meta({ description: 'Who acts there is which member here. Others may look and not act.', example: { U0123ABCD: 'usr_…' } }),
  active: z.boolean(),
};

export const shownIntegration = z
  .strictObject({
    id: presentedId('integration'),
    name: z.string(),
    type: z.enum(integrationTypes),
    settings: z.strictObject({
      teamId: z.string(),
      channelId: presentedId('channel').nullable(),
      signingSecret: z.strictObject({ set: z.boolean(), hint: z.string().nullable() }),
    }),
    userLinks: z.record(z.string(), presentedId('user')),
    active: z.boolean(),
    callPath: z.string().meta({ description: 'Where the provider is to call, on the public address of this server.' }),
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'Integration' });

/** The allow-list of what leaves the server about an integration. */
export function presentIntegration(row: IntegrationRow) {
  const id = toWireId('integration', row.id);
  const { teamId, channelId } = row.settings;
  return {
    id,
    name: row.name,
    type: row.type,
    settings: {
      teamId,
      channelId: channelId ? toWireId('channel', channelId) : null,
      signingSecret: { set: Object.hasOwn(row.secretHints, 'signingSecret'), hint: row.secretHints['signingSecret'] ?? null },
    },
    userLinks: Object.fromEntries(Object.entries(row.userLinks).map(([there, userId]) => [there, toWireId('user', userId)])),
    active: row.active,
    callPath: `${basePath}/integrations/slack/${id}/interactions`,
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

interface Naming {
  readonly channelId?: string | null | undefined;
  readonly userLinks?: Readonly<Record<string, string>> | undefined;
}

/** All that a body names. */
export function referencesOf({ channelId, userLinks = {} }: Naming): Reference[] {
  return [
    ...(channelId ? [{ kind: 'channel' as const, id: channelId, pointer: '/settings/channelId' }] : []),
    ...Object.entries(userLinks).map(([there, id]) => ({ kind: 'user' as const, id, pointer: `/userLinks/${there}` })),
  ];
}
