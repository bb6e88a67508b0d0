/** API keys: `tsn_` + random text, shown once, stored as a SHA-256 hash. Random, so a slow password hash would add nothing. */

/** What a presented or chosen key must look like; ours have 40 characters after the prefix. */
export const apiKeyPattern = /^tsn_[A-Za-z0-9_-]{32,200}$/;

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const length = 40;

/**
 * A new key with 238 bits of randomness.
 * @param randomBytes a source of `count` uniformly random bytes
 */
export function makeApiKey(randomBytes: (count: number) => Uint8Array): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(64)) {
      // 248 is the largest multiple of 62 in a byte: taking more would favour the first characters
      if (byte < 248 && text.length < length) text += alphabet[byte % 62]!;
    }
  }
  return `tsn_${text}`;
}

/** What lists may show of a key, so that people recognize theirs: its first characters, never enough to guess the rest. */
export function apiKeyHint(key: string): string {
  return `${key.slice(0, 8)}…`;
}

export interface ApiKeyFacts {
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
}

export type ApiKeyState = 'active' | 'expired' | 'revoked';

export function apiKeyState(key: ApiKeyFacts, now: Date): ApiKeyState {
  if (key.revokedAt !== null) return 'revoked';
  if (key.expiresAt !== null && key.expiresAt.getTime() <= now.getTime()) return 'expired';
  return 'active';
}
