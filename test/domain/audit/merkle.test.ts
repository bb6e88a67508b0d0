import { expect, test } from '@jest/globals';
import { appendLeaf, emptyFrontier, frontierRoot, hashLeaf, hashNode, rootOf } from '../../../domain/audit/merkle.ts';
import { recursiveRoot } from './reference-tree.ts';

const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
const leaves = inputs.map((hex) => hashLeaf(Buffer.from(hex, 'hex')));

test('two texts give the published node', () => {
  expect(hashNode(Buffer.from('N123'), Buffer.from('N456')).toString('hex')).toBe(
    'aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb',
  );
});

test.each([
  [0, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  [1, '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'],
  [4, 'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7'],
  [6, '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef'],
  [7, 'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c'],
  [8, '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328'],
])('the published root of %i leaves', (size, root) => {
  expect(rootOf(leaves.slice(0, size)).toString('hex')).toBe(root);
});

test('growing leaf by leaf gives the recursive definition of RFC 6962 at every size', () => {
  const frontier = emptyFrontier();
  const all: Buffer[] = [];
  for (let size = 1; size <= 600; size += 1) {
    all.push(hashLeaf(Buffer.from(String(size))));
    appendLeaf(frontier, all[size - 1]!);
    expect(frontier.size).toBe(size);
    expect(frontierRoot(frontier)).toEqual(recursiveRoot(all));
  }
});

test('every complete subtree is told once, when its last leaf comes, with its root', () => {
  const all = Array.from({ length: 37 }, (_, i) => hashLeaf(Buffer.from([i])));
  const told = new Map<string, Buffer>();
  const frontier = emptyFrontier();
  all.forEach((leaf, i) =>
    appendLeaf(frontier, leaf, (height, index, root) => {
      expect((index + 1) * 2 ** height).toBe(i + 1);
      expect(told.has(`${height}/${index}`)).toBe(false);
      told.set(`${height}/${index}`, root);
    }),
  );
  expect(told.size).toBe(18 + 9 + 4 + 2 + 1);
  for (const [key, root] of told) {
    const [height, index] = key.split('/').map(Number) as [number, number];
    expect(root).toEqual(recursiveRoot(all.slice(index * 2 ** height, (index + 1) * 2 ** height)));
  }
});
