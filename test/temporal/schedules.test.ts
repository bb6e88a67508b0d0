import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { createLogger } from '../../log.ts';
import { keepSchedules } from '../../temporal/schedules.ts';
import { waitFor } from '../scenarios/instance.ts';
import { createTestNamespace, withTemporal } from '../support/servers.ts';

const describeWithTemporal = await withTemporal();
const everyMs = 100;
const hourMs = 3_600_000;

describeWithTemporal('the schedules of a worker process', () => {
  const logged: string[] = [];
  const log = createLogger({ process: 'worker', write: (line) => void logged.push(line) });
  let connection: Connection;
  let client: Client;
  beforeAll(async () => {
    const { address, namespace } = await createTestNamespace();
    connection = await Connection.connect({ address });
    client = new Client({ connection, namespace });
  });
  afterAll(() => connection.close());

  const sweep = () => client.schedule.getHandle('sweep-deliveries');
  const interval = async () => (await sweep().describe()).spec.intervals?.[0]?.every;

  test('are there when it has started, and there again when Temporal has lost them', async () => {
    const kept = await keepSchedules({ temporal: { client }, log, everyMs });
    try {
      expect(await interval()).toBe(hourMs);
      await sweep().delete();
      await waitFor(
        async () => interval().catch(() => 'missing'),
        (every) => every === hourMs,
        { what: 'the sweep' },
      );
    } finally {
      kept.stop();
    }
    expect(logged).toEqual([]);
  });

  test('are there again although Temporal was away when it was time to look', async () => {
    let away = false;
    const temporal = {
      get client() {
        if (away) throw new Error('Temporal is away');
        return client;
      },
    };
    const kept = await keepSchedules({ temporal, log, everyMs });
    try {
      away = true;
      await sweep().delete();
      await waitFor(
        async () => logged.splice(0),
        ({ length }) => length > 0,
        { what: 'the failed round' },
      );
      away = false;
      await waitFor(
        async () => interval().catch(() => 'missing'),
        (every) => every === hourMs,
        { what: 'the sweep' },
      );
    } finally {
      kept.stop();
    }
  });

  test('stay as an operator has changed them, until a process starts', async () => {
    const kept = await keepSchedules({ temporal: { client }, log, everyMs });
    await sweep().update((previous) => ({ ...previous, spec: { intervals: [{ every: '2h' }] } }));
    await new Promise((resolve) => setTimeout(resolve, 5 * everyMs));
    kept.stop();
    expect(await interval()).toBe(2 * hourMs);
    (await keepSchedules({ temporal: { client }, log })).stop();
    expect(await interval()).toBe(hourMs);
  });

  test('are left alone by a process that has stopped', async () => {
    (await keepSchedules({ temporal: { client }, log, everyMs })).stop();
    await sweep().delete();
    await new Promise((resolve) => setTimeout(resolve, 5 * everyMs));
    await expect(interval()).rejects.toThrow('not found');
  });
});
