import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Worker, type WorkflowBundle } from '@temporalio/worker';
import pg from 'pg';
import { createEscalationActivities } from '../../activities/escalation.ts';
import { bundleWorkflows } from '../../activities/workflow-bundle.ts';
import { createFactsCache } from '../../db/queries/routing-facts.ts';
import type { Simulation } from '../../domain/simulation.ts';
import { createEscalationStarter, type EscalationStarter } from '../../temporal/escalation-starter.ts';
import { searchAttributeTypes } from '../../temporal/search-attributes.ts';
import { plan, taskQueues, workflowIds } from '../../workflows/messages.ts';
import { startApi, type TestApi } from '../api/start-api.ts';
import { type StageClock, startStageClock } from '../db/stage-clock.ts';
import { readMessages } from '../db/stage-record.ts';
import { createTeller, type Teller } from '../db/stage-steps.ts';
import { buildWorld, type World } from '../db/stage-world.ts';
import { plainly } from '../reference/manner.ts';
import { printMessages, simulationOf, start, stories } from '../reference/stories.ts';
import { withTimeSkipping } from '../support/time-skipping.ts';

/**
 * Stories of the acceptance table as its workflow waits for them: minutes, hours, and in the end the seven days of the hard stop, on a server
 * that skips them. API, activities and PostgreSQL are the real ones; whatever reads the clock reads the server's.
 */

const { describe, environment } = await withTimeSkipping();
afterAll(() => environment?.teardown());
const minute = 60_000;
const day = 24 * 60 * minute;
/** temporal.api.enums.v1.IndexedValueType */
const indexedValueTypes = { Keyword: 2, Int: 3, Datetime: 6 } as const;
/** The server's clock goes on while something is done. What is late by less than this does not make the next late. */
const noticedMs = 5_000;
/** When their workflow ends: resolved, or given up by the hard stop of a week. */
const ends = new Map([
  ['1: nobody acknowledges', 60 * minute + 7 * day],
  ['7: the acknowledgement times out', 35 * minute],
  ['8: snoozed, resolved after', 70 * minute],
]);

describe('with the timers of the acceptance table', () => {
  let clock: StageClock;
  let api: TestApi;
  let database: pg.Client;
  let starter: EscalationStarter;
  let activities: ReturnType<typeof createEscalationActivities>;
  let teller: Teller;
  let bundle: WorkflowBundle;
  /** When the story began, by the server's clock. */
  let began = 0;

  beforeAll(async () => {
    const { client, connection } = environment!;
    bundle = await bundleWorkflows();
    const attributes = Object.entries(searchAttributeTypes).map(([name, type]) => [name, indexedValueTypes[type]]);
    await connection.operatorService.addSearchAttributes({ namespace: 'default', searchAttributes: Object.fromEntries(attributes) });
    clock = startStageClock(start, 9 * day);
    const temporal = {
      client,
      eager: false,
      withDeadline: async <T>(_ms: number, call: () => Promise<T>) => call(),
      close: async () => {},
    };
    starter = createEscalationStarter({ temporal, publicUrl: 'http://localhost' });
    api = await startApi({ deps: { minIntervalMs: 1 }, escalations: starter });
    database = new pg.Client({ connectionString: api.databaseUrl });
    await database.connect();
    const facts = createFactsCache();
    const deps = { orm: api.orm, facts, starter: { offer: () => {} }, escalations: starter, namespace: 'default' };
    const work = createEscalationActivities(deps);
    activities = {
      async stepEscalation(input) {
        await readClock();
        return work.stepEscalation(input);
      },
      async commandEscalation(request) {
        await readClock();
        return work.commandEscalation(request);
      },
    };
    teller = createTeller({ database, clock, work });
  });
  afterAll(async () => {
    clock.stop();
    await starter.stop();
    await database.end();
    await api.stop();
  });

  async function readClock(): Promise<void> {
    clock.set(Math.max(clock.now(), start + (await environment!.currentTimeMs()) - began));
  }

  /** Resolves when the workflow waits for what its row says. */
  async function settle({ organizationId }: World): Promise<string> {
    for (let looks = 0; looks < 1_000; looks += 1) {
      const { rows } = await database.query<{ id: string; version: number }>(
        'select id, version::int as version from escalation where org_id = $1',
        [organizationId],
      );
      const workflowId = workflowIds.escalation(rows[0]!.id);
      const handle = environment!.client.workflow.getHandle(workflowId);
      const view = await handle.query(plan).catch(() => undefined);
      if (view?.version === rows[0]!.version || (await handle.describe().catch(() => undefined))?.status.name === 'COMPLETED')
        return workflowId;
      await sleep(20);
    }
    throw new Error('The workflow does not see its row.');
  }

  async function play(simulation: Simulation): Promise<World> {
    clock.set(start - minute);
    const people = ['u1', 'u2', 'u3', 'u9', 'q1', 'f'];
    const schedules = { u1: { always: ['u1'], added: [] } };
    const world = await buildWorld({ api, database, clock }, simulation, { people, unreachable: [], schedules });
    began = await environment!.currentTimeMs();
    let workflowId = '';
    for (const step of simulation.script) {
      const ahead = step.at - start - ((await environment!.currentTimeMs()) - began);
      if (ahead > 0) await environment!.sleep(ahead);
      clock.set(step.at);
      if (step.kind === 'command') await teller.giveCommand(world, step, plainly);
      else if (step.kind !== 'policy_changed') await teller.postEvents(world, [step], plainly);
      workflowId = await settle(world);
    }
    expect(await environment!.client.workflow.getHandle(workflowId).result()).toBe('resolved');
    return world;
  }

  test.each(stories['the acceptance table']!.filter(([name]) => ends.has(name)))('%s: %s', async (...story) => {
    const [name, expected, script, given = {}] = story;
    const { nativeConnection: connection } = environment!;
    const worker = await Worker.create({ connection, taskQueue: taskQueues.main, workflowBundle: bundle, activities });
    const messages = await worker.runUntil(async () => readMessages({ database, clock }, await play(simulationOf([...script], given))));
    const delays = messages.map(({ at }) => (at - start) % minute);
    expect(Math.max(...delays)).toBeLessThan(noticedMs);
    expect(printMessages(messages.map((message, index) => ({ ...message, at: message.at - delays[index]! })))).toBe(expected);
    const endDelay = clock.now() - start - ends.get(name)!;
    expect(endDelay).toBeGreaterThanOrEqual(0);
    expect(endDelay).toBeLessThan(noticedMs);
  });
});
