/** In which of several ways that come to the same something is done. `about` is what makes it differ from other choices. */
export type Choose = <T>(about: string, ...ways: readonly [T, ...T[]]) => T;

/** The first. */
export const plainly: Choose = (_about, first) => first;

/** By chance, and the same for the same seed: whatever is left out of a simulation, the rest of it is done as before. */
export function mannerOf(seed: number): Choose {
  return (about, ...ways) => ways[hash(`${seed} ${about}`) % ways.length]!;
}

/** FNV-1a, with its bits mixed once more: few of them differ after a last letter that does. */
function hash(text: string): number {
  let mixed = 0x811c9dc5;
  for (const letter of text) mixed = Math.imul(mixed ^ letter.codePointAt(0)!, 0x01000193);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}
