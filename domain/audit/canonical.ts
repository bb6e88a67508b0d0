/**
 * Canonical JSON (RFC 8785, JCS): keys ordered by UTF-16 code units, ECMAScript forms of numbers and strings, no whitespace, no
 * Unicode normalisation. Two equal documents have equal bytes, so a hash of the bytes is a hash of the document.
 */

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue | undefined;
}

/** The value has no canonical form. `reason` names why, without quoting the value: it may be a secret. */
export class CanonicalError extends Error {
  override readonly name = 'CanonicalError';
  readonly reason: 'number' | 'lone_surrogate' | 'type';

  constructor(reason: 'number' | 'lone_surrogate' | 'type') {
    super(`no canonical JSON form: ${reason}`);
    this.reason = reason;
  }
}

/**
 * The canonical text of a JSON value; its UTF-8 bytes are what is hashed. Members whose value is `undefined` are absent.
 * @throws CanonicalError for NaN, infinities, lone surrogates and anything that is not JSON (dates, maps, functions, bigint).
 */
export function canonicalize(value: JsonValue): string {
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'number':
      // String() is the ECMAScript form that RFC 8785 prescribes; -0 becomes 0
      if (!Number.isFinite(value)) throw new CanonicalError('number');
      return String(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (value === null) return 'null';
      return Array.isArray(value) ? canonicalArray(value as readonly JsonValue[]) : canonicalObject(value as JsonObject);
    default:
      throw new CanonicalError('type');
  }
}

function canonicalArray(values: readonly JsonValue[]): string {
  let text = '[';
  for (let i = 0; i < values.length; i += 1) {
    if (i > 0) text += ',';
    text += canonicalize(values[i]!);
  }
  return `${text}]`;
}

function canonicalObject(object: JsonObject): string {
  const prototype: unknown = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null) throw new CanonicalError('type');
  const keys = Object.keys(object);
  if (!areOrdered(keys)) keys.sort(); // the default order is by UTF-16 code units, which RFC 8785 asks for
  let text = '{';
  for (const key of keys) {
    const member = object[key];
    if (member === undefined) continue;
    if (text.length > 1) text += ',';
    text += `${quote(key)}:${canonicalize(member)}`;
  }
  return `${text}}`;
}

/** Documents are mostly built in order already, and looking costs a tenth of sorting. */
function areOrdered(keys: readonly string[]): boolean {
  for (let i = 1; i < keys.length; i += 1) if (keys[i - 1]! > keys[i]!) return false;
  return true;
}

// What JSON.stringify would escape. Most strings need none of it, and concatenation is then several times cheaper.
// oxlint-disable-next-line no-control-regex
const needsCare = /[\u0000-\u001f"\\\ud800-\udfff]/;

function quote(text: string): string {
  if (!needsCare.test(text)) return `"${text}"`;
  if (!text.isWellFormed()) throw new CanonicalError('lone_surrogate');
  return JSON.stringify(text);
}
