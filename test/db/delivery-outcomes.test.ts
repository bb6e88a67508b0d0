import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { countOutcomes } from '../../db/queries/delivery-outcomes.ts';
import { inOrganization } from '../../db/tenant.ts';
import { newId, parseWireId } from '../../domain/id.ts';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';

let api: TestApi;
let ours: TestOrganization;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization();
  const webhook = { name: 'h', url: 'http://127.0.0.1:9/', eventTypes: ['*'] };
  await api.request('POST', '/webhooks', { key: ours.key, body: webhook });
});
afterAll(() => api.stop());

/** UUID of a new delivery, as a run left it. */
async function buildDelivery(state: string, runId: string | null): Promise<string> {
  const event = await api.request('POST', '/events', { key: ours.key, body: { type: 'job.failed' } });
  const { body } = await api.request('GET', `/events/${event.body['id']}`, { key: ours.key });
  const id = parseWireId(body['deliveries'][0].id)!.uuid;
  const finished = ['delivered', 'failed', 'cancelled'].includes(state);
  await inOrganization(api.orm, ours.id, (em) =>
    sql`update delivery set state = ${state}, run_id = ${runId}, finished_at = ${finished ? new Date() : null} where id = ${id}`.execute(
      em.getKysely(),
    ),
  );
  return id;
}

test('deliveries count as they ended in the run; what another run took over does not count, what is deleted was cancelled', async () => {
  const runId = `${newId(Date.now())}.1`;
  const later = `${newId(Date.now())}.2`;
  const ids = [
    await buildDelivery('delivered', runId),
    await buildDelivery('failed', runId),
    await buildDelivery('cancelled', runId),
    await buildDelivery('cancelled', runId),
    await buildDelivery('retrying', runId),
    await buildDelivery('pending', null),
    await buildDelivery('delivered', later),
    await buildDelivery('cancelled', later),
    newId(Date.now()),
  ];
  const counted = await inOrganization(api.orm, ours.id, async (em) => countOutcomes(em, ours.id, { runId, ids }));
  expect(counted).toEqual({ delivered: 1, failed: 1, cancelled: 3 });
});
