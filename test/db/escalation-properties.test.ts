import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { modelEscalations } from '../reference/escalation-model.ts';
import { printOutcome, printSimulation } from '../reference/print-simulation.ts';
import { type Choose, mannerOf, plainly } from '../reference/manner.ts';
import { people, type RandomSimulation, randomSimulation, schedules, start, toSimulation } from '../reference/random-simulation.ts';
import { shrink } from '../reference/shrink-simulation.ts';
import { openStage, type Stage } from './escalation-stage.ts';

/**
 * Random policies, events, commands, edits, silences and failing pages, played on the whole system but for Temporal and the way out, against
 * the model: the same messages, states and refusals, to the millisecond. Each simulation is played in a manner of its own, among those that
 * come to the same: events one by one, in batches or from Alertmanager; commands over the API, by events or through Temporal; silences known
 * long before, changed or cancelled; requests and looks repeated; what is due at one instant in any order. Some events are explained before
 * they are posted, and decided as that said.
 *
 * That pages fail is written to their deliveries, as the outcome of an attempt would be. Nothing comes late, and a group has one policy;
 * links, chat and providers have tests of their own.
 *
 * Some simulations are the same every time, one is new. `TOCSIN_TEST_RUNS` says how many new ones; with `TOCSIN_TEST_SEED` they are those
 * that begin there, and the others are left out.
 */

/** Of the first thousands, those that have most of what can happen: each command, event and timer in each state. */
const usual = [142, 276, 488, 670, 1773, 1978, 2291, 3586, 3645, 4136, 4312, 4613, 4636, 4790, 5040, 5952];
const seeds = seedsOf(process.env);

function seedsOf({ TOCSIN_TEST_SEED: seed, TOCSIN_TEST_RUNS: runs }: NodeJS.ProcessEnv): number[] {
  const first = Number(seed ?? Math.floor(Math.random() * 2 ** 31));
  const fresh = Array.from({ length: Number(runs ?? 1) }, (_, index) => first + index);
  return seed === undefined ? [...usual, ...fresh] : fresh;
}

/** A disagreement is made smaller for this long: each try is a whole simulation. */
const shrinkMs = 120_000;

let stage: Stage;
beforeAll(async () => {
  stage = await openStage(start);
});
afterAll(async () => {
  await stage.stop();
});

/** What the system did otherwise than the model says. */
async function findDifference(random: RandomSimulation, choose: Choose): Promise<string | undefined> {
  try {
    return await compare(random, choose);
  } catch (error) {
    return String(error);
  }
}

async function compare(random: RandomSimulation, choose: Choose): Promise<string | undefined> {
  const simulation = toSimulation(random);
  const { impossible, ...played } = await stage.play(simulation, { people, unreachable: ['nobody'], schedules }, choose);
  const model = modelEscalations(simulation);
  // The model refuses what nobody could have asked for.
  const refusals = model.refusals.filter(({ step }) => !impossible.includes(step));
  const [done, said] = [printOutcome(played), printOutcome({ ...model, refusals })];
  return done === said ? undefined : `played:\n${done}\nmodel:\n${said}`;
}

test(
  'the whole system does what the model says: the same messages, states and refusals at the same instants',
  async () => {
    for (const seed of seeds) {
      const random = randomSimulation(seed);
      if ((await findDifference(random, mannerOf(seed))) === undefined) continue;
      const isPlain = (await findDifference(random, plainly)) !== undefined;
      const choose = isPlain ? plainly : mannerOf(seed);
      const giveUpAt = performance.now() + shrinkMs;
      const fails = async (smaller: RandomSimulation) =>
        performance.now() < giveUpAt && (await findDifference(smaller, choose)) !== undefined;
      const smallest = await shrink(random, fails);
      const manner = isPlain ? 'however it is played' : 'played as the seed says';
      throw new Error(
        `TOCSIN_TEST_SEED=${seed}, made smaller, ${manner}:\n${printSimulation(smallest)}\n${await findDifference(smallest, choose)}`,
      );
    }
  },
  // many times what it takes on a busy machine
  seeds.length * 10_000 + 2 * shrinkMs,
);

test('the simulations that are always played do everything that escalations do', () => {
  const seen = usual.flatMap((seed) => {
    const { messages, states, refusals } = modelEscalations(toSimulation(randomSimulation(seed)));
    return [...messages.map(({ kind }) => kind), ...states.map(({ state }) => state), ...refusals.map(({ code }) => code)];
  });
  const states = ['acknowledged', 'exhausted', 'resolved', 'snoozed', 'triggered'];
  const refusals = ['after_hard_stop', 'tier_mismatch', 'unknown_policy', 'unknown_tier', 'wrong_state'];
  expect(new Set(seen)).toEqual(new Set(['page', 'fallback', 'reminder', ...states, ...refusals]));
});
