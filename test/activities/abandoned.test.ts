import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import { createAbandonedCloser } from '../../activities/abandoned.ts';
import { createDestinations } from '../../activities/destination.ts';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { pipelineInOrganization } from '../../db/pipeline.ts';
import { findAttemptsOf, type UnfinishedAttempt } from '../../db/queries/relay.ts';
import { beginRuns } from '../../db/queries/run.ts';
import { newId, parseWireId } from '../../domain/id.ts';
import { defaultRetryConfiguration } from '../../domain/retry.ts';
import { createLogger } from '../../log.ts';
import { startApi, type TestApi } from '../api/start-api.ts';

let api: TestApi;
let relayOrm: MikroORM;
const logged: string[] = [];
beforeAll(async () => {
  api = await startApi();
  relayOrm = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_relay', poolMax: 2 });
});
beforeEach(() => void logged.splice(0));
afterAll(async () => {
  await relayOrm.close(true);
  await api.stop();
});

/** An organization with one delivery, in flight at a worker that is dead; all ids are UUIDs. */
async function buildAbandoned(workerId: string): Promise<{ organizationId: string; deliveryId: string; read: () => Promise<object> }> {
  const organization = await api.buildOrganization();
  const request = async (method: string, path: string, body?: unknown) =>
    (await api.request(method, path, { key: organization.key, body })).body;
  const webhook = await request('POST', '/webhooks', { name: 'h', url: 'http://127.0.0.1:9/', eventTypes: ['*'] });
  const event = await request('POST', '/events', { type: 'job.failed' });
  const { deliveries } = await request('GET', `/events/${event['id']}`);
  const deliveryId = parseWireId(deliveries[0].id)!.uuid;
  const run = { runId: `${deliveryId}.1`, destinationId: parseWireId(webhook['id'])!.uuid, lane: 'fast' } as const;
  await pipelineInOrganization(api.orm, organization.id, [
    beginRuns(organization.id, [run], { now: Date.now() + 1_000, timeoutMs: 45_000, workerId }),
  ]);
  return { organizationId: organization.id, deliveryId, read: async () => request('GET', `/deliveries/${deliveries[0].id}`) };
}

/** Closes as the worker does; the settings of one organization's destinations cannot be read. */
async function closeAbandoned(attempts: readonly UnfinishedAttempt[], brokenOrganizationId?: string) {
  const destinations = createDestinations({ orm: api.orm, secrets: api.deps.secrets, publicUrl: 'http://127.0.0.1' });
  const close = createAbandonedCloser({
    orm: api.orm,
    destinations: {
      ...destinations,
      async policyOf(em, organizationId, destination) {
        if (organizationId === brokenOrganizationId) throw new Error('its settings cannot be read');
        return destinations.policyOf(em, organizationId, destination);
      },
    },
    retry: defaultRetryConfiguration,
    log: createLogger({ process: 'worker', write: (line) => void logged.push(line) }),
  });
  return close(attempts);
}

test('attempts of a dead worker are closed as interrupted, and their deliveries are given to another run', async () => {
  const workerId = newId(Date.now());
  const abandoned = await buildAbandoned(workerId);
  const freed = await closeAbandoned(await findAttemptsOf(relayOrm.em.fork(), [workerId], 10));
  expect(freed).toMatchObject([{ id: abandoned.deliveryId, organizationId: abandoned.organizationId, runSeq: 1 }]);
  expect(await abandoned.read()).toMatchObject({
    status: 'retrying',
    attempts: [{ number: 1, errorCode: 'interrupted', possibleDuplicate: true }],
  });
});

test('a fault of one organization does not hold up the others, and is over with the next round', async () => {
  const workerId = newId(Date.now());
  const [first, broken, last] = [await buildAbandoned(workerId), await buildAbandoned(workerId), await buildAbandoned(workerId)];
  const inTurn = [first, broken, last].map(({ organizationId, deliveryId }) => ({ organizationId, deliveryId, number: 1 }));
  const freed = await closeAbandoned(inTurn, broken.organizationId);
  expect(freed.map(({ id }) => id)).toEqual([first.deliveryId, last.deliveryId]);
  expect(await broken.read()).toMatchObject({ status: 'in_flight', attempts: [{ finishedAt: null }] });
  expect(logged.map((line) => JSON.parse(line) as unknown)).toMatchObject([
    { level: 'error', organizationId: broken.organizationId, error: { message: 'its settings cannot be read' } },
  ]);

  const again = await closeAbandoned(await findAttemptsOf(relayOrm.em.fork(), [workerId], 10));
  expect(again.map(({ id }) => id)).toEqual([broken.deliveryId]);
});
