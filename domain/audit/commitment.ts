/**
 * Private values stay out of the hashed document; it holds a commitment to each instead, and the value can be shown, or destroyed,
 * without touching the hash. The form is that of SD-JWT disclosures (RFC 9901): salted, so that a commitment cannot be guessed open.
 */
import { hash, randomFillSync } from 'node:crypto';
import { canonicalize, type JsonValue } from './canonical.ts';

const saltBytes = 16;

/**
 * base64url(JCS([salt, name, value])): what opens a commitment. Keep this text itself: it is the pre-image.
 * @param valueText canonical JSON of the value
 */
export function makeDisclosure(salt: Uint8Array, name: string, valueText: string): string {
  const saltText = Buffer.from(salt.buffer, salt.byteOffset, salt.byteLength).toString('base64url');
  return Buffer.from(`["${saltText}",${canonicalize(name)},${valueText}]`, 'utf8').toString('base64url');
}

/** base64url(SHA-256(ASCII(disclosure))). */
export function commitTo(disclosure: string): string {
  return hash('sha256', disclosure, 'base64url');
}

/** Name and value of a disclosure; undefined when it is not one. */
export function readDisclosure(disclosure: string): { name: string; value: JsonValue } | undefined {
  try {
    const parts: unknown = JSON.parse(Buffer.from(disclosure, 'base64url').toString('utf8'));
    if (!Array.isArray(parts) || parts.length !== 3) return undefined;
    const [salt, name, value] = parts as [unknown, unknown, JsonValue];
    return typeof salt === 'string' && typeof name === 'string' ? { name, value } : undefined;
  } catch {
    return undefined;
  }
}

const pool = Buffer.alloc(saltBytes * 256);
let used = pool.length;

/** 16 fresh random bytes. Drawn from a pool: one call to the system for 256 salts. The view is overwritten after 256 more: use it at once. */
export function freshSalt(): Uint8Array {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += saltBytes;
  return pool.subarray(used - saltBytes, used);
}
