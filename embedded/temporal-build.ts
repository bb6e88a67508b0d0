/** Building the Temporal CLI from its Go module, where nothing can be downloaded but modules: a few minutes, once per user. */
import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { olderVersion, preferredVersion } from './temporal-cli.ts';

export type GoBuild = 'throw-away-module' | 'install';

export type BuiltCli = { readonly path: string; readonly version: string; discard(): Promise<void> };

const command = 'github.com/temporalio/cli/cmd/temporal';

/**
 * The recipe for this Go, or undefined when it is too old. CLI tags v1.6.0 to v1.8.2 replace their own module cliext by a relative
 * path, which `go install` refuses; a main module of ours outranks that replacement, but v1.8.2 needs Go 1.26.4. v1.5.1 is the newest
 * tag that installs as it is. Go >= 1.21 that may fetch toolchains (GOTOOLCHAIN other than `local`) gets the newer one by itself.
 */
export function chooseGoBuild(goVersion: string, goToolchain: string): GoBuild | undefined {
  const match = /^go(\d+)\.(\d+)(?:\.(\d+))?/.exec(goVersion);
  if (match === null) return undefined;
  const [major = 0, minor = 0, patch = 0] = match.slice(1).map((part) => Number(part ?? 0));
  if (major > 1 || minor > 26 || (minor === 26 && patch >= 4)) return 'throw-away-module';
  if (minor >= 25) return 'install';
  return minor >= 21 && goToolchain !== 'local' ? 'throw-away-module' : undefined;
}

/** Asks the Go on the search path; undefined when there is none. */
export async function findGo(env: NodeJS.ProcessEnv): Promise<{ version: string; toolchain: string } | undefined> {
  try {
    const { stdout } = await promisify(execFile)('go', ['env', 'GOVERSION', 'GOTOOLCHAIN'], {
      env: goEnvironment(env),
      cwd: '/',
      timeout: 30_000,
    });
    const [version = '', toolchain = ''] = stdout.split('\n');
    return { version, toolchain };
  } catch {
    return undefined;
  }
}

/**
 * Builds in a directory of its own below `cacheDirectory`; the caller moves the program out and then calls `discard`.
 * `progress` gets a line about every ten seconds. Needs about 3 GB for Go's module and build caches.
 */
export async function buildTemporalCli(
  build: GoBuild,
  cacheDirectory: string,
  env: NodeJS.ProcessEnv,
  progress: (line: string) => void,
): Promise<BuiltCli> {
  await mkdir(cacheDirectory, { recursive: true });
  const directory = await mkdtemp(join(cacheDirectory, 'build-'));
  const discard = () => rm(directory, { recursive: true, force: true });
  const path = join(directory, process.platform === 'win32' ? 'temporal.exe' : 'temporal');
  try {
    if (build === 'install') {
      await runGo(['install', '-v', `${command}@v${olderVersion}`], directory, { ...goEnvironment(env), GOBIN: directory }, progress);
      return { path, version: olderVersion, discard };
    }
    await writeFile(join(directory, 'go.mod'), throwAwayModule);
    await writeFile(join(directory, 'tools.go'), `//go:build tools\n\npackage tools\n\nimport _ "${command}"\n`);
    const stamp = `-X github.com/temporalio/cli/internal/temporalcli.Version=${preferredVersion}`;
    await runGo(
      ['build', '-v', '-ldflags', stamp, '-o', path, command],
      directory,
      { ...goEnvironment(env), GOFLAGS: '-mod=mod -buildvcs=false' },
      progress,
    );
    return { path, version: preferredVersion, discard };
  } catch (error) {
    await discard();
    throw error;
  }
}

const throwAwayModule = `module tocsin/temporal-cli

go 1.26.4

require github.com/temporalio/cli v${preferredVersion}

replace github.com/temporalio/cli/cliext => github.com/temporalio/cli/cliext v0.0.0-20260731000218-c579925f193f
`;

/** The caller's Go settings (proxy, caches, toolchain), without those that would make another program than one for this machine. */
function goEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { GOOS: _os, GOARCH: _arch, GOBIN: _bin, GO111MODULE: _module, GOFLAGS: _flags, ...rest } = env;
  return { ...rest, GOWORK: 'off', CGO_ENABLED: '0' };
}

async function runGo(args: readonly string[], cwd: string, env: NodeJS.ProcessEnv, progress: (line: string) => void): Promise<void> {
  const go = spawn('go', args, { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] });
  // An interrupted start must not leave a compiler running for minutes.
  const end = () => go.kill('SIGTERM');
  process.once('exit', end);
  const startedAt = Date.now();
  const seen = { fetched: 0, compiled: 0 };
  const lastLines: string[] = [];
  createInterface({ input: go.stderr }).on('line', (line) => {
    if (line.startsWith('go: downloading ')) seen.fetched += 1;
    else if (/^[\w.-]+(\/[\w.@~-]+)*$/.test(line)) seen.compiled += 1;
    else lastLines.push(line.trim());
    if (lastLines.length > 15) lastLines.shift();
  });
  const timer = setInterval(
    () => progress(`${describeElapsed(Date.now() - startedAt)}: ${seen.fetched} modules fetched, ${seen.compiled} packages compiled`),
    10_000,
  );
  try {
    const code = await new Promise<number | null>((resolve, reject) => go.once('error', reject).once('close', resolve));
    if (code !== 0) throw new Error(`go ${args[0]} ended with exit code ${code}: ${lastLines.join(' / ')}`);
  } finally {
    clearInterval(timer);
    process.removeListener('exit', end);
  }
}

/** `1 min 20 s`. */
export function describeElapsed(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
