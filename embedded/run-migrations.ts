/** Running migrate.ts in a process of its own, from the supervisor. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { StartFault } from './data-directory.ts';
import { describeExit } from './process-identity.ts';
import type { SupervisedMessage } from './supervised.ts';

/** Migrates and seeds the database that `env` names. Rejects with the fault in one sentence. */
export async function runMigrations(env: NodeJS.ProcessEnv, output: number | 'inherit'): Promise<{ created: boolean }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'migrate.ts')], { env, stdio: ['ignore', output, output, 'ipc'] });
  let created: boolean | undefined;
  let fault: string | undefined;
  child.on('message', (message: SupervisedMessage) => {
    if ('migrated' in message) created = message.created;
    if ('fault' in message) fault = message.fault;
  });
  const ended = await new Promise<string>((resolve, reject) =>
    child.once('error', reject).once('close', (code, signal) => resolve(describeExit(code, signal))),
  );
  if (created === undefined) throw new StartFault(fault ?? `Migrating the database ended with ${ended}; the log says why.`);
  return { created };
}
