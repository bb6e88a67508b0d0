/** The embedded Temporal server: `temporal server start-dev` on a file, under its guardian. */
import { setTimeout as sleep } from 'node:timers/promises';
import { searchAttributeTypes } from '../temporal/search-attributes.ts';
import { findFreePort } from './free-port.ts';
import { servesNamespace } from './grpc-probe.ts';
import { type GuardedProcess, serverEnvironment, startGuarded } from './guarded.ts';

const startTimeoutMs = 60_000;
/** Its file survives a SIGKILL like any crash, and it sometimes waits long for clients that are gone. */
const stopGraceMs = 3_000;

export type TemporalServerOptions = {
  /** The CLI to run (temporal-provision.ts). */
  readonly cliPath: string;
  /** Working directory; `databaseFile` is in it. */
  readonly directory: string;
  /** SQLite file. Losing it loses no delivery: what was open is started anew from PostgreSQL. */
  readonly databaseFile: string;
  /** Namespaces to make; the first is asked for before the server counts as started. */
  readonly namespaces: readonly [string, ...string[]];
  /** The frontend's port: that of before when a dead server is started again; otherwise any free one. */
  readonly port?: number;
  /** The Web UI's port, or `none`. */
  readonly uiPort: number | 'none';
  /** File descriptor for the server's own messages. */
  readonly output: number | 'ignore';
  /** Dynamic configuration beside our own: JSON by its key. */
  readonly dynamicConfig?: Readonly<Record<string, string>>;
};

export type TemporalServer = GuardedProcess & { readonly address: string; readonly port: number };

/** Starts the server. Resolves when it serves the first namespace. */
export async function startTemporalServer(options: TemporalServerOptions): Promise<TemporalServer> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOn(options, options.port ?? (await findFreePort()));
    } catch (error) {
      // It also listens on ports of its own choosing, and one of them may have been taken in the meantime.
      if (!(error instanceof EndedWhileStarting) || options.port !== undefined || attempt === 3) throw error;
    }
  }
}

/** Its message is for people. */
class EndedWhileStarting extends Error {
  override name = 'EndedWhileStarting';
}

async function startOn(options: TemporalServerOptions, port: number): Promise<TemporalServer> {
  const server = await startGuarded(
    {
      file: options.cliPath,
      args: serverArguments(options, port),
      cwd: options.directory,
      // Fewer garbage collections: about 14 % more workflows per second, for memory this machine has.
      env: serverEnvironment({ GOGC: '400' }),
      stopSignal: 'SIGTERM',
      graceMs: stopGraceMs,
    },
    options.output,
  );
  const address = `127.0.0.1:${port}`;
  let ended: string | undefined;
  void server.exited.then((how) => (ended = how));
  const deadline = Date.now() + startTimeoutMs;
  while (!(await servesNamespace(address, options.namespaces[0], 2000))) {
    if (ended !== undefined) throw new EndedWhileStarting(`The Temporal server ended while starting (${ended}); its log says why.`);
    if (Date.now() > deadline) {
      await server.stop();
      throw new Error(`The Temporal server did not answer within ${startTimeoutMs / 1000} s; its log says why.`);
    }
    await sleep(50);
  }
  return { ...server, address, port };
}

/** What the server is told about its behaviour; none of it is on by default in every version we accept. */
const ownDynamicConfig: Readonly<Record<string, string>> = {
  'frontend.enableUpdateWorkflowExecution': 'true',
  'frontend.enableUpdateWorkflowExecutionAsyncAccepted': 'true',
  'system.enableActivityEagerExecution': 'true',
  'matching.useNewMatcher': 'true',
  'matching.enableFairness': 'true',
  // Without it timers fire about a second late.
  'history.timerProcessorMaxTimeShift': '"20ms"',
};

function serverArguments({ databaseFile, namespaces, uiPort, dynamicConfig }: TemporalServerOptions, port: number): string[] {
  const flags: Array<readonly [string, string]> = [
    ['--ip', '127.0.0.1'],
    ['--port', String(port)],
    ...(uiPort === 'none' ? [] : ([['--ui-port', String(uiPort)]] as const)),
    ...namespaces.map((namespace) => ['--namespace', namespace] as const),
    ['--db-filename', databaseFile],
    ['--sqlite-pragma', 'journal_mode=WAL'],
    ['--sqlite-pragma', 'synchronous=NORMAL'],
    ['--log-level', 'warn'],
    ...Object.entries(searchAttributeTypes).map(([name, type]) => ['--search-attribute', `${name}=${type}`] as const),
    ...Object.entries({ ...ownDynamicConfig, ...dynamicConfig }).map(
      ([name, value]) => ['--dynamic-config-value', `${name}=${value}`] as const,
    ),
  ];
  return ['server', 'start-dev', ...(uiPort === 'none' ? ['--headless'] : []), ...flags.flat()];
}
