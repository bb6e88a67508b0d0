import { expect, test } from '@jest/globals';
import pg from 'pg';
import { Connection } from '@temporalio/client';
import { createTestDatabase, createTestNamespace, withTemporal } from './servers.ts';

test('every database is migrated and nobody else’s', async () => {
  const [one, two] = await Promise.all([createTestDatabase(), createTestDatabase()]);
  expect(one.databaseUrl).not.toBe(two.databaseUrl);
  const client = new pg.Client({ connectionString: one.databaseUrl });
  await client.connect();
  const { rows } = await client.query<{ count: number }>('select count(*)::int as count from tocsin_migration');
  expect(rows[0]?.count).toBeGreaterThan(0);
  await client.end();
  await Promise.all([one.drop(), two.drop()]);
});

const describeWithTemporal = await withTemporal();
describeWithTemporal('with Temporal', () => {
  test('a namespace has our search attributes', async () => {
    const { address, namespace } = await createTestNamespace();
    const connection = await Connection.connect({ address });
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
    expect(Object.keys(customAttributes)).toContain('TocsinDestination');
    await connection.close();
  });
});
