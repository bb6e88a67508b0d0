import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { hashSources, keepBuilt } from '../../activities/workflow-bundle.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tocsin-bundle-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('what was built', () => {
  let builds: number;
  const read = async (key: string) => keepBuilt(join(directory, 'cache'), 'workflows', key, async () => `built ${(builds += 1)}`);
  beforeEach(() => {
    builds = 0;
  });

  test('is built once for each key, and kept for the last one alone', async () => {
    expect([await read('a'), await read('a')]).toEqual(['built 1', 'built 1']);
    expect([await read('b'), await read('b')]).toEqual(['built 2', 'built 2']);
    expect(readdirSync(join(directory, 'cache'))).toEqual(['workflows-b']);
  });

  test('is built again when its file is damaged', async () => {
    await read('a');
    truncateSync(join(directory, 'cache', 'workflows-a'), 70);
    expect([await read('a'), await read('a')]).toEqual(['built 2', 'built 2']);
  });

  test('is what it is where nothing can be kept', async () => {
    writeFileSync(join(directory, 'cache'), 'not a directory');
    expect([await read('a'), await read('a')]).toEqual(['built 1', 'built 2']);
  });
});

test('every file of the sources counts, by its name and by what is in it', async () => {
  const root = join(directory, 'root');
  mkdirSync(join(root, 'workflows', 'deeper'), { recursive: true });
  writeFileSync(join(root, 'package.json'), '{}');
  writeFileSync(join(root, 'elsewhere.ts'), 'x');
  const hashes = new Set<string>();
  const note = async () => hashes.add(await hashSources(root, ['workflows', 'package.json'])).size;
  expect(await note()).toBe(1);
  writeFileSync(join(root, 'elsewhere.ts'), 'y');
  expect(await note()).toBe(1);
  const changes = [
    ['workflows/a.ts', 'x'],
    ['workflows/a.ts', 'y'],
    ['workflows/b.ts', ''],
    ['workflows/deeper/c.ts', ''],
    ['package.json', '{"a":1}'],
  ] as const;
  for (const [i, [file, content]] of changes.entries()) {
    writeFileSync(join(root, file), content);
    expect(await note()).toBe(i + 2);
  }
});
