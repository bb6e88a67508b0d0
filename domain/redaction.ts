/** Keeps a destination's secrets out of everything that is stored, logged or audited, also when a receiver sends them back. */

const mask = '[redacted]';

/** Shorter ones (a header `X-Env: prod` is kept like a secret) would blot out ordinary text and tell nobody anything. */
const shortestSecret = 6;

/** Replaces every known form of the secrets in a text. */
export type Redactor = (text: string) => string;

/**
 * A redactor for these secrets: as they are, as JSON string content, percent-encoded (either case of hex digits) and in base64, standard
 * and URL alphabet, at every alignment (inside `Basic <base64 of user:password>` a secret starts at any of three).
 */
export function createRedactor(secrets: Iterable<string>): Redactor {
  const forms = new Set<string>();
  for (const secret of secrets) if (secret.length >= shortestSecret) for (const form of formsOf(secret)) forms.add(form);
  if (forms.size === 0) return (text) => text;
  // the longest first: a secret may contain another one
  const ordered = [...forms].sort((left, right) => right.length - left.length);
  const pattern = new RegExp(ordered.map(escapeForPattern).join('|'), 'g');
  return (text) => text.replace(pattern, mask);
}

function formsOf(secret: string): string[] {
  const percent = encodeURIComponent(secret.toWellFormed());
  const strictPercent = percent.replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
  const lower = (text: string) => text.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase());
  const plain = [secret, JSON.stringify(secret).slice(1, -1), percent, lower(percent), strictPercent, lower(strictPercent)];
  const base64 = base64Cores(new TextEncoder().encode(secret));
  return [...plain, ...base64, ...base64.map((core) => core.replaceAll('+', '-').replaceAll('/', '_'))];
}

/** The parts of base64 text that depend on nothing but the secret, for each position it can have in a 3-byte group. */
function base64Cores(bytes: Uint8Array): string[] {
  const cores: string[] = [];
  for (let offset = 0; offset < 3; offset += 1) {
    const padded = new Uint8Array(offset + bytes.length);
    padded.set(bytes, offset);
    const text = btoa(String.fromCharCode(...padded)).replaceAll('=', '');
    // drop the characters that share bits with what stands before and after
    const start = offset === 0 ? 0 : offset + 1;
    const end = (offset + bytes.length) % 3 === 0 ? text.length : text.length - 1;
    const core = text.slice(start, end);
    // shorter ones would turn up in ordinary text
    if (core.length >= 8) cores.push(core);
  }
  return cores;
}

function escapeForPattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
