/** Getting a Temporal CLI: the first of five sources that works, the last two of which fill a cache that all checkouts share. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { waitForLock } from './lock.ts';
import { buildTemporalCli, chooseGoBuild, describeElapsed, findGo } from './temporal-build.ts';
import {
  askVersion,
  findCacheDirectory,
  findCached,
  listOnPath,
  isRecentEnough,
  preferredVersion,
  putIntoCache,
  type TemporalCli,
} from './temporal-cli.ts';

export type ProvisionOptions = {
  /** `TEMPORAL_CLI_PATH`: when it cannot be used, nothing else is tried, because the user meant it. */
  readonly cliPath: string | undefined;
  /** For PATH, HOME, XDG_CACHE_HOME and Go's settings. */
  readonly env: NodeJS.ProcessEnv;
  /** Takes lines for people: what is being fetched or built, about every ten seconds. */
  readonly progress: (line: string) => void;
  /** Replaces the SDK's download: it must leave the CLI in `directory` and answer its path, or reject. */
  readonly download?: (directory: string, progress: (line: string) => void) => Promise<string>;
};

/** No source worked. The message says what was tried and what to do, in full sentences. */
export class NoTemporalServerError extends Error {
  override name = 'NoTemporalServerError';
}

/** The first usable CLI: TEMPORAL_CLI_PATH, PATH, the cache, the SDK's download, a build from the Go module. */
export async function provisionTemporalCli(options: ProvisionOptions): Promise<TemporalCli> {
  const { cliPath, env, progress } = options;
  if (cliPath !== undefined) {
    const version = await askVersion(cliPath);
    if (version !== undefined) return { path: cliPath, version, source: 'TEMPORAL_CLI_PATH' };
    throw new NoTemporalServerError(
      `TEMPORAL_CLI_PATH is ${cliPath}, which cannot be run: correct it, or unset it to have a server found or built.`,
    );
  }
  for (const path of listOnPath('temporal', env)) {
    const version = await askVersion(path);
    if (version !== undefined && isRecentEnough(version)) return { path, version, source: 'PATH' };
  }
  const cacheDirectory = findCacheDirectory(env);
  const cached = await findCached(cacheDirectory);
  if (cached !== undefined) return fromCache(cached);

  const lock = await waitForLock(join(cacheDirectory, 'temporal-cli.lock'), () =>
    progress('Waiting for another process that is fetching or building the Temporal server.'),
  );
  try {
    const meanwhile = await findCached(cacheDirectory);
    if (meanwhile !== undefined) return fromCache(meanwhile);
    return await fillCache(options, cacheDirectory);
  } finally {
    lock.release();
  }
}

function fromCache({ path, versionLine }: { path: string; versionLine: string }): TemporalCli {
  return { path, version: versionLine, source: 'cache' };
}

/** Under the cache's lock. Unfinished directories are of processes that died: the lock says that nobody works in them. */
async function fillCache({ env, progress, download = downloadBySdk }: ProvisionOptions, cacheDirectory: string): Promise<TemporalCli> {
  for (const name of await readdir(cacheDirectory)) {
    if (/^(build|download)-|\.new-\d+/.test(name)) await rm(join(cacheDirectory, name), { recursive: true, force: true });
  }
  const refusals: string[] = [];
  const directory = await mkdtemp(join(cacheDirectory, 'download-'));
  try {
    progress('Downloading the Temporal server, once.');
    const path = await putIntoCache(await download(directory, progress), cacheDirectory, preferredVersion);
    return await accept(path, 'the SDK’s download');
  } catch (error) {
    refusals.push(`its download failed (${firstLine(error)})`);
    progress(`The Temporal server cannot be downloaded here (${firstLine(error)}).`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  const go = await findGo(env);
  const build = go === undefined ? undefined : chooseGoBuild(go.version, go.toolchain);
  if (go === undefined) refusals.push('Go is not installed to build it');
  else if (build === undefined) refusals.push(`${go.version} is too old to build it (1.25 or newer can)`);
  else {
    progress(`Building the Temporal server from its Go module with ${go.version}: once, a few minutes, about 3 GB of Go’s caches.`);
    const startedAt = Date.now();
    try {
      const built = await buildTemporalCli(build, cacheDirectory, env, (line) => progress(`Building the Temporal server: ${line}.`));
      try {
        const path = await putIntoCache(built.path, cacheDirectory, built.version);
        progress(`The Temporal server is built after ${describeElapsed(Date.now() - startedAt)}: ${path}.`);
        return await accept(path, 'a build from the Go module');
      } finally {
        await built.discard();
      }
    } catch (error) {
      refusals.push(`building it failed (${firstLine(error)})`);
    }
  }
  throw new NoTemporalServerError(
    `There is no Temporal server to start: there is no temporal program (CLI 1.5.1 or newer) on the PATH, ${refusals.join(', and ')}. ` +
      'Install the Temporal CLI (https://docs.temporal.io/cli) or Go 1.25 or newer, or set TEMPORAL_CLI_PATH to the program or TEMPORAL_ADDRESS to a running server.',
  );
}

async function accept(path: string, source: string): Promise<TemporalCli> {
  const version = await askVersion(path);
  if (version === undefined) {
    await Promise.all([rm(path, { force: true }), rm(`${path}.sha256`, { force: true })]);
    throw new Error('the program does not run on this machine');
  }
  return { path, version, source };
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!.slice(0, 600);
}

const downloadTimeoutMs = 600_000;
/** A blocked network often swallows packets instead of refusing them. */
const firstByteTimeoutMs = 45_000;

async function downloadBySdk(directory: string, progress: (line: string) => void): Promise<string> {
  await mkdir(directory, { recursive: true });
  const script = join(import.meta.dirname, 'temporal-download.ts');
  const child = spawn(process.execPath, [script, directory, `v${preferredVersion}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  let messages = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (messages = (messages + text).slice(-8000)));
  const startedAt = Date.now();
  const timer = setInterval(() => void watch(), 10_000);
  try {
    const code = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
    // The file counts, not the exit code: the SDK also starts the server, and may have lost patience with that.
    const file = (await readdir(directory)).find((name) => name.startsWith('temporal-') && !name.includes('download'));
    if (file === undefined) throw new Error(findReason(messages) ?? `exit code ${code}`);
    return join(directory, file);
  } finally {
    clearInterval(timer);
    process.removeListener('exit', end);
  }

  async function watch(): Promise<void> {
    const elapsed = Date.now() - startedAt;
    progress(`Downloading the Temporal server: ${describeElapsed(elapsed)}.`);
    const begun = (await readdir(directory)).length > 0;
    if (elapsed > downloadTimeoutMs || (!begun && elapsed > firstByteTimeoutMs)) {
      messages += '\nError: no answer in time';
      child.kill('SIGKILL');
    }
  }
}

/** The line of a Node stack trace that says what happened. */
function findReason(messages: string): string | undefined {
  return messages
    .split('\n')
    .findLast((line) => /^\[?\w*Error\b/.test(line))
    ?.replace(/^\[|\]$/g, '');
}
