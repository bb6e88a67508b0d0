/**
 * The chain hash links each leaf to all before it: the "previous hash" that people look for in a log. It never serves as a proof; the
 * tree does that, with a logarithm of the work.
 */
import { hash } from 'node:crypto';

/** chain(-1) = SHA-256("tocsin/audit-chain/v1\n" + origin + "\n"): chains of two logs never meet. */
export function chainSeed(origin: string): Buffer {
  return hash('sha256', `tocsin/audit-chain/v1\n${origin}\n`, 'buffer');
}

const linkInput = Buffer.alloc(64);

/** chain(i) = SHA-256(chain(i-1) || leafHash(i)). */
export function nextChainHash(previous: Uint8Array, leafHash: Uint8Array): Buffer {
  linkInput.set(previous, 0);
  linkInput.set(leafHash, 32);
  return hash('sha256', linkInput, 'buffer');
}
