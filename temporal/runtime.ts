import { setTimeout as sleep } from 'node:timers/promises';
import { type LogLevel, type Logger as SdkLogger, NativeConnection, Runtime } from '@temporalio/worker';
import type { Logger } from '../log.ts';
import { prepareNamespace } from './namespace.ts';

const levels: Record<LogLevel, 'debug' | 'info' | 'warn' | 'error'> = {
  TRACE: 'debug',
  DEBUG: 'debug',
  INFO: 'info',
  WARN: 'warn',
  ERROR: 'error',
};

/** Our log in the SDK's terms. Its lines on workers that have nothing to poll for are no news: those are the activity-only ones. */
export function sdkLogger(log: Logger): SdkLogger {
  const write = (level: LogLevel, message: string, meta?: Record<string, unknown>): void => {
    if (/^No .* registered, not polling/.test(message)) return;
    log[levels[level]]('temporal', { message, ...(meta?.['error'] instanceof Error ? { error: meta['error'] } : {}) });
  };
  return {
    log: write,
    trace: (message, meta) => write('TRACE', message, meta),
    debug: (message, meta) => write('DEBUG', message, meta),
    info: (message, meta) => write('INFO', message, meta),
    warn: (message, meta) => write('WARN', message, meta),
    error: (message, meta) => write('ERROR', message, meta),
  };
}

/** Once per process, before any worker: the SDK's own log goes through ours, and signals are ours to handle. */
export function installRuntime(log: Logger): void {
  Runtime.install({
    shutdownSignals: [],
    logger: sdkLogger(log),
    // While the server is away, core repeats the same warning hundreds of times a minute.
    telemetryOptions: { logging: { forward: {}, filter: { core: 'ERROR', other: 'ERROR' } } },
  });
}

/** Connects, waiting for as long as the server is away, and makes the namespace ready. */
export async function connectWorker(options: {
  address: string;
  namespace: string;
  log: Logger;
  signal: AbortSignal;
}): Promise<NativeConnection> {
  const { address, namespace, log, signal } = options;
  for (let waitMs = 250; ; waitMs = Math.min(2_000, waitMs * 2)) {
    let connection: NativeConnection | undefined;
    try {
      connection = await NativeConnection.connect({ address });
      await prepareNamespace(connection, namespace);
      return connection;
    } catch (error) {
      await connection?.close();
      log.warn('temporal.connect', { address, error, retryInMs: waitMs });
      await sleep(waitMs, undefined, { signal });
    }
  }
}
