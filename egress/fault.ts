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

/** Node's code of an error (`ECONNREFUSED`, `CERT_HAS_EXPIRED`), else its message, on one line. */
export function describeError(error: unknown): string {
  if (!isNativeError(error)) return 'unknown error';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  const message = error.message.replaceAll(/\s+/g, ' ').slice(0, 300);
  if (code === undefined) return message;
  return message === '' || message.includes(code) ? message || code : `${code}: ${message}`;
}
