/** The Temporal command line program, whose `server start-dev` is the embedded server: finding one that is already on this machine. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, delimiter, isAbsolute, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';

export type TemporalCli = {
  readonly path: string;
  /** What `--version` says, on one line. */
  readonly version: string;
  /** Where it came from, in a few words, for the log. */
  readonly source: string;
};

/** The version that the download and the build make, and the one that Go 1.25 can build. */
export const preferredVersion = '1.8.2';
export const olderVersion = '1.5.1';

/** What the program says about its version; undefined when it cannot be run. */
export async function askVersion(path: string): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'], { timeout: 30_000 });
    return stdout.trim().split('\n')[0];
  } catch {
    return undefined;
  }
}

/** CLI >= 1.5.1, or a CLI built without a version around a server >= 1.29.1, which is what that CLI brings. */
export function isRecentEnough(versionLine: string): boolean {
  const cli = /^temporal version v?(\d+)\.(\d+)\.(\d+)/.exec(versionLine);
  if (cli !== null && cli.slice(1).some((part) => part !== '0')) return isAtLeast(cli, [1, 5, 1]);
  const server = /\(Server v?(\d+)\.(\d+)\.(\d+)/.exec(versionLine);
  return server !== null && isAtLeast(server, [1, 29, 1]);
}

function isAtLeast(match: RegExpExecArray, wanted: readonly [number, number, number]): boolean {
  for (const [index, part] of wanted.entries()) {
    const difference = Number(match[index + 1]) - part;
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** Where the search path would have a program of this name, in its order; relative members of the path are passed over. */
export function* listOnPath(name: string, env: NodeJS.ProcessEnv): Generator<string> {
  const file = process.platform === 'win32' ? `${name}.exe` : name;
  for (const directory of (env['PATH'] ?? '').split(delimiter)) if (isAbsolute(directory)) yield join(directory, file);
}

/** Where all checkouts of one user share what takes minutes to make (XDG Base Directory Specification). */
export function findCacheDirectory(env: NodeJS.ProcessEnv): string {
  const base = env['XDG_CACHE_HOME'];
  const home = env['HOME'] === undefined || env['HOME'] === '' ? homedir() : env['HOME'];
  return join(base !== undefined && isAbsolute(base) ? base : join(home, '.cache'), 'tocsin');
}

/** The cached copy's path: version, operating system and architecture are in its name. */
export function cachedPath(cacheDirectory: string, version: string): string {
  const suffix = process.platform === 'win32' ? '.exe' : '';
  return join(cacheDirectory, `temporal-cli-v${version}-${process.platform}-${process.arch}${suffix}`);
}

/** A cached copy that is still what was put there; one that is not is removed. */
export async function findCached(cacheDirectory: string): Promise<{ path: string; versionLine: string } | undefined> {
  for (const version of [preferredVersion, olderVersion]) {
    const path = cachedPath(cacheDirectory, version);
    const expected = await readFile(`${path}.sha256`, 'utf8').catch(() => undefined);
    if (expected === undefined) continue;
    const digest = await digestFile(path).catch(() => undefined);
    const versionLine = digest === expected.split(' ')[0] ? await askVersion(path) : undefined;
    if (versionLine !== undefined) return { path, versionLine };
    await rm(path, { force: true });
    await rm(`${path}.sha256`, { force: true });
  }
  return undefined;
}

/** Moves a finished program into the cache: written beside, then renamed, the digest last, so that a name stands for a whole file. */
export async function putIntoCache(made: string, cacheDirectory: string, version: string): Promise<string> {
  await mkdir(cacheDirectory, { recursive: true });
  const path = cachedPath(cacheDirectory, version);
  const unfinished = `${path}.new-${process.pid}`;
  try {
    await copyFile(made, unfinished);
    await chmod(unfinished, 0o755);
    const digest = await digestFile(unfinished);
    await rename(unfinished, path);
    await writeFile(`${unfinished}.sha256`, `${digest}  ${basename(path)}\n`);
    await rename(`${unfinished}.sha256`, `${path}.sha256`);
  } finally {
    await rm(unfinished, { force: true });
  }
  return path;
}

async function digestFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}
