import type { ChannelAdapter } from './channel.ts';

/** Settings as they are kept: what may be shown apart from what is encrypted. */
export interface SplitSettings {
  readonly open: Record<string, unknown>;
  readonly secrets: Record<string, unknown>;
}

/** Takes the secret fields out of checked settings. */
export function splitSettings(
  { secretFields }: Pick<ChannelAdapter, 'secretFields'>,
  settings: Readonly<Record<string, unknown>>,
): SplitSettings {
  const open: Record<string, unknown> = {};
  const secrets: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(settings)) (secretFields.includes(name) ? secrets : open)[name] = value;
  return { open, secrets };
}

/** What a PATCH makes of stored settings (secrets joined): an absent field stays, null clears. The result still has to be checked. */
export function patchSettings(
  stored: Readonly<Record<string, unknown>>,
  patch: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries({ ...stored, ...patch }).filter(([, value]) => value !== null && value !== undefined));
}

/** The last characters of each secret, by which people tell two apart; null where it is too short to show any, or no text. */
export function hintSecrets(secrets: Readonly<Record<string, unknown>>): Record<string, string | null> {
  return Object.fromEntries(Object.entries(secrets).map(([name, value]) => [name, typeof value === 'string' ? hintSecret(value) : null]));
}

/** The last four characters; null when the secret is so short that they would give too much of it away. */
export function hintSecret(secret: string): string | null {
  return secret.length >= 16 ? secret.slice(-4) : null;
}

/** What an answer of the API says about each secret field: never the secret. */
export function describeSecrets(
  { secretFields }: Pick<ChannelAdapter, 'secretFields'>,
  hints: Readonly<Record<string, string | null>>,
): Record<string, { set: boolean; hint: string | null }> {
  return Object.fromEntries(secretFields.map((name) => [name, { set: Object.hasOwn(hints, name), hint: hints[name] ?? null }]));
}
