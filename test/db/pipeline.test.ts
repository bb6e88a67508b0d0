import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { pipelineInOrganization } from '../../db/pipeline.ts';
import { inOrganization } from '../../db/tenant.ts';
import { createTestDatabase, type TestDatabase } from '../support/servers.ts';

const ours = '0198c0de-0000-7000-8000-000000000001';
const theirs = '0198c0de-0000-7000-8000-000000000002';

let database: TestDatabase;
let orm: MikroORM;
beforeAll(async () => {
  database = await createTestDatabase();
  orm = await openDatabase({ databaseUrl: database.databaseUrl, role: 'tocsin_app', poolMax: 2 });
});
afterAll(async () => {
  await orm.close(true);
  await database.drop();
});

const insert = (organizationId: string, text: string) =>
  sql`insert into destination_test (org_id, id, result, created_at) values (${organizationId}, gen_random_uuid(), ${JSON.stringify({ text })}::jsonb, now())`;
const texts = async (organizationId: string) => {
  const [rows] = await pipelineInOrganization(orm, organizationId, [
    sql`select result ->> 'text' as text from destination_test order by 1`,
  ]);
  return (rows as Array<{ text: string }>).map(({ text }) => text);
};

test('gives the rows of each statement in order, and commits them all', async () => {
  const rows = await pipelineInOrganization(orm, ours, [
    sql`select ${1}::int as n`,
    insert(ours, 'committed'),
    sql`select ${'two'}::text as t`,
  ]);
  expect(rows).toEqual([[{ n: 1 }], [], [{ t: 'two' }]]);
  expect(await texts(ours)).toEqual(['committed']);
});

test('sees and writes one organization only', async () => {
  expect(await texts(theirs)).toEqual([]);
  await expect(pipelineInOrganization(orm, ours, [insert(theirs, 'smuggled')])).rejects.toThrow('row-level security');
  expect(await texts(theirs)).toEqual([]);
});

test('commits nothing when a statement fails, throws its error, and leaves the pool in working order', async () => {
  for (let i = 0; i < 5; i += 1) {
    const failing = pipelineInOrganization(orm, ours, [insert(ours, 'lost'), sql`select 1 / ${0}::int`, insert(ours, 'never reached')]);
    await expect(failing).rejects.toThrow('division by zero');
  }
  expect(await texts(ours)).toEqual(['committed']);
});

test('leaves no organization behind on its connection', async () => {
  await Promise.all(Array.from({ length: 10 }, async (_, i) => texts(i % 2 === 0 ? ours : theirs)));
  const { rows } = await sql`select * from destination_test`.execute(orm.em.fork().getKysely());
  expect(rows).toEqual([]);
});

test('takes an organization only as a UUID: its text becomes part of a statement', async () => {
  for (const evil of [`${ours}'; drop table event; --`, '', 'x', ours.toUpperCase()])
    await expect(pipelineInOrganization(orm, evil, [sql`select 1`])).rejects.toThrow('UUID');
});

test('runs a statement as often as wanted, with new values and new plans', async () => {
  for (let i = 0; i < 200; i += 1) {
    const [rows] = await pipelineInOrganization(orm, ours, [sql`select ${i}::int as n, ${[i, i + 1]}::int[] as list`]);
    expect(rows).toEqual([{ n: i, list: [i, i + 1] }]);
  }
});

test('a transaction of an organization rolls back as a whole', async () => {
  await expect(
    inOrganization(orm, ours, async (em) => {
      await insert(ours, 'rolled back').execute(em.getKysely());
      throw new Error('changed my mind');
    }),
  ).rejects.toThrow('changed my mind');
  expect(await texts(ours)).toEqual(['committed']);
});
