import { expect, test } from '@jest/globals';
import { sql } from 'kysely';
import pg from 'pg';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { createTestDatabase } from '../support/servers.ts';

test('transactions cut by the server cost their pool no connection', async () => {
  const created = await createTestDatabase();
  const { databaseUrl } = created;
  const orm = await openDatabase({ databaseUrl, role: 'tocsin_app', poolMax: 2 });
  const owner = new pg.Client({ connectionString: databaseUrl });
  await owner.connect();
  for (let i = 0; i < 3; i += 1) {
    const cut = orm.em.fork().transactional(async (em) => {
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(em.getKysely());
      await owner.query('select pg_terminate_backend($1)', [rows[0]!.pid]);
      for (;;) await sql`select pg_sleep(0.01)`.execute(em.getKysely());
    });
    await expect(cut).rejects.toThrow();
  }
  expect((await sql<{ one: number }>`select 1 as one`.execute(orm.em.fork().getKysely())).rows).toEqual([{ one: 1 }]);
  await owner.end();
  await orm.close(true);
  await created.drop();
});
