import { readFileSync } from 'node:fs';

/** `Tocsin/<version>`, for receivers who filter or report by it. */
export const userAgent = `Tocsin/${readVersion()}`;

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest && typeof manifest.version === 'string')
    return manifest.version;
  throw new Error('package.json has no version');
}
