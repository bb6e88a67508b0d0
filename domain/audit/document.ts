/** The hashed document of an entry, and the columns that are copied from it so that it can be found. */
import type { JsonObject, JsonValue } from './canonical.ts';
import type { AuditClass, AuditCategory } from './actions.ts';
import type { AuditActorType, AuditStatus, AuditTool } from './draft.ts';

export type DocumentResource = {
  readonly type: string;
  readonly id: string;
  /** A marker when the name was too long or held a secret. */
  readonly name?: JsonValue | undefined;
};

/** What is hashed: clear fields and the commitments to private ones (docs/audit-format.md). Absent fields are absent, never null. */
export type EntryDocument = {
  readonly v: 1;
  readonly schema: string;
  readonly id: string;
  readonly orgId: string;
  readonly projectId?: string | undefined;
  readonly tenantId?: string | undefined;
  readonly occurredAt: string;
  readonly recordedAt: string;
  readonly actor: {
    readonly type: AuditActorType;
    readonly id: string;
    readonly creatorId?: string | undefined;
    readonly subsystem?: string | undefined;
    readonly onBehalfOf?: string | undefined;
    readonly apiTokenId?: string | undefined;
    readonly apiTokenName?: string | undefined;
  };
  readonly submitter?: { readonly type: AuditActorType; readonly id: string } | undefined;
  readonly action: string;
  readonly verb: string;
  readonly category: AuditCategory;
  readonly class: AuditClass;
  readonly status: AuditStatus;
  readonly reason?: string | undefined;
  readonly resource?: DocumentResource | undefined;
  readonly targets?: readonly DocumentResource[] | undefined;
  readonly changed?: readonly string[] | undefined;
  readonly http?: { readonly method: string; readonly route: string; readonly status: number } | undefined;
  readonly tool: AuditTool;
  readonly gitCommitSha?: string | undefined;
  readonly correlation?: Readonly<Record<string, string | undefined>> | undefined;
  readonly breakGlass?: { readonly sessionId: string } | undefined;
  readonly recording?: { readonly id: string; readonly root: string } | undefined;
  readonly details?: JsonObject | undefined;
  readonly commitments?: Readonly<Record<string, string>> | undefined;
};

/** Copies of document members in their own columns, for filters only: the document decides what is true. */
export interface EntryColumns {
  readonly projectId: string | null;
  readonly tenantId: string | null;
  readonly occurredAt: string;
  readonly class: string;
  readonly category: string;
  readonly action: string;
  readonly verb: string;
  readonly status: string;
  readonly actorType: string;
  readonly actorId: string;
  readonly resourceType: string | null;
  readonly resourceId: string | null;
  readonly resourceName: string | null;
  readonly tool: string;
  readonly gitCommitSha: string | null;
  readonly correlationId: string | null;
  readonly breakGlassSessionId: string | null;
  readonly changed: readonly string[] | null;
}

/** The columns that this document must have. Used when it is written and again when the log is verified. */
export function columnsOf(document: EntryDocument): EntryColumns {
  const { resource, correlation } = document;
  return {
    projectId: document.projectId ?? null,
    tenantId: document.tenantId ?? null,
    occurredAt: document.occurredAt,
    class: document.class,
    category: document.category,
    action: document.action,
    verb: document.verb,
    status: document.status,
    actorType: document.actor.type,
    actorId: document.actor.id,
    resourceType: resource?.type ?? null,
    resourceId: resource?.id ?? null,
    resourceName: typeof resource?.name === 'string' ? resource.name : null,
    tool: document.tool,
    gitCommitSha: document.gitCommitSha ?? null,
    correlationId: correlation?.['root'] ?? null,
    breakGlassSessionId: document.breakGlass?.sessionId ?? null,
    changed: document.changed ?? null,
  };
}
