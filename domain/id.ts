/**
 * Ids: UUIDv7 (RFC 9562 section 5.7) in columns and canonical documents, TypeIDs on the wire.
 * A TypeID is `<prefix>_` + the 128 bits as 26 lower-case Crockford base32 characters (https://github.com/jetify-com/typeid, spec 0.3).
 */
const prefixes = {
  organization: 'org',
  project: 'prj',
  user: 'usr',
  service_account: 'sva',
  api_key: 'key',
  event: 'evt',
  event_type: 'ety',
  rule: 'rul',
  silence: 'sil',
  calendar: 'cal',
  schedule: 'sch',
  override: 'ovr',
  escalation_policy: 'pol',
  policy_test: 'pts',
  escalation: 'esc',
  contact_method: 'ctm',
  preference: 'prf',
  integration: 'int',
  webhook: 'whk',
  channel: 'chn',
  delivery: 'dlv',
  notification: 'ntf',
  audit_entry: 'aud',
} as const;

export type IdKind = keyof typeof prefixes;

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const values = new Map(Array.from(alphabet, (character, value) => [character, BigInt(value)]));
const wirePattern = /^([a-z]+)_([0-7][0-9a-hjkmnp-tv-z]{25})$/;

/** A new UUIDv7 for the instant `nowMs` (Unix milliseconds). Two ids of one millisecond are ordered by chance. */
export function newId(nowMs: number): string {
  const bytes = takeRandom();
  let rest = nowMs;
  for (let i = 5; i >= 0; i -= 1) {
    bytes[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  bytes[6] = 0x70 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  return formatUuid(bytes);
}

// Asking the system for 16 bytes costs more than the rest of an id.
const pool = new Uint8Array(16 * 256);
let used = pool.length;

/** 16 random bytes, valid until the next call. */
function takeRandom(): Uint8Array {
  if (used === pool.length) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  used += 16;
  return pool.subarray(used - 16, used);
}

/** Unix milliseconds held by a UUIDv7. */
export function idTimeMs(uuid: string): number {
  return Number.parseInt(uuid.slice(0, 8) + uuid.slice(9, 13), 16);
}

/** No UUIDv7 of the instant `ms` (Unix milliseconds) or later is less, in the order of UUIDs; every earlier one is. */
export function firstIdAt(ms: number): string {
  return hyphenate(Math.max(0, ms).toString(16).padStart(12, '0').padEnd(32, '0'));
}

/** `usr_01k…` for a UUID. */
export function toWireId(kind: IdKind, uuid: string): string {
  // Five hex digits are four characters; 128 bits are two short of 26 characters, so two zero bits go in front: 32 digits as 2 + 6 x 5.
  let text = encode(Number.parseInt(uuid.slice(0, 2), 16), 2);
  const rest = uuid.slice(2, 8) + uuid.slice(9, 13) + uuid.slice(14, 18) + uuid.slice(19, 23) + uuid.slice(24);
  for (let at = 0; at < 30; at += 5) text += encode(Number.parseInt(rest.slice(at, at + 5), 16), 4);
  return `${prefixes[kind]}_${text}`;
}

/** `number` as `length` characters of five bits each. */
function encode(number: number, length: number): string {
  let text = '';
  for (let shift = (length - 1) * 5; shift >= 0; shift -= 5) text += alphabet[(number >>> shift) & 31]!;
  return text;
}

/** The UUID of a wire id of this kind; undefined when `text` is not one. */
export function fromWireId(kind: IdKind, text: string): string | undefined {
  const match = wirePattern.exec(text);
  if (match === null || match[1] !== prefixes[kind]) return undefined;
  let number = 0n;
  for (const character of match[2]!) number = (number << 5n) | values.get(character)!;
  return hyphenate(number.toString(16).padStart(32, '0'));
}

/** The kind and UUID of any wire id; undefined when `text` is none. */
export function parseWireId(text: string): { kind: IdKind; uuid: string } | undefined {
  const prefix = text.slice(0, text.indexOf('_'));
  for (const kind of Object.keys(prefixes) as IdKind[]) {
    if (prefixes[kind] !== prefix) continue;
    const uuid = fromWireId(kind, text);
    return uuid === undefined ? undefined : { kind, uuid };
  }
  return undefined;
}

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
function formatUuid(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += hex[byte]!;
  return hyphenate(text);
}

function hyphenate(text: string): string {
  return `${text.slice(0, 8)}-${text.slice(8, 12)}-${text.slice(12, 16)}-${text.slice(16, 20)}-${text.slice(20)}`;
}
