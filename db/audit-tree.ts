/**
 * One organization's tree as the sequencer holds it in memory: what is needed to append, and how to rebuild that from the stored leaves
 * and tiles. Nothing in memory is trusted further than its size and root agree with the tree's row.
 */
import { type Kysely, sql } from 'kysely';
import { nextChainHash } from '../domain/audit/chain.ts';
import { appendLeaf, emptyFrontier, type Frontier, frontierRoot } from '../domain/audit/merkle.ts';
import { hashesAtLevel, tileHeight, tileWidth } from '../domain/audit/tile.ts';

export interface TreeRow {
  readonly treeId: string;
  readonly orgId: string;
  readonly size: number;
  readonly rootHash: Buffer;
  readonly chainHash: Buffer;
}

/** Columns of audit.tree as the driver gives them. */
export interface StoredTree {
  readonly tree_id: string;
  readonly org_id: string;
  readonly size: string;
  readonly root_hash: Buffer;
  readonly chain_hash: Buffer;
}

export function readTreeRow(row: StoredTree): TreeRow {
  return { treeId: String(row.tree_id), orgId: row.org_id, size: Number(row.size), rootHash: row.root_hash, chainHash: row.chain_hash };
}

/** A tree ready to grow. A round works on a copy, so that a rolled back round leaves no trace. */
export interface GrowingTree {
  readonly treeId: string;
  readonly orgId: string;
  readonly frontier: Frontier;
  chainHash: Buffer;
  /** Leaf hashes of the level-0 tile that is not full yet. */
  tail: Buffer[];
}

/** Stored leaves, tiles and root do not belong together: nothing may be appended until a person has looked. */
export class DamagedTreeError extends Error {
  override readonly name = 'DamagedTreeError';
  readonly orgId: string;

  constructor(orgId: string, detail: string) {
    super(`the audit tree of organization ${orgId} is damaged: ${detail}`);
    this.orgId = orgId;
  }
}

export function copyTree(tree: GrowingTree): GrowingTree {
  const frontier = { size: tree.frontier.size, nodes: [...tree.frontier.nodes] };
  return { ...tree, frontier, tail: [...tree.tail] };
}

/** Hashes that go into tile (level, n) from position `from` on; `from` 0 makes the tile. */
export interface TileGrowth {
  readonly treeId: string;
  readonly orgId: string;
  readonly level: number;
  readonly n: number;
  readonly from: number;
  readonly hashes: Buffer[];
}

/** Appends one leaf. @returns its chain hash; what it adds to tiles goes into `growths`, by level and number. */
export function growTree(tree: GrowingTree, leafHash: Buffer, growths: Map<string, TileGrowth>): Buffer {
  appendLeaf(tree.frontier, leafHash, (height, index, root) => {
    if (height % tileHeight === 0) growTile(tree, { level: height / tileHeight, first: index, hashes: [root] }, growths);
  });
  tree.tail.push(leafHash);
  if (tree.tail.length === tileWidth) {
    growTile(tree, { level: 0, first: tree.frontier.size - tileWidth, hashes: tree.tail }, growths);
    tree.tail = [];
  }
  tree.chainHash = nextChainHash(tree.chainHash, leafHash);
  return tree.chainHash;
}

function growTile(
  { treeId, orgId }: GrowingTree,
  { level, first, hashes }: { level: number; first: number; hashes: Buffer[] },
  growths: Map<string, TileGrowth>,
): void {
  const n = Math.floor(first / tileWidth);
  const key = `${treeId}/${level}/${n}`;
  const growth = growths.get(key);
  if (growth === undefined) growths.set(key, { treeId, orgId, level, n, from: first % tileWidth, hashes });
  else growth.hashes.push(...hashes);
}

/**
 * Rebuilds trees from leaves and tiles; the rows MUST come from a transaction in which they cannot move.
 * @returns the trees, and an error for each that does not give the root its row has
 */
export async function loadTrees(
  db: Kysely<unknown>,
  rows: readonly TreeRow[],
): Promise<{ trees: GrowingTree[]; damaged: DamagedTreeError[] }> {
  const tails = await readTails(db, rows);
  const tiles = await readPartialTiles(db, rows);
  const trees: GrowingTree[] = [];
  const damaged: DamagedTreeError[] = [];
  for (const row of rows) {
    const tail = tails.get(row.treeId) ?? [];
    const frontier = buildFrontier(row, tail, tiles);
    if (frontier === undefined) damaged.push(new DamagedTreeError(row.orgId, 'leaves or tiles are missing'));
    else if (!frontierRoot(frontier).equals(row.rootHash)) damaged.push(new DamagedTreeError(row.orgId, 'its leaves give another root'));
    else trees.push({ treeId: row.treeId, orgId: row.orgId, frontier, chainHash: row.chainHash, tail });
  }
  return { trees, damaged };
}

/** Undefined when something is missing. */
function buildFrontier({ treeId, size }: TreeRow, tail: readonly Buffer[], tiles: ReadonlyMap<string, Buffer>): Frontier | undefined {
  if (tail.length !== size % tileWidth) return undefined;
  const frontier: Frontier = { size, nodes: [] };
  const place = (level: number, hashes: readonly Buffer[]): void => {
    const part = emptyFrontier();
    for (const hash of hashes) appendLeaf(part, hash);
    part.nodes.forEach((node, height) => (frontier.nodes[level * tileHeight + height] = node));
  };
  place(0, tail);
  for (const { level, n, width } of partialTiles(size)) {
    const data = tiles.get(`${treeId}/${level}/${n}`);
    if (data?.length !== width * 32) return undefined;
    place(
      level,
      Array.from({ length: width }, (_, i) => data.subarray(i * 32, (i + 1) * 32)),
    );
  }
  return frontier;
}

/** The tiles above the leaves that are still growing. */
function partialTiles(size: number): Array<{ level: number; n: number; width: number }> {
  const partial: Array<{ level: number; n: number; width: number }> = [];
  for (let level = 1; hashesAtLevel(size, level) > 0; level += 1) {
    const count = hashesAtLevel(size, level);
    if (count % tileWidth > 0) partial.push({ level, n: Math.floor(count / tileWidth), width: count % tileWidth });
  }
  return partial;
}

async function readTails(db: Kysely<unknown>, rows: readonly TreeRow[]): Promise<Map<string, Buffer[]>> {
  const tails = new Map<string, Buffer[]>();
  const open = rows.filter(({ size }) => size % tileWidth > 0);
  if (open.length === 0) return tails;
  const leaves = await sql<{ tree_id: string; leaf_hash: Buffer }>`
    select leaf.tree_id, leaf.leaf_hash
    from unnest(${open.map(({ treeId }) => treeId)}::bigint[], ${open.map(({ size }) => size)}::bigint[]) as t(tree_id, size)
      join audit.leaf on leaf.tree_id = t.tree_id and leaf.idx >= t.size - t.size % ${tileWidth}::bigint and leaf.idx < t.size
    order by leaf.tree_id, leaf.idx`.execute(db);
  for (const { tree_id: treeId, leaf_hash: leafHash } of leaves.rows) {
    const tail = tails.get(String(treeId));
    if (tail === undefined) tails.set(String(treeId), [leafHash]);
    else tail.push(leafHash);
  }
  return tails;
}

async function readPartialTiles(db: Kysely<unknown>, rows: readonly TreeRow[]): Promise<Map<string, Buffer>> {
  const wanted = rows.flatMap(({ treeId, size }) => partialTiles(size).map((tile) => ({ ...tile, treeId })));
  if (wanted.length === 0) return new Map();
  const tiles = await sql<{ tree_id: string; level: number; n: string; data: Buffer }>`
    select tile.tree_id, tile.level, tile.n, tile.data
    from unnest(
      ${wanted.map(({ treeId }) => treeId)}::bigint[], ${wanted.map(({ level }) => level)}::int[], ${wanted.map(({ n }) => n)}::bigint[]
    ) as t(tree_id, level, n) join audit.tile using (tree_id, level, n)`.execute(db);
  return new Map(tiles.rows.map(({ tree_id: treeId, level, n, data }) => [`${treeId}/${level}/${n}`, data]));
}
