import { DomainError } from '../domain/errors.ts';
import type { ErrorCode, Fault } from '../domain/errors.ts';
import { MembersChangedError } from '../db/escalation-change.ts';
import { databaseFacts, isUnreachable } from '../db/failure.ts';
import { SecretUnavailableError } from '../db/secrets.ts';

/** `application/problem+json` (RFC 9457) with a stable `code` and, for validation, every violation. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  /** The request id, which is also in the log line. */
  readonly instance: string;
  readonly errors?: readonly Fault[];
}

/** The one place where an error becomes an HTTP status. Three titles are a contract with clients and are lower case. */
export const problems: Readonly<Record<ErrorCode, { readonly status: number; readonly title: string }>> = {
  malformed_request: { status: 400, title: 'Malformed request' },
  malformed_json: { status: 400, title: 'Malformed JSON' },
  missing_organization_context: { status: 400, title: 'missing organization context' },
  project_not_found: { status: 400, title: 'project not found in active organization' },
  unauthenticated: { status: 401, title: 'Authentication needed' },
  permission_denied: { status: 403, title: 'Not allowed' },
  proof_too_weak: { status: 403, title: 'Proof too weak' },
  not_found: { status: 404, title: 'Not found' },
  policy_not_found: { status: 404, title: 'notification policy not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  duplicate_name: { status: 409, title: 'Name taken' },
  in_use: { status: 409, title: 'Still in use' },
  override_overlap: { status: 409, title: 'Overrides overlap' },
  wrong_state: { status: 409, title: 'Not possible in this state' },
  tier_mismatch: { status: 409, title: 'At another tier' },
  last_owner: { status: 409, title: 'Last owner' },
  idempotency_key_reused: { status: 409, title: 'Idempotency key used for another request' },
  too_many_secrets: { status: 409, title: 'Too many secrets' },
  delivery_in_flight: { status: 409, title: 'Delivery in flight' },
  already_delivered: { status: 409, title: 'Already delivered' },
  destination_inactive: { status: 409, title: 'Destination inactive' },
  payload_expired: { status: 410, title: 'Payload expired' },
  stale_version: { status: 412, title: 'Changed meanwhile' },
  payload_too_large: { status: 413, title: 'Payload too large' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type' },
  validation_failed: { status: 422, title: 'Validation failed' },
  rate_limited: { status: 429, title: 'Too many requests' },
  internal: { status: 500, title: 'Internal error' },
  unavailable: { status: 503, title: 'Not available now' },
};

/** What of an error may be shown. An unknown error says nothing but where to look: its cause is for the log. */
export function toProblem(error: unknown, requestId: string): Problem {
  const known = error instanceof DomainError ? error : asKnown(error);
  const { status, title } = problems[known.code];
  return {
    type: 'about:blank',
    title,
    status,
    code: known.code,
    detail: known.code === 'internal' ? `Something failed here. The request id is ${requestId}.` : known.detail,
    instance: requestId,
    ...(known.faults === undefined ? {} : { errors: known.faults }),
  };
}

/** Seconds for the `Retry-After` header; undefined when the answer carries none. */
export function retryAfterSeconds(error: unknown): number | undefined {
  const known = error instanceof DomainError ? error : asKnown(error);
  if (known.code !== 'rate_limited' && known.code !== 'unavailable') return undefined;
  return known.retryAfterSeconds ?? 1;
}

/** SQLSTATE. */
const uniqueViolation = '23505';
const exclusionViolation = '23P01';

/** Errors of the database and of stored secrets that mean something to a caller; everything else is `internal`. */
function asKnown(error: unknown): DomainError {
  if (error instanceof SecretUnavailableError) {
    return new DomainError('unavailable', 'A stored secret cannot be decrypted with the keys of this server.', { cause: error });
  }
  if (error instanceof MembersChangedError) {
    return new DomainError('unavailable', 'So many events join the escalation now that it could not be changed. Repeat it.', {
      cause: error,
    });
  }
  const facts = databaseFacts(error);
  if (facts.code === uniqueViolation && facts.constraint?.endsWith('_name')) {
    const faults = [{ pointer: '/name', code: 'duplicate_name', detail: 'is taken' }];
    return new DomainError('duplicate_name', 'The name is taken.', { faults, cause: error });
  }
  if (facts.code === uniqueViolation && facts.constraint === 'member_email') {
    const faults = [{ pointer: '/email', code: 'duplicate_email', detail: 'is a member already' }];
    return new DomainError('duplicate_name', 'This e-mail address belongs to a member already.', { faults, cause: error });
  }
  if (facts.code === uniqueViolation && facts.constraint === 'contact_method_address') {
    const faults = [{ pointer: '/address', code: 'duplicate_address', detail: 'is one of your contact methods already' }];
    return new DomainError('duplicate_name', 'This address is one of your contact methods already.', { faults, cause: error });
  }
  if (facts.code === exclusionViolation && facts.constraint === 'schedule_override_overlap') {
    return new DomainError('override_overlap', 'Another override of this time names the same member, or replaces everybody.', {
      cause: error,
    });
  }
  if (isUnreachable(facts)) {
    return new DomainError(
      'unavailable',
      'The database cannot be reached. Whether this was done is not known: repeat it, with the same Idempotency-Key if it had one.',
      { retryAfterSeconds: 1, cause: error },
    );
  }
  return new DomainError('internal', '', { cause: error });
}
