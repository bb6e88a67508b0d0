import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { emptyAttempt } from '../../activities/delivery.ts';
import { pipelineInOrganization } from '../../db/pipeline.ts';
import { beginRuns, finishAttempts, type FinishedAttempt } from '../../db/queries/run.ts';
import { newId } from '../../domain/id.ts';
import { createStage, type OpenEscalation } from '../api/escalation-stage.ts';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let stage: ReturnType<typeof createStage>;
let database: pg.Client;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization();
  stage = createStage(api);
  database = new pg.Client({ connectionString: api.databaseUrl });
  await database.connect();
  // Slow enough that two statements over the same rows are under way at the same time.
  await database.query(`
    create function slow_down() returns trigger language plpgsql as $$ begin perform pg_sleep(0.005); return new; end $$;
    create trigger slow_down before update on delivery for each row when (new.escalation_id is not null) execute function slow_down();
  `);
});
afterAll(async () => {
  await database.end();
  await api.stop();
});

const pages = 12;
const rounds = 12;

/** Half of an escalation's pages, in flight, in an order of their own. */
async function fly({ uuid }: OpenEscalation): Promise<string[]> {
  const { rows } = await database.query<{ id: string }>(
    `update delivery set state = 'in_flight', total_attempts = 1
      where escalation_id = $1 and id in (select id from delivery where escalation_id = $1 order by random() limit $2) returning id`,
    [uuid, pages / 2],
  );
  return rows.map(({ id }) => id);
}

/** The other half, in an order of their own. */
async function waiting({ uuid }: OpenEscalation): Promise<Array<{ id: string; destinationId: string }>> {
  const { rows } = await database.query<{ id: string; destinationId: string }>(
    `select id, destination_id as "destinationId" from delivery where escalation_id = $1 and state = 'pending' order by random()`,
    [uuid],
  );
  return rows;
}

function finished(deliveryId: string): FinishedAttempt {
  const next = { state: 'retrying', schedulePos: 1, attemptCount: 1, interruptions: 0, rateLimits: 0, nextAttemptAt: Date.now() } as const;
  return {
    ...emptyAttempt,
    deliveryId,
    attempt: 1,
    finishedAt: Date.now(),
    outcome: 'retryable',
    nextDelayMs: null,
    scheduleConsumed: true,
    next,
  };
}

test('beginnings and outcomes of many pages and the command that cancels them wait for each other and never deadlock', async () => {
  const targets = await Promise.all(Array.from({ length: pages }, async () => ({ kind: 'webhook', id: await stage.buildWebhook(ours) })));
  for (let round = 0; round < rounds; round += 1) {
    const escalation = await stage.openEscalation(ours, { policy: { tiers: [{ targets }] } });
    const ids = await fly(escalation);
    const halves = [ids, ids.toReversed()];
    const now = Date.now() + 1_000;
    const runs = (await waiting(escalation)).map(({ id, destinationId }) => ({ runId: `${id}.1`, destinationId, lane: 'slow' as const }));
    const [answer] = await Promise.all([
      escalation.command(round % 2 === 0 ? 'acknowledge' : 'resolve'),
      pipelineInOrganization(api.orm, ours.id, [beginRuns(ours.id, runs, { now, timeoutMs: 45_000, workerId: newId(now) })]),
      ...halves.map(async (half) => pipelineInOrganization(api.orm, ours.id, [finishAttempts(ours.id, half.map(finished))])),
    ]);
    expect(answer.status).toBe(200);
    const { rows } = await database.query<{ state: string; cancel_requested: boolean }>(
      `select distinct state, cancel_requested from delivery where escalation_id = $1 and purpose = 'page' order by state`,
      [escalation.uuid],
    );
    // Those that began before the command are under way still, and marked.
    for (const row of rows) expect(['cancelled', 'in_flight']).toContain(row.state);
    expect(rows.every(({ cancel_requested: marked }) => marked)).toBe(true);
  }
});
