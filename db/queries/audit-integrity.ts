import { IsolationLevel, type MikroORM } from '@mikro-orm/postgresql';
import { type Kysely, sql } from 'kysely';
import { decodeEnvelope } from '../../domain/audit/envelope.ts';
import {
  createLogCheck,
  type LogCheck,
  type LogHead,
  type LogReport,
  type StoredEntry,
  type StoredLeaf,
} from '../../domain/audit/verify.ts';
import { chainSeed } from '../../domain/audit/chain.ts';
import { emptyRoot } from '../../domain/audit/merkle.ts';
import { type AuditEntryRow, entryColumns, isoTime } from './audit-entries.ts';

export interface IntegrityReport extends LogReport {
  /** Name of the tree; null when nothing was ever sequenced. */
  readonly origin: string | null;
  readonly epoch: number | null;
  /** Entries that wait for their index; they are no part of the tree yet. */
  readonly pending: { readonly entries: number; readonly oldestSeconds: number };
  /** Nothing was found. */
  readonly ok: boolean;
}

/** Rows per query: a few milliseconds of work between two chances for others to run. */
const pageRows = 512;
const unsequencedNamed = 100;
const staleSeconds = 60;

/**
 * Walks an organization's whole log in one snapshot, in constant memory, and reports whatever does not fit. Costs about 30 µs an entry.
 * @param organizationId UUID
 */
export async function verifyLog(orm: MikroORM, organizationId: string): Promise<IntegrityReport> {
  return orm.em.fork({ session: { variables: { 'app.org_id': organizationId } } }).transactional(
    async (em) => {
      const db = em.getKysely<unknown>();
      const tree = await findTree(db, organizationId);
      const check = createLogCheck(tree?.head ?? { origin: '', size: 0, rootHash: emptyRoot, chainHash: chainSeed('') });
      if (tree !== undefined) await walk(db, organizationId, tree.treeId, check);
      const pending = await checkUnsequenced(db, organizationId, check, tree === undefined);
      const report = check.report();
      return { ...report, origin: tree?.head.origin ?? null, epoch: tree?.epoch ?? null, pending, ok: report.findingsTotal === 0 };
    },
    { isolationLevel: IsolationLevel.REPEATABLE_READ, readOnly: true },
  );
}

async function findTree(
  db: Kysely<unknown>,
  organizationId: string,
): Promise<{ treeId: string; epoch: number; head: LogHead } | undefined> {
  const { rows } = await sql<{ tree_id: string; epoch: number; origin: string; size: string; root_hash: Buffer; chain_hash: Buffer }>`
    select tree_id, epoch, origin, size, root_hash, chain_hash from audit.tree
    where org_id = ${organizationId} order by epoch desc limit 1`.execute(db);
  const [row] = rows;
  if (row === undefined) return undefined;
  const head = { origin: row.origin, size: Number(row.size), rootHash: row.root_hash, chainHash: row.chain_hash };
  return { treeId: row.tree_id, epoch: row.epoch, head };
}

async function walk(db: Kysely<unknown>, organizationId: string, treeId: string, check: LogCheck): Promise<void> {
  let tiles = 0;
  let ahead: Promise<Page> | undefined = readPage(db, organizationId, treeId, 0);
  while (ahead !== undefined) {
    const page: Page = await ahead;
    const last = page.at(-1);
    // the database reads the next page while this one is hashed
    ahead = page.length < pageRows || last === undefined ? undefined : readPage(db, organizationId, treeId, last[0].index + 1);
    for (const [leaf, entry] of page) check.addLeaf(leaf, entry);
    tiles += await compareTiles(db, treeId, check);
  }
  check.endLeaves();
  tiles += await compareTiles(db, treeId, check);
  const { rows } = await sql<{ count: string }>`select count(*) from audit.tile where tree_id = ${treeId}::bigint`.execute(db);
  if (Number(rows[0]!.count) > tiles && check.report().structure.rootOk) check.add({ code: 'tile_mismatch', got: 'surplus' });
}

type Page = Array<[StoredLeaf, StoredEntry | undefined]>;

interface LeafRow {
  idx: string;
  leaf_entry_id: string;
  leaf_hash: Buffer;
  chain_hash: Buffer;
}

interface EntryRow extends AuditEntryRow {
  org_id: string;
  recorded_at: string;
  canonical: Buffer;
  entry_leaf_hash: Buffer;
  envelopes: Buffer[] | null;
}

async function readPage(db: Kysely<unknown>, organizationId: string, treeId: string, from: number): Promise<Page> {
  const { rows } = await sql<LeafRow & (EntryRow | { id: null })>`
    select leaf.idx, leaf.entry_id as leaf_entry_id, leaf.leaf_hash, leaf.chain_hash,
      ${sql.join(entryColumns.map((column) => sql.ref(`entry.${column}`)))}, ${isoTime('entry.occurred_at')} as occurred_at,
      ${isoTime('entry.recorded_at')} as recorded_at, entry.org_id, entry.canonical, entry.leaf_hash as entry_leaf_hash, private.envelopes
    from (
      select * from audit.leaf where tree_id = ${treeId}::bigint and idx >= ${from}::bigint order by idx limit ${pageRows}
    ) leaf
      left join audit.entry on entry.recorded_at = leaf.recorded_at and entry.id = leaf.entry_id and entry.org_id = ${organizationId}
      left join audit.entry_private private
        on private.recorded_at = leaf.recorded_at and private.id = leaf.entry_id and private.org_id = ${organizationId}
    order by leaf.idx`.execute(db);
  return rows.map((row) => [
    { index: Number(row.idx), entryId: row.leaf_entry_id, leafHash: row.leaf_hash, chainHash: row.chain_hash },
    row.id === null ? undefined : readEntry(row),
  ]);
}

function readEntry(row: EntryRow): StoredEntry {
  return {
    canonical: row.canonical,
    leafHash: row.entry_leaf_hash,
    row: {
      id: row.id,
      orgId: row.org_id,
      recordedAt: row.recorded_at,
      occurredAt: row.occurred_at,
      projectId: row.project_id,
      tenantId: row.tenant_id,
      class: row.class,
      category: row.category,
      action: row.action,
      verb: row.verb,
      status: row.status,
      actorType: row.actor_type,
      actorId: row.actor_id,
      resourceType: row.resource_type,
      resourceId: row.resource_id,
      resourceName: row.resource_name,
      tool: row.tool,
      gitCommitSha: row.git_commit_sha,
      correlationId: row.correlation_id,
      breakGlassSessionId: row.break_glass_session_id,
      changed: row.changed,
    },
    disclosures: row.envelopes?.flatMap((envelope) => decodeEnvelope(envelope) ?? []),
  };
}

/** @returns how many tiles were compared */
async function compareTiles(db: Kysely<unknown>, treeId: string, check: LogCheck): Promise<number> {
  const expected = check.takeTiles();
  if (expected.length === 0) return 0;
  const { rows } = await sql<{ level: number; n: string; data: Buffer }>`
    select level, n, data from audit.tile
      join unnest(${expected.map(({ level }) => level)}::int[], ${expected.map(({ n }) => n)}::bigint[]) as t(level, n) using (level, n)
    where tree_id = ${treeId}::bigint`.execute(db);
  const stored = new Map(rows.map(({ level, n, data }) => [`${level}/${n}`, data]));
  for (const tile of expected) check.compareTile(tile, stored.get(`${tile.level}/${tile.n}`));
  return expected.length;
}

/** Entries outside the tree: those in the queue are on their way, any other came in around the log. */
async function checkUnsequenced(
  db: Kysely<unknown>,
  organizationId: string,
  check: LogCheck,
  withoutTree: boolean,
): Promise<{ entries: number; oldestSeconds: number }> {
  const queue = await sql<{ entries: string; oldest_seconds: number | null }>`
    select count(*) as entries, max(waiting_seconds) as oldest_seconds from audit.own_pending()`.execute(db);
  const pending = { entries: Number(queue.rows[0]!.entries), oldestSeconds: Number(queue.rows[0]!.oldest_seconds ?? 0) };
  const stray = await sql<{ id: string }>`
    select entry.id from audit.entry
      left join (audit.tree join audit.leaf using (tree_id)) on tree.org_id = ${organizationId} and leaf.entry_id = entry.id
    where entry.org_id = ${organizationId} and leaf.entry_id is null and entry.id not in (select entry_id from audit.own_pending())
    order by entry.recorded_at, entry.id limit ${unsequencedNamed}`.execute(db);
  if (withoutTree && stray.rows.length > 0) check.add({ code: 'log_missing' });
  for (const { id } of stray.rows) check.add({ code: 'entry_unsequenced', entryId: id });
  if (pending.oldestSeconds > staleSeconds) check.add({ code: 'stale_pending' });
  return pending;
}
