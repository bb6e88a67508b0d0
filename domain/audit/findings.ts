/** What a verification can find, and how several altered bodies are told apart. */

export const findingCodes = [
  /** The body is not the one that was committed. */
  'leaf_mismatch',
  /** What was committed is no entry. */
  'document_malformed',
  /** Two bodies stand in each other's place. */
  'entries_swapped',
  /** Three or more bodies were permuted. */
  'reordered',
  /** The body is gone. */
  'entry_missing',
  /** A body that was never committed: neither in the tree nor in the queue. */
  'entry_unsequenced',
  /** A column used by filters differs from the document: the list lies, the document does not. */
  'column_drift',
  /** A private value is not the one committed to, or is gone. */
  'commitment_mismatch',
  'disclosure_missing',
  /** Leaves are missing from the tree. */
  'index_gap',
  /** The tree's row tells fewer leaves than there are. */
  'size_rollback',
  'chain_mismatch',
  'tile_mismatch',
  'root_mismatch',
  /** There are entries, but no tree. */
  'log_missing',
  /** Entries have been waiting for their index too long. */
  'stale_pending',
] as const;
export type FindingCode = (typeof findingCodes)[number];

/** Hashes are lower-case hex. Ranges are [from, to) unless a swap names its two places. */
export interface Finding {
  readonly code: FindingCode;
  readonly index?: number;
  readonly from?: number;
  readonly to?: number;
  /** UUID. */
  readonly entryId?: string;
  readonly expected?: string;
  readonly got?: string;
  /** Names of the columns, or of the private value. */
  readonly fields?: readonly string[];
  readonly level?: number;
  readonly tile?: number;
}

/** A body whose hash is not its leaf's. */
export interface AlteredBody {
  readonly index: number;
  readonly entryId: string;
  readonly expected: Buffer;
  readonly got: Buffer;
}

/** Bodies that only changed places form cycles: each is what another of them should be. All others were edited. */
export function classifyAltered(altered: readonly AlteredBody[]): Finding[] {
  const cycles = findCycles(altered);
  const told = new Set<readonly AlteredBody[]>();
  const findings: Finding[] = [];
  for (const body of altered) {
    const cycle = cycles.get(body);
    if (cycle === undefined) findings.push(describeEdit(body));
    else if (!told.has(cycle)) {
      told.add(cycle);
      findings.push(describeMove(cycle));
    }
  }
  return findings;
}

/** The cycle of each body that is in one. Every body is walked over once, so that no pattern of copies makes this slow. */
function findCycles(altered: readonly AlteredBody[]): ReadonlyMap<AlteredBody, readonly AlteredBody[]> {
  const places = new Map(altered.map((body) => [body.expected.toString('hex'), body]));
  const cycles = new Map<AlteredBody, readonly AlteredBody[]>();
  const walked = new Set<AlteredBody>();
  for (const first of altered) {
    const path: AlteredBody[] = [];
    let next: AlteredBody | undefined = first;
    while (next !== undefined && !walked.has(next)) {
      walked.add(next);
      path.push(next);
      next = places.get(next.got.toString('hex'));
    }
    const start = next === undefined ? -1 : path.indexOf(next);
    if (start < 0) continue;
    const cycle = path.slice(start);
    for (const member of cycle) cycles.set(member, cycle);
  }
  return cycles;
}

function describeEdit({ index, entryId, expected, got }: AlteredBody): Finding {
  return { code: 'leaf_mismatch', index, entryId, expected: expected.toString('hex'), got: got.toString('hex') };
}

function describeMove(cycle: readonly AlteredBody[]): Finding {
  const byIndex = [...cycle].sort((left, right) => left.index - right.index);
  const [first, last] = [byIndex[0]!, byIndex.at(-1)!];
  return {
    code: cycle.length === 2 ? 'entries_swapped' : 'reordered',
    index: first.index,
    from: first.index,
    to: last.index,
    entryId: first.entryId,
  };
}
