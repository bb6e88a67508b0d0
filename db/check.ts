/**
 * `npm run check:migrations`: what has been released stays as it was, and entities and schema agree.
 *
 *     node db/check.ts            checks, against a PostgreSQL of its own
 *     node db/check.ts --record   notes the migrations of this version as released
 */
import { createHash } from 'node:crypto';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MikroORM } from '@mikro-orm/postgresql';
import { holdDataDirectory } from '../embedded/data-directory.ts';
import { startPostgres } from '../embedded/postgres.ts';
import { findEntityFaults } from './entity-faults.ts';
import { migrations } from './migrations.ts';
import { migrate, openDatabase } from './mikro-orm.config.ts';

type Checksum = { name: string; sha256: string };

const checksumsFile = new URL('migrations/checksums.json', import.meta.url);

/** A directory of its own that ends with `work`, and a PostgreSQL in it. */
async function withDatabase<T>(work: (databaseUrl: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'tocsin-check-'));
  const lock = holdDataDirectory(directory);
  const postgres = await startPostgres({ dataDir: directory, output: openSync(join(directory, 'postgres.log'), 'a'), fsync: false });
  try {
    return await work(postgres.databaseUrl);
  } finally {
    await postgres.stop();
    lock.release();
    await rm(directory, { recursive: true, force: true });
  }
}

/** Over the SQL that a migration runs, so that comments and formatting of its file may change. */
async function sumMigrations(orm: MikroORM): Promise<Checksum[]> {
  const sums: Checksum[] = [];
  for (const { name, class: Migration } of migrations) {
    const migration = new Migration(orm.em.getDriver(), orm.config);
    migration.up();
    const statements = migration.getQueries().map((query) => (typeof query === 'string' ? query : JSON.stringify(query)));
    sums.push({ name, sha256: createHash('sha256').update(statements.join(';\n')).digest('hex') });
  }
  return sums;
}

function findReleaseFaults(released: readonly Checksum[], current: readonly Checksum[]): string[] {
  const faults = released.flatMap(({ name, sha256 }, i) => {
    const now = current[i];
    if (now?.name !== name) return `Migration ${name} was released as number ${i + 1}; now that is ${now?.name ?? 'missing'}.`;
    return now.sha256 === sha256 ? [] : `Migration ${name} has changed since it was released; add a new one instead.`;
  });
  const names = current.map(({ name }) => name);
  if (names.join() !== names.toSorted().join()) faults.push('The migrations are not in the order of their names.');
  return faults;
}

const faults = await withDatabase(async (databaseUrl) => {
  await migrate(databaseUrl);
  const orm = await openDatabase({ databaseUrl, role: 'tocsin_app', poolMax: 1 });
  try {
    const current = await sumMigrations(orm);
    if (process.argv.includes('--record')) writeFileSync(checksumsFile, `${JSON.stringify(current, null, 2)}\n`);
    const released = JSON.parse(readFileSync(checksumsFile, 'utf8')) as Checksum[];
    return [...findReleaseFaults(released, current), ...(await findEntityFaults(orm))];
  } finally {
    await orm.close(true);
  }
});
for (const fault of faults) process.stderr.write(`${fault}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;
