import { staleVersion } from '../domain/errors.ts';

/** Throws `stale_version` when the caller's `If-Match` names another version. The row MUST be locked for update. */
export function assertVersion(row: { readonly version: number }, ifMatch: number | undefined): void {
  if (ifMatch !== undefined && ifMatch !== row.version) throw staleVersion(row.version);
}

/** Headers of an answer that shows a versioned resource. */
export function versionHeaders(row: { readonly version: number }): { ETag: string } {
  return { ETag: `"${row.version}"` };
}
