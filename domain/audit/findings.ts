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
  const places = new Map(altered.map((body) => [body.expected.toString('hex'), body]));
  const seen = new Set<AlteredBody>();
  const findings: Finding[] = [];
  for (const body of altered) {
    if (seen.has(body)) continue;
    const cycle = followCycle(body, places);
    for (const member of cycle) seen.add(member);
    if (cycle.length === 1) findings.push(describeEdit(body));
    else findings.push(describeMove(cycle));
  }
  return findings;
}

/** The bodies that lead from one back to itself; the body alone when they do not. */
function followCycle(first: AlteredBody, places: ReadonlyMap<string, AlteredBody>): AlteredBody[] {
  const cycle = [first];
  let next = places.get(first.got.toString('hex'));
  while (next !== undefined && next !== first) {
    if (cycle.length > places.size) return [first];
    cycle.push(next);
    next = places.get(next.got.toString('hex'));
  }
  return next === first ? cycle : [first];
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
