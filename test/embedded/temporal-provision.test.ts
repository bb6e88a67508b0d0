import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { chooseGoBuild } from '../../embedded/temporal-build.ts';
import { cachedPath, findCacheDirectory, isRecentEnough, preferredVersion, putIntoCache } from '../../embedded/temporal-cli.ts';
import { NoTemporalServerError, type ProvisionOptions, provisionTemporalCli } from '../../embedded/temporal-provision.ts';
import { makeScratch } from './scratch.ts';

/** A program that answers `--version`, and whatever else, with `says`. */
function writeProgram(path: string, says: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho '${says}'\n`, { mode: 0o755 });
  return path;
}

const recent = 'temporal version 1.8.2 (Server 1.31.2, UI 2.50.1)';

/** A machine with nothing on it: an empty PATH but for the shell, an empty cache, no network. */
function makeMachine(overrides: Partial<ProvisionOptions> = {}) {
  const home = makeScratch();
  const bin = join(home, 'bin');
  mkdirSync(bin);
  const lines: string[] = [];
  const options: ProvisionOptions = {
    cliPath: undefined,
    env: { PATH: bin, HOME: home },
    progress: (line) => lines.push(line),
    download: () => Promise.reject(new Error('dns error')),
    ...overrides,
  };
  return { bin, cache: join(home, '.cache', 'tocsin'), lines, options, provision: () => provisionTemporalCli(options) };
}

/** A Go that answers `go env` as given and "builds" by writing `built` to where the program belongs. */
function writeGo(bin: string, { version, toolchain = 'local', built }: { version: string; toolchain?: string; built: string }): void {
  const script = `#!/bin/sh
if [ "$1" = env ]; then echo ${version}; echo ${toolchain}; exit 0; fi
if [ "$1" = install ]; then out="$GOBIN/temporal"; else while [ "$1" != -o ]; do shift; done; out="$2"; fi
printf '#!/bin/sh\\necho "%s"\\n' '${built}' > "$out"
/bin/chmod +x "$out"
`;
  writeFileSync(join(bin, 'go'), script, { mode: 0o755 });
}

test('TEMPORAL_CLI_PATH comes first', async () => {
  const machine = makeMachine();
  writeProgram(join(machine.bin, 'temporal'), recent);
  const cliPath = writeProgram(join(machine.bin, 'mine'), 'temporal version 9.9.9');
  await expect(provisionTemporalCli({ ...machine.options, cliPath })).resolves.toMatchObject({
    path: cliPath,
    source: 'TEMPORAL_CLI_PATH',
  });
});

test('an unusable TEMPORAL_CLI_PATH is a fault even when another source would do', async () => {
  const machine = makeMachine({ cliPath: '/nonexistent/temporal' });
  writeProgram(join(machine.bin, 'temporal'), recent);
  await expect(machine.provision()).rejects.toThrow(/TEMPORAL_CLI_PATH is \/nonexistent\/temporal, which cannot be run/);
});

test('a recent enough temporal on the PATH comes before the cache', async () => {
  const machine = makeMachine();
  const onPath = writeProgram(join(machine.bin, 'temporal'), 'temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)');
  await putIntoCache(writeProgram(join(machine.bin, 'other'), recent), machine.cache, preferredVersion);
  await expect(machine.provision()).resolves.toMatchObject({ path: onPath, source: 'PATH' });
});

test('an older one on the PATH is passed over for the cached copy', async () => {
  const machine = makeMachine();
  writeProgram(join(machine.bin, 'temporal'), 'temporal version 1.4.0 (Server 1.28.0, UI 2.39.0)');
  const cached = await putIntoCache(writeProgram(join(machine.bin, 'other'), recent), machine.cache, preferredVersion);
  await expect(machine.provision()).resolves.toMatchObject({ path: cached, source: 'cache' });
  expect(cached).toContain(`v${preferredVersion}-${process.platform}-${process.arch}`);
});

test('a cached copy that is not what its digest says is thrown away', async () => {
  const machine = makeMachine({ download: (directory) => Promise.resolve(writeProgram(join(directory, 'temporal-v1.8.2'), recent)) });
  const cached = await putIntoCache(writeProgram(join(machine.bin, 'other'), recent), machine.cache, preferredVersion);
  writeProgram(cached, 'temporal version 6.6.6');
  await expect(machine.provision()).resolves.toMatchObject({ source: 'the SDK’s download', version: recent });
  expect(readFileSync(cached, 'utf8')).not.toContain('6.6.6');
});

test('a download fills the cache, and the next start finds it there', async () => {
  const machine = makeMachine({ download: (directory) => Promise.resolve(writeProgram(join(directory, 'temporal-v1.8.2'), recent)) });
  const first = await machine.provision();
  expect(first).toMatchObject({ source: 'the SDK’s download', path: cachedPath(machine.cache, preferredVersion) });
  expect(existsSync(`${first.path}.sha256`)).toBe(true);
  await expect(machine.provision()).resolves.toMatchObject({ source: 'cache', path: first.path });
});

test('where nothing can be downloaded it is built with Go, once, and said so', async () => {
  const machine = makeMachine();
  writeGo(machine.bin, { version: 'go1.26.8', built: recent });
  await expect(machine.provision()).resolves.toMatchObject({ source: 'a build from the Go module', version: recent });
  expect(machine.lines.join('\n')).toMatch(/cannot be downloaded here \(dns error\)[^]*Building the Temporal server[^]*is built after/);
  await expect(machine.provision()).resolves.toMatchObject({ source: 'cache' });
});

test('two processes that need it at once make it once', async () => {
  let downloads = 0;
  const machine = makeMachine({
    async download(directory) {
      downloads += 1;
      await new Promise((resolve) => setTimeout(resolve, 700));
      return writeProgram(join(directory, 'temporal-v1.8.2'), recent);
    },
  });
  const [one, two] = await Promise.all([machine.provision(), machine.provision()]);
  expect(downloads).toBe(1);
  expect([one.source, two.source].sort()).toEqual(['cache', 'the SDK’s download']);
  expect(machine.lines.join('\n')).toContain('Waiting for another process');
});

test('what a killed build left is cleared away', async () => {
  const machine = makeMachine({ download: (directory) => Promise.resolve(writeProgram(join(directory, 'temporal-v1.8.2'), recent)) });
  const left = join(machine.cache, 'build-AbC123');
  mkdirSync(left, { recursive: true });
  await machine.provision();
  expect(existsSync(left)).toBe(false);
});

test('without any source the fault names the ways, in full sentences', async () => {
  const machine = makeMachine();
  const fault = await machine.provision().catch((error: unknown) => error);
  expect(fault).toBeInstanceOf(NoTemporalServerError);
  expect((fault as Error).message).toMatch(
    /no temporal program .* on the PATH, its download failed \(dns error\), and Go is not installed/,
  );
  expect((fault as Error).message).toMatch(
    /Install the Temporal CLI .* or Go 1\.25 or newer, or set TEMPORAL_CLI_PATH .* or TEMPORAL_ADDRESS/,
  );
});

test('a Go that is too old, or a build that fails, is named', async () => {
  const old = makeMachine();
  writeGo(old.bin, { version: 'go1.22.1', built: recent });
  await expect(old.provision()).rejects.toThrow(/go1\.22\.1 is too old/);
  const broken = makeMachine();
  writeGo(broken.bin, { version: 'go1.26.8', built: recent });
  writeFileSync(
    join(broken.bin, 'go'),
    `#!/bin/sh\n[ "$1" = env ] && { echo go1.26.8; echo local; exit; }\necho 'disk full' >&2; exit 1\n`,
    { mode: 0o755 },
  );
  await expect(broken.provision()).rejects.toThrow(/building it failed \(go build ended with exit code 1: disk full\)/);
});

test.each([
  ['go1.26.8', 'local', 'throw-away-module'],
  ['go1.26.4', 'auto', 'throw-away-module'],
  ['go1.27', 'local', 'throw-away-module'],
  ['go1.26.3', 'local', 'install'],
  ['go1.25.0', 'auto', 'install'],
  ['go1.24.9', 'local', undefined],
  ['go1.22.0', 'auto', 'throw-away-module'],
  ['go1.20.1', 'auto', undefined],
  ['devel', 'auto', undefined],
])('%s with GOTOOLCHAIN=%s builds by %s', (version, toolchain, build) => expect(chooseGoBuild(version, toolchain)).toBe(build));

test.each([
  ['temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)', true],
  ['temporal version 1.5.0 (Server 1.29.0, UI 2.42.1)', false],
  ['temporal version 2.0.0 (Server 1.40.0, UI 3.0.0)', true],
  ['temporal version 0.0.0-DEV (Server 1.31.2, UI 2.50.1)', true],
  ['temporal version 0.0.0-DEV (Server 1.28.0, UI 2.50.1)', false],
  ['some other program', false],
])('%s: recent enough is %s', (line, expected) => expect(isRecentEnough(line)).toBe(expected));

test('the cache is where the XDG specification says', () => {
  expect(findCacheDirectory({ XDG_CACHE_HOME: '/xdg', HOME: '/home/a' })).toBe('/xdg/tocsin');
  expect(findCacheDirectory({ XDG_CACHE_HOME: 'relative', HOME: '/home/a' })).toBe('/home/a/.cache/tocsin');
});
