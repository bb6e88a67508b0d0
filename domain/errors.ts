/**
 * Errors that a caller may see. Three things stay apart: the stable code (programs act on it), the public detail (people read it)
 * and the cause (goes to the log only). HTTP statuses are the business of api/problem.ts.
 */

/** Every code that can leave the server. A new one does not compile until api/problem.ts gives it a status. */
export const errorCodes = [
  // the request itself
  'malformed_request',
  'malformed_json',
  'missing_organization_context',
  'project_not_found',
  'payload_too_large',
  'unsupported_media_type',
  'validation_failed',
  'method_not_allowed',
  // who asks
  'unauthenticated',
  'permission_denied',
  'proof_too_weak',
  // what is asked for
  'not_found',
  'policy_not_found',
  'duplicate_name',
  'in_use',
  'override_overlap',
  'wrong_state',
  'tier_mismatch',
  'last_owner',
  'idempotency_key_reused',
  'stale_version',
  'too_many_secrets',
  'delivery_in_flight',
  'already_delivered',
  'destination_inactive',
  'payload_expired',
  // when it cannot be done now
  'rate_limited',
  'unavailable',
  'internal',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/**
 * One violation in a request. `pointer` is a JSON Pointer (RFC 6901) into the body, or `/query/<name>`, `/headers/<name>`
 * for what is not in the body. `code` names rules that programs react to (`invalid_scheme`), where there is one.
 */
export interface Fault {
  readonly pointer: string;
  readonly code?: string;
  readonly detail: string;
}

export interface DomainErrorOptions {
  readonly faults?: readonly Fault[];
  /** Whole seconds after which trying again makes sense; for `rate_limited` and `unavailable`. */
  readonly retryAfterSeconds?: number;
  /** Internal; MUST NOT reach an answer. */
  readonly cause?: unknown;
}

/** An expected failure with a public explanation. Anything else that is thrown is a defect and is answered as `internal`. */
export class DomainError extends Error {
  override readonly name = 'DomainError';
  readonly code: ErrorCode;
  readonly detail: string;
  readonly faults?: readonly Fault[];
  readonly retryAfterSeconds?: number;

  constructor(code: ErrorCode, detail: string, options: DomainErrorOptions = {}) {
    super(`${code}: ${detail}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.detail = detail;
    if (options.faults !== undefined) this.faults = options.faults;
    if (options.retryAfterSeconds !== undefined) this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** The answer for what is unknown, deleted or another organization's: the three MUST NOT be told apart. */
export function notFound(): DomainError {
  return new DomainError('not_found', 'No such resource in this organization.');
}

/** All violations of one request at once. `faults` MUST NOT be empty. */
export function validationFailed(faults: readonly Fault[]): DomainError {
  return new DomainError('validation_failed', faults.length === 1 ? 'One value is not valid.' : `${faults.length} values are not valid.`, {
    faults,
  });
}

/** The stored version moved on since the caller read it (`If-Match`). */
export function staleVersion(current: number): DomainError {
  return new DomainError('stale_version', `The resource changed meanwhile; its version is now ${current}.`);
}
