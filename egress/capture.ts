import type { Outcome } from '../domain/delivery.ts';
import type { HttpRequest, HttpResponse } from '../domain/outbound.ts';
import type { Redactor } from '../domain/redaction.ts';
import { oneLine } from './fault.ts';

/** What is kept of an answer: enough to see what happened, without the destination's secrets. */
export interface Capture {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly encoding: 'utf8' | 'base64';
  /** There was more body than is kept. */
  readonly truncated: boolean;
}

const successBytes = 1_024;
const failureBytes = 16 * 1_024;
const headerCount = 64;
const headerBytes = 8 * 1_024;

/** Header names whose values are credentials of the receiver's. */
const neverKept = new Set(['set-cookie', 'set-cookie2']);

/** The part of a response that goes into the attempt's row. Text is decoded lossily; a body that is not text is kept as base64. */
export function captureResponse(response: HttpResponse, outcome: Outcome, redact: Redactor): Capture {
  const limit = outcome === 'delivered' ? successBytes : failureBytes;
  const bytes = Buffer.from(response.body.buffer, response.body.byteOffset, response.body.byteLength);
  const headers = captureHeaders(response.headers, redact);
  if (bytes.includes(0)) {
    // Byte by byte first, which finds every spelling of a secret; then in base64, for secrets that are not ASCII.
    const clean = Buffer.from(redact(bytes.toString('latin1')), 'latin1');
    return {
      headers,
      body: redact(clean.subarray(0, limit).toString('base64')),
      encoding: 'base64',
      truncated: response.bodyTruncated || clean.length > limit,
    };
  }
  // redacted before it is cut, or a secret across the cut would leave its first half
  const text = redact(bytes.toString('utf8'));
  const cut = cutBytes(text, limit);
  return { headers, body: cut, encoding: 'utf8', truncated: response.bodyTruncated || cut.length < text.length };
}

function captureHeaders(headers: HttpResponse['headers'], redact: Redactor): Record<string, string> {
  const kept: Record<string, string> = {};
  let bytes = 0;
  for (const [name, value] of Object.entries(headers).slice(0, headerCount)) {
    if (neverKept.has(name)) continue;
    const text = redact(Array.isArray(value) ? value.join(', ') : value);
    bytes += name.length + text.length;
    if (bytes > headerBytes) break;
    kept[name] = text;
  }
  return kept;
}

/** At most `limit` bytes of UTF-8, without a torn character. */
function cutBytes(text: string, limit: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= limit) return text;
  let end = limit;
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}

/** The explanation of a failure as it is stored: on one line, at most 500 characters. */
export function captureDetail(detail: string | undefined, redact: Redactor): string | null {
  return detail === undefined ? null : oneLine(redact(detail));
}

/** A signature over a known body invites guessing a weak secret at leisure, so it is never kept. */
const signatureHeaders = new Set(['webhook-signature', 'x-webhook-signature', 'x-webhook-signature-previous']);

/** Request headers as they are stored: of the organization's own and of signatures only the names. */
export function captureRequestHeaders({ headers, privateHeaders }: HttpRequest, redact: Redactor): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => {
      const key = name.toLowerCase();
      return [name, privateHeaders.has(key) || signatureHeaders.has(key) ? '[redacted]' : redact(value)];
    }),
  );
}
