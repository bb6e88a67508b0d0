import { describe, expect, test } from '@jest/globals';
import { simulate } from '../../domain/simulation.ts';
import { modelEscalations } from '../reference/escalation-model.ts';
import { ack, escalate, printInstant, printMessages, problem, simulationOf, stories } from '../reference/stories.ts';

const sides = [
  ['the model', modelEscalations],
  ['the simulation', simulate],
] as const;

describe.each(sides)('%s tells whom the stories tell, when: ', (_side, run) => {
  describe.each(Object.entries(stories))('%s', (_title, rows) => {
    test.each([...rows])('%s: %s', (...[, expected, script, given]) => {
      expect(printMessages(run(simulationOf(script, given)).messages)).toBe(expected);
    });
  });

  test('of two who escalate from the same tier one is refused', () => {
    const { refusals, states } = run(simulationOf([problem(0), escalate(3, 1, 1), escalate(3, 1, 1), ack(4)]));
    expect(refusals).toEqual([{ step: 2, code: 'tier_mismatch' }]);
    expect(states.map(({ at, state }) => `${state}@${printInstant(at)}`)).toEqual(['triggered@0', 'acknowledged@4']);
  });
});
