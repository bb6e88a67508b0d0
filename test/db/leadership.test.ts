import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { holdLeadership, type Leadership } from '../../db/leadership.ts';
import { createTestDatabase } from '../support/servers.ts';

let database: Awaited<ReturnType<typeof createTestDatabase>>;
const all: Leadership[] = [];
const log = { debug() {}, info() {}, warn() {}, error() {} };

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await Promise.all(all.map(async (each) => each.stop()));
  await database.drop();
});

function hold(name: string, databaseUrl = database.databaseUrl): Leadership {
  const leadership = holdLeadership({ databaseUrl, name, log });
  all.push(leadership);
  return leadership;
}

test('of several that hold on to a name one leads, until it stops', async () => {
  const [first, second, other] = [hold('a'), hold('a'), hold('b')];
  expect([await first.isHeld(), await first.isHeld(), await second.isHeld(), await other.isHeld()]).toEqual([true, true, false, true]);
  await first.stop();
  expect(await second.isHeld()).toBe(true);
});

test('who loses the connection leads no more, and another takes over', async () => {
  const [first, second] = [hold('lost'), hold('lost')];
  expect(await first.isHeld()).toBe(true);
  const client = new pg.Client({ connectionString: database.databaseUrl });
  await client.connect();
  await client.query(`select pg_terminate_backend(l.pid) from pg_locks l where l.locktype = 'advisory' and l.granted
    and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('tocsin lost', 0)`);
  await client.end();
  expect(await second.isHeld()).toBe(true);
  expect(await first.isHeld()).toBe(false);
});

test('while the database is away nobody leads', async () => {
  expect(await hold('away', 'postgres://tocsin@127.0.0.1:9/none').isHeld()).toBe(false);
});
