import { createHash } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import type { SecretBox } from '../db/secrets.ts';
import { DomainError, validationFailed } from '../domain/errors.ts';
import type { Principal } from './authorization.ts';

export interface StoredAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** As sent. */
  readonly body: string;
}

/** How long the first answer is kept. */
export const idempotencyHours = 24;

/** The key of an `Idempotency-Key` header; throws when it is not 1-255 printable ASCII characters. */
export function parseIdempotencyKey(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  if (/^[\x21-\x7e]{1,255}$/.test(header)) return header;
  throw validationFailed([{ pointer: '/headers/idempotency-key', detail: 'must be 1 to 255 printable ASCII characters without spaces' }]);
}

/** SHA-256 over what makes two requests the same: the operation, its path and the body as sent. */
export function hashRequest(method: string, path: string, rawBody: string): Buffer {
  return createHash('sha256').update(`${method} ${path}\n`).update(rawBody).digest();
}

export interface IdempotentRequest {
  readonly principal: Principal;
  readonly key: string;
  readonly requestHash: Buffer;
  readonly now: Date;
}

/**
 * Takes the key in this transaction, or returns the answer that an earlier request got. A concurrent request with the same key
 * waits here until the first one has committed (then it gets the answer) or rolled back (then it is the first).
 * Throws `idempotency_key_reused` when the key belongs to another request.
 */
export async function claimIdempotencyKey(
  em: EntityManager,
  secrets: SecretBox,
  { principal, key, requestHash, now }: IdempotentRequest,
): Promise<StoredAnswer | undefined> {
  const db = em.getKysely();
  const claimed = await sql`
    insert into idempotency (org_id, principal_id, key, request_hash, created_at)
    values (${principal.organizationId}, ${principal.id}, ${key}, ${requestHash}, ${now})
    on conflict (org_id, principal_id, key) do update
      set request_hash = excluded.request_hash, created_at = excluded.created_at, status = null, headers = null, body = null
      where idempotency.created_at < excluded.created_at - make_interval(hours => ${idempotencyHours})
    returning 1`.execute(db);
  if (claimed.rows.length > 0) return undefined;
  const { rows } = await sql<{ request_hash: Buffer; status: number; headers: Record<string, string>; body: Buffer }>`
    select request_hash, status, headers, body from idempotency
    where org_id = ${principal.organizationId} and principal_id = ${principal.id} and key = ${key}`.execute(db);
  const stored = rows[0]!;
  if (!stored.request_hash.equals(requestHash)) {
    throw new DomainError('idempotency_key_reused', 'This Idempotency-Key was used for another request.');
  }
  return { status: stored.status, headers: stored.headers, body: secrets.open(stored.body, place(principal, key)) };
}

/**
 * Takes keys together with their answers, in a transaction that is sent in one piece. It fails as a whole when one of them is taken, which
 * `areKeysTaken` tells of its error; then `claimIdempotencyKey` finds out which.
 */
export function takeIdempotencyKeys(
  secrets: SecretBox,
  requests: ReadonlyArray<IdempotentRequest & { readonly answer: StoredAnswer }>,
): RawBuilder<unknown> {
  const { principal, now } = requests[0]!;
  const column = <T>(value: (request: (typeof requests)[number]) => T): T[] => requests.map(value);
  return sql`select take_idempotency_keys(
    ${principal.organizationId}::uuid, ${column((request) => request.principal.id)}::uuid[], ${column(({ key }) => key)}::text[],
    ${column(({ requestHash }) => requestHash)}::bytea[], ${column(({ answer }) => answer.status)}::int[],
    ${column(({ answer }) => JSON.stringify(answer.headers))}::jsonb[],
    ${column((request) => secrets.seal(request.answer.body, place(request.principal, request.key)))}::bytea[], ${now.toISOString()}::timestamptz)`;
}

export function areKeysTaken(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'TR002';
}

/** Keeps the answer for later requests with the same key; commits with what the request did. */
export async function storeAnswer(
  em: EntityManager,
  secrets: SecretBox,
  { principal, key, answer }: { principal: Principal; key: string; answer: StoredAnswer },
): Promise<void> {
  await sql`
    update idempotency set status = ${answer.status}, headers = ${JSON.stringify(answer.headers)}::jsonb,
      body = ${secrets.seal(answer.body, place(principal, key))}
    where org_id = ${principal.organizationId} and principal_id = ${principal.id} and key = ${key}`.execute(em.getKysely());
}

function place(principal: Principal, key: string) {
  return { organizationId: principal.organizationId, table: 'idempotency', row: `${principal.id} ${key}`, field: 'body' };
}
