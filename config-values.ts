/**
 * How the text of one environment variable becomes a value. A parser throws a plain sentence fragment ("must be …"); it MUST NOT
 * repeat the text, which may be a secret.
 */
import { isIP } from 'node:net';
import { apiKeyPattern } from './domain/api-key.ts';
import { parseDuration } from './domain/duration.ts';
import { parseAllowList } from './egress/addresses.ts';

export type Parse<T> = (text: string) => T;

/** Any text of at most `max` characters, without control characters. */
export function text(max = 4096): Parse<string> {
  return (value) => {
    if (value.length > max || /\p{Cc}/u.test(value)) throw new Error(`must be plain text of at most ${max} characters`);
    return value;
  };
}

/** A whole number within [min, max]. */
export function integer(min: number, max: number): Parse<number> {
  return (value) => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < min || number > max) throw new Error(`must be a whole number from ${min} to ${max}`);
    return number;
  };
}

/** One of a closed set of words. */
export function oneOf<const T extends string>(words: readonly T[]): Parse<T> {
  return (value) => {
    const word = words.find((each) => each === value);
    if (word === undefined) throw new Error(`must be one of ${words.join(', ')}`);
    return word;
  };
}

/** `on` or `off`, with the spellings people try. */
export function onOff(value: string): boolean {
  if (/^(on|true|yes|1)$/i.test(value)) return true;
  if (/^(off|false|no|0)$/i.test(value)) return false;
  throw new Error('must be on or off');
}

/** Milliseconds of an ISO 8601 duration of a fixed length. */
export function durationMs(min: number, max: number): Parse<number> {
  return (value) => {
    const ms = parseDuration(value);
    if (ms === undefined) throw new Error('must be an ISO 8601 duration such as PT30S, PT5M or PT4H');
    if (ms < min || ms > max) throw new Error(`must be a duration from ${min / 1000} to ${max / 1000} seconds`);
    return ms;
  };
}

/** A comma-separated list of at least `min` and at most `max` members; the fault names the member's position. */
export function list<T>(member: Parse<T>, { min, max }: { min: number; max: number }): Parse<readonly T[]> {
  return (value) => {
    const parts = value.split(',').map((part) => part.trim());
    if (parts.at(-1) === '') parts.pop();
    if (parts.length < min || parts.length > max) throw new Error(`must have ${min} to ${max} members separated by commas`);
    const members = parts.map((part, index) => {
      try {
        return member(part);
      } catch (error) {
        throw new Error(`member ${index + 1} ${(error as Error).message}`, { cause: error });
      }
    });
    return Object.freeze(members);
  };
}

/** Where a page is from, as browsers write it: scheme, host and port, nothing after. */
export function origin(value: string): string {
  const parsed = URL.parse(value);
  if (parsed === null || !['http:', 'https:'].includes(parsed.protocol) || parsed.origin !== value.toLowerCase())
    throw new Error('must be an origin such as https://console.example.com, without a path');
  return parsed.origin;
}

/** An absolute URL with one of the schemes, given without a colon. Kept as text: drivers parse it their own way. */
export function url(...schemes: string[]): Parse<string> {
  return (value) => {
    const parsed = URL.parse(value);
    if (parsed === null || !schemes.includes(parsed.protocol.slice(0, -1)) || parsed.hostname === '')
      throw new Error(`must be a URL beginning with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`);
    if (!isPercentEncoded(parsed.username) || !isPercentEncoded(parsed.password))
      throw new Error('must have its user and password percent-encoded: a % there is written %25');
    return value;
  };
}

function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

const namePattern = /^(?!-)[\p{L}\p{N}_.-]{1,253}$/u;

/** A host name or an IP address without brackets. */
export function host(value: string): string {
  if (isIP(value) === 0 && !namePattern.test(value)) throw new Error('must be a host name or an IP address');
  return value;
}

/** `host:port` or `[v6]:port`. */
export function hostAndPort(value: string): string {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(value);
  if (match === null || Number(match[3]) < 1 || Number(match[3]) > 65_535) throw new Error('must be host:port');
  const name = match[1] ?? match[2]!;
  if (match[1] !== undefined && isIP(name) !== 6) throw new Error('must have an IPv6 address between its brackets');
  host(name);
  return value;
}

/** What the egress guard may be opened for: a CIDR block, a host or address, or one port of it. */
export function egressTarget(value: string): string {
  if (parseAllowList([value]).faults.length > 0) throw new Error('must be a CIDR block such as 10.20.0.0/16, a host, or host:port');
  return value;
}

/** A name of one word, as namespaces have. */
export function word(value: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{1,99}$/.test(value)) throw new Error('must be 2 to 100 letters, digits, dots, hyphens or underscores');
  return value;
}

/** An API key a person chose. */
export function apiKey(value: string): string {
  if (!apiKeyPattern.test(value)) throw new Error('must be tsn_ and 32 to 200 letters, digits, hyphens or underscores');
  return value;
}

/** `id:key,…`: keys for encryption at rest, 32 bytes in base64 each, under a short id that is stored beside what it encrypted. */
export function secretKeys(value: string): ReadonlyArray<{ readonly id: string; readonly key: Buffer }> {
  const keys = list(secretKey, { min: 1, max: 16 })(value);
  if (new Set(keys.map(({ id }) => id)).size < keys.length) throw new Error('must not use one key id twice');
  return keys;
}

function secretKey(value: string): { id: string; key: Buffer } {
  const match = /^([A-Za-z0-9_-]{1,32}):([A-Za-z0-9+/]{43}=?)$/.exec(value);
  if (match === null) throw new Error('must be id:key, the key being 32 bytes in base64 (openssl rand -base64 32)');
  return Object.freeze({ id: match[1]!, key: Buffer.from(match[2]!, 'base64') });
}
