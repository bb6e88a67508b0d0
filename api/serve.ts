import type { Request, Response } from 'express';
import { appendAudit } from '../db/audit-log.ts';
import { inOrganization } from '../db/tenant.ts';
import { DomainError, validationFailed } from '../domain/errors.ts';
import { toWireId } from '../domain/id.ts';
import { createAuditTrail } from './audit-trail.ts';
import type { AuditPart, AuditTrail } from './audit-trail.ts';
import { assertPermission } from './authorization.ts';
import type { Principal } from './authorization.ts';
import { readBody } from './body.ts';
import type { Background } from './background.ts';
import type { Dependencies } from './dependencies.ts';
import type { Answer, Endpoint, OwnTransactionContext, RequestContext } from './endpoint.ts';
import type { Exchange } from './exchange.ts';
import { claimIdempotencyKey, hashRequest, parseIdempotencyKey, storeAnswer } from './idempotency.ts';
import type { IdempotentRequest } from './idempotency.ts';
import { problems, toProblem } from './problem.ts';
import type { Refusals } from './refusals.ts';

const defaultBodyLimit = 1024 * 1024;
const defaultMediaTypes = ['application/json'];

export interface Server {
  readonly deps: Dependencies;
  readonly refusals: Refusals;
  readonly background: Background;
  /** Checks each answer against its documented schema: for tests, so that the documentation cannot drift. */
  readonly verifyAnswers: boolean;
}

/** An answer ready to send. */
export interface Reply {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
}

/**
 * One request, in the order that the specification reads: authenticate, authorize, validate, idempotency, transaction, handler,
 * audit. Throws what is to be answered as a problem.
 */
export async function serve(endpoint: Endpoint, request: Request, exchange: Exchange, server: Server): Promise<Reply> {
  const principal = await admit(endpoint, request, exchange, server);
  const trail = trailOf(endpoint, request, exchange, principal);
  let recordOwn: (() => Promise<readonly string[]>) | undefined;
  try {
    if (endpoint.permission !== 'authenticated') assertPermission(principal, endpoint.permission);
    const body = await readBody(request, {
      limit: endpoint.bodyLimit ?? defaultBodyLimit,
      mediaTypes: endpoint.mediaTypes ?? defaultMediaTypes,
    });
    const afterCommit: Array<() => Promise<unknown> | void> = [];
    const context: RequestContext = {
      principal,
      now: exchange.startedAt,
      requestId: exchange.requestId,
      deps: server.deps,
      rawBody: body.text,
      json: body.json,
      headers: request.headers,
      mediaType: body.mediaType,
      ifMatch: endpoint.conditional === true ? parseIfMatch(header(request, 'if-match')) : undefined,
      idempotencyKey: parseIdempotencyKey(header(request, 'idempotency-key')),
      trail,
      afterCommit: (work) => afterCommit.push(work),
      recordFailureBy: (record) => (recordOwn = record),
    };
    const raw = { params: request.params, query: parseQuery(request.url), body: body.json };
    const auditRefusal = async (error: DomainError): Promise<void> => {
      await recordFailure(error, { endpoint, request, exchange, principal, trail }, server);
    };
    const reply = await run(endpoint, { raw, context, path: request.path, auditRefusal }, server);
    for (const work of afterCommit) server.background.run(endpoint.name, work);
    return reply;
  } catch (error) {
    const failure = { endpoint, request, exchange, principal, trail };
    exchange.auditEntryIds = (await tryOwn(recordOwn, failure, server)) ?? (await recordFailure(error, failure, server));
    throw error;
  }
}

/** Finds out who asks; a refusal is audited where the credential tells the organization. */
async function admit(endpoint: Endpoint, request: Request, exchange: Exchange, { deps, refusals }: Server): Promise<Principal> {
  const result = await deps.authentication.authenticate(header(request, 'authorization'), exchange.startedAt);
  if (result.principal !== undefined) exchange.principal = result.principal;
  if (result.outcome === 'admitted') return result.principal;
  exchange.reason = result.reason;
  if (result.principal !== undefined) {
    const { principal } = result;
    exchange.auditEntryIds = await refusals.record({
      principal,
      trail: trailOf(endpoint, request, exchange, principal),
      part: {
        action: 'api_key.use',
        status: 'blocked',
        reason: result.reason,
        resource: { type: 'api_key', id: principal.apiKey.id, name: principal.apiKey.name },
      },
      httpStatus: problems.unauthenticated.status,
      now: exchange.startedAt,
    });
  }
  throw new DomainError('unauthenticated', 'A valid credential is needed: Authorization: Bearer <API key>.');
}

interface Call {
  readonly raw: { readonly params: unknown; readonly query: unknown; readonly body: unknown };
  readonly context: RequestContext;
  readonly path: string;
  readonly auditRefusal: OwnTransactionContext['auditRefusal'];
}

async function run(endpoint: Endpoint, { raw, context, path, auditRefusal }: Call, server: Server): Promise<Reply> {
  const faults = endpoint.inspect === undefined ? [] : await endpoint.inspect(raw.body, server.deps, context.principal);
  if (endpoint.transaction === 'own') {
    let entryIds: readonly string[] | undefined;
    const answer = await endpoint.prepare(raw, faults)({ ...context, auditRefusal, auditedAs: (ids) => (entryIds = ids) });
    if (endpoint.audited && entryIds === undefined) throw new Error(`${endpoint.name} did not tell its audit entries`);
    return toReply(endpoint, answer, entryIds ?? [], server.verifyAnswers);
  }
  const handle = endpoint.prepare(raw, faults);
  const { deps } = server;
  const { principal, idempotencyKey: key } = context;
  return inOrganization(deps.orm, principal.organizationId, async (em) => {
    if (endpoint.idempotent === true && key !== undefined) {
      const request: IdempotentRequest = {
        principal,
        key,
        requestHash: hashRequest(endpoint.method, path, context.rawBody),
        now: context.now,
      };
      const stored = await claimIdempotencyKey(em, deps.secrets, request);
      if (stored !== undefined) return { ...stored, headers: { ...stored.headers, 'Idempotency-Replayed': 'true' } };
    }
    const parts: Array<{ part: AuditPart; onEntry: ((entryId: string) => Promise<void>) | undefined }> = [];
    const answer = await handle({ ...context, em, audit: (part, onEntry) => parts.push({ part, onEntry }) });
    // Nothing is changed without a trace: thrown inside the transaction, this rolls back what the handler did.
    if (endpoint.audited && parts.length === 0) throw new Error(`${endpoint.name} recorded no audit entry`);
    const status = statusOf(endpoint, answer);
    const entryIds =
      parts.length === 0
        ? []
        : await appendAudit(
            em,
            parts.map(({ part }) => context.trail.complete(part, status)),
          );
    for (const [index, { onEntry }] of parts.entries()) await onEntry?.(entryIds[index]!);
    const reply = toReply(endpoint, answer, entryIds, server.verifyAnswers);
    if (endpoint.idempotent === true && key !== undefined) await storeAnswer(em, deps.secrets, { principal, key, answer: reply });
    return reply;
  });
}

function statusOf(endpoint: Endpoint, answer: Answer): number {
  return answer.status ?? Number(Object.keys(endpoint.responses)[0]);
}

function toReply(endpoint: Endpoint, answer: Answer, auditEntryIds: readonly string[], verify: boolean): Reply {
  const status = statusOf(endpoint, answer);
  if (verify) endpoint.responses[status]!.schema?.parse(shownBody(answer));
  const headers: Record<string, string> = {};
  let body = '';
  if (typeof answer.body === 'string') body = answer.body;
  else if (answer.body !== undefined) {
    body = JSON.stringify(answer.body);
    headers['Content-Type'] = 'application/json; charset=utf-8';
  }
  Object.assign(headers, answer.headers, auditHeader(auditEntryIds));
  return { status, headers, body };
}

/** A replayed answer is the text that was sent before. */
function shownBody({ body, headers }: Answer): unknown {
  return typeof body === 'string' && headers?.['Content-Type']?.startsWith('application/json') === true ? JSON.parse(body) : body;
}

/** `Tocsin-Audit-Id`: where the entries of this request are found. A bulk answer names them in its body instead. */
export function auditHeader(entryIds: readonly string[]): Record<string, string> {
  if (entryIds.length === 0 || entryIds.length > 20) return {};
  return { 'Tocsin-Audit-Id': entryIds.map((id) => toWireId('audit_entry', id)).join(', ') };
}

interface Failure {
  readonly endpoint: Endpoint;
  readonly request: Request;
  readonly exchange: Exchange;
  readonly principal: Principal;
  readonly trail: AuditTrail;
}

/** What the handler records of its failure. @returns undefined: nothing, it is left to the server */
async function tryOwn(
  record: (() => Promise<readonly string[]>) | undefined,
  { endpoint, principal: { organizationId }, exchange: { requestId } }: Failure,
  { deps }: Server,
): Promise<readonly string[] | undefined> {
  try {
    return await record?.();
  } catch (error) {
    // The caller's answer is already decided.
    deps.log.error('audit', { organizationId, requestId, action: endpoint.name, error });
    return undefined;
  }
}

/** Not allowed = `blocked`; allowed, but it failed = `failure`. What is merely malformed, invalid or unknown is only counted. */
async function recordFailure(error: unknown, failure: Failure, server: Server): Promise<readonly string[]> {
  const { endpoint, request, exchange, principal, trail } = failure;
  const { code, status: httpStatus } = toProblem(error, exchange.requestId);
  const blocked = httpStatus === 403;
  const failed = endpoint.audited && [409, 410, 412, 500].includes(httpStatus);
  if (!blocked && !failed) return [];
  const id = request.params['id'];
  const part: AuditPart = {
    status: blocked ? 'blocked' : 'failure',
    reason: code,
    // The id as the caller wrote it: whether it exists is not known here. What an entry cannot hold must not keep the entry from being written.
    ...(typeof id === 'string'
      ? { resource: { type: endpoint.name.split('.')[0]!, id: id.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 128) } }
      : {}),
    // Who holds it was refused by the handler, which knows more.
    ...(blocked && endpoint.permission !== 'authenticated' && !principal.permissions.has(endpoint.permission)
      ? { details: { permission: endpoint.permission } }
      : {}),
  };
  return server.refusals.record({ principal, trail, part, httpStatus, now: exchange.startedAt });
}

function trailOf(endpoint: Endpoint, request: Request, exchange: Exchange, principal: Principal): AuditTrail {
  return createAuditTrail({
    action: endpoint.name,
    method: endpoint.method,
    route: exchange.route,
    requestId: exchange.requestId,
    ip: request.socket.remoteAddress?.replace(/^::ffff:/, ''),
    userAgent: header(request, 'user-agent'),
    principal,
    now: exchange.startedAt,
  });
}

function header(request: Request, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** `"3"`, `W/"3"` or `3` is a version; `*` asks for no particular one. */
function parseIfMatch(value: string | undefined): number | undefined {
  if (value === undefined || value === '*') return undefined;
  const version = /^(?:W\/)?"?(\d{1,9})"?$/.exec(value)?.[1];
  if (version === undefined) throw validationFailed([{ pointer: '/headers/if-match', detail: 'must be the version of the resource' }]);
  return Number(version);
}

/** A parameter given twice is an array, which only schemas of lists take. */
function parseQuery(url: string): Record<string, string | string[]> {
  const at = url.indexOf('?');
  if (at === -1) return {};
  const query: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>;
  for (const [name, value] of new URLSearchParams(url.slice(at + 1))) {
    const before = query[name];
    query[name] = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value];
  }
  return query;
}

/** Sends a reply; a caller who has gone is no error. */
export function send(response: Response, { status, headers, body }: Reply): void {
  response.writeHead(status, { 'Cache-Control': 'no-store', ...headers, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}
