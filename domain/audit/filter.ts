/** Which entries are meant: one type for everything that selects entries. Within a field any value may match; the fields all must. */
import type { AuditCategory, AuditClass } from './actions.ts';
import type { AuditActorType, AuditStatus, AuditTool } from './draft.ts';

export interface AuditFilter {
  /** On `occurredAt`: from inclusive, to exclusive. Both bound the months that are read. */
  readonly from: Date;
  readonly to: Date;
  /** Exact, or `noun.*`. */
  readonly actions?: readonly string[] | undefined;
  readonly verbs?: readonly string[] | undefined;
  readonly categories?: readonly AuditCategory[] | undefined;
  readonly classes?: readonly AuditClass[] | undefined;
  readonly actorIds?: readonly string[] | undefined;
  readonly actorTypes?: readonly AuditActorType[] | undefined;
  readonly statuses?: readonly AuditStatus[] | undefined;
  /** A type, or one thing of it. */
  readonly resources?: ReadonlyArray<{ readonly type: string; readonly id?: string | undefined }> | undefined;
  readonly resourceTypes?: readonly string[] | undefined;
  readonly resourceIds?: readonly string[] | undefined;
  /** UUIDs. */
  readonly projectIds?: readonly string[] | undefined;
  readonly tenantIds?: readonly string[] | undefined;
  readonly gitCommitShas?: readonly string[] | undefined;
  /** Roots of correlation. */
  readonly correlationIds?: readonly string[] | undefined;
  readonly tools?: readonly AuditTool[] | undefined;
  /** Whether made within a break-glass session. */
  readonly breakGlass?: boolean | undefined;
}
