/**
 * What must not enter the log is replaced before anything is measured, compared or hashed: the log is for ever, and a commitment to a
 * secret would be a way to test guesses. Values are copied here, so this is also where everything that is not JSON is refused.
 */
import type { JsonObject, JsonValue } from './canonical.ts';

export const redacted: JsonObject = { $redacted: 'secret' };

/** The entry cannot be made of what was given. `field` is the path of the member, `reason` the rule; values are never quoted. */
export class AuditEntryError extends Error {
  override readonly name = 'AuditEntryError';
  readonly field: string;
  readonly reason: string;

  constructor(field: string, reason: string) {
    super(`audit entry: ${field}: ${reason}`);
    this.field = field;
    this.reason = reason;
  }
}

const depthMax = 16;

const secretKey = /passw|secret|token|api[_-]?key|authorization|cookie|private[_-]?key|credential|signature|otp|dsn|connection[_-]?string/i;

const secretValue = new RegExp(
  [
    /-----BEGIN [A-Z ]+-----/, // PEM
    /\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/, // JSON Web Token
    /\bBearer\s+\S/i,
    /\b[a-z][a-z0-9+.-]*:\/\/[^\s/?#@]+@/i, // user information in a URL
    /\btsn_\w{16,}|\bwhsec_[\w+/=]{16,}|\bwhsk_[\w+/=]{16,}/, // our own keys and signing secrets
    /\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bnpm_\w{30,}/, // source hosting
    /\bxox[abeoprs]-[\w-]{10,}|\bxapp-[\w-]{10,}/, // Slack
    /\b[rs]k_(?:live|test)_\w{10,}|\bSG\.[\w-]{16,}\.[\w-]{16,}/, // Stripe, SendGrid
    /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}/, // AWS, Google
    /\bhooks\.slack(?:-gov)?\.com\/(?:services|workflows|triggers)\//i,
    /\bdiscord(?:app)?\.com\/api\/(?:v\d+\/)?webhooks\//i,
    /\.webhook\.office\.com\/|\boutlook\.office\.com\/webhook\/|\.logic\.azure\.com[:/]/i, // Teams
  ]
    // one pass over the text needs one expression; the case rule of each part goes along with it
    .map(({ source, flags }) => (flags.includes('i') ? `(?i:${source})` : source))
    .join('|'),
);
// Not beside a letter, digit or hyphen: the tail of a UUID may be all digits.
const cardDigitsMin = 13;
const cardNumber = /(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])/g;

/** Whether a text carries something secret, whatever it is called. */
export function holdsSecret(text: string): boolean {
  return text.length >= 8 && (secretValue.test(text) || holdsCardNumber(text));
}

function holdsCardNumber(text: string): boolean {
  if (text.length < cardDigitsMin || !/\d{4}/.test(text)) return false;
  for (const [candidate] of text.matchAll(cardNumber)) {
    const digits = candidate.replace(/[ -]/g, '');
    // the major industry digits of payment cards; it halves the false alarms on timestamps and counters
    if (/^[2-6]/.test(digits) && passesLuhn(digits)) return true;
  }
  return false;
}

function isCardNumber(value: number): boolean {
  return value >= 10 ** (cardDigitsMin - 1) && holdsCardNumber(String(value));
}

function passesLuhn(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i += 1) {
    const digit = digits.charCodeAt(digits.length - 1 - i) - 48;
    sum += i % 2 === 0 ? digit : digit > 4 ? 2 * digit - 9 : 2 * digit;
  }
  return sum % 10 === 0;
}

const clearHeaders = new Set(['content-type', 'content-length', 'user-agent', 'x-request-id', 'traceparent']);

/** Headers with every value replaced but the few that are never secret. */
export function redactHeaders(headers: object, field: string): JsonObject {
  const copy: Record<string, JsonValue> = {};
  for (const [name, value] of Object.entries(headers) as Array<[string, unknown]>) {
    if (value === undefined) continue;
    setMember(copy, name, clearHeaders.has(name.toLowerCase()) ? redact(value, field) : redacted);
  }
  return copy;
}

/**
 * A copy of `value` as JSON in which secrets are replaced by `{"$redacted":"secret"}`.
 * @throws AuditEntryError when it is too deep (16), not JSON, or holds a text or number without one exact JSON form
 */
export function redact(value: unknown, field: string, depth = 1): JsonValue {
  if (typeof value === 'string') return holdsSecret(checkText(value, field)) ? redacted : value;
  if (typeof value === 'boolean' || value === null) return value;
  if (typeof value === 'number') return isCardNumber(checkNumber(value, field)) ? redacted : value;
  if (value instanceof Date) return formatDate(value, field);
  if (typeof value !== 'object') throw new AuditEntryError(field, 'not_json');
  if (depth > depthMax) throw new AuditEntryError(field, 'too_deep');
  if (Array.isArray(value)) return value.map((item: unknown) => redact(item ?? null, field, depth + 1));
  return redactMembers(value, field, depth);
}

/** As `redact`, for an object. */
export function redactMembers(object: object, field: string, depth = 1): Record<string, JsonValue> {
  const prototype: unknown = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null) throw new AuditEntryError(field, 'not_json');
  const copy: Record<string, JsonValue> = {};
  for (const [key, value] of Object.entries(object) as Array<[string, unknown]>) {
    if (value === undefined) continue;
    checkText(key, field);
    setMember(copy, key, secretKey.test(key) && holdsAnything(value) ? redacted : redact(value, field, depth + 1));
  }
  return copy;
}

/** Whether there is a secret to hide is itself worth knowing: nothing and yes/no stay. */
function holdsAnything(value: unknown): boolean {
  return value !== null && typeof value !== 'boolean';
}

/** Assigning to `__proto__` would change the object instead of adding a member. */
function setMember(object: Record<string, JsonValue>, key: string, value: JsonValue): void {
  if (key === '__proto__') Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  else object[key] = value;
}

/** The text itself, when it can be stored and has one encoding. */
export function checkText(text: string, field: string): string {
  if (!text.isWellFormed()) throw new AuditEntryError(field, 'lone_surrogate');
  if (text.includes('\0')) throw new AuditEntryError(field, 'null_character');
  return text;
}

function formatDate(date: Date, field: string): string {
  if (Number.isNaN(date.getTime())) throw new AuditEntryError(field, 'not_json');
  return date.toISOString();
}

function checkNumber(value: number, field: string): number {
  if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))
    throw new AuditEntryError(field, 'number_range');
  return value;
}
