import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleWorkflowCode, type WorkflowBundle } from '@temporalio/worker';
import type { Logger } from '../log.ts';
import { sdkLogger } from '../temporal/runtime.ts';

const root = join(import.meta.dirname, '..');
const buildCache = join(root, 'node_modules/.cache/tocsin');
/** All that the bundle is made of: workflow code imports from nowhere else (lint holds it to that), and packages of pinned versions. */
const sources = ['workflows', 'domain', 'package.json'];

/**
 * Workflow code bundled for the SDK's isolates. That is a second of work at every start, also after a crash, so what came of it is kept as
 * long as the sources are the same.
 */
export async function bundleWorkflows(log?: Logger): Promise<WorkflowBundle> {
  const code = await keepBuilt(buildCache, 'workflows', await hashSources(root, sources), async () => {
    const bundle = await bundleWorkflowCode({
      workflowsPath: join(root, 'workflows/index.ts'),
      ...(log === undefined ? {} : { logger: sdkLogger(log) }),
    });
    return bundle.code;
  });
  return { code };
}

/** @param names files, and directories with all that is in them, below `directory` */
export async function hashSources(directory: string, names: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const name of names) {
    const path = join(directory, name);
    const files = name.includes('.') ? [path] : await listFiles(path);
    for (const file of files) {
      const content = await readFile(file);
      hash.update(`${file.slice(directory.length)} ${content.length}\n`).update(content);
    }
  }
  return hash.digest('hex');
}

/**
 * What `build` gives, of this or an earlier process: one text for each name, that of the last key. A directory that cannot be written and a
 * file that is damaged cost the time of a build and nothing else.
 */
export async function keepBuilt(directory: string, name: string, key: string, build: () => Promise<string>): Promise<string> {
  const file = join(directory, `${name}-${key}`);
  const kept = await readFile(file, 'utf8').catch(() => undefined);
  const [sum, text] = [kept?.slice(0, 64), kept?.slice(65)];
  if (text !== undefined && sum === sumOf(text)) return text;
  const built = await build();
  try {
    await mkdir(directory, { recursive: true });
    const ours = `${file}.${process.pid}`;
    await writeFile(ours, `${sumOf(built)}\n${built}`);
    await rename(ours, file);
    const others = (await readdir(directory)).filter((each) => each.startsWith(`${name}-`) && !each.startsWith(`${name}-${key}`));
    await Promise.all(others.map(async (each) => rm(join(directory, each), { force: true })));
  } catch {
    // The next start builds it again.
  }
  return built;
}

async function listFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}

function sumOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
