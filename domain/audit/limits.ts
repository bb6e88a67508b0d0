/** Sizes and forms of the members of an entry. What is too long and private becomes a marker; what is clear and wrong is refused. */
import { hash } from 'node:crypto';
import { canonicalize, type JsonValue } from './canonical.ts';
import { AuditEntryError, checkText, holdsSecret, redacted } from './redact.ts';

export const limits = {
  canonicalBytes: 32_768,
  snapshotBytes: 262_144,
  messageBytes: 65_536,
  privateDetailsBytes: 65_536,
  clearDetailsBytes: 8_192,
  differences: 1_000,
  changed: 32,
  targets: 16,
  occurredBeforeMs: 31 * 86_400_000,
  occurredAfterMs: 300_000,
} as const;

/** A value with its canonical text; both are those of the marker when the text is longer than `maxBytes`. */
export function bounded(value: JsonValue, maxBytes: number): { value: JsonValue; text: string } {
  const text = canonicalize(value);
  // no character takes more than three bytes per UTF-16 unit, so most texts need not be measured
  if (text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes) return { value, text };
  const marker = truncationMarker(text);
  return { value: marker, text: canonicalize(marker) };
}

/** `{"$truncated":{"bytes","sha256"}}` stands for a value that was too long: its size, and a digest by which someone who has it can prove that it was this one. */
export function truncationMarker(text: string): JsonValue {
  return { $truncated: { bytes: Buffer.byteLength(text), sha256: hash('sha256', text, 'hex') } };
}

/** Text of people or machines: replaced when it carries a secret or is longer than `maxLength` UTF-16 units. */
export function freeText(text: string, field: string, maxLength: number): JsonValue {
  if (holdsSecret(checkText(text, field))) return redacted;
  return text.length > maxLength ? truncationMarker(text) : text;
}

/** An opaque id or code that stands in clear: 1 to `maxLength` UTF-16 units without control characters. */
export function plainText(text: string, field: string, maxLength: number): string {
  if (text.length === 0) throw new AuditEntryError(field, 'empty');
  if (text.length > maxLength) throw new AuditEntryError(field, 'too_long');
  // oxlint-disable-next-line no-control-regex
  if (!text.isWellFormed() || /[\u0000-\u001f\u007f]/.test(text)) throw new AuditEntryError(field, 'characters');
  return text;
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** A UUID in its one canonical form, lower case. */
export function checkUuid(text: string, field: string): string {
  if (!uuidPattern.test(text)) throw new AuditEntryError(field, 'not_a_uuid');
  return text;
}

/** When it happened: within 31 days before and 5 minutes after it is recorded, so that the log's months can be searched by either. */
export function formatOccurredAt(occurredAt: Date, recordedAt: string): string {
  const aheadMs = occurredAt.getTime() - Date.parse(recordedAt);
  // written so that an invalid date fails too
  if (!(aheadMs >= -limits.occurredBeforeMs && aheadMs <= limits.occurredAfterMs)) throw new AuditEntryError('occurredAt', 'range');
  return occurredAt.toISOString();
}

/** A commit id in lower case. */
export function checkCommit(text: string): string {
  const sha = text.toLowerCase();
  if (!/^[0-9a-f]{7,64}$/.test(sha)) throw new AuditEntryError('gitCommitSha', 'format');
  return sha;
}

/** The one text form of an address (RFC 5952); an IPv4 address that came as IPv6 is written as IPv4. */
export function canonicalIp(text: string): string {
  if (/^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/.test(text)) return text;
  const bare = text.replace(/%.*$/, ''); // the zone is this machine's business
  const url = /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/.test(bare) ? URL.parse(`http://[${bare}]/`) : null;
  if (url === null) throw new AuditEntryError('ip', 'format');
  const address = url.hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(address);
  if (mapped === null) return address;
  const high = Number.parseInt(mapped[1]!, 16);
  const low = Number.parseInt(mapped[2]!, 16);
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** At most 32 member names; `*` stands for those that are too many or unfit to be written in clear. */
export function checkChanged(names: readonly string[]): string[] | undefined {
  if (names.length === 0) return undefined;
  const fit = [...new Set(names)].filter((name) => /^[A-Za-z0-9_.-]{1,64}$/.test(name)).sort();
  if (fit.length === new Set(names).size && fit.length <= limits.changed) return fit;
  return [...fit.slice(0, limits.changed - 1), '*'];
}
