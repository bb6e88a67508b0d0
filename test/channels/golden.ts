import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect } from '@jest/globals';

/** Compares with a file in test/fixtures/channels, which `UPDATE_GOLDEN=1` writes anew. A diff in a review shows what receivers will see. */
export function expectGolden(name: string, text: string): void {
  const file = new URL(`../fixtures/channels/${name}`, import.meta.url);
  if (process.env['UPDATE_GOLDEN'] === '1') {
    mkdirSync(dirname(file.pathname), { recursive: true });
    writeFileSync(file, text);
  }
  expect(text).toBe(readFileSync(file, 'utf8'));
}
