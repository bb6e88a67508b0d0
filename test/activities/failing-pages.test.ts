import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { emptyAttempt } from '../../activities/delivery.ts';
import { createFailingPages, type TellFailing } from '../../activities/failing-pages.ts';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { pipelineInOrganization } from '../../db/pipeline.ts';
import { cancelOpenDeliveries } from '../../db/queries/destination.ts';
import { findFailingEscalations } from '../../db/queries/failing-pages.ts';
import { beginRuns, finishAttempts } from '../../db/queries/run.ts';
import { inOrganization } from '../../db/tenant.ts';
import { fromWireId, newId } from '../../domain/id.ts';
import { createLogger } from '../../log.ts';
import { createStage, type OpenEscalation } from '../api/escalation-stage.ts';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let stage: ReturnType<typeof createStage>;
let relayOrm: MikroORM;
let database: pg.Client;
let tellFailing: TellFailing;
const offered: string[] = [];
const woken: string[] = [];
const logged: string[] = [];
beforeAll(async () => {
  api = await startApi();
  stage = createStage(api);
  relayOrm = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_relay', poolMax: 2 });
  database = new pg.Client({ connectionString: api.databaseUrl });
  await database.connect();
  tellFailing = createFailingPages({
    orm: api.orm,
    facts: api.deps.facts,
    starter: { offer: (deliveries) => void offered.push(...deliveries.map(({ id }) => id)) },
    escalations: { wake: (changed) => void woken.push(...changed.map(({ escalationId }) => escalationId)) },
    log: createLogger({ process: 'worker', write: (line) => void logged.push(line) }),
  });
});
beforeEach(async () => {
  for (const list of [offered, woken, logged]) list.splice(0);
  ours = await api.buildOrganization();
});
afterAll(async () => {
  await database.end();
  await relayOrm.close(true);
  await api.stop();
});

interface Page {
  id: string;
  firing: number;
  state: string;
  destinationId: string;
}

/** Pages of an escalation, oldest firing first. */
async function pagesOf({ uuid }: OpenEscalation): Promise<Page[]> {
  const { rows } = await database.query<Page>(
    `select id, firing, state, destination_id as "destinationId" from delivery where escalation_id = $1 order by firing, id`,
    [uuid],
  );
  return rows;
}

/** An escalation whose first tier has `first` pages and whose other two have one each. */
async function open(first = 1): Promise<OpenEscalation> {
  const targets = async (count: number) =>
    Promise.all(Array.from({ length: count }, async () => ({ kind: 'webhook', id: await stage.buildWebhook(ours) })));
  const tiers = [{ targets: await targets(first) }, { targets: await targets(1) }, { targets: await targets(1) }];
  return stage.openEscalation(ours, { policy: { tiers } });
}

type Ending = 'delivered' | 'rejected' | 'failing' | 'in vain';

/** One attempt of a page, as a worker records it; what comes afterwards does not happen. */
async function attempt({ id, destinationId }: Page, ending: Ending): Promise<void> {
  const at = Date.now();
  await pipelineInOrganization(api.orm, ours.id, [
    beginRuns(ours.id, [{ runId: `${id}.1`, destinationId, lane: 'slow' }], {
      now: at + 1_000,
      timeoutMs: 45_000,
      workerId: newId(at),
    }),
  ]);
  const state = ending === 'delivered' ? 'delivered' : ending === 'rejected' ? 'failed' : 'retrying';
  const finished = {
    ...emptyAttempt,
    deliveryId: id,
    attempt: 1,
    finishedAt: at,
    outcome: ending === 'delivered' ? ending : ending === 'rejected' ? ending : 'retryable',
    nextDelayMs: null,
    scheduleConsumed: true,
    next: { state, schedulePos: 1, attemptCount: 1, interruptions: 0, rateLimits: 0, nextAttemptAt: state === 'retrying' ? at : null },
    failing: ending === 'rejected' || ending === 'failing',
  } as const;
  await pipelineInOrganization(api.orm, ours.id, [finishAttempts(ours.id, [finished])]);
}

const tell = async ({ uuid }: OpenEscalation) => tellFailing([{ organizationId: ours.id, escalationId: uuid }]);

/** What the relay finds of this organization. */
async function found(afterMs = -1_000): Promise<string[]> {
  const failing = await findFailingEscalations(relayOrm.em.fork(), { afterMs, limit: 100 });
  return failing.filter(({ organizationId }) => organizationId === ours.id).map(({ escalationId }) => escalationId);
}

async function kindsOf(escalation: OpenEscalation): Promise<string[]> {
  const { data } = await escalation.read('/timeline');
  return data.map(({ kind }: { kind: string }) => kind);
}

test('a page that is refused has the next tier paged at once, not when its time is up', async () => {
  const escalation = await open();
  const [page] = await pagesOf(escalation);
  await attempt(page!, 'rejected');
  await tell(escalation);
  const now = await escalation.read();
  expect(now).toMatchObject({ state: 'triggered', round: 1, tier: 2, why: 'tier' });
  expect(now['firings']).toMatchObject([
    { number: 1, failingAt: expect.any(String) },
    { number: 2, reason: 'tier_unreachable', failingAt: null },
  ]);
  const pages = await pagesOf(escalation);
  expect(pages.map(({ firing, state }) => [firing, state])).toEqual([
    [1, 'failed'],
    [2, 'pending'],
  ]);
  expect(offered).toContain(pages[1]!.id);
  expect(woken).toEqual([escalation.uuid]);
  expect((await kindsOf(escalation)).slice(-2)).toEqual(['tier_unreachable', 'tier_fired']);
  expect(logged).toEqual([]);
});

test('refused pages one after the other lead to the last tier, and after that the round is over at once', async () => {
  const escalation = await open();
  for (const tier of [1, 2, 3]) {
    expect(await escalation.read()).toMatchObject({ tier });
    await attempt((await pagesOf(escalation)).at(-1)!, 'rejected');
    await tell(escalation);
  }
  const { firings, dueAt, why } = await escalation.read();
  expect(firings).toHaveLength(3);
  expect(why).toBe('last_round_over');
  expect(Date.parse(dueAt)).toBeLessThanOrEqual(Date.now());
});

test.each<[string, Ending[], boolean]>([
  ['one of two is refused and the other was not tried yet', ['rejected'], false],
  ['one of two is refused and the other was tried in vain', ['rejected', 'in vain'], false],
  ['one of two is refused and the other has arrived', ['rejected', 'delivered'], false],
  ['one is refused and the other is failing', ['rejected', 'failing'], true],
])('of several pages: %s', async (_, endings, climbs) => {
  const escalation = await open(2);
  for (const [index, page] of (await pagesOf(escalation)).entries()) {
    if (endings[index] !== undefined) await attempt(page, endings[index]);
    await tell(escalation);
  }
  expect((await escalation.read())['tier']).toBe(climbs ? 2 : 1);
  expect(await found()).toEqual([]);
});

test('a page that failed and arrives after all keeps the next tier from being paged', async () => {
  const escalation = await open(2);
  const [first, second] = await pagesOf(escalation);
  await attempt(first!, 'failing');
  await tell(escalation);
  await database.query(`update delivery set state = 'delivered', finished_at = now() where id = $1`, [first!.id]);
  await attempt(second!, 'rejected');
  await tell(escalation);
  expect((await escalation.read())['tier']).toBe(1);
});

test('a worker that dies between recording an outcome and telling it loses nothing: the relay finds it, once', async () => {
  const escalation = await open();
  const [page] = await pagesOf(escalation);
  await attempt(page!, 'rejected');
  expect(await found(60_000)).toEqual([]);
  expect(await found()).toEqual([escalation.uuid]);
  await tell(escalation);
  expect(await found()).toEqual([]);
  expect((await escalation.read())['tier']).toBe(2);
});

test('a step that fails is made again by the relay', async () => {
  const escalation = await open();
  await attempt((await pagesOf(escalation))[0]!, 'rejected');
  const broken = createFailingPages({
    orm: api.orm,
    facts: { recall: () => undefined, read: () => Promise.reject(new Error('the database went away')) },
    starter: { offer: () => {} },
    escalations: { wake: () => {} },
    log: createLogger({ process: 'worker', write: (line) => void logged.push(line) }),
  });
  await broken([{ organizationId: ours.id, escalationId: escalation.uuid }]);
  expect(logged.map((line) => JSON.parse(line) as unknown)).toMatchObject([
    { level: 'warn', unit: 'escalation.failing', escalationId: escalation.uuid, error: { message: 'the database went away' } },
  ]);
  expect(await found()).toEqual([escalation.uuid]);
  await tell(escalation);
  expect((await escalation.read())['tier']).toBe(2);
});

test('told by many at once, also while the pages fail one after the other, the next tier is paged once', async () => {
  const escalation = await open(3);
  const pages = await pagesOf(escalation);
  await Promise.all(
    pages.map(async (page) => {
      await attempt(page, 'rejected');
      await Promise.all([tell(escalation), tell(escalation)]);
    }),
  );
  expect(await escalation.read()).toMatchObject({ tier: 2 });
  expect((await pagesOf(escalation)).map(({ firing }) => firing)).toEqual([1, 1, 1, 2]);
  expect(await found()).toEqual([]);
});

test.each(['acknowledge', 'resolve'])('after %s nobody is paged for a page that fails', async (command) => {
  const escalation = await open();
  await escalation.command(command);
  await database.query('update delivery set failing_at = now() where escalation_id = $1', [escalation.uuid]);
  expect(await found()).toEqual([escalation.uuid]);
  await tell(escalation);
  expect(await pagesOf(escalation)).toHaveLength(1);
  expect(await found()).toEqual([]);
});

test('a page of an earlier firing fails for nobody', async () => {
  const escalation = await open();
  const [first] = await pagesOf(escalation);
  await escalation.command('escalate', { expected: { round: 1, tier: 1 } });
  await attempt(first!, 'rejected');
  await tell(escalation);
  expect(await escalation.read()).toMatchObject({ tier: 2 });
});

test('a page whose destination is switched off, or that a person cancels, is failing', async () => {
  const switchedOff = await open();
  const [page] = await pagesOf(switchedOff);
  await inOrganization(api.orm, ours.id, async (em) =>
    cancelOpenDeliveries(em, { organizationId: ours.id, destinationId: page!.destinationId, reason: 'destination_disabled' }),
  );
  const cancelled = await open();
  const { firings } = await cancelled.read();
  expect(fromWireId('delivery', firings[0].pages[0].deliveryId)).toBeDefined();
  await api.request('POST', `/deliveries/${firings[0].pages[0].deliveryId}/cancel`, { key: ours.key });
  expect((await found()).toSorted()).toEqual([switchedOff.uuid, cancelled.uuid].toSorted());
  for (const escalation of [switchedOff, cancelled]) {
    await tell(escalation);
    expect(await escalation.read()).toMatchObject({ tier: 2 });
  }
});

test('of an organization that another asks for nothing is found or changed', async () => {
  const escalation = await open();
  await attempt((await pagesOf(escalation))[0]!, 'rejected');
  const { id: organizationId } = await api.buildOrganization();
  await tellFailing([{ organizationId, escalationId: escalation.uuid }]);
  expect((await escalation.read())['tier']).toBe(1);
  expect(await found()).toEqual([escalation.uuid]);
});
