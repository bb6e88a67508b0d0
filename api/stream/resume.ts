import { z } from 'zod';
import type { SecretBox } from '../../db/secrets.ts';
import type { FeedPoint } from '../../db/queries/feed-changes.ts';

const point = z.strictObject({ at: z.int(), since: z.string().regex(/^\d+$/) });

function placeOf(organizationId: string) {
  return { organizationId, table: 'stream', row: organizationId, field: 'resume' };
}

/** What a client shows to go on where it was: sealed, so that nobody can make one up. */
export function sealResume(secrets: SecretBox, organizationId: string, { at, since }: FeedPoint): string {
  return secrets.seal(JSON.stringify({ at, since }), placeOf(organizationId)).toString('base64url');
}

/** @returns undefined: it was not made here, or for another organization */
export function openResume(secrets: SecretBox, organizationId: string, token: string): FeedPoint | undefined {
  try {
    return point.safeParse(JSON.parse(secrets.open(Buffer.from(token, 'base64url'), placeOf(organizationId)))).data;
  } catch {
    return undefined;
  }
}
