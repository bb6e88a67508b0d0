import type { SecretPlace } from './secrets.ts';

/**
 * Where the secrets of destinations are sealed: who seals (api) and who opens (activities) must name the same place. An old secret of
 * a webhook keeps the place of the current one, so rotating moves the sealed bytes as they are.
 * `headers` and a channel's `secrets` are JSON objects; `secret` and `signingKey` are texts.
 */
export function webhookSecretPlace(webhook: { orgId: string; id: string }, field: 'secret' | 'headers' | 'signingKey'): SecretPlace {
  return { organizationId: webhook.orgId, table: 'webhook', row: webhook.id, field };
}

export function channelSecretsPlace(channel: { orgId: string; id: string }): SecretPlace {
  return { organizationId: channel.orgId, table: 'channel', row: channel.id, field: 'secrets' };
}
