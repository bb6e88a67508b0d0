/**
 * The Merkle tree of RFC 6962 section 2 with SHA-256: leaf = H(0x00 || data), node = H(0x01 || left || right), split at the largest power
 * of two below the size. Sizes and indexes are safe integers. A complete subtree of 2^height leaves is named by (height, index) and
 * covers the leaves [index * 2^height, (index + 1) * 2^height).
 */
import { hash } from 'node:crypto';

/** MTH({}) = SHA-256 of nothing. */
export const emptyRoot: Buffer = hash('sha256', '', 'buffer');

export function hashLeaf(data: Uint8Array): Buffer {
  const input = Buffer.allocUnsafe(data.length + 1);
  input[0] = 0;
  input.set(data, 1);
  return hash('sha256', input, 'buffer');
}

const nodeInput = Buffer.alloc(65);
nodeInput[0] = 1;

export function hashNode(left: Uint8Array, right: Uint8Array): Buffer {
  if (left.length !== 32 || right.length !== 32) return hash('sha256', Buffer.concat([nodeInput.subarray(0, 1), left, right]), 'buffer');
  nodeInput.set(left, 1);
  nodeInput.set(right, 33);
  return hash('sha256', nodeInput, 'buffer');
}

/**
 * The right edge of a growing tree: for each bit of `size` the root of one complete subtree, `nodes[height]`. It is all that appending
 * needs, at most 53 hashes. (A compact range; also known as a Merkle mountain range.)
 */
export interface Frontier {
  size: number;
  readonly nodes: Array<Buffer | undefined>;
}

export function emptyFrontier(): Frontier {
  return { size: 0, nodes: [] };
}

/**
 * Appends the next leaf, changing the frontier in place.
 * @param completed told of every complete subtree that this leaf finishes, from height 1 upward
 */
export function appendLeaf(frontier: Frontier, leafHash: Buffer, completed?: (height: number, index: number, root: Buffer) => void): void {
  let node = leafHash;
  let height = 0;
  let index = frontier.size;
  for (; index % 2 === 1; index = (index - 1) / 2) {
    node = hashNode(frontier.nodes[height]!, node);
    frontier.nodes[height] = undefined;
    height += 1;
    completed?.(height, (index - 1) / 2, node);
  }
  frontier.nodes[height] = node;
  frontier.size += 1;
}

/** The root of the whole tree. */
export function frontierRoot({ nodes }: Frontier): Buffer {
  let root: Buffer | undefined;
  for (const node of nodes) {
    if (node !== undefined) root = root === undefined ? node : hashNode(node, root);
  }
  return root ?? emptyRoot;
}

/** The root over these leaf hashes. */
export function rootOf(leafHashes: readonly Buffer[]): Buffer {
  const frontier = emptyFrontier();
  for (const leafHash of leafHashes) appendLeaf(frontier, leafHash);
  return frontierRoot(frontier);
}

/** The largest power of two below `size` (at least 2): where a tree of that size splits. */
export function splitPoint(size: number): number {
  let point = 1;
  while (point * 2 < size) point *= 2;
  return point;
}
