import { isNativeError } from 'node:util/types';
import type { TransportFaultCode } from '../domain/outbound.ts';

/** A refused or failed connection, with the code that the attempt is recorded with. `detail` is one line without secrets. */
export class EgressFault extends Error {
  override readonly name = 'EgressFault';
  readonly code: TransportFaultCode;
  readonly detail: string;

  constructor(code: TransportFaultCode, detail: string, cause?: unknown) {
    super(`${code}: ${detail}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.detail = detail;
  }
}

/** Text of others as it is stored and shown: one line without control characters, at most `limit` UTF-16 units. */
export function oneLine(text: string, limit = 500): string {
  return text.replaceAll(/[\s\p{Cc}]+/gu, ' ').slice(0, limit);
}

/** Node's code of an error (`ECONNREFUSED`, `CERT_HAS_EXPIRED`) and its message, on one line. A library's own code may cover Node's: give that. */
export function describeError(error: unknown, code = codeOf(error)): string {
  if (!isNativeError(error)) return 'unknown error';
  const message = oneLine(error.message, 300);
  if (code === undefined) return message;
  return message === '' || message.includes(code) ? message || code : `${code}: ${message}`;
}

function codeOf(error: unknown): string | undefined {
  return isNativeError(error) && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
