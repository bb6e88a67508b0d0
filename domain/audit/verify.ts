/**
 * Checks a stored log against itself, leaf by leaf, in constant memory: bodies against leaves, columns and private values against
 * bodies, leaves against chain, tiles and root. What holds here can still be a log that was rewritten as a whole; only a head kept
 * elsewhere tells that.
 */
import { chainSeed, nextChainHash } from './chain.ts';
import { commitTo, readDisclosure } from './commitment.ts';
import { columnsOf, type EntryColumns, type EntryDocument } from './document.ts';
import { type AlteredBody, classifyAltered, type Finding } from './findings.ts';
import { appendLeaf, emptyFrontier, frontierRoot, hashLeaf } from './merkle.ts';
import { tileHeight, tileWidth } from './tile.ts';

export interface LogHead {
  readonly origin: string;
  readonly size: number;
  readonly rootHash: Buffer;
  readonly chainHash: Buffer;
}

export interface StoredLeaf {
  readonly index: number;
  readonly entryId: string;
  readonly leafHash: Buffer;
  readonly chainHash: Buffer;
}

export interface StoredEntry {
  readonly canonical: Buffer;
  /** Everything beside the bytes, as the row has it. */
  readonly row: EntryColumns & { readonly id: string; readonly orgId: string; readonly recordedAt: string };
  readonly leafHash: Buffer;
  /** Undefined when the side row cannot be read. */
  readonly disclosures: readonly string[] | undefined;
}

/** A tile as the leaves make it, to be compared with the stored one. */
export interface ExpectedTile {
  readonly level: number;
  readonly n: number;
  readonly hashes: readonly Buffer[];
}

export interface LogReport {
  readonly treeSize: number;
  /** Recomputed, lower-case hex. */
  readonly rootHash: string;
  readonly structure: { verified: number; rootOk: boolean; chainOk: boolean; tilesOk: boolean };
  readonly content: { verified: number; missing: number };
  readonly disclosures: { verified: number; mismatch: number; missing: number };
  readonly columns: { checked: number; drift: number };
  /** In the order of discovery; at most 1,000. */
  readonly findings: Finding[];
  readonly findingsTotal: number;
}

export interface LogCheck {
  /** MUST be called in the order of indexes. */
  addLeaf(leaf: StoredLeaf, entry: StoredEntry | undefined): void;
  /** Tiles that were completed since the last call. */
  takeTiles(): ExpectedTile[];
  compareTile(expected: ExpectedTile, stored: Buffer | undefined): void;
  /** Ends the leaves. The tiles that are still narrow come out of `takeTiles` after this. */
  endLeaves(): void;
  add(finding: Finding): void;
  report(): LogReport;
}

const findingsKept = 1_000;
/** Beyond this many altered bodies nobody asks which of them only changed places. */
const alteredKept = 10_000;

export function createLogCheck(head: LogHead): LogCheck {
  const frontier = emptyFrontier();
  const open: Buffer[][] = [[]];
  const tiles: ExpectedTile[] = [];
  const altered: AlteredBody[] = [];
  const findings: Finding[] = [];
  let findingsTotal = 0;
  const structure = { verified: 0, rootOk: true, chainOk: true, tilesOk: true };
  const content = { verified: 0, missing: 0 };
  const disclosures = { verified: 0, mismatch: 0, missing: 0 };
  const columns = { checked: 0, drift: 0 };
  let next = 0;
  let chainHash = chainSeed(head.origin);
  let missing: { from: number; entryId: string } | undefined;
  // after a gap the tree cannot be rebuilt; bodies and links are checked all the same
  let whole = true;

  const add = (finding: Finding): void => {
    findingsTotal += 1;
    if (findings.length < findingsKept) findings.push(finding);
  };
  const pushHash = (level: number, index: number, hash: Buffer): void => {
    const hashes = (open[level] ??= []);
    hashes.push(hash);
    if (hashes.length === tileWidth) {
      tiles.push({ level, n: Math.floor(index / tileWidth), hashes });
      open[level] = [];
    }
  };

  const checkStructure = ({ index, leafHash, chainHash: stored }: StoredLeaf): void => {
    if (index !== next) {
      add({ code: 'index_gap', index: next, from: next, to: index });
      structure.chainOk = false;
      whole = false;
    } else {
      const expected = nextChainHash(chainHash, leafHash);
      if (!expected.equals(stored)) {
        structure.chainOk = false;
        add({ code: 'chain_mismatch', index, expected: expected.toString('hex'), got: stored.toString('hex') });
      }
    }
    // from the stored hash: one broken link is one finding, not one for each that follows
    chainHash = stored;
    next = index + 1;
    structure.verified += 1;
    if (!whole) return;
    pushHash(0, index, leafHash);
    appendLeaf(frontier, leafHash, (height, at, root) => {
      if (height % tileHeight === 0) pushHash(height / tileHeight, at, root);
    });
  };

  /** A dropped month is one finding, not a million. */
  const endMissing = (to: number): void => {
    if (missing === undefined) return;
    const { from, entryId } = missing;
    add({ code: 'entry_missing', index: from, entryId, ...(to - from > 1 ? { from, to } : {}) });
    missing = undefined;
  };

  const checkBody = ({ index, entryId, leafHash }: StoredLeaf, entry: StoredEntry | undefined): void => {
    if (entry === undefined) {
      content.missing += 1;
      missing ??= { from: index, entryId };
      return;
    }
    endMissing(index);
    const got = hashLeaf(entry.canonical);
    if (!got.equals(leafHash)) {
      if (altered.length < alteredKept) altered.push({ index, entryId, expected: leafHash, got });
      else add({ code: 'leaf_mismatch', index, entryId, expected: leafHash.toString('hex'), got: got.toString('hex') });
      return;
    }
    content.verified += 1;
    const document = readDocument(entry.canonical);
    if (document === undefined) {
      add({ code: 'document_malformed', index, entryId });
      return;
    }
    const drifted = driftedColumns(document, entry, got);
    columns.checked += 1;
    if (drifted.length > 0) {
      columns.drift += 1;
      add({ code: 'column_drift', index, entryId, fields: drifted });
    }
    checkDisclosures(document, entry, index);
  };

  const checkDisclosures = (document: EntryDocument, { disclosures: stored }: StoredEntry, index: number): void => {
    const commitments = new Map(Object.entries(document.commitments ?? {}));
    for (const disclosure of stored ?? []) {
      const name = readDisclosure(disclosure)?.name;
      const commitment = name === undefined ? undefined : commitments.get(name);
      if (name !== undefined && commitment === commitTo(disclosure)) {
        commitments.delete(name);
        disclosures.verified += 1;
      } else {
        disclosures.mismatch += 1;
        add({ code: 'commitment_mismatch', index, entryId: document.id, fields: [name ?? '?'] });
        if (name !== undefined) commitments.delete(name);
      }
    }
    if (commitments.size === 0) return;
    disclosures.missing += commitments.size;
    add({ code: 'disclosure_missing', index, entryId: document.id, fields: [...commitments.keys()] });
  };

  return {
    add,
    addLeaf(leaf, entry) {
      checkStructure(leaf);
      checkBody(leaf, entry);
    },
    takeTiles: () => tiles.splice(0),
    compareTile({ level, n, hashes }, stored) {
      if (stored !== undefined && stored.length === hashes.length * 32) {
        for (let i = 0; i < hashes.length; i += 1) {
          const got = stored.subarray(i * 32, (i + 1) * 32);
          if (got.equals(hashes[i]!)) continue;
          structure.tilesOk = false;
          const from = (n * tileWidth + i) * tileWidth ** level;
          const place = level === 0 ? { index: from } : { from, to: from + tileWidth ** level };
          add({ code: 'tile_mismatch', level, tile: n, ...place, expected: hashes[i]!.toString('hex'), got: got.toString('hex') });
        }
        return;
      }
      structure.tilesOk = false;
      const from = n * tileWidth ** (level + 1);
      add({ code: 'tile_mismatch', level, tile: n, from, to: from + hashes.length * tileWidth ** level });
    },
    endLeaves() {
      endMissing(next);
      if (next < head.size) {
        add({ code: 'index_gap', index: next, from: next, to: head.size });
        whole = false;
      } else if (next > head.size) {
        add({ code: 'size_rollback', from: head.size, to: next });
      }
      if (whole) {
        open.forEach((hashes, level) => {
          // level 0 is served from the leaves until it is full
          if (level > 0 && hashes.length > 0) tiles.push({ level, n: tileNumber(level, next), hashes });
        });
      }
      const root = frontierRoot(frontier);
      structure.rootOk = whole && next === head.size && root.equals(head.rootHash);
      if (whole && next === head.size && !structure.rootOk) {
        add({ code: 'root_mismatch', from: 0, to: head.size, expected: head.rootHash.toString('hex'), got: root.toString('hex') });
      }
      if (next === head.size && !chainHash.equals(head.chainHash)) {
        structure.chainOk = false;
        add({ code: 'chain_mismatch', index: next, expected: chainHash.toString('hex'), got: head.chainHash.toString('hex') });
      }
      classifyAltered(altered).forEach(add);
    },
    report: () => ({
      treeSize: head.size,
      rootHash: frontierRoot(frontier).toString('hex'),
      structure,
      content,
      disclosures,
      columns,
      findings,
      findingsTotal,
    }),
  };
}

function tileNumber(level: number, size: number): number {
  return Math.floor(Math.floor(size / tileWidth ** level) / tileWidth);
}

/** Undefined when the bytes are no entry, which our writer never commits. */
function readDocument(canonical: Buffer): EntryDocument | undefined {
  try {
    const document = JSON.parse(canonical.toString('utf8')) as EntryDocument | null;
    return typeof document === 'object' && typeof document?.actor === 'object' ? document : undefined;
  } catch {
    return undefined;
  }
}

/** Names of columns that are not what the document says. */
function driftedColumns(document: EntryDocument, { row, leafHash }: StoredEntry, bodyHash: Buffer): string[] {
  const should = { ...columnsOf(document), id: document.id, orgId: document.orgId, recordedAt: document.recordedAt };
  const drifted = (Object.keys(should) as Array<keyof typeof should>).filter((name) => !sameColumn(should[name], row[name]));
  return leafHash.equals(bodyHash) ? drifted : [...drifted, 'leafHash'];
}

function sameColumn(should: string | readonly string[] | null, is: string | readonly string[] | null): boolean {
  return should === is || (typeof should === 'object' && typeof is === 'object' && JSON.stringify(should) === JSON.stringify(is));
}
