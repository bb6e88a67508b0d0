import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createStage, type OpenEscalation } from './escalation-stage.ts';
import { startApi, type TestApi, type TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let stage: ReturnType<typeof createStage>;
let database: pg.Client;
let escalation: OpenEscalation;
beforeAll(async () => {
  api = await startApi();
  stage = createStage(api);
  database = new pg.Client({ connectionString: api.databaseUrl });
  await database.connect();
});
beforeEach(async () => {
  ours = await api.buildOrganization();
  escalation = await stage.openEscalation(ours);
});
afterAll(async () => {
  await database.end();
  await api.stop();
});

const retry = async (delivery: string, key = ours.key) => api.request('POST', `/deliveries/${delivery}/retry`, { key });

/** The wire id of the first page, which has failed. */
async function failedPage(): Promise<string> {
  await database.query(`update delivery set state = 'failed', finished_at = now() where escalation_id = $1`, [escalation.uuid]);
  return (await escalation.read())['firings'][0].pages[0].deliveryId;
}

async function stateOf(delivery: string): Promise<string> {
  return (await api.request('GET', `/deliveries/${delivery}`, { key: ours.key })).body['status'];
}

describe('sending a page again by hand', () => {
  test('works while somebody is wanted', async () => {
    const page = await failedPage();
    const { status, body } = await retry(page);
    expect(status).toBe(202);
    expect(body).toMatchObject({
      status: 'pending',
      escalation: { id: escalation.id, purpose: 'page', firing: 1, updateOf: null, failingAt: null },
    });
  });

  test.each(['acknowledge', 'resolve', 'snooze'])('is refused after %s: nobody is called any more', async (command) => {
    const page = await failedPage();
    await escalation.command(command, command === 'snooze' ? { for: 'PT1H' } : {});
    const { status, body } = await retry(page);
    expect([status, body['code']]).toEqual([409, 'wrong_state']);
    expect(await stateOf(page)).toBe('failed');
  });

  test('never comes between an acknowledgement and what it cancels', async () => {
    for (let round = 0; round < 8; round += 1) {
      escalation = await stage.openEscalation(ours);
      const page = await failedPage();
      const [retried] = await Promise.all([retry(page), escalation.command('acknowledge')]);
      expect(await stateOf(page)).toBe(retried.status === 202 ? 'cancelled' : 'failed');
    }
  });

  test("of another organization's escalation is unknown", async () => {
    const page = await failedPage();
    const theirs = await api.buildOrganization('Theirs');
    expect((await retry(page, theirs.key)).status).toBe(404);
  });
});

test('an update may be sent again whatever the escalation is at', async () => {
  await database.query(`update delivery set state = 'delivered', finished_at = now() where escalation_id = $1`, [escalation.uuid]);
  await database.query(`delete from delivery where event_type = 'escalation.acknowledged'`);
  await database.query(`update webhook set event_types = '{job.completed}' where org_id = $1`, [ours.id]);
  await escalation.command('acknowledge');
  const { rows } = await database.query<{ id: string }>(
    `update delivery set state = 'failed', finished_at = now() where escalation_id = $1 and purpose = 'escalation_update' returning id`,
    [escalation.uuid],
  );
  expect(rows).toHaveLength(1);
  const { body } = await api.request('GET', '/deliveries?limit=10', { key: ours.key });
  const [update] = body['data'].filter(({ eventType }: { eventType: string }) => eventType === 'escalation.acknowledged');
  expect(update.escalation).toMatchObject({ id: escalation.id, purpose: 'escalation_update', firing: null });
  expect((await retry(update.id)).status).toBe(202);
});
