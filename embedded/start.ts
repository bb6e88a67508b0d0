/** `npm start`: everything Tocsin needs, as one process tree that ends together. Exit codes: 0 clean stop, 1 fault, 78 bad configuration. */
import { join } from 'node:path';
import { badConfigurationExitCode, type Config, ConfigError, readConfig } from '../config.ts';
import { createAnnouncer } from './announce.ts';
import { BadConfiguration } from './app-process.ts';
import { createInstance } from './instance.ts';
import { watchParent } from './parent-watch.ts';
import { onStopSignals } from './stop-signals.ts';

const terminal = process.stdout.isTTY;
const announcer = createAnnouncer(terminal);

function configure(): Config {
  try {
    return readConfig(process.env);
  } catch (error) {
    fail(error);
  }
}

const instance = createInstance({
  config: configure(),
  env: process.env,
  announcer,
  terminal,
  // Another file is for tests of the supervisor alone.
  appFile: process.argv[2] ?? join(import.meta.dirname, 'all.ts'),
});

let stopping = false;

/** Ends everything, once. The exit code is that of the first reason. */
function stop(exitCode: number, reason?: string): void {
  if (stopping) return;
  stopping = true;
  if (reason !== undefined) announcer.stopping(reason);
  instance.stop().then(() => process.exit(exitCode), fail);
}

function fail(error: unknown): never {
  announcer.fault(error instanceof Error ? error.message : String(error));
  process.exit(exitCodeOf(error));
}

function exitCodeOf(error: unknown): number {
  return error instanceof ConfigError || error instanceof BadConfiguration ? badConfigurationExitCode : 1;
}

onStopSignals((signal) => stop(0, signal), instance.hurry);
// A closed terminal or pipe must not end the supervisor before its servers.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);
watchParent(process.env['npm_lifecycle_event'] !== undefined, () => stop(0, 'its parent is gone'));

process.on('uncaughtException', stopAfterFault);
instance.start().catch(stopAfterFault);

function stopAfterFault(error: unknown): void {
  // What fails because everything is being stopped is no fault.
  if (stopping) return;
  announcer.fault(error instanceof Error ? error.message : String(error));
  stop(exitCodeOf(error));
}
