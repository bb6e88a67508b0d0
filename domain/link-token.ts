import { createHmac, timingSafeEqual } from 'node:crypto';

/** What a link lets its holder do, once. Ids are UUIDs. */
export interface LinkClaim {
  organizationId: string;
  escalationId: string;
  /** The firing that paged the user. */
  firing: number;
  userId: string;
  action: LinkAction;
  /** Unix milliseconds; from this instant on the link does nothing. */
  expiresAt: number;
}

export type LinkAction = 'acknowledge';

/** A token as somebody presents it: whose row it names, and what is to be checked against it. */
export interface PresentedLink {
  /** UUID. */
  id: string;
  mac: Buffer;
}

export const linkRules = {
  /** `info` of the key's derivation, and first word of what is signed: a signature made for another purpose fits no link. */
  purpose: 'tocsin-link-v1',
  lifeMs: 72 * 60 * 60 * 1_000,
} as const;

const idBytes = 16;
const macBytes = 32;
// 48 bytes are 64 characters exactly, so that no two texts stand for the same bytes
const pattern = /^[A-Za-z0-9_-]{64}$/;

/**
 * The token of the row `id`: base64url(id || HMAC-SHA256(key, purpose|organization|escalation|firing|user|action|expiry)). It depends on
 * nothing else: whoever makes it again gets the same text.
 * @param key 32 bytes
 */
export function makeLinkToken(key: Uint8Array, id: string, claim: LinkClaim): string {
  return Buffer.concat([Buffer.from(id.replaceAll('-', ''), 'hex'), sign(key, claim)]).toString('base64url');
}

/** Undefined: it has not the shape of a token. */
export function parseLinkToken(text: string): PresentedLink | undefined {
  if (!pattern.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64url');
  const hex = bytes.toString('hex', 0, idBytes);
  const id = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  return { id, mac: bytes.subarray(idBytes, idBytes + macBytes) };
}

/** Whether the link was made with this key for this claim; takes as long either way. */
export function isLinkGenuine(key: Uint8Array, claim: LinkClaim, { mac }: PresentedLink): boolean {
  return timingSafeEqual(sign(key, claim), mac);
}

function sign(key: Uint8Array, { organizationId, escalationId, firing, userId, action, expiresAt }: LinkClaim): Buffer {
  const signed = [linkRules.purpose, organizationId, escalationId, firing, userId, action, expiresAt].join('|');
  return createHmac('sha256', key).update(signed).digest();
}
