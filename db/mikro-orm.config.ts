import { defineConfig, MikroORM } from '@mikro-orm/postgresql';
import { Migrator } from '@mikro-orm/migrations';
import { releaseDeadConnections } from './dead-connections.ts';
import { entities } from './entities.ts';
import { migrations } from './migrations.ts';

/**
 * What a pool may do; its connections start as that role. `tocsin_app` sees only the organization set in its transaction (row-level
 * security); the relay and the sequencer work for all organizations on the few tables they are granted.
 */
export type DatabaseRole = 'tocsin_app' | 'tocsin_relay' | 'tocsin_sequencer';

export interface DatabaseOptions {
  databaseUrl: string;
  role: DatabaseRole;
  /** Most connections of the pool. Default 10. */
  poolMax?: number;
  applicationName?: string;
}

/** Opens a pool whose connections run as `role`. Connects lazily; `close(true)` ends it. */
export async function openDatabase({ databaseUrl, role, poolMax = 10, applicationName = role }: DatabaseOptions): Promise<MikroORM> {
  return MikroORM.init(
    defineConfig({
      ...common(databaseUrl),
      pool: { min: 0, max: poolMax, idleTimeoutMillis: 30_000 },
      driverOptions: {
        application_name: applicationName,
        keepAlive: true,
        // A caller who cannot get a connection is told so; one who waits for ever only fills the process.
        connectionTimeoutMillis: 5_000,
        // Part of the connection's start, so that no connection of this pool ever acts as the login.
        options: `-c role=${role}`,
        pipeline: true,
        onPoolCreated: releaseDeadConnections,
      },
    }),
  );
}

/**
 * Brings the schema up to this version, as the login of `databaseUrl`. Safe to call from several processes at once.
 * @throws when the database was written by a newer Tocsin, in one full sentence.
 */
export async function migrate(databaseUrl: string): Promise<void> {
  const orm = await MikroORM.init(defineConfig({ ...common(databaseUrl), pool: { min: 0, max: 2 } }));
  try {
    await orm.em.fork().transactional(async (em) => {
      await em.execute(`select pg_advisory_xact_lock(hashtextextended('tocsin.migrate', 0))`);
      await refuseNewerSchema(orm);
      await orm.migrator.up();
    });
  } finally {
    await orm.close(true);
  }
}

/** Names of migrations that this version has and the database has not. Throws as `migrate` does on a newer database. */
export async function pendingMigrations(orm: MikroORM): Promise<string[]> {
  const applied = await appliedMigrations(orm);
  return migrations.map(({ name }) => name).filter((name) => !applied.includes(name));
}

async function refuseNewerSchema(orm: MikroORM): Promise<void> {
  const known = new Set(migrations.map(({ name }) => name));
  const unknown = (await appliedMigrations(orm)).filter((name) => !known.has(name));
  if (unknown.length > 0) {
    throw new Error(
      `This database was migrated by a newer Tocsin (it has ${unknown.join(', ')}); start that version or a later one, or restore an older backup.`,
    );
  }
}

async function appliedMigrations(orm: MikroORM): Promise<string[]> {
  const [table] = await orm.em.fork().execute<Array<{ present: boolean }>>(`select to_regclass('tocsin_migration') is not null as present`);
  if (!table?.present) return [];
  const rows = await orm.em.fork().execute<Array<{ name: string }>>('select name from tocsin_migration order by id');
  return rows.map(({ name }) => name);
}

function common(databaseUrl: string) {
  return {
    clientUrl: databaseUrl,
    entities,
    extensions: [Migrator],
    allowGlobalContext: false,
    discovery: { warnWhenNoEntities: false },
    forceUtcTimezone: true,
    schemaGenerator: { ignoreSchema: ['audit'], createForeignKeyConstraints: false },
    migrations: {
      tableName: 'tocsin_migration',
      migrationsList: migrations,
      snapshot: false,
      silent: true,
      transactional: true,
      allOrNothing: true,
    },
  };
}
