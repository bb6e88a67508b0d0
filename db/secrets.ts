import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/** Where a sealed value lives. It is authenticated: a value copied to another row, field or organization does not open. */
export interface SecretPlace {
  organizationId: string;
  table: string;
  row: string;
  field: string;
}

export interface SecretKey {
  /** 1-32 characters; stored with each value. */
  id: string;
  /** 32 bytes. */
  key: Buffer;
}

export interface SecretBox {
  /** AES-256-GCM under the first key with a random nonce. */
  seal(plain: string, place: SecretPlace): Buffer;
  /** @throws SecretUnavailableError when no key opens the value. */
  open(sealed: Uint8Array, place: SecretPlace): string;
  /** The id of the key that encrypts and derives by default. */
  readonly keyId: string;
  /**
   * 32 bytes for one purpose, by HKDF-SHA256 (RFC 5869) without salt from the key `keyId`: who has them learns nothing of the key.
   * @throws SecretUnavailableError when this process does not have that key
   */
  deriveKey(info: string, keyId: string): Buffer;
}

export class SecretUnavailableError extends Error {
  override name = 'SecretUnavailableError';
}

const version = 1;
const nonceBytes = 12;
const tagBytes = 16;
const derivedBytes = 32;

/**
 * Encryption at rest. Layout: version (1 byte), length of the key's id (1), the id, nonce (12), ciphertext, tag (16).
 * @param keys the first encrypts, all decrypt: that is how keys are rotated.
 */
export function createSecretBox(keys: readonly SecretKey[]): SecretBox {
  const [first] = keys;
  if (first === undefined) throw new Error('At least one secret key is needed.');
  return {
    keyId: first.id,
    deriveKey(info, keyId) {
      const master = keys.find(({ id }) => id === keyId);
      if (master === undefined) throw new SecretUnavailableError(`No key "${keyId}" to derive ${info} from.`);
      return Buffer.from(hkdfSync('sha256', master.key, '', info, derivedBytes));
    },
    seal(plain, place) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', first.key, nonce).setAAD(additionalData(place, first.id));
      const text = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      const id = Buffer.from(first.id);
      return Buffer.concat([Buffer.from([version, id.length]), id, nonce, text, cipher.getAuthTag()]);
    },
    open(stored, place) {
      const sealed = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
      const idLength = sealed[1] ?? 0;
      const id = sealed.subarray(2, 2 + idLength).toString();
      const key = keys.find((candidate) => candidate.id === id);
      if (sealed[0] !== version || key === undefined) throw new SecretUnavailableError(`No key "${id}" for ${place.table}.${place.field}.`);
      const nonceAt = 2 + idLength;
      const textAt = nonceAt + nonceBytes;
      const tagAt = sealed.length - tagBytes;
      if (tagAt < textAt) throw new SecretUnavailableError(`The stored ${place.table}.${place.field} is too short.`);
      const decipher = createDecipheriv('aes-256-gcm', key.key, sealed.subarray(nonceAt, textAt), { authTagLength: tagBytes })
        .setAAD(additionalData(place, id))
        .setAuthTag(sealed.subarray(tagAt));
      try {
        return Buffer.concat([decipher.update(sealed.subarray(textAt, tagAt)), decipher.final()]).toString('utf8');
      } catch (cause) {
        throw new SecretUnavailableError(`The stored ${place.table}.${place.field} does not open.`, { cause });
      }
    },
  };
}

function additionalData({ organizationId, table, row, field }: SecretPlace, keyId: string): Buffer {
  return Buffer.from([organizationId, table, row, field, keyId].join('|'));
}
