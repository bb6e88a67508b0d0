import type { EntityManager } from '@mikro-orm/postgresql';
import type { z } from 'zod';
import type { RequestHeaders } from '../domain/cloud-event.ts';
import type { DomainError, Fault } from '../domain/errors.ts';
import type { Permission } from '../domain/permission.ts';
import type { AuditPart, AuditTrail } from './audit-trail.ts';
import type { Principal } from './authorization.ts';
import type { Dependencies } from './dependencies.ts';
import { parseInput } from './validation.ts';

/** Where the API is mounted. */
export const basePath = '/api/v2';

/** One operation of the API. What is written here is served, documented (openapi.json) and, when it changes something, audited. */
export interface EndpointDefinition<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, C> {
  /** `webhook.rotate_secret`: the operation id, and the audit action unless the handler names another. */
  readonly name: string;
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** Below the base path, with parameters in braces: `/webhooks/{id}`. */
  readonly path: string;
  /** Heading in the documentation. */
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  /** What the caller must hold; `authenticated` = nothing but a valid credential. */
  readonly permission: Permission | 'authenticated';
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  /** Bodies by media type, for a handler that reads them itself (`json`, `rawBody`): documented, not checked. Instead of `body`. */
  readonly bodies?: Readonly<Record<string, z.ZodType>>;
  /** Successful answers by status. The first is the default. Failures are documented for all endpoints alike. */
  readonly responses: Readonly<Record<number, ResponseDefinition>>;
  /** Honours `Idempotency-Key`: for POST that creates. Only for endpoints in the request's transaction. */
  readonly idempotent?: boolean;
  /** Whether it MUST record an audit entry. Default: every method but GET. */
  readonly audited?: boolean;
  /** Bytes. Default 1 MiB. */
  readonly bodyLimit?: number;
  /** Media types it takes. Default `application/json`. */
  readonly mediaTypes?: readonly string[];
  /** Takes `If-Match` with the resource's version. */
  readonly conditional?: boolean;
  /**
   * Rules that depend on this process's configuration, or on what can only be asked for. Runs on the body as it came, before any
   * transaction, so that its faults are told together with those of the schema.
   */
  readonly inspect?: (body: unknown, deps: Dependencies, principal: Principal) => Promise<readonly Fault[]>;
  readonly handler: (context: C & { readonly input: Input<P, Q, B> }) => Promise<Answer>;
}

export interface ResponseDefinition {
  readonly description: string;
  /** Shape of the JSON body; absent = no body, unless `mediaType` says otherwise. */
  readonly schema?: z.ZodType;
  readonly mediaType?: string;
}

export interface Input<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> {
  readonly params: z.output<P>;
  readonly query: z.output<Q>;
  readonly body: z.output<B>;
}

export interface Answer {
  /** Default: the endpoint's first documented status. */
  readonly status?: number;
  /** Sent as JSON; a string is sent as it is, with the `Content-Type` given in `headers`. Undefined = no body. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What every handler gets. */
export interface RequestContext {
  readonly principal: Principal;
  readonly now: Date;
  readonly requestId: string;
  readonly deps: Dependencies;
  /** The body exactly as it came: number text and key order survive only here. */
  readonly rawBody: string;
  /** The body as JSON, unchecked; undefined when there is none. */
  readonly json: unknown;
  /** Lower-case names, as Node gives them. */
  readonly headers: RequestHeaders;
  /** Lower case, without parameters; empty when there is no body. */
  readonly mediaType: string;
  /** Version from `If-Match`; undefined when absent or `*`. */
  readonly ifMatch: number | undefined;
  readonly idempotencyKey: string | undefined;
  readonly trail: AuditTrail;
  /** Runs `work` once the transaction is committed, without delaying the answer; its failure is logged. */
  readonly afterCommit: (work: () => Promise<unknown> | void) => void;
  /** If the request fails, `record` is what records that, once its transaction is rolled back; it tells the ids (UUIDs) of the audit entries. */
  readonly recordFailureBy: (record: () => Promise<readonly string[]>) => void;
}

/** The handler runs inside one transaction of the principal's organization, which commits when it returns. */
export interface TransactionContext extends RequestContext {
  readonly em: EntityManager;
  /** Records what happened; written in the same transaction, in which `onEntry` gets the entry's id (UUID) afterwards. */
  readonly audit: (part: AuditPart, onEntry?: (entryId: string) => Promise<void>) => void;
}

/** The handler commits by itself, its audit entries included (`trail.complete`), and reports their ids. */
export interface OwnTransactionContext extends RequestContext {
  /** Tells the ids (UUIDs) of the entries that the handler committed; MUST be called, with none when nothing was changed. */
  readonly auditedAs: (entryIds: readonly string[]) => void;
  /** Records that part of the request was refused, as a refusal of all of it is: for bulk operations, whose parts stand or fall alone. */
  readonly auditRefusal: (error: DomainError) => Promise<void>;
}

/** Raw parts of a request; `undefined` body = none was sent. */
export interface RawInput {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}

type Metadata = Omit<EndpointDefinition<z.ZodType, z.ZodType, z.ZodType, never>, 'handler' | 'audited'> & { readonly audited: boolean };

/** An endpoint whose types have served their purpose. `prepare` validates and throws all faults at once. */
export type Endpoint = Metadata &
  (
    | {
        readonly transaction: 'request';
        prepare(raw: RawInput, faults: readonly Fault[]): (context: TransactionContext) => Promise<Answer>;
      }
    | { readonly transaction: 'own'; prepare(raw: RawInput, faults: readonly Fault[]): (context: OwnTransactionContext) => Promise<Answer> }
  );

/** Defines an endpoint that runs in the request's transaction: the usual kind. */
export function endpoint<P extends z.ZodType = z.ZodUndefined, Q extends z.ZodType = z.ZodUndefined, B extends z.ZodType = z.ZodUndefined>(
  definition: EndpointDefinition<P, Q, B, TransactionContext>,
): Endpoint {
  return { ...closeTypes(definition), transaction: 'request' };
}

/** Defines an endpoint that manages its own transactions: for group commit and for what must not hold one open while it waits. */
export function ownTransactionEndpoint<
  P extends z.ZodType = z.ZodUndefined,
  Q extends z.ZodType = z.ZodUndefined,
  B extends z.ZodType = z.ZodUndefined,
>(definition: EndpointDefinition<P, Q, B, OwnTransactionContext>): Endpoint {
  return { ...closeTypes(definition), transaction: 'own' };
}

/** The definition with its schemas and its handler joined: from here on nobody needs to know the types of its input. */
function closeTypes<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, C>(definition: EndpointDefinition<P, Q, B, C>) {
  const { handler, ...metadata } = definition;
  return {
    ...metadata,
    audited: definition.audited ?? definition.method !== 'get',
    prepare(raw: RawInput, faults: readonly Fault[]) {
      const input = parseInput(definition, raw, faults);
      return (context: C) => handler({ ...context, input });
    },
  };
}
