import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { decodeEnvelope } from '../../domain/audit/envelope.ts';
import { hashRange, inclusionRanges, type LeafRange } from '../../domain/audit/proof.ts';
import { nodeOfTile, type TileId, tileOfNode, tileWidth } from '../../domain/audit/tile.ts';

/** The head of an organization's newest tree. */
export interface ProvenHead {
  readonly treeId: string;
  readonly origin: string;
  readonly epoch: number;
  readonly size: number;
  readonly rootHash: Buffer;
}

/** An entry, and where it stands. `index` null: it waits for its place. */
export interface FoundEntry {
  readonly id: string;
  readonly action: string;
  readonly canonical: Buffer;
  readonly disclosures: readonly string[];
  readonly treeId: string | null;
  readonly index: number | null;
}

/** Run in the organization, in the snapshot in which its entries are read. @returns undefined when nothing was ever sequenced */
export async function readHead(em: EntityManager, organizationId: string): Promise<ProvenHead | undefined> {
  const { rows } = await sql<{ treeId: string; origin: string; epoch: number; size: string; rootHash: Buffer }>`
    select tree_id as "treeId", origin, epoch, size, root_hash as "rootHash" from audit.tree
      where org_id = ${organizationId} order by epoch desc limit 1`.execute(em.getKysely());
  const [row] = rows;
  return row && { ...row, treeId: String(row.treeId), size: Number(row.size) };
}

/**
 * The entries that tell what became of an escalation: its own, the attempts of its messages, and those of the events that it is about. Oldest
 * first. Run in the organization.
 */
export async function findEscalationEntries(
  em: EntityManager,
  organizationId: string,
  { escalationId, eventId, limit }: { escalationId: string; eventId: string; limit: number },
): Promise<FoundEntry[]> {
  const { rows } = await sql<Omit<FoundEntry, 'index' | 'disclosures'> & { index: string | null; envelopes: Buffer[] | null }>`
    with found as (
      select e.recorded_at, e.id from audit.entry e
        where e.org_id = ${organizationId} and e.resource_type = 'escalation' and e.resource_id = ${escalationId}
      union
      select e.recorded_at, e.id from audit.entry e
        where e.org_id = ${organizationId} and e.correlation_id = ${eventId} and e.action = 'delivery.attempt'
          and convert_from(e.canonical, 'UTF8')::jsonb -> 'correlation' ->> 'escalationId' = ${escalationId}
      union
      select e.recorded_at, e.id from audit.entry e
        where e.org_id = ${organizationId} and e.action = 'event.ingest' and e.resource_type = 'event' and e.resource_id in (
          select m.event_id::text from escalation_member m where m.org_id = ${organizationId} and m.escalation_id = ${escalationId})
    )
    select e.id, e.action, e.canonical, private.envelopes, leaf.tree_id::text as "treeId", leaf.idx as index
      from (select * from found order by recorded_at, id limit ${limit}) as f
        join audit.entry e on e.recorded_at = f.recorded_at and e.id = f.id
        left join audit.entry_private private on private.recorded_at = f.recorded_at and private.id = f.id
        left join (audit.tree join audit.leaf using (tree_id)) on tree.org_id = ${organizationId} and leaf.entry_id = f.id
      order by e.recorded_at, e.id
  `.execute(em.getKysely());
  return rows.map(({ envelopes, index, ...row }) => ({
    ...row,
    index: index === null ? null : Number(index),
    disclosures: (envelopes ?? []).flatMap((envelope) => decodeEnvelope(envelope) ?? []),
  }));
}

/**
 * What proves that the leaves at these indexes are in the tree of the head: for each the hashes from the leaf upward. Run in the organization,
 * in the snapshot in which the head was read.
 * @throws when the log is damaged: a hash that the tree must have is missing
 */
export async function readInclusionPaths(em: EntityManager, head: ProvenHead, indexes: readonly number[]): Promise<Buffer[][]> {
  const ranges = indexes.map((index) => inclusionRanges(index, { start: 0, end: head.size }));
  const tiles = await readTiles(em, head, ranges.flat());
  const read = (height: number, index: number): Buffer => {
    const { level, n, from, count } = tileOfNode(height, index);
    const data = tiles.get(`${level}/${n}`);
    if (data === undefined || data.length < (from + count) * 32)
      throw new Error(`Tile ${level}/${n} of audit tree ${head.treeId} is missing`);
    return nodeOfTile(data, from, count);
  };
  return ranges.map((path) => path.map((range) => hashRange(range, read)));
}

/** The tiles that the roots of these ranges are made of. Of the lowest level a tile that is not full is made of leaves. */
async function readTiles(em: EntityManager, { treeId, size }: ProvenHead, ranges: readonly LeafRange[]): Promise<Map<string, Buffer>> {
  const wanted = new Map<string, TileId>();
  for (const range of ranges) {
    hashRange(range, (height, index) => {
      const { level, n } = tileOfNode(height, index);
      wanted.set(`${level}/${n}`, { level, n });
      return placeholder;
    });
  }
  const edge = Math.floor(size / tileWidth);
  const stored = [...wanted.values()].filter(({ level, n }) => level > 0 || n < edge);
  const { rows } = await sql<{ level: number; n: string; data: Buffer }>`
    select tile.level, tile.n, tile.data
      from unnest(${stored.map(({ level }) => level)}::int[], ${stored.map(({ n }) => n)}::bigint[]) as t (level, n)
        join audit.tile using (level, n) where tile.tree_id = ${treeId}::bigint`.execute(em.getKysely());
  const tiles = new Map(rows.map(({ level, n, data }) => [`${level}/${n}`, data]));
  if (wanted.has(`0/${edge}`)) {
    const tail = await sql<{ leaf_hash: Buffer }>`
      select leaf_hash from audit.leaf where tree_id = ${treeId}::bigint and idx >= ${edge * tileWidth}::bigint and idx < ${size}::bigint
        order by idx`.execute(em.getKysely());
    tiles.set(`0/${edge}`, Buffer.concat(tail.rows.map(({ leaf_hash: hash }) => hash)));
  }
  return tiles;
}

/** Stands for a hash that is not known yet. */
const placeholder = Buffer.alloc(32);
