import { expect, test } from '@jest/globals';
import { simulate, type SimulationOutcome } from '../../domain/simulation.ts';
import { modelEscalations } from '../reference/escalation-model.ts';
import { printInstant, printOutcome, printSimulation } from '../reference/print-simulation.ts';
import { randomSimulation, type RandomSimulation, toSimulation } from '../reference/random-simulation.ts';
import { shrink } from '../reference/shrink-simulation.ts';

const runs = Array.from({ length: 4_000 }, (_, index) => runBoth(randomSimulation(index + 1)));

interface Run {
  random: RandomSimulation;
  reducer: SimulationOutcome;
  model: SimulationOutcome;
}

function runBoth(random: RandomSimulation): Run {
  const simulation = toSimulation(random);
  return { random, reducer: simulate(simulation), model: modelEscalations(simulation) };
}

/** Fails with the smallest simulation near the first of which something is wrong; seeds count from 1. */
async function expectNothingWrong(findWrong: (run: Run) => string | undefined): Promise<void> {
  const index = runs.findIndex((run) => findWrong(run) !== undefined);
  if (index === -1) return;
  const smallest = await shrink(runs[index]!.random, (random) => findWrong(runBoth(random)) !== undefined);
  throw new Error(`Seed ${index + 1}, made smaller:\n${printSimulation(smallest)}\n${findWrong(runBoth(smallest))}`);
}

test('the reducer does what the model says: the same messages, states and refusals at the same instants', async () => {
  await expectNothingWrong(({ reducer, model }) => {
    const [done, said] = [printOutcome(reducer), printOutcome(model)];
    return done === said ? undefined : `reducer:\n${done}\nmodel:\n${said}`;
  });
});

const sides = [['reducer'], ['model']] as const;

test.each(sides)('the %s makes no page between an acknowledge and its undoing', async (side) => {
  await expectNothingWrong(({ [side]: { messages, states } }) => {
    const wrong = messages.find(({ at, kind }) => {
      const last = states.findLast((state) => state.at <= at);
      return kind === 'page' && last?.state === 'acknowledged' && !states.some((state) => state.at === at && state.state === 'triggered');
    });
    return wrong && `a page at ${printInstant(wrong.at)}`;
  });
});

test.each(sides)('the %s makes one page a firing and recipient', async (side) => {
  await expectNothingWrong(({ random, [side]: { messages } }) => {
    const pages = messages.filter(({ kind }) => kind === 'page');
    const alike = Map.groupBy(pages, ({ at, recipientId, round, tier }) => [at, recipientId, round, tier].join());
    // each command may make a firing of its own
    const commandsAt = (at: number) => random.script.filter((step) => step.at === at && step.kind === 'command').length;
    const wrong = alike.values().find(([first, ...more]) => more.length > commandsAt(first!.at));
    return wrong && `${wrong.length} to ${wrong[0]!.recipientId} at ${printInstant(wrong[0]!.at)}`;
  });
});

test.each(sides)('the %s always has something due: by its hard stops at the latest every escalation is resolved', async (side) => {
  await expectNothingWrong(({ [side]: { states } }) => {
    const last = states.at(-1)?.state ?? 'resolved';
    return last === 'resolved' ? undefined : `${last} for ever`;
  });
});

test('the simulations do everything that can be done', () => {
  const seen = runs.flatMap(({ model: { messages, states, refusals } }) => [
    ...messages.map(({ kind }) => kind),
    ...states.map(({ state }) => state),
    ...refusals.map(({ code }) => code),
  ]);
  const states = ['acknowledged', 'exhausted', 'resolved', 'snoozed', 'triggered'];
  const refusals = ['after_hard_stop', 'tier_mismatch', 'unknown_policy', 'unknown_tier', 'wrong_state'];
  expect(new Set(seen)).toEqual(new Set(['page', 'fallback', 'reminder', ...states, ...refusals]));
});
