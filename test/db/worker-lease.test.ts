import { afterEach, expect, test } from '@jest/globals';
import pg from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import { migrate, openDatabase } from '../../db/mikro-orm.config.ts';
import { findDeadWorkers } from '../../db/queries/relay.ts';
import { holdWorkerLease } from '../../db/worker-lease.ts';
import { newId } from '../../domain/id.ts';
import { type Postgres, startPostgres } from '../../embedded/postgres.ts';
import { createLogger } from '../../log.ts';
import { makeScratch, until } from '../embedded/scratch.ts';

const log = createLogger({ process: 'worker', write: () => undefined });
const [living, dead, nobody] = [newId(Date.now()), newId(Date.now()), newId(Date.now())];
/** Renewals come each second. */
const leaseMs = 5_000;

let postgres: Postgres | undefined;
afterEach(async () => postgres?.stop());

test('nobody could renew while PostgreSQL was away: after that the living are spared, and only the dead are found', async () => {
  const dataDir = makeScratch();
  postgres = await startPostgres({ dataDir, output: 'ignore', fsync: false });
  const { databaseUrl, port } = postgres;
  await migrate(databaseUrl);
  const lease = await holdWorkerLease({ databaseUrl, workerId: living, log });
  await leaveLease(databaseUrl, dead);

  process.kill(postgres.identity.pid, 'SIGKILL');
  await postgres.exited;
  await sleep(leaseMs + 500);
  postgres = await startPostgres({ dataDir, output: 'ignore', fsync: false, port });

  const orm = await openDatabase({ databaseUrl, role: 'tocsin_relay', poolMax: 1 });
  try {
    const find = async () => findDeadWorkers(orm.em.fork(), { leaseMs, except: nobody });
    expect(await find()).toEqual([]);
    expect(await until('somebody is taken for dead', async () => find().then((found) => found.length > 0 && found))).toEqual([dead]);
    await sleep(leaseMs);
    expect(await find()).toEqual([dead]);
    await lease.stop();
    expect(new Set(await find())).toEqual(new Set([dead, living]));
  } finally {
    await lease.stop();
    await orm.close(true);
  }
});

/** The lease of a worker that dies now. */
async function leaveLease(databaseUrl: string, workerId: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query('insert into worker_lease (worker_id, started_at, renewed_at) values ($1, now(), now())', [workerId]);
  await client.end();
}
