/**
 * Proofs over the tree of merkle.ts: that a leaf is in it (RFC 6962 section 2.1.1), and that a larger tree only adds to a smaller one
 * (2.1.2). Making one takes two steps: which ranges of leaves its hashes cover is arithmetic, reading them is the caller's business.
 */
import { hashNode, splitPoint } from './merkle.ts';

/** The leaves [start, end). */
export interface LeafRange {
  readonly start: number;
  readonly end: number;
}

/** Root of the complete subtree (height, index). */
export type NodeReader = (height: number, index: number) => Buffer;

/**
 * The ranges whose roots prove leaf `index` in the tree over [start, end), from the leaf upward.
 * @throws RangeError when the leaf is not in the range
 */
export function inclusionRanges(index: number, { start, end }: LeafRange): LeafRange[] {
  if (!(start >= 0 && index >= start && index < end)) throw new RangeError('the leaf is outside the tree');
  const ranges: LeafRange[] = [];
  for (let low = start, high = end; high - low > 1;) {
    const middle = low + splitPoint(high - low);
    if (index < middle) {
      ranges.push({ start: middle, end: high });
      high = middle;
    } else {
      ranges.push({ start: low, end: middle });
      low = middle;
    }
  }
  return ranges.reverse();
}

/**
 * The ranges whose roots prove that the tree of `size` leaves contains the subtree [start, end) as it was; with `start` 0 this is the
 * consistency proof from size `end`. `start` must be a multiple of the least power of two that is not below the subtree's size. Nothing
 * needs proving of an empty subtree.
 * @throws RangeError when the subtree is not within the tree
 */
export function consistencyRanges({ start, end }: LeafRange, size: number): LeafRange[] {
  if (!(start >= 0 && start <= end && end <= size)) throw new RangeError('the subtree is outside the tree');
  if (start === end) return [];
  const ranges: LeafRange[] = [];
  let low = 0;
  let high = size;
  let from = start;
  // whether the verifier can build the remaining node from the subtree's own root
  let known = true;
  while (!(low === from && high === end)) {
    const middle = low + splitPoint(high - low);
    if (end <= middle) {
      ranges.push({ start: middle, end: high });
      high = middle;
    } else {
      ranges.push({ start: low, end: middle });
      // a subtree that crosses the split begins at `low`: its left part is this very node, the rest goes on to the right
      if (from < middle) {
        known = false;
        from = middle;
      }
      low = middle;
    }
  }
  if (!known) ranges.push({ start: low, end: high });
  return ranges.reverse();
}

/** The root over a range of leaves of which every left part is complete, as all ranges above are. */
export function hashRange({ start, end }: LeafRange, read: NodeReader): Buffer {
  const parts: Buffer[] = [];
  for (let at = start; at < end;) {
    let height = 0;
    while ((at / 2 ** height) % 2 === 0 && at + 2 ** (height + 1) <= end) height += 1;
    parts.push(read(height, at / 2 ** height));
    at += 2 ** height;
  }
  return parts.reduceRight((right, left) => hashNode(left, right));
}

export interface TreeHead {
  readonly size: number;
  readonly root: Uint8Array;
}

/** Whether `proof` shows that the leaf stands at its index in the tree (RFC 9162 section 2.1.3.2). */
export function verifyInclusion(
  { index, leafHash }: { readonly index: number; readonly leafHash: Uint8Array },
  { size, root }: TreeHead,
  proof: readonly Uint8Array[],
): boolean {
  if (!isIndex(index) || !isIndex(size) || index >= size || proof.some(({ length }) => length !== 32)) return false;
  let node = leafHash;
  let position = index;
  let last = size - 1;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (position % 2 === 1 || position === last) {
      node = hashNode(sibling, node);
      while (position % 2 === 0 && position !== 0) {
        position = half(position);
        last = half(last);
      }
    } else {
      node = hashNode(node, sibling);
    }
    position = half(position);
    last = half(last);
  }
  return last === 0 && equal(node, root);
}

/**
 * Whether `proof` shows that the tree `to` begins with all of `from` (RFC 9162 section 2.1.4.2). From size 0 there is nothing to prove:
 * such a question is a mistake, and false. Equal sizes need an empty proof and equal roots.
 */
export function verifyConsistency(from: TreeHead, to: TreeHead, proof: readonly Uint8Array[]): boolean {
  if (!isIndex(from.size) || !isIndex(to.size) || from.size === 0 || from.size > to.size) return false;
  if (proof.some(({ length }) => length !== 32)) return false;
  if (from.size === to.size) return proof.length === 0 && equal(from.root, to.root);
  let position = from.size - 1;
  let last = to.size - 1;
  while (position % 2 === 1) {
    position = half(position);
    last = half(last);
  }
  // a complete old tree is a node of the new one, and its root is not repeated in the proof
  const path = position === 0 ? [from.root, ...proof] : proof;
  const seed = path[0];
  if (seed === undefined) return false;
  let oldNode = seed;
  let newNode = seed;
  for (const sibling of path.slice(1)) {
    if (last === 0) return false;
    if (position % 2 === 1 || position === last) {
      oldNode = hashNode(sibling, oldNode);
      newNode = hashNode(sibling, newNode);
      while (position % 2 === 0 && position !== 0) {
        position = half(position);
        last = half(last);
      }
    } else {
      newNode = hashNode(newNode, sibling);
    }
    position = half(position);
    last = half(last);
  }
  return last === 0 && equal(oldNode, from.root) && equal(newNode, to.root);
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function isIndex(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function equal(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, i) => byte === right[i]);
}
