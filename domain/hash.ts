import { hash } from 'node:crypto';

/** SHA-256 as lower-case hex. */
export function sha256Hex(content: string | Uint8Array): string {
  return hash('sha256', content, 'hex');
}

/** SHA-256 as 32 bytes. */
export function sha256(content: string | Uint8Array): Buffer {
  return hash('sha256', content, 'buffer');
}

/**
 * The fraction 0 <= u < 1 that spreads the retries of one run: derived, not drawn, so that whoever computes it again
 * (another worker, a person with the attempt row) gets the same due time.
 */
export function jitterFraction(runId: string, attemptNo: number): number {
  return sha256(`jitter:${runId}:${attemptNo}`).readUIntBE(0, 6) / 2 ** 48;
}

/**
 * What providers and mail readers see as "the same problem": the dedup key in a form that tells nothing and cannot collide between
 * organizations. `organizationId` is the UUID.
 */
export function problemKey(organizationId: string, dedupKey: string): string {
  return `tocsin:${sha256Hex(`${organizationId}\n${dedupKey}`).slice(0, 40)}`;
}
