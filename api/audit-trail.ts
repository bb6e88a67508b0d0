import type { AuditDraft } from '../domain/audit/entry.ts';
import type { Principal } from './authorization.ts';

/**
 * What a handler says about one thing that happened; the rest of the entry is known from the request. Ids are UUIDs. `action`
 * defaults to the endpoint's name, `status` to success; `before` and `after` are the resource as the API presents it.
 */
export type AuditPart = Partial<
  Pick<
    AuditDraft,
    | 'action'
    | 'status'
    | 'reason'
    | 'resource'
    | 'targets'
    | 'projectId'
    | 'tenantId'
    | 'gitCommitSha'
    | 'changed'
    | 'before'
    | 'after'
    | 'details'
    | 'correlation'
  >
>;

export interface AuditTrail {
  /** The full entry for a part: actor, request, time and tool filled in. `httpStatus` is the status that will be answered. */
  complete(part: AuditPart, httpStatus: number): AuditDraft;
}

export interface RequestFacts {
  readonly action: string;
  readonly method: string;
  /** Template, so that entries group by operation: `/api/v2/webhooks/{id}`. */
  readonly route: string;
  readonly requestId: string;
  readonly ip: string | undefined;
  readonly userAgent: string | undefined;
  readonly principal: Principal;
  readonly now: Date;
}

/** Everything an entry says that follows from the request alone. */
export function createAuditTrail({ action, method, route, requestId, ip, userAgent, principal, now }: RequestFacts): AuditTrail {
  const actor = {
    type: principal.type,
    id: principal.id,
    creatorId: principal.creatorId,
    apiTokenId: principal.apiKey.id,
    apiTokenName: principal.apiKey.name,
    email: principal.email,
    name: principal.name,
  };
  return {
    complete: (part, httpStatus) => ({
      action,
      ...part,
      orgId: principal.organizationId,
      actor,
      occurredAt: now,
      http: { method: method.toUpperCase(), route, status: httpStatus },
      ip,
      userAgent: userAgent?.slice(0, 512),
      tool: 'api',
      correlation: { ...part.correlation, requestId },
    }),
  };
}
