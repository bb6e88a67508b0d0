import { flushCompileCache } from 'node:module';
import { badConfigurationExitCode, ConfigError, type Environment } from './config.ts';
import { onStopSignals } from './embedded/stop-signals.ts';
import { tellSupervisor, whenSupervisorIsGone } from './embedded/supervised.ts';

export interface ProcessContext {
  env: Environment;
  /** Aborts when the process was asked to end. */
  stopping: AbortSignal;
  /** Ends the process with exit code 1; its supervisor starts another. */
  fail: (error: unknown) => void;
}

/**
 * The life of a process: `start` it, stop it on SIGTERM, Ctrl-C or when its supervisor is gone. Exit codes: 0 stopped, 1 fault, 78 bad
 * configuration. A second signal ends it at once.
 */
export async function runProcess(start: (context: ProcessContext) => Promise<() => Promise<void>>): Promise<void> {
  // Host names are resolved on libuv's threads, made at their first use; with its four a few dead name servers would stall everything.
  process.env['UV_THREADPOOL_SIZE'] ??= '32';
  const stopping = new AbortController();
  let stop: (() => Promise<void>) | undefined;

  const end = async (code: number): Promise<void> => {
    if (stopping.signal.aborted) return;
    stopping.abort();
    try {
      await stop?.();
    } finally {
      process.exit(code);
    }
  };
  const fail = (error: unknown): void => {
    if (stopping.signal.aborted) return;
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    void tellSupervisor({ fault: error instanceof Error ? error.message : String(error) }).then(async () => end(1));
  };
  onStopSignals(
    () => void end(0),
    () => process.exit(1),
  );
  whenSupervisorIsGone(() => void end(0));
  process.on('unhandledRejection', fail);
  process.on('uncaughtException', fail);

  try {
    stop = await start({ env: process.env, stopping: stopping.signal, fail });
    // At the exit it would be too late for a process that is killed.
    flushCompileCache();
  } catch (error) {
    if (!(error instanceof ConfigError)) {
      fail(error);
      return;
    }
    process.stderr.write(`${error.message}\n`);
    await tellSupervisor({ fault: error.message });
    process.exit(badConfigurationExitCode);
  }
}
