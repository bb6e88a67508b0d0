/**
 * Tiles of 256 hashes (c2sp.org/tlog-tiles): hash i of tile (L, n) is the root of the complete subtree (8L, 256n + i). A tile is narrower
 * than 256 only at the right edge, where it is a prefix of what it will be; such a tile is not hashed upward yet.
 */
import { rootOf } from './merkle.ts';

export const tileWidth = 256;
export const tileHeight = 8;

export interface TileId {
  readonly level: number;
  readonly n: number;
}

/** How many hashes a tree of `size` leaves has at a tile level. */
export function hashesAtLevel(size: number, level: number): number {
  return Math.floor(size / tileWidth ** level);
}

/** Full tiles and the width of the partial one (0: none) per level, from level 0 up, for a tree of `size` leaves. */
export function tilesOf(size: number): Array<{ full: number; partial: number }> {
  const levels: Array<{ full: number; partial: number }> = [];
  for (let count = size; count > 0; count = Math.floor(count / tileWidth)) {
    levels.push({ full: Math.floor(count / tileWidth), partial: count % tileWidth });
  }
  return levels;
}

/** The tile that holds what the root of the complete subtree (height, index) is made of, and which of its hashes: [from, from + count). */
export function tileOfNode(height: number, index: number): TileId & { from: number; count: number } {
  const level = Math.floor(height / tileHeight);
  const count = 2 ** (height % tileHeight);
  const first = index * count;
  return { level, n: Math.floor(first / tileWidth), from: first % tileWidth, count };
}

/** The root over `count` hashes of a tile's data, beginning with number `from`. `count` is a power of two. */
export function nodeOfTile(data: Buffer, from: number, count: number): Buffer {
  const hashes: Buffer[] = [];
  for (let i = from; i < from + count; i += 1) hashes.push(data.subarray(i * 32, (i + 1) * 32));
  return rootOf(hashes);
}

/** Tile numbers as path elements of three digits, all but the last with an `x`: 1234067 is `x001/x234/067`. */
export function tileIndexPath(n: number): string {
  const groups: string[] = [];
  for (let rest = n, i = 0; i === 0 || rest > 0; i += 1, rest = Math.floor(rest / 1000)) {
    groups.unshift(`${i === 0 ? '' : 'x'}${String(rest % 1000).padStart(3, '0')}`);
  }
  return groups.join('/');
}
