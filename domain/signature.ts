/**
 * Webhook signatures: Standard Webhooks v1 (HMAC-SHA256) and v1a (Ed25519), https://github.com/standard-webhooks/standard-webhooks,
 * and the older `X-Webhook-Signature: sha256=<hex>` over the body alone, as GitHub signs.
 */
import { createHmac, createPrivateKey, createSecretKey, sign, type KeyObject } from 'node:crypto';

/** One secret, ready to sign. The two schemes key HMAC with different bytes of the same secret when it starts with `whsec_`. */
export interface SigningKey {
  /** Key of `X-Webhook-Signature`: the UTF-8 of the secret as the receiver typed it. */
  readonly plain: KeyObject;
  /** Key of `webhook-signature` v1: for `whsec_...` the decoded bytes. */
  readonly standard: KeyObject;
}

export interface ParsedSecret {
  readonly key: SigningKey;
  /** The form that Standard Webhooks libraries take. */
  readonly standardSecret: string;
  /** Fewer than 24 bytes: accepted, with a warning. */
  readonly weak: boolean;
}

/** Why a typed secret is refused. */
export type SecretFault = 'secret_not_base64' | 'secret_key_length' | 'secret_length';

/** What each fault says to whoever typed the secret. */
export const secretFaultDetails: Readonly<Record<SecretFault, string>> = {
  secret_not_base64: 'after whsec_ must be padded base64',
  secret_key_length: 'after whsec_ must hold 24 to 64 bytes',
  secret_length: 'must have 8 to 256 bytes',
};

/** An Ed25519 key pair in the forms that Standard Webhooks uses for v1a. */
export interface AsymmetricKey {
  readonly privateKey: KeyObject;
  /** `whpk_` + base64 of the 32 public bytes: published. */
  readonly publicKey: string;
}

const paddedBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * Reads a secret as typed. `whsec_` + padded standard base64 of 24-64 bytes, or any other text of 8-256 bytes.
 * @returns the keys, or the named reason why it is none
 */
export function parseSecret(text: string): ParsedSecret | { fault: SecretFault } {
  const whole = Buffer.from(text, 'utf8');
  if (!text.startsWith('whsec_')) {
    if (whole.length < 8 || whole.length > 256) return { fault: 'secret_length' };
    const key = createSecretKey(whole);
    return { key: { plain: key, standard: key }, standardSecret: `whsec_${whole.toString('base64')}`, weak: whole.length < 24 };
  }
  const encoded = text.slice('whsec_'.length);
  if (!paddedBase64.test(encoded)) return { fault: 'secret_not_base64' };
  const decoded = Buffer.from(encoded, 'base64');
  if (decoded.length < 24 || decoded.length > 64) return { fault: 'secret_key_length' };
  return { key: { plain: createSecretKey(whole), standard: createSecretKey(decoded) }, standardSecret: text, weak: false };
}

/** A new secret from 32 random bytes. */
export function formatSecret(random: Uint8Array): string {
  if (random.length !== 32) throw new Error('A secret is made of 32 random bytes');
  return `whsec_${Buffer.from(random).toString('base64')}`;
}

/** The node:crypto key of a 32-byte Ed25519 seed has to come as PKCS #8; this is that structure up to the seed (RFC 8410 section 7). */
const pkcs8Ed25519 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** A v1a key pair from a 32-byte seed, with the text (`whsk_` + base64 of seed and public bytes) that is kept encrypted. */
export function formatAsymmetricKey(seed: Uint8Array): { secret: string; key: AsymmetricKey } {
  const privateKey = createPrivateKey({ key: Buffer.concat([pkcs8Ed25519, seed]), format: 'der', type: 'pkcs8' });
  const jwk = privateKey.export({ format: 'jwk' });
  const publicBytes = Buffer.from(jwk.x ?? '', 'base64url');
  return {
    secret: `whsk_${Buffer.concat([seed, publicBytes]).toString('base64')}`,
    key: { privateKey, publicKey: `whpk_${publicBytes.toString('base64')}` },
  };
}

/** Reads a `whsk_...` text; undefined when it is not one or its halves do not belong together. */
export function parseAsymmetricKey(text: string): AsymmetricKey | undefined {
  if (!text.startsWith('whsk_')) return undefined;
  const bytes = Buffer.from(text.slice('whsk_'.length), 'base64');
  if (bytes.length !== 64) return undefined;
  const { secret, key } = formatAsymmetricKey(bytes.subarray(0, 32));
  return secret === text ? key : undefined;
}

/** `sha256=<lower-case hex>` over the body alone. */
export function signPlain(key: SigningKey, body: Uint8Array): string {
  return `sha256=${createHmac('sha256', key.plain).update(body).digest('hex')}`;
}

export interface StandardSignatureInput {
  /** `webhook-id`: `[A-Za-z0-9_-]{1,64}`, never chosen by a caller, so that no `.` in it can move the boundary to the timestamp. */
  readonly id: string;
  readonly timestampSeconds: number;
  /** The bytes as sent. */
  readonly body: Uint8Array;
}

const signableId = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * The value of `webhook-signature`: one v1 entry per key in the given order (current first, then old keys newest first), then v1a.
 * @throws when the id has other characters than the ones that keep the signed bytes unambiguous
 */
export function signStandard(keys: readonly SigningKey[], input: StandardSignatureInput, asymmetric?: AsymmetricKey): string {
  if (!signableId.test(input.id)) throw new Error(`Not an id that can be signed: ${input.id}`);
  const head = `${input.id}.${input.timestampSeconds}.`;
  const entries = keys.map((key) => `v1,${createHmac('sha256', key.standard).update(head).update(input.body).digest('base64')}`);
  if (asymmetric !== undefined) {
    const signed = Buffer.concat([Buffer.from(head), input.body]);
    entries.push(`v1a,${sign(null, signed, asymmetric.privateKey).toString('base64')}`);
  }
  return entries.join(' ');
}
