import { expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hashLeaf } from '../../../domain/audit/merkle.ts';
import {
  consistencyRanges,
  hashRange,
  inclusionRanges,
  type LeafRange,
  type NodeReader,
  verifyConsistency,
  verifyInclusion,
} from '../../../domain/audit/proof.ts';
import { recursiveRoot } from './reference-tree.ts';

interface InclusionVector {
  name: string;
  leafIdx: number;
  treeSize: number;
  root: string | null;
  leafHash: string;
  proof: string[] | null;
  wantErr: boolean;
}
interface ConsistencyVector {
  name: string;
  size1: number;
  size2: number;
  root1: string | null;
  root2: string | null;
  proof: string[] | null;
  wantErr: boolean;
}
const vectors = JSON.parse(readFileSync(new URL('../../fixtures/audit/merkle-proofs.json', import.meta.url), 'utf8')) as {
  inclusion: InclusionVector[];
  consistency: ConsistencyVector[];
};
const bytes = (base64: string | null) => Buffer.from(base64 ?? '', 'base64');

test.each(vectors.inclusion.map((vector) => [vector.name, vector] as const))('public vector %s', (_name, vector) => {
  const verified = verifyInclusion(
    { index: vector.leafIdx, leafHash: bytes(vector.leafHash) },
    { size: vector.treeSize, root: bytes(vector.root) },
    (vector.proof ?? []).map(bytes),
  );
  expect(verified).toBe(!vector.wantErr);
});

// size 0 is refused here: from an empty tree there is nothing to prove
test.each(vectors.consistency.map((vector) => [vector.name, vector] as const))('public vector %s', (_name, vector) => {
  const from = { size: vector.size1, root: bytes(vector.root1) };
  const to = { size: vector.size2, root: bytes(vector.root2) };
  expect(verifyConsistency(from, to, (vector.proof ?? []).map(bytes))).toBe(!vector.wantErr);
});

const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
const small = inputs.map((hex) => hashLeaf(Buffer.from(hex, 'hex')));
const x = 'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0';
const root4 = 'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7';

test('the published inclusion proof of leaf 5 in 8', () => {
  const proof = inclusionRanges(5, { start: 0, end: 8 }).map((range) => hashRange(range, readerOf(small)).toString('hex'));
  expect(proof).toEqual(['bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b', x, root4]);
});

test('the published consistency proof from 6 to 8', () => {
  const proof = consistencyRanges({ start: 0, end: 6 }, 8).map((range) => hashRange(range, readerOf(small)).toString('hex'));
  expect(proof).toEqual(['0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a', x, root4]);
});

const leaves = Array.from({ length: 130 }, (_, i) => hashLeaf(Buffer.from([i])));

test('all 12,807 subtree inclusion proofs up to 130 leaves have the published digest', () => {
  const digest = createHash('sha256');
  const read = readerOf(leaves);
  let lines = 0;
  for (let end = 1; end <= 130; end += 1) {
    for (const range of subtreesEndingAt(end)) {
      for (let i = range.start; i < end; i += 1) {
        const hashes = inclusionRanges(i, range).map((part) => hashRange(part, read).toString('hex'));
        digest.update(`${[i, `[${range.start}, ${end})`, ...hashes].join(' ')}\n`);
        lines += 1;
      }
    }
  }
  expect(lines).toBe(12_807);
  expect(digest.digest('hex')).toBe('ac2a8f989e44d99e399db448050ff5f19757df53cfb716aa81015d3955d8163f');
});

test('all 42,893 subtree consistency proofs up to 130 leaves have the published digest', () => {
  const digest = createHash('sha256');
  const read = readerOf(leaves);
  let lines = 0;
  for (let size = 0; size <= 130; size += 1) {
    for (let end = 0; end <= size; end += 1) {
      for (const range of [...subtreesEndingAt(end), { start: end, end }]) {
        const hashes = consistencyRanges(range, size).map((part) => hashRange(part, read).toString('hex'));
        digest.update(`${[`[${range.start}, ${end})`, size, ...hashes].join(' ')}\n`);
        lines += 1;
      }
    }
  }
  expect(lines).toBe(42_893);
  expect(digest.digest('hex')).toBe('10fa99b37bf9bf9ffa26b412fbd98bd75363256d0b75d61bc4538b9c9c5a0a74');
});

test('a proof that is made verifies, and no bit of it can change', () => {
  const read = readerOf(leaves);
  for (const size of [1, 2, 3, 7, 8, 100, 129, 130]) {
    const root = recursiveRoot(leaves.slice(0, size));
    for (const index of [0, 1, Math.floor(size / 2), size - 1].filter((i) => i < size)) {
      const proof = inclusionRanges(index, { start: 0, end: size }).map((range) => hashRange(range, read));
      expect(verifyInclusion({ index, leafHash: leaves[index]! }, { size, root }, proof)).toBe(true);
      expect(verifyInclusion({ index: index + 1, leafHash: leaves[index]! }, { size, root }, proof)).toBe(false);
      proof.forEach((hash, i) => {
        const forged = proof.with(i, Buffer.from(hash.map((byte, at) => (at === 5 ? byte ^ 4 : byte))));
        expect(verifyInclusion({ index, leafHash: leaves[index]! }, { size, root }, forged)).toBe(false);
      });
    }
    for (const from of [1, 2, 5, 64, 128, 130].filter((n) => n <= size)) {
      const proof = consistencyRanges({ start: 0, end: from }, size).map((range) => hashRange(range, read));
      const old = { size: from, root: recursiveRoot(leaves.slice(0, from)) };
      expect(verifyConsistency(old, { size, root }, proof)).toBe(true);
      expect(verifyConsistency(old, { size, root }, [...proof, root])).toBe(false);
    }
  }
});

test('a leaf or subtree outside the tree is a mistake, not a proof', () => {
  expect(() => inclusionRanges(8, { start: 0, end: 8 })).toThrow(RangeError);
  expect(() => consistencyRanges({ start: 0, end: 9 }, 8)).toThrow(RangeError);
});

function subtreesEndingAt(end: number): LeafRange[] {
  const ranges: LeafRange[] = [];
  for (let start = 0; start < end; start += 1) {
    let power = 1;
    while (power < end - start) power *= 2;
    if (start % power === 0) ranges.push({ start, end });
  }
  return ranges;
}

function readerOf(leafHashes: readonly Buffer[]): NodeReader {
  const nodes = new Map<string, Buffer>();
  return (height, index) => {
    const key = `${height}/${index}`;
    const node = nodes.get(key) ?? recursiveRoot(leafHashes.slice(index * 2 ** height, (index + 1) * 2 ** height));
    nodes.set(key, node);
    return node;
  };
}
