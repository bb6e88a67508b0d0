/**
 * The time-skipping test server, for the few tests of waits of hours and days: the SDK's download, or the Java server from Maven.
 * Time moves only while a result is awaited and is the same for all workflows of one server: one environment per test file.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe } from '@jest/globals';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { waitForLock } from '../../embedded/lock.ts';
import { findCacheDirectory } from '../../embedded/temporal-cli.ts';

const run = promisify(execFile);
const serverVersion = '1.38.0';
const oldestJava = 17;

type Answer = { readonly environment: TestWorkflowEnvironment } | { readonly unavailable: string };

let answer: Promise<Answer> | undefined;

/**
 * `describe` for tests that skip time, and their environment; skipped, and reported so, where there is no server. In CI that is a
 * failure. Await it at the top of the file and tear the environment down in `afterAll`.
 */
export async function withTimeSkipping(): Promise<{
  describe: typeof describe | typeof describe.skip;
  environment: TestWorkflowEnvironment | undefined;
}> {
  answer ??= provide();
  const provided = await answer;
  if ('environment' in provided) return { describe, environment: provided.environment };
  if (process.env['CI'] !== undefined) throw new Error(provided.unavailable);
  process.stderr.write(`${provided.unavailable}\n`);
  return { describe: describe.skip, environment: undefined };
}

async function provide(): Promise<Answer> {
  const cacheDirectory = findCacheDirectory(process.env);
  const home = join(cacheDirectory, `temporal-test-server-${serverVersion}`);
  await mkdir(cacheDirectory, { recursive: true });
  const lock = await waitForLock(join(cacheDirectory, 'temporal-test-server.lock'));
  try {
    if (existsSync(home)) return await startJava(home);
    const downloaded = await startDownload(cacheDirectory);
    if ('environment' in downloaded) return downloaded;
    await makeJavaServer(cacheDirectory, home);
    return await startJava(home);
  } catch (error) {
    return {
      unavailable: `There is no time-skipping Temporal server: the SDK cannot download it, and with Java it failed (${(error as Error).message}).`,
    };
  } finally {
    lock.release();
  }
}

async function startDownload(downloadDir: string): Promise<Answer> {
  try {
    return {
      environment: await TestWorkflowEnvironment.createTimeSkipping({
        server: { executable: { type: 'cached-download', downloadDir, ttl: '365d' } },
      }),
    };
  } catch (error) {
    return { unavailable: (error as Error).message };
  }
}

async function startJava(home: string): Promise<Answer> {
  return {
    environment: await TestWorkflowEnvironment.createTimeSkipping({
      server: { executable: { type: 'existing-path', path: join(home, 'serve') } },
    }),
  };
}

/** Fetches the server and what it needs with Maven, into a name that only a finished copy has. */
async function makeJavaServer(cacheDirectory: string, home: string): Promise<void> {
  const { stderr } = await run('java', ['-version']);
  const version = Number(/version "(\d+)/.exec(stderr)?.[1]);
  if (!(version >= oldestJava)) throw new Error(`Java ${oldestJava} or newer is needed`);
  const directory = await mkdtemp(join(cacheDirectory, 'test-server-'));
  try {
    await writeFile(join(directory, 'pom.xml'), pom);
    await run('mvn', ['-q', '-B', 'dependency:copy-dependencies', '-DincludeScope=runtime', '-DoutputDirectory=lib'], {
      cwd: directory,
      timeout: 300_000,
    });
    await writeFile(join(directory, 'serve'), wrapper);
    await chmod(join(directory, 'serve'), 0o755);
    await rename(directory, home);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * It must replace itself by Java, because the SDK kills the process it started and no other. The loop beside it ends Java when the test
 * process was killed instead.
 */
const wrapper = `#!/bin/sh
parent=$PPID
(while kill -0 "$parent" && kill -0 $$; do sleep 1; done; kill -9 $$) >/dev/null 2>&1 </dev/null &
exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -cp "$(dirname "$0")/lib/*" io.temporal.testserver.TestServer "$@"
`;

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tocsin</groupId>
  <artifactId>temporal-test-server</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>io.temporal</groupId><artifactId>temporal-test-server</artifactId><version>${serverVersion}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>2.0.17</version></dependency>
  </dependencies>
</project>
`;
