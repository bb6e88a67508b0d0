/** PostgreSQL and Temporal of one instance: embedded and kept running, or somebody else's. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config.ts';
import type { Logger } from '../log.ts';
import { openLog, StartFault } from './data-directory.ts';
import { findFreePort, isPortFree } from './free-port.ts';
import { answersGrpc } from './grpc-probe.ts';
import { keepRunning } from './keep-running.ts';
import { type Postgres, startPostgres } from './postgres.ts';
import type { ProcessIdentity } from './process-identity.ts';
import { provisionTemporalCli } from './temporal-provision.ts';
import { startTemporalServer, type TemporalServer } from './temporal-server.ts';

export type Provided<Facts> = {
  readonly facts: Facts;
  /** The process, when it is ours. */
  identity(): ProcessIdentity | undefined;
  stop(): Promise<void>;
};

type Context = {
  readonly config: Config;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
  readonly progress: (message: string) => void;
  readonly onRestart: () => void;
};

const notOurs = { identity: () => undefined, stop: () => Promise.resolve() };

/** PostgreSQL, answering. */
export async function providePostgres({ config, log, onRestart }: Context): Promise<Provided<{ databaseUrl: string }>> {
  const { databaseUrl, dataDir } = config;
  if (databaseUrl !== undefined) return { facts: { databaseUrl }, ...notOurs };
  const output = openLog(dataDir, 'postgres');
  const kept = await keepRunning<Postgres>({
    name: 'postgres',
    start: (previous) => startPostgres({ dataDir, output, ...(previous !== undefined && { port: previous.port }) }),
    onRestart,
    log,
  });
  return { facts: { databaseUrl: kept.current().databaseUrl }, identity: () => kept.current().identity, stop: () => kept.stop() };
}

export type TemporalFacts = { readonly address: string; readonly uiUrl: string | undefined };

/** Temporal, answering. Fetches or builds the server first where there is none. */
export async function provideTemporal({ config, env, log, progress, onRestart }: Context): Promise<Provided<TemporalFacts>> {
  const { address, namespace, cliPath } = config.temporal;
  if (address !== undefined) {
    await findTemporal(address);
    return { facts: { address, uiUrl: undefined }, ...notOurs };
  }
  const uiPort = await settlePort('127.0.0.1', config.temporal.uiPort, 'TEMPORAL_UI_PORT');
  const cli = await provisionTemporalCli({ cliPath, env, progress });
  log.info('temporal', { ...cli });
  const directory = join(config.dataDir, 'temporal');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const output = openLog(config.dataDir, 'temporal');
  const kept = await keepRunning<TemporalServer>({
    name: 'temporal',
    start: (previous) =>
      startTemporalServer({
        cliPath: cli.path,
        directory,
        databaseFile: join(directory, 'temporal.db'),
        namespaces: [namespace],
        uiPort,
        output,
        ...(previous !== undefined && { port: previous.port }),
      }),
    onRestart,
    log,
  });
  return {
    facts: { address: kept.current().address, uiUrl: `http://127.0.0.1:${uiPort}` },
    identity: () => kept.current().identity,
    stop: () => kept.stop(),
  };
}

async function findTemporal(address: string): Promise<void> {
  for (let attempt = 0; attempt < 10; attempt += 1) {
    if (await answersGrpc(address, 2000)) return;
    await sleep(500);
  }
  throw new StartFault(
    `No Temporal server answers at ${address} (TEMPORAL_ADDRESS): start it, or unset TEMPORAL_ADDRESS to have one started.`,
  );
}

/** The port asked for, if it is free; any free one for 0. */
export async function settlePort(host: string, port: number, settingName: string): Promise<number> {
  try {
    if (port === 0) return await findFreePort(host);
    if (await isPortFree(host, port)) return port;
  } catch (error) {
    throw new StartFault(
      `Nothing can listen on ${host}:${port} (${(error as NodeJS.ErrnoException).code ?? 'unknown error'}): correct the address, or set ${settingName} to another port.`,
      { cause: error },
    );
  }
  throw new StartFault(
    `Port ${port} of ${host} is taken by another program: stop that one, or set ${settingName} to another port (0 = any free one).`,
  );
}
