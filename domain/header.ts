/** Rules for request headers that an organization configures for its destinations. */

const rules = { count: 20, nameLength: 64, valueLength: 4_096, totalBytes: 8_192 } as const;

export type HeaderFaultCode = 'too_many_headers' | 'headers_too_large' | 'invalid_header_name' | 'invalid_header_value' | 'reserved_header';

export interface HeaderFault {
  /** Absent when the fault is of all headers together. */
  readonly name?: string;
  readonly code: HeaderFaultCode;
  readonly detail: string;
}

/** RFC 9110 section 5.6.2. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const printable = /^[\x20-\x7e]*$/;

/** Names that frame the message, that Tocsin sets itself, or that an intermediary would believe. */
const reservedNames = new Set([
  'host',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
  'content-type',
  'content-encoding',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'user-agent',
  'accept-encoding',
  'cookie',
  'set-cookie',
  'forwarded',
  'via',
  'date',
]);
const reservedPrefixes = ['webhook-', 'x-webhook-', 'proxy-', 'x-forwarded-', 'x-amz-', 'x-goog-', 'x-azure-', 'sec-'];

/** Whether a configured header of this name, in any case, is refused. */
export function isReservedHeader(name: string): boolean {
  const lower = name.toLowerCase();
  return reservedNames.has(lower) || reservedPrefixes.some((prefix) => lower.startsWith(prefix));
}

/** Every fault of configured headers. Checked when they are saved: a client library would refuse them only when sending, or not at all. */
export function checkHeaders(headers: Readonly<Record<string, string>>): HeaderFault[] {
  const entries = Object.entries(headers);
  const faults: HeaderFault[] = [];
  if (entries.length > rules.count) {
    faults.push({ code: 'too_many_headers', detail: `at most ${rules.count} headers` });
  }
  if (entries.reduce((bytes, [name, value]) => bytes + name.length + value.length + 4, 0) > rules.totalBytes) {
    faults.push({ code: 'headers_too_large', detail: `all headers together may have at most ${rules.totalBytes} bytes` });
  }
  const seen = new Set<string>();
  for (const [name, value] of entries) {
    if (!token.test(name) || name.length > rules.nameLength) {
      faults.push({ name, code: 'invalid_header_name', detail: `is not a header name of at most ${rules.nameLength} characters` });
    } else if (isReservedHeader(name)) faults.push({ name, code: 'reserved_header', detail: 'is set by Tocsin or not allowed' });
    else if (seen.has(name.toLowerCase())) faults.push({ name, code: 'invalid_header_name', detail: 'is given twice' });
    seen.add(name.toLowerCase());
    if (value.length > rules.valueLength || !printable.test(value)) {
      faults.push({ name, code: 'invalid_header_value', detail: `may have at most ${rules.valueLength} printable ASCII characters` });
    }
  }
  return faults;
}
