import { expect, test } from '@jest/globals';
import { classifyAltered, type AlteredBody } from '../../../domain/audit/findings.ts';

const hashOf = (name: string) => Buffer.from(name.padEnd(32, '.'));

/** A body at its place in the log: what should be there, and what is. */
function altered(index: number, expected: string, got: string): AlteredBody {
  return { index, entryId: `entry-${index}`, expected: hashOf(expected), got: hashOf(got) };
}

test('edits, swaps and rotations are told apart, each at the place where it begins', () => {
  const bodies = [
    altered(1, 'a', 'b'),
    altered(2, 'edited', 'new'),
    altered(5, 'b', 'a'),
    altered(7, 'x', 'y'),
    altered(8, 'y', 'z'),
    altered(9, 'z', 'x'),
  ];
  expect(classifyAltered(bodies)).toEqual([
    { code: 'entries_swapped', index: 1, from: 1, to: 5, entryId: 'entry-1' },
    expect.objectContaining({ code: 'leaf_mismatch', index: 2, entryId: 'entry-2' }),
    { code: 'reordered', index: 7, from: 7, to: 9, entryId: 'entry-7' },
  ]);
});

test('a copy of a moved body is an edit, whatever it leads to', () => {
  const found = classifyAltered([altered(1, 'copy', 'a'), altered(2, 'a', 'b'), altered(3, 'b', 'a')]);
  expect(found.map(({ code, index }) => [code, index])).toEqual([
    ['leaf_mismatch', 1],
    ['entries_swapped', 2],
  ]);
});

test('ten thousand altered bodies that lead into one great circle are classified at once', () => {
  const half = 5_000;
  const copies = Array.from({ length: half }, (_, i) => altered(i, `copy-${i}`, `ring-${i}`));
  const ring = Array.from({ length: half }, (_, i) => altered(half + i, `ring-${i}`, `ring-${(i + 1) % half}`));
  const found = classifyAltered([...copies, ...ring]);
  expect(found).toHaveLength(half + 1);
  expect(found.at(-1)).toMatchObject({ code: 'reordered', from: half, to: 2 * half - 1 });
}, 2_000);
