/** What callers say about something that happened. Everything else in an entry is derived from it (entry.ts). */

export const actorTypes = ['user', 'service_account', 'system', 'agent', 'workflow'] as const;
export type AuditActorType = (typeof actorTypes)[number];

export const auditStatuses = ['success', 'failure', 'blocked'] as const;
/** `blocked`: refused by authentication, permission or policy. `failure`: allowed, but it did not work. */
export type AuditStatus = (typeof auditStatuses)[number];

export const auditTools = [
  'console',
  'api',
  'cli',
  'terraform',
  'git_push',
  'webhook',
  'workflow',
  'scheduler',
  'agent',
  'system',
  'other',
] as const;
export type AuditTool = (typeof auditTools)[number];

/** Who did it. `id` is opaque: a UUID for our own users and service accounts, never an e-mail address. */
export interface AuditActor {
  type: AuditActorType;
  /** At most 128 characters. The system's is `system`, and `subsystem` says which part. */
  id: string;
  creatorId?: string | undefined;
  subsystem?: string | undefined;
  onBehalfOf?: string | undefined;
  apiTokenId?: string | undefined;
  apiTokenName?: string | undefined;
  /** Private. */
  email?: string | undefined;
  /** Private. */
  name?: string | undefined;
}

/** A snapshot: it still tells what it was after the thing is gone. The name is private when the type is a person's. */
export interface AuditResource {
  type: string;
  id: string;
  name?: string | undefined;
  /** Whose private values these are, where the type is a person's and the id is not theirs: a contact method's owner. Not in the entry. */
  subjectId?: string | undefined;
}

export interface AuditCorrelation {
  /** First event of the chain. Default: the event, else the trace. */
  root?: string | undefined;
  eventId?: string | undefined;
  deliveryId?: string | undefined;
  escalationId?: string | undefined;
  digestId?: string | undefined;
  workflowId?: string | undefined;
  traceId?: string | undefined;
  requestId?: string | undefined;
}

/** JSON members; dates become RFC 3339 text, `undefined` members are left out, anything else that is not JSON is refused. */
export type AuditMembers = Readonly<Record<string, unknown>>;

export interface AuditMessage {
  query?: AuditMembers | undefined;
  headers?: AuditMembers | undefined;
  body?: unknown;
}

export interface AuditDraft {
  /** UUID of the organization whose log this enters. */
  orgId: string;
  /** `noun.verb`, base form (`webhook.create`); the outcome is `status`. */
  action: string;
  actor: AuditActor;
  /** Default `success`. */
  status?: AuditStatus | undefined;
  /** Why it was blocked or failed: a short code, in clear. At most 64 characters. */
  reason?: string | undefined;
  /** Default: when it is recorded. At most 31 days before that, or 5 minutes after. */
  occurredAt?: Date | undefined;
  /** UUID. */
  projectId?: string | undefined;
  /** The producer's own text, at most 128 characters. */
  tenantId?: string | undefined;
  resource?: AuditResource | undefined;
  /** At most 16 further things it touched. */
  targets?: readonly AuditResource[] | undefined;
  /** Who posted it, when that is not the actor. */
  submitter?: { type: AuditActorType; id: string } | undefined;
  /** Top-level names that changed. Default: what differs between `before` and `after`. */
  changed?: readonly string[] | undefined;
  /** Private; the state before and after. Give both for an update: the difference is computed. */
  before?: object | undefined;
  after?: object | undefined;
  /** Route template, never the path: a path may hold a secret. */
  http?: { method: string; route: string; status: number } | undefined;
  /** Private. */
  request?: AuditMessage | undefined;
  /** Private. */
  response?: AuditMessage | undefined;
  /** Private; an IPv4 or IPv6 address. */
  ip?: string | undefined;
  /** Private. */
  userAgent?: string | undefined;
  /** Default follows the actor: `system`, `workflow`, `agent`, else `api`. */
  tool?: AuditTool | undefined;
  /** 7-64 hexadecimal digits. */
  gitCommitSha?: string | undefined;
  correlation?: AuditCorrelation | undefined;
  /** The justification is private. */
  breakGlass?: { sessionId: string; justification?: string | undefined } | undefined;
  recording?: { id: string; root: string } | undefined;
  /** Scalars that the action's schema declares clear stand in clear, the rest is private. */
  details?: AuditMembers | undefined;
}
