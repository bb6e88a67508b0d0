/**
 * Brings the database of DATABASE_URL up to this version and makes the first organization if there is none, then ends:
 * `npm run migrate`, before the first API and worker of a release. `npm start` runs it too, in a process of its own, so that the
 * supervisor need not carry the database layer for the rest of its life.
 */
import { badConfigurationExitCode, ConfigError, readConfig } from '../config.ts';
import { migrate } from '../db/mikro-orm.config.ts';
import { seedFirstOrganization } from '../db/seed.ts';
import { tellSupervisor } from './supervised.ts';

async function run(): Promise<void> {
  const { databaseUrl, bootstrapKey } = readConfig(process.env);
  if (databaseUrl === undefined) throw new ConfigError(['DATABASE_URL must be set: it says which database to migrate.']);
  await migrate(databaseUrl);
  const seeded = await seedFirstOrganization({ databaseUrl, bootstrapKey, now: new Date() });
  await tellSupervisor({ migrated: true, created: seeded.created });
  if (process.send !== undefined) return;
  process.stdout.write(`The database is up to date${seeded.created ? ', and the first organization was made' : ''}.\n`);
  if (seeded.apiKey !== undefined) process.stdout.write(`Its owner’s API key, shown only now: ${seeded.apiKey}\n`);
}

/** A database that cannot be reached is said in a sentence; every other fault speaks for itself. */
function describeFault(error: unknown): string {
  const code = findCode(error);
  const message = error instanceof Error ? error.message : String(error);
  const unreachable = code !== undefined && /^(?:E[A-Z]+|28...|3D000|57P0.|53300)$/.test(code);
  return unreachable ? `The PostgreSQL of DATABASE_URL cannot be used (${message}): start it, or correct DATABASE_URL.` : message;
}

/** The system's error code or SQLSTATE, wherever in the chain of causes it is. */
function findCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return 'code' in error && typeof error.code === 'string' ? error.code : findCode(error.cause);
}

try {
  await run();
} catch (error) {
  const message = describeFault(error);
  await tellSupervisor({ fault: message });
  if (process.send === undefined) process.stderr.write(`${message}\n`);
  process.exitCode = error instanceof ConfigError ? badConfigurationExitCode : 1;
}
if (process.connected) process.disconnect();
