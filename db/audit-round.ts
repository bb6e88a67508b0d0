/**
 * One round of sequencing, in the caller's transaction: takes entries from the queue, gives each its index in its organization's tree,
 * and stores leaves, tiles and the new root. Either all of it is committed or none, and then the entries are in the queue as before.
 */
import { randomBytes } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import { chainSeed } from '../domain/audit/chain.ts';
import { emptyRoot, frontierRoot } from '../domain/audit/merkle.ts';
import {
  copyTree,
  DamagedTreeError,
  type GrowingTree,
  growTree,
  loadTrees,
  readTreeRow,
  type StoredTree,
  type TileGrowth,
  type TreeRow,
} from './audit-tree.ts';

const batchMax = 4_000;

interface PendingEntry {
  readonly pid: number;
  readonly orgId: string;
  readonly entryId: string;
  readonly recordedAt: string;
  readonly leafHash: Buffer;
}

interface Leaf extends PendingEntry {
  readonly treeId: string;
  readonly index: number;
  readonly chainHash: Buffer;
}

export interface RoundResult {
  /** False: another sequencer is at work. */
  readonly locked: boolean;
  readonly sequenced: number;
  /** The trees as they stand after the round; valid once the transaction is committed. */
  readonly trees: readonly GrowingTree[];
}

export interface RoundContext {
  /** Trees as the last committed round left them. */
  readonly known: ReadonlyMap<string, GrowingTree>;
  /** Organizations whose tree is damaged: their entries stay in the queue. */
  readonly refused: readonly string[];
  /** `<host>/tlog`, under which new trees are named. */
  readonly originBase: string;
}

/** @throws DamagedTreeError naming the organization to refuse; the transaction MUST then roll back */
export async function sequenceOnce(db: Kysely<unknown>, context: RoundContext): Promise<RoundResult> {
  // One at a time. Were the lock lost, the size compared in `storeHeads` and the leaves' primary key would still let only one win.
  const lock = await sql<{ locked: boolean }>`
    select pg_try_advisory_xact_lock(hashtextextended('tocsin.audit.seq:0', 0)) as locked, set_config('synchronous_commit', 'on', true)
  `.execute(db);
  if (lock.rows[0]?.locked !== true) return { locked: false, sequenced: 0, trees: [] };
  const entries = await takePending(db, context.refused);
  if (entries.length === 0) return { locked: true, sequenced: 0, trees: [] };

  const rows = await lockTrees(db, [...new Set(entries.map(({ orgId }) => orgId))], context.originBase);
  const trees = await currentTrees(db, rows, context.known);
  const growths = new Map<string, TileGrowth>();
  const leaves = entries.map((entry): Leaf => {
    const tree = trees.get(entry.orgId)!;
    const index = tree.frontier.size;
    return { ...entry, treeId: tree.treeId, index, chainHash: growTree(tree, entry.leafHash, growths) };
  });
  await insertLeaves(db, leaves);
  await storeTiles(db, [...growths.values()]);
  await storeHeads(db, rows, trees);
  return { locked: true, sequenced: leaves.length, trees: [...trees.values()] };
}

/**
 * The oldest entries of the queue. Never "all after the last one seen": transactions commit in another order than they draw numbers, and
 * an entry whose transaction took long would be passed over; here it is simply taken later.
 */
async function takePending(db: Kysely<unknown>, refused: readonly string[]): Promise<PendingEntry[]> {
  const { rows } = await sql<{ pid: string; org_id: string; entry_id: string; recorded_at: string; leaf_hash: Buffer }>`
    delete from audit.pending where ctid = any(array(
      select ctid from audit.pending where org_id <> all(${refused}::uuid[]) order by pid limit ${batchMax} for update skip locked
    ))
    returning pid, org_id, entry_id, recorded_at::text as recorded_at, leaf_hash`.execute(db);
  return rows
    .map((row) => ({
      pid: Number(row.pid),
      orgId: row.org_id,
      entryId: row.entry_id,
      recordedAt: row.recorded_at,
      leafHash: row.leaf_hash,
    }))
    .sort((left, right) => left.pid - right.pid);
}

/** The organizations' growing trees, locked in one order; an organization's first entry makes its tree. */
async function lockTrees(db: Kysely<unknown>, orgIds: readonly string[], originBase: string): Promise<TreeRow[]> {
  const found = await selectTrees(db, orgIds);
  const missing = orgIds.filter((orgId) => !found.some((tree) => tree.orgId === orgId));
  if (missing.length === 0) return found;
  const origins = missing.map(() => `${originBase}/${base32(randomBytes(16))}`);
  await sql`
    insert into audit.tree (org_id, origin, root_hash, chain_hash)
    select org_id, origin, ${emptyRoot}, chain_hash
    from unnest(${missing}::uuid[], ${origins}::text[], ${origins.map(chainSeed)}::bytea[]) as t(org_id, origin, chain_hash)
    on conflict (org_id, epoch) do nothing`.execute(db);
  const trees = await selectTrees(db, orgIds);
  const without = orgIds.find((orgId) => !trees.some((tree) => tree.orgId === orgId));
  // a frozen tree without a successor: opening the next epoch is a person's decision
  if (without !== undefined) throw new DamagedTreeError(without, 'it is frozen and no later epoch is open');
  return trees;
}

async function selectTrees(db: Kysely<unknown>, orgIds: readonly string[]): Promise<TreeRow[]> {
  const { rows } = await sql<StoredTree>`
    select tree_id, org_id, size, root_hash, chain_hash from audit.tree
    where org_id = any(${orgIds}::uuid[]) and frozen_at is null order by tree_id for update`.execute(db);
  return rows.map(readTreeRow);
}

/** Copies of the known trees, rebuilt where another sequencer was at work since. */
async function currentTrees(
  db: Kysely<unknown>,
  rows: readonly TreeRow[],
  known: ReadonlyMap<string, GrowingTree>,
): Promise<Map<string, GrowingTree>> {
  const trees = new Map<string, GrowingTree>();
  const unknown: TreeRow[] = [];
  for (const row of rows) {
    const tree = known.get(row.orgId);
    if (tree?.treeId !== row.treeId || tree.frontier.size < row.size) {
      unknown.push(row);
    } else if (tree.frontier.size === row.size && frontierRoot(tree.frontier).equals(row.rootHash)) {
      trees.set(row.orgId, copyTree(tree));
    } else {
      // what was committed before is known here for certain
      throw new DamagedTreeError(row.orgId, 'it was rewritten or cut short');
    }
  }
  if (unknown.length === 0) return trees;
  const loaded = await loadTrees(db, unknown);
  if (loaded.damaged[0] !== undefined) throw loaded.damaged[0];
  for (const tree of loaded.trees) trees.set(tree.orgId, tree);
  return trees;
}

async function insertLeaves(db: Kysely<unknown>, leaves: readonly Leaf[]): Promise<void> {
  await sql`
    insert into audit.leaf (tree_id, idx, org_id, entry_id, recorded_at, leaf_hash, chain_hash)
    select * from unnest(
      ${leaves.map(({ treeId }) => treeId)}::bigint[], ${leaves.map(({ index }) => index)}::bigint[],
      ${leaves.map(({ orgId }) => orgId)}::uuid[], ${leaves.map(({ entryId }) => entryId)}::uuid[],
      ${leaves.map(({ recordedAt }) => recordedAt)}::timestamptz[], ${leaves.map(({ leafHash }) => leafHash)}::bytea[],
      ${leaves.map(({ chainHash }) => chainHash)}::bytea[])`.execute(db);
}

async function storeTiles(db: Kysely<unknown>, growths: readonly TileGrowth[]): Promise<void> {
  const made = growths.filter(({ from }) => from === 0);
  if (made.length > 0) {
    await sql`
      insert into audit.tile (tree_id, level, n, org_id, width, data) select * from ${tileRows(made)}`.execute(db);
  }
  const grown = growths.filter(({ from }) => from > 0);
  if (grown.length === 0) return;
  const updated = await sql`
    update audit.tile set data = tile.data || g.data, width = tile.width + g.width
    from ${tileRows(grown)} as g(tree_id, level, n, org_id, width, data)
      join unnest(${grown.map(({ treeId }) => treeId)}::bigint[], ${grown.map(({ level }) => level)}::int[],
        ${grown.map(({ n }) => n)}::bigint[], ${grown.map(({ from }) => from)}::int[]) as f(tree_id, level, n, start) using (tree_id, level, n)
    where tile.tree_id = g.tree_id and tile.level = g.level and tile.n = g.n and tile.width = f.start`.execute(db);
  if (Number(updated.numAffectedRows) !== grown.length)
    throw new DamagedTreeError(grown[0]!.orgId, 'a tile is narrower or wider than its tree');
}

function tileRows(growths: readonly TileGrowth[]) {
  return sql`unnest(
    ${growths.map(({ treeId }) => treeId)}::bigint[], ${growths.map(({ level }) => level)}::int[], ${growths.map(({ n }) => n)}::bigint[],
    ${growths.map(({ orgId }) => orgId)}::uuid[], ${growths.map(({ hashes }) => hashes.length)}::int[],
    ${growths.map(({ hashes }) => Buffer.concat(hashes))}::bytea[])`;
}

/** Compare and set: a tree whose size is not what this round began with was changed by someone else, and the round must not stand. */
async function storeHeads(db: Kysely<unknown>, rows: readonly TreeRow[], trees: ReadonlyMap<string, GrowingTree>): Promise<void> {
  const grown = rows.map(({ orgId }) => trees.get(orgId)!);
  const { rows: counts } = await sql<{ updated: number }>`
    with updated as (
      update audit.tree set size = h.size, root_hash = h.root_hash, chain_hash = h.chain_hash
      from unnest(
        ${rows.map(({ treeId }) => treeId)}::bigint[], ${rows.map(({ size }) => size)}::bigint[],
        ${grown.map(({ frontier }) => frontier.size)}::bigint[], ${grown.map(({ frontier }) => frontierRoot(frontier))}::bytea[],
        ${grown.map(({ chainHash }) => chainHash)}::bytea[]
      ) as h(tree_id, old_size, size, root_hash, chain_hash)
      where tree.tree_id = h.tree_id and tree.size = h.old_size
      returning 1
    )
    select (select count(*)::int from updated) as updated, pg_notify('audit_head', '')`.execute(db);
  if (counts[0]?.updated !== rows.length) throw new Error('another sequencer changed a tree during this round');
}

/** RFC 4648 base32 in lower case, without padding: 26 characters for 16 bytes. */
function base32(bytes: Uint8Array): string {
  let bits = 0n;
  for (const byte of bytes) bits = (bits << 8n) | BigInt(byte);
  const length = Math.ceil((bytes.length * 8) / 5);
  bits <<= BigInt(length * 5 - bytes.length * 8);
  let text = '';
  for (let i = length - 1; i >= 0; i -= 1) text += 'abcdefghijklmnopqrstuvwxyz234567'[Number((bits >> BigInt(i * 5)) & 31n)]!;
  return text;
}
