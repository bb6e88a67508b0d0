/** One instance of `npm start`: its servers and its app, started in the order they need each other, stopped in the opposite one. */
import { rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { createLogger } from '../log.ts';
import type { Announcer } from './announce.ts';
import { type AppProcess, startApp } from './app-process.ts';
import {
  endLeftoverProcesses,
  holdDataDirectory,
  openLog,
  provideFirstApiKey,
  provideInstanceName,
  provideSecretKeys,
  recordProcesses,
  writeWhole,
} from './data-directory.ts';
import { type Kept, keepRunning } from './keep-running.ts';
import type { Lock } from './lock.ts';
import { identify } from './process-identity.ts';
import { runMigrations } from './run-migrations.ts';
import { type Provided, providePostgres, provideTemporal, settlePort, type TemporalFacts } from './servers.ts';

export type InstanceOptions = {
  readonly config: Config;
  /** What the app inherits, beside what is settled here. */
  readonly env: NodeJS.ProcessEnv;
  readonly announcer: Announcer;
  /** People watch: the log goes to a file instead of between their lines. */
  readonly terminal: boolean;
  /** Entry file of the app: API and worker in one process. */
  readonly appFile: string;
};

export type Instance = {
  /** Resolves when everything is up and announced; rejects with what made that impossible. */
  start(): Promise<void>;
  /** Ends app, Temporal and PostgreSQL, whatever of them was reached. */
  stop(): Promise<void>;
  /** During a stop: attempts under way are not waited for any longer. */
  readonly hurry: () => void;
};

const watchdogFile = join(import.meta.dirname, '../watchdog/main.ts');
/** Code as V8 has compiled it, which halves the start of a process: Node keeps it there and checks that it is of the same sources. */
const compileCache = join(import.meta.dirname, '../node_modules/.cache/tocsin/compiled');

export function createInstance({ config, env, announcer, terminal, appFile }: InstanceOptions): Instance {
  const { dataDir } = config;
  const readyFile = join(dataDir, 'ready.json');
  let lock: Lock | undefined;
  let postgres: Provided<{ databaseUrl: string }> | undefined;
  let temporal: Provided<TemporalFacts> | undefined;
  let app: Kept<AppProcess> | undefined;
  let watchdog: Kept<AppProcess> | undefined;

  return {
    async start() {
      lock = holdDataDirectory(dataDir);
      await endLeftoverProcesses(dataDir);
      rmSync(readyFile, { force: true });
      const apiPort = await settlePort(config.host, config.port, 'TOCSIN_PORT');
      const output = terminal ? openLog(dataDir, 'tocsin') : 'inherit';
      const log = createLogger({
        process: 'supervisor',
        level: config.logLevel,
        ...(typeof output === 'number' && { write: (line: string) => void writeSync(output, line) }),
      });
      const context = { config, env, log, progress: announcer.progress, onRestart: record };
      await Promise.all([
        providePostgres(context)
          .then((provided) => (postgres = provided))
          .finally(record),
        provideTemporal(context)
          .then((provided) => (temporal = provided))
          .finally(record),
      ]);
      const appEnvironment = composeEnvironment(apiPort);
      const firstKey = config.bootstrapKey === undefined ? provideFirstApiKey(dataDir) : undefined;
      const { created } = await runMigrations({ ...appEnvironment, TOCSIN_BOOTSTRAP_KEY: config.bootstrapKey ?? firstKey?.key }, output);
      await Promise.all([
        keepRunning<AppProcess>({
          name: 'api and worker',
          start: (previous, signal) =>
            startApp({
              file: appFile,
              env: appEnvironment,
              stdout: output,
              stderr: output,
              signal,
              readyTimeoutMs: previous === undefined ? 90_000 : undefined,
            }),
          onRestart: record,
          log,
        }).then((kept) => (app = kept)),
        // It watches the app from outside, so it must not share its fate.
        keepRunning<AppProcess>({
          name: 'watchdog',
          start: (_previous, signal) =>
            startApp({ file: watchdogFile, env: appEnvironment, stdout: output, stderr: output, signal, readyTimeoutMs: 90_000 }),
          onRestart: record,
          log,
        }).then((kept) => (watchdog = kept)),
      ]);
      record();
      const { apiUrl } = app!.current();
      const apiKey = created || firstKey?.pending === true ? firstKey?.key : undefined;
      announcer.ready({ apiUrl, docsUrl: docsOf(apiUrl), temporalUiUrl: temporal?.facts.uiUrl, dataDir, apiKey });
      firstKey?.forget();
    },
    async stop() {
      await Promise.all([app?.stop(), watchdog?.stop()]);
      await temporal?.stop();
      await postgres?.stop();
      if (lock === undefined) return;
      rmSync(readyFile, { force: true });
      rmSync(join(dataDir, 'processes.json'), { force: true });
      lock.release();
    },
    hurry: () => {
      app?.current().kill();
      watchdog?.current().kill();
    },
  };

  /** Notes who runs now: for the next start, should this one be killed, and for the operator. */
  function record(): void {
    const main = identify(process.pid);
    const processes = {
      main,
      postgres: postgres?.identity(),
      temporal: temporal?.identity(),
      app: app?.current().identity,
      watchdog: watchdog?.current().identity,
    };
    recordProcesses(dataDir, processes);
    if (app === undefined || postgres === undefined || temporal === undefined) return;
    const { apiUrl, identity } = app.current();
    const ready = {
      apiUrl,
      docsUrl: docsOf(apiUrl),
      temporalUiUrl: temporal.facts.uiUrl,
      temporalAddress: temporal.facts.address,
      temporalNamespace: config.temporal.namespace,
      databaseUrl: postgres.facts.databaseUrl,
      pids: {
        main: process.pid,
        postgres: processes.postgres?.pid,
        temporal: processes.temporal?.pid,
        api: identity.pid,
        worker: identity.pid,
        watchdog: watchdog?.current().identity.pid,
      },
    };
    writeWhole(readyFile, `${JSON.stringify(ready, null, 2)}\n`);
  }

  /** The app is configured like a process on servers of its own: it does not know that they are embedded. */
  function composeEnvironment(apiPort: number): NodeJS.ProcessEnv {
    const { DATABASE_URL_FILE: _url, TOCSIN_BOOTSTRAP_KEY: _key, TOCSIN_BOOTSTRAP_KEY_FILE: _keyFile, ...inherited } = env;
    return {
      NODE_COMPILE_CACHE: compileCache,
      ...inherited,
      DATABASE_URL: postgres?.facts.databaseUrl,
      TEMPORAL_ADDRESS: temporal?.facts.address,
      TOCSIN_PORT: String(apiPort),
      TOCSIN_DATA_DIR: dataDir,
      // This process holds the directory's lock, so the worker it starts is the only one: what its predecessor had begun is free at once.
      TOCSIN_INSTANCE: provideInstanceName(dataDir),
      ...(config.secretKeys === undefined && { TOCSIN_SECRET_KEYS_FILE: provideSecretKeys(dataDir) }),
    };
  }
}

function docsOf(apiUrl: string): string {
  return `${apiUrl}/api/v2/docs`;
}
