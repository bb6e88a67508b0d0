/** What is common to the formats of others that intake takes: they become what `POST /events` takes, and are validated as that. */

type EventField =
  | 'type'
  | 'severity'
  | 'subject'
  | 'message'
  | 'source'
  | 'projectId'
  | 'tenantId'
  | 'environment'
  | 'resource'
  | 'labels'
  | 'links'
  | 'data'
  | 'dedupKey'
  | 'occurredAt';

/** A body of `POST /events` before validation: a translation checks only what it needs itself. */
export type EventInput = { readonly [Field in EventField]?: unknown };

export type JsonObject = Readonly<Record<string, unknown>>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A JSON Pointer (RFC 6901). */
export function jsonPointer(...parts: ReadonlyArray<string | number>): string {
  return parts.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** Text that was written for another purpose as one storable line of at most `max` UTF-16 units; empty when nothing is left. */
export function clipLine(text: string, max: number): string {
  const line = text.replaceAll(/[\p{Cc}\p{Cs}\s]+/gu, ' ').trim();
  // the first half of a pair must not stay behind alone
  return line
    .slice(0, max)
    .replace(/[\ud800-\udbff]$/, '')
    .trimEnd();
}

/** Text of several lines, storable, of at most `maxBytes` bytes of UTF-8. */
export function clipProse(text: string, maxBytes: number): string {
  const prose = text.replaceAll(/(?![\t\n\r])[\p{Cc}\p{Cs}]/gu, '');
  const { read } = new TextEncoder().encodeInto(prose, new Uint8Array(maxBytes));
  return prose.slice(0, read);
}
