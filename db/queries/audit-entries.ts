import type { EntityManager } from '@mikro-orm/postgresql';
import { type Expression, type ExpressionBuilder, type Kysely, type RawBuilder, type SqlBool, sql } from 'kysely';
import type { AuditFilter } from '../../domain/audit/filter.ts';
import { limits } from '../../domain/audit/limits.ts';
import { idTimeMs } from '../../domain/id.ts';

/** Columns of audit.entry but the bytes, which no list reads: they are most of a row. */
export interface AuditEntryRow {
  id: string;
  /** RFC 3339 in UTC with milliseconds. When it was recorded is in the id. */
  occurred_at: string;
  project_id: string | null;
  tenant_id: string | null;
  class: string;
  category: string;
  action: string;
  verb: string;
  status: string;
  actor_type: string;
  actor_id: string;
  resource_type: string | null;
  resource_id: string | null;
  resource_name: string | null;
  tool: string;
  git_commit_sha: string | null;
  correlation_id: string | null;
  break_glass_session_id: string | null;
  changed: string[] | null;
}

/** What stands beside an entry: its place in the tree, once it has one, and its private values. */
export interface AuditEntryCompanion {
  id: string;
  idx: string | null;
  chain_hash: Buffer | null;
  sequenced_at: string | null;
  envelopes: Buffer[] | null;
}

interface AuditTables {
  'audit.entry': Omit<AuditEntryRow, 'occurred_at'> & {
    occurred_at: Date;
    recorded_at: Date;
    org_id: string;
    canonical: Buffer;
    leaf_hash: Buffer;
  };
}

/** Columns of `AuditEntryRow` that are read as they are. */
export const entryColumns = [
  'id',
  'project_id',
  'tenant_id',
  'class',
  'category',
  'action',
  'verb',
  'status',
  'actor_type',
  'actor_id',
  'resource_type',
  'resource_id',
  'resource_name',
  'tool',
  'git_commit_sha',
  'correlation_id',
  'break_glass_session_id',
  'changed',
] as const;

/** A timestamp column as RFC 3339: the driver gives timestamps in the session's own notation. */
export const isoTime = (column: string): RawBuilder<string> =>
  sql<string>`to_char(${sql.ref(column)} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

export interface AuditPage {
  /** Entries after this one in the list's order. */
  readonly after?: { readonly occurredAt: string; readonly id: string } | undefined;
  readonly offset?: number | undefined;
  readonly limit: number;
}

/** Entries of the organization, newest first by `occurredAt`. */
export async function listAuditEntries(
  em: EntityManager,
  organizationId: string,
  filter: AuditFilter,
  { after, offset = 0, limit }: AuditPage,
): Promise<AuditEntryRow[]> {
  const db: Kysely<AuditTables> = em.getKysely<AuditTables>();
  let query = db
    .selectFrom('audit.entry')
    .select(entryColumns)
    .select(isoTime('occurred_at').as('occurred_at'))
    .where('org_id', '=', organizationId)
    .where((eb) => eb.and(conditions(eb, filter)));
  if (after !== undefined) {
    query = query.where(sql<SqlBool>`(occurred_at, id) < (${after.occurredAt}::timestamptz, ${after.id}::uuid)`);
  }
  return query.orderBy('audit.entry.occurred_at', 'desc').orderBy('id', 'desc').limit(limit).offset(offset).execute();
}

function conditions(eb: ExpressionBuilder<AuditTables, 'audit.entry'>, filter: AuditFilter): Array<Expression<SqlBool>> {
  const found: Array<Expression<SqlBool>> = [
    eb('occurred_at', '>=', filter.from),
    eb('occurred_at', '<', filter.to),
    // implied by the bounds of occurred_at; these keep other months out of the plan
    eb('recorded_at', '>=', new Date(filter.from.getTime() - limits.occurredAfterMs)),
    eb('recorded_at', '<', new Date(filter.to.getTime() + limits.occurredBeforeMs)),
  ];
  const among = (column: (typeof entryColumns)[number], values: readonly string[] | undefined): void => {
    if (values !== undefined) found.push(eb(column, 'in', values));
  };
  if (filter.actions !== undefined) found.push(eb.or(filter.actions.map((action) => actionCondition(eb, action))));
  among('verb', filter.verbs);
  among('category', filter.categories);
  among('class', filter.classes);
  among('actor_id', filter.actorIds);
  among('actor_type', filter.actorTypes);
  among('status', filter.statuses);
  among('resource_type', filter.resourceTypes);
  among('resource_id', filter.resourceIds);
  if (filter.resources !== undefined) found.push(eb.or(filter.resources.map((resource) => resourceCondition(eb, resource))));
  among('project_id', filter.projectIds);
  among('tenant_id', filter.tenantIds);
  among('git_commit_sha', filter.gitCommitShas);
  among('correlation_id', filter.correlationIds);
  among('tool', filter.tools);
  if (filter.breakGlass !== undefined) found.push(eb('break_glass_session_id', filter.breakGlass ? 'is not' : 'is', null));
  return found;
}

function actionCondition(eb: ExpressionBuilder<AuditTables, 'audit.entry'>, action: string): Expression<SqlBool> {
  return action.endsWith('.*') ? sql<SqlBool>`starts_with(action, ${action.slice(0, -1)})` : eb('action', '=', action);
}

function resourceCondition(
  eb: ExpressionBuilder<AuditTables, 'audit.entry'>,
  { type, id }: { readonly type: string; readonly id?: string | undefined },
): Expression<SqlBool> {
  const ofType = eb('resource_type', '=', type);
  return id === undefined ? ofType : eb.and([ofType, eb('resource_id', '=', id)]);
}

/** The stored document of one entry. Its month is known from its id, so one partition is read. */
export async function findAuditEntry(
  em: EntityManager,
  organizationId: string,
  id: string,
): Promise<(AuditEntryRow & { canonical: Buffer; leaf_hash: Buffer }) | undefined> {
  return em
    .getKysely<AuditTables>()
    .selectFrom('audit.entry')
    .select([...entryColumns, 'canonical', 'leaf_hash'])
    .select(isoTime('occurred_at').as('occurred_at'))
    .where('org_id', '=', organizationId)
    .where('id', '=', id)
    .where('recorded_at', '=', new Date(idTimeMs(id)))
    .executeTakeFirst();
}

/** The companions of these entries, by id. An id tells the month that its private values are in. */
export async function findCompanions(
  em: EntityManager,
  organizationId: string,
  ids: readonly string[],
): Promise<Map<string, AuditEntryCompanion>> {
  if (ids.length === 0) return new Map();
  const { rows } = await sql<AuditEntryCompanion>`
    select e.id, leaf.idx, leaf.chain_hash, ${isoTime('leaf.sequenced_at')} as sequenced_at, private.envelopes
    from unnest(${ids}::uuid[], ${ids.map((id) => new Date(idTimeMs(id)).toISOString())}::timestamptz[]) as e(id, recorded_at)
      left join audit.entry_private private on private.recorded_at = e.recorded_at and private.id = e.id and private.org_id = ${organizationId}
      left join (audit.tree join audit.leaf using (tree_id)) on tree.org_id = ${organizationId} and leaf.entry_id = e.id`.execute(
    em.getKysely(),
  );
  return new Map(rows.map((row) => [row.id, row]));
}

/** The chain hash before an entry's own: of the leaf before it, or the seed of its tree. */
export async function findPreviousChain(
  em: EntityManager,
  organizationId: string,
  entryId: string,
): Promise<{ epoch: number; origin: string; chainHash: Buffer | null } | undefined> {
  const { rows } = await sql<{ epoch: number; origin: string; chain_hash: Buffer | null }>`
    select tree.epoch, tree.origin, previous.chain_hash
    from audit.tree
      join audit.leaf using (tree_id)
      left join audit.leaf previous on previous.tree_id = tree.tree_id and previous.idx = leaf.idx - 1
    where tree.org_id = ${organizationId} and leaf.entry_id = ${entryId}`.execute(em.getKysely());
  const [row] = rows;
  return row && { epoch: row.epoch, origin: row.origin, chainHash: row.chain_hash };
}
