import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { emptyAttempt } from '../../activities/delivery.ts';
import { pipelineInOrganization } from '../../db/pipeline.ts';
import { cancelDeliveries } from '../../db/queries/destination.ts';
import { claimRun } from '../../db/queries/run-claim.ts';
import { beginRuns, finishAttempts, readBegun, type BegunRow, type FinishedAttempt } from '../../db/queries/run.ts';
import { inOrganization } from '../../db/tenant.ts';
import type { DeliveryState } from '../../domain/delivery.ts';
import { newId, parseWireId } from '../../domain/id.ts';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let destinationId: string;
const workerId = newId(Date.now());
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization();
  const webhook = { name: 'h', url: 'http://127.0.0.1:9/', eventTypes: ['*'] };
  destinationId = parseWireId((await api.request('POST', '/webhooks', { key: ours.key, body: webhook })).body['id'])!.uuid;
});
afterAll(() => api.stop());

/** UUIDs of new pending deliveries, oldest first. */
async function buildDeliveries(count: number): Promise<string[]> {
  const events = Array.from({ length: count }, () => ({ type: 'job.failed' }));
  await api.request('POST', '/events/batch', { key: ours.key, body: { events } });
  const { body } = await api.request('GET', `/deliveries?limit=${count}`, { key: ours.key });
  return body['data'].map(({ id }: { id: string }) => parseWireId(id)!.uuid).toSorted();
}
const begin = async (runId: string, now = Date.now() + 1_000) => {
  const statement = beginRuns(ours.id, [{ runId, destinationId, lane: 'slow' }], { now, timeoutMs: 45_000, workerId });
  const [rows] = await pipelineInOrganization(api.orm, ours.id, [statement]);
  return readBegun(rows as BegunRow[]);
};
const claim = async (ids: string[]) => {
  const [rows] = await pipelineInOrganization(api.orm, ours.id, [claimRun(ours.id, ids)]);
  return (rows as Array<{ run_id: string }>).map(({ run_id: runId }) => runId);
};
const finish = async (deliveryId: string, attempt: number, state: DeliveryState, outcome: FinishedAttempt['outcome'] = 'retryable') => {
  const next = {
    state,
    schedulePos: 1,
    attemptCount: attempt,
    interruptions: 0,
    rateLimits: 0,
    nextAttemptAt: state === 'retrying' ? Date.now() : null,
  };
  const finished: FinishedAttempt = {
    ...emptyAttempt,
    deliveryId,
    attempt,
    finishedAt: Date.now(),
    outcome,
    nextDelayMs: null,
    scheduleConsumed: true,
    next,
  };
  const [rows] = await pipelineInOrganization(api.orm, ours.id, [finishAttempts(ours.id, [finished])]);
  return rows;
};
const read = async (id: string) =>
  inOrganization(api.orm, ours.id, async (em) => {
    const { rows } = await sql<
      Record<string, unknown>
    >`select state, run_id, run_seq, total_attempts, next_attempt_at, finished_at is not null as finished,
      (select count(*)::int from attempt where delivery_id = d.id) as attempts from delivery d where id = ${id}`.execute(em.getKysely());
    return rows[0]!;
  });

describe('begin', () => {
  test('claims a single that no run owns, and begins it once, however often it is repeated', async () => {
    const [id] = await buildDeliveries(1);
    const all = (await Promise.all(Array.from({ length: 8 }, async () => begin(`${id}.1`)))).flat();
    expect(all.filter(({ begun }) => begun)).toHaveLength(1);
    expect(await read(id!)).toMatchObject({ state: 'in_flight', run_id: `${id}.1`, run_seq: 1, total_attempts: 1, attempts: 1 });
    expect(await begin(`${id}.1`)).toMatchObject([{ begun: false, state: 'in_flight' }]);
  });

  test('leaves what is not due, with its time', async () => {
    const [id] = await buildDeliveries(1);
    expect(await begin(`${id}.1`, Date.now() - 60_000)).toMatchObject([
      { begun: false, state: 'pending', nextAttemptAt: expect.any(Number) },
    ]);
    expect(await read(id!)).toMatchObject({ state: 'pending', attempts: 0 });
  });

  test('of a run that no longer owns a delivery does not find it', async () => {
    const [id] = await buildDeliveries(1);
    await begin(`${id}.1`);
    expect(await begin(`${id}.2`)).toEqual([]);
    expect(await begin(`${newId(Date.now())}.1`)).toEqual([]);
  });

  test('gives each webhook the exact bytes that were rendered', async () => {
    const [id] = await buildDeliveries(1);
    const [member] = await begin(`${id}.1`);
    expect(JSON.parse(member!.body!.toString())).toMatchObject({ type: 'job.failed' });
  });
});

describe('claiming a run', () => {
  test('gives every delivery to exactly one run, however many claim at once', async () => {
    const ids = await buildDeliveries(20);
    const claimed = await Promise.all(Array.from({ length: 6 }, async (_, i) => claim(i % 2 === 0 ? ids : ids.slice(5))));
    expect(claimed.flat()).toHaveLength(20);
    const runs = await Promise.all(ids.map(async (id) => (await read(id))['run_id']));
    expect(runs.every((run) => typeof run === 'string')).toBe(true);
    expect((await begin(runs[0] as string)).every(({ begun }) => begun)).toBe(true);
  });

  test('names the run after its oldest delivery', async () => {
    const ids = await buildDeliveries(3);
    expect(new Set(await claim(ids))).toEqual(new Set([`${ids[0]}.1`]));
  });
});

describe('finish', () => {
  test('records an attempt once: what comes later changes nothing', async () => {
    const [id] = await buildDeliveries(1);
    await begin(`${id}.1`);
    expect(await finish(id!, 1, 'failed')).toEqual([{ id, state: 'failed' }]);
    expect(await finish(id!, 1, 'retrying')).toEqual([]);
    expect(await read(id!)).toMatchObject({ state: 'failed', finished: true, next_attempt_at: null });
  });

  test('that delivered ends the delivery, although its attempt was given up and another has begun', async () => {
    const [id] = await buildDeliveries(1);
    await begin(`${id}.1`);
    await finish(id!, 1, 'retrying');
    await begin(`${id}.1`, Date.now() + 5_000);
    expect(await finish(id!, 1, 'delivered', 'delivered')).toEqual([{ id, state: 'delivered' }]);
    expect(await finish(id!, 2, 'retrying')).toEqual([]);
    expect(await read(id!)).toMatchObject({ state: 'delivered', finished: true, total_attempts: 2 });
  });

  test.each<[DeliveryState, DeliveryState]>([
    ['retrying', 'cancelled'],
    ['delivered', 'delivered'],
    ['failed', 'failed'],
  ])('of a delivery that was cancelled in flight: %s becomes %s, and nothing is due any more', async (state, expected) => {
    const [id] = await buildDeliveries(1);
    await begin(`${id}.1`);
    const cancelled = await inOrganization(api.orm, ours.id, async (em) =>
      cancelDeliveries(em, { organizationId: ours.id, ids: [id!], reason: 'operator' }),
    );
    expect(cancelled).toEqual([]);
    await finish(id!, 1, state, state === 'delivered' ? 'delivered' : 'retryable');
    expect(await read(id!)).toMatchObject({ state: expected, finished: true, next_attempt_at: null });
  });
});
