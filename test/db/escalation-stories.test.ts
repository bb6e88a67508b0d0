import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ScriptStep } from '../../domain/simulation.ts';
import type { Choose } from '../reference/manner.ts';
import { ack, at, type Case, escalate, printMessages, problem, simulationOf, start, stories, tier } from '../reference/stories.ts';
import { openStage, type Played, type Stage } from './escalation-stage.ts';
import { readMessages } from './stage-record.ts';
import type { Cast } from './stage-world.ts';

/** The stories once more, on the whole system but for Temporal and the way out. */

let stage: Stage;
beforeAll(async () => {
  stage = await openStage(start);
});
afterAll(async () => {
  await stage.stop();
});

function castOf({ unreachable = [] }: Case): Cast {
  return { people: ['u1', 'u2', 'u3', 'u9', 'q1', 'f'], unreachable, schedules: { u1: { always: ['u1'], added: [] } } };
}

async function play(script: ScriptStep[], given: Case): Promise<Played> {
  return stage.play(simulationOf(script, given), castOf(given));
}

describe.each(Object.entries(stories))('%s', (_title, rows) => {
  test.each([...rows])('%s: %s', async (...[, expected, script, given = {}]) => {
    expect(printMessages((await play(script, given)).messages)).toBe(expected);
  });
});

test('3: a page that was made and not begun when somebody acknowledges is cancelled by that', async () => {
  const { world } = await play([problem(0), ack(10 + 1 / 60_000)], { horizon: 20 });
  const { rows } = await stage.database.query(
    `select firing, state, error_code from delivery where org_id = $1 and purpose = 'page' order by firing`,
    [world.organizationId],
  );
  // Nobody sends here, so neither has begun.
  expect(rows).toEqual([1, 2].map((firing) => ({ firing, state: 'cancelled', error_code: 'cancelled_by_ack' })));
});

test('9: of two who escalate from the same tier one is answered 200, the other 409', async () => {
  const { refusals } = await play([problem(0), escalate(3, 1, 1), escalate(3, 1, 1), ack(4)], { horizon: 20 });
  expect(refusals).toEqual([{ step: 2, code: 'tier_mismatch' }]);
});

test('what waits for a silence goes on before what it kept back comes, also when somebody ends the silence', async () => {
  const script = [problem(0), problem(40, 'B'), ack(51)];
  const given: Case = {
    policy: { tiers: [tier('u1', { timeoutMs: 30 * 60_000 }), tier('u2')], repeat: null },
    silences: [{ startsAt: at(5), endsAt: at(50), keys: ['A', 'B'] }],
    unreachable: ['u2'],
  };
  const simulation = simulationOf(script, given);
  for (const way of ['ahead', 'cancelled']) {
    const choose: Choose = (about, first, ...others) =>
      about.startsWith('silence ') ? [first, ...others].find((each) => each === way)! : first;
    const { messages } = await stage.play(simulation, castOf(given), choose);
    expect(messages.map((each) => printMessages([each])).sort()).toEqual(['f@50', 'u1@0', 'u1@50']);
  }
});

test('16: 10,000 equal events in a minute page once, are counted, and wake the workflow three times at most', async () => {
  const world = await stage.prepare(simulationOf([]), castOf({}));
  stage.wakes.length = 0;
  const event = { type: 'alert.fired', dedupKey: 'A', severity: 'high' };
  stage.clock.set(at(0));
  for (let batch = 0; batch < 100; batch += 1) {
    stage.clock.set(at(batch / 100));
    const { status } = await world.call('POST', '/events/batch', { body: { events: Array.from({ length: 100 }, () => event) } });
    expect(status).toBe(202);
  }
  expect(stage.wakes.length).toBeLessThanOrEqual(3);
  stage.clock.set(at(5));
  const { data } = (await world.call('GET', '/escalations?limit=1')).body;
  await world.call('POST', `/escalations/${data[0].id}/acknowledge`, { body: {}, key: world.members.get('u1')!.key });
  await stage.elapseUntil(world, at(120));
  expect(printMessages(await readMessages(stage, world))).toBe('u1@0');
  expect((await stage.database.query(`select count from problem where org_id = $1`, [world.organizationId])).rows).toEqual([
    { count: '10000' },
  ]);
}, 60_000);

test('17: 50 problems of one group from 20 producers at once are one escalation, and page once', async () => {
  const world = await stage.prepare(simulationOf([]), castOf({}));
  stage.clock.set(at(0));
  const keys = Array.from({ length: 50 }, (_, i) => `problem ${i}`);
  const answers = await Promise.all(
    Array.from({ length: 20 }, async (_, producer) =>
      Promise.all(
        keys
          .filter((_key, i) => i % 20 === producer || i % 20 === (producer + 1) % 20)
          .map(async (dedupKey) => world.call('POST', '/events', { body: { type: 'alert.fired', dedupKey, severity: 'high' } })),
      ),
    ),
  );
  expect(new Set(answers.flat().map(({ status }) => status))).toEqual(new Set([202]));
  stage.clock.set(at(5));
  const { data } = (await world.call('GET', '/escalations')).body;
  expect(data).toHaveLength(1);
  await world.call('POST', `/escalations/${data[0].id}/acknowledge`, { body: {}, key: world.members.get('u1')!.key });
  await stage.elapseUntil(world, at(120));
  expect(printMessages(await readMessages(stage, world))).toBe('u1@0');
  const { rows } = await stage.database.query(`select count(*)::int as members from escalation_member where org_id = $1 and firing`, [
    world.organizationId,
  ]);
  expect(rows).toEqual([{ members: 50 }]);
});
