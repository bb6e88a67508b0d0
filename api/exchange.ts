import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { ErrorCode } from '../domain/errors.ts';
import type { Principal } from './authorization.ts';

/** What is known of one request while it is served; it ends as one log line. */
export interface Exchange {
  readonly requestId: string;
  /** Path template, never the path: paths may hold what should not be logged. */
  readonly route: string;
  readonly startedAt: Date;
  principal?: Principal;
  errorCode?: ErrorCode;
  /** Why a credential was refused. */
  reason?: string;
  error?: unknown;
  auditEntryIds?: readonly string[];
}

/** Begins an exchange with the caller's `X-Request-Id` where it is a plain token, else with one of our own. */
export function beginExchange(request: IncomingMessage, route: string): Exchange {
  const given = request.headers['x-request-id'];
  const requestId = typeof given === 'string' && /^[A-Za-z0-9._:-]{1,128}$/.test(given) ? given : randomUUID();
  return { requestId, route, startedAt: new Date() };
}
