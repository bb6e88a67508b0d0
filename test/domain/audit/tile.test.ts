import { expect, test } from '@jest/globals';
import { hashLeaf } from '../../../domain/audit/merkle.ts';
import { nodeOfTile, tileIndexPath, tileOfNode, tilesOf } from '../../../domain/audit/tile.ts';
import { recursiveRoot } from './reference-tree.ts';

test('70,000 leaves make 273 full tiles and one of 112, then 1 and 17, then one of 1', () => {
  expect(tilesOf(70_000)).toEqual([
    { full: 273, partial: 112 },
    { full: 1, partial: 17 },
    { full: 0, partial: 1 },
  ]);
  expect(tilesOf(0)).toEqual([]);
  expect(tilesOf(256)).toEqual([
    { full: 1, partial: 0 },
    { full: 0, partial: 1 },
  ]);
});

test.each([
  [0, '000'],
  [5, '005'],
  [999, '999'],
  [1_000, 'x001/000'],
  [1_234_067, 'x001/x234/067'],
])('tile %i has the path %s', (n, path) => {
  expect(tileIndexPath(n)).toBe(path);
});

test('a subtree is found in its tile, at any height', () => {
  expect(tileOfNode(0, 300)).toEqual({ level: 0, n: 1, from: 44, count: 1 });
  expect(tileOfNode(7, 3)).toEqual({ level: 0, n: 1, from: 128, count: 128 });
  expect(tileOfNode(8, 255)).toEqual({ level: 1, n: 0, from: 255, count: 1 });
  expect(tileOfNode(17, 1)).toEqual({ level: 2, n: 0, from: 2, count: 2 });
  const leaves = Array.from({ length: 256 }, (_, i) => hashLeaf(Buffer.from([i])));
  expect(nodeOfTile(Buffer.concat(leaves), 96, 32)).toEqual(recursiveRoot(leaves.slice(96, 128)));
});
