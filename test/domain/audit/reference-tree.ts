/** RFC 6962 section 2.1 as it is written, and slowly: shares nothing with the code under test. */
import { createHash } from 'node:crypto';

export function recursiveRoot(leafHashes: readonly Buffer[]): Buffer {
  if (leafHashes.length === 0) return createHash('sha256').digest();
  if (leafHashes.length === 1) return leafHashes[0]!;
  let split = 1;
  while (split * 2 < leafHashes.length) split *= 2;
  return createHash('sha256')
    .update(Buffer.from([1]))
    .update(recursiveRoot(leafHashes.slice(0, split)))
    .update(recursiveRoot(leafHashes.slice(split)))
    .digest();
}

export function leafHashOf(canonical: Buffer): Buffer {
  return createHash('sha256')
    .update(Buffer.from([0]))
    .update(canonical)
    .digest();
}
