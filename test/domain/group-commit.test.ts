import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { groupCommit } from '../../domain/group-commit.ts';

/** A `run` that is finished by hand. */
function controlled(options: { maxSize: number; inFlight: number; weigh?: (value: number) => number }) {
  const groups: Array<{ values: number[]; finish: (results?: number[]) => void; fail: (error: Error) => void }> = [];
  const commit = groupCommit<number, number>({
    ...options,
    run: async (values) =>
      new Promise((resolve, reject) => {
        groups.push({ values, finish: (results = values.map((value) => value * 10)) => resolve(results), fail: reject });
      }),
  });
  return { groups, commit };
}
const turn = async () => new Promise((resolve) => setImmediate(resolve));

describe('group commit', () => {
  test('runs a lone call at once and by itself', async () => {
    const { groups, commit } = controlled({ maxSize: 10, inFlight: 1 });
    const answer = commit(1);
    await turn();
    expect(groups.map(({ values }) => values)).toEqual([[1]]);
    groups[0]!.finish();
    await expect(answer).resolves.toBe(10);
  });

  test('takes what arrives meanwhile together, in order, up to its size', async () => {
    const { groups, commit } = controlled({ maxSize: 3, inFlight: 1 });
    const answers = [commit(1)];
    await turn();
    answers.push(...[2, 3, 4, 5, 6].map(async (value) => commit(value)));
    await turn();
    for (let i = 0; i < 3; i += 1) {
      expect(groups).toHaveLength(i + 1);
      groups[i]!.finish();
      await turn();
    }
    expect(groups.map(({ values }) => values)).toEqual([[1], [2, 3, 4], [5, 6]]);
    expect(await Promise.all(answers)).toEqual([10, 20, 30, 40, 50, 60]);
  });

  test('takes what is called in the same turn into one group', async () => {
    const { groups, commit } = controlled({ maxSize: 10, inFlight: 1 });
    void commit(1);
    void commit(2);
    await turn();
    expect(groups.map(({ values }) => values)).toEqual([[1, 2]]);
  });

  test('counts by weight, and lets a value that is too heavy go alone', async () => {
    const { groups, commit } = controlled({ maxSize: 10, inFlight: 1, weigh: (value) => value });
    for (const value of [6, 4, 1, 25, 10]) void commit(value);
    for (let i = 0; i < 4; i += 1) {
      await turn();
      groups[i]!.finish();
    }
    expect(groups.map(({ values }) => values)).toEqual([[6, 4], [1], [25], [10]]);
  });

  test('gives every caller of a group its error, and goes on with the next', async () => {
    const { groups, commit } = controlled({ maxSize: 2, inFlight: 1 });
    const answers = Promise.allSettled([1, 2, 3].map(async (value) => commit(value)));
    await turn();
    groups[0]!.fail(new Error('lost'));
    await turn();
    groups[1]!.finish();
    expect((await answers).map((one) => (one.status === 'fulfilled' ? one.value : (one.reason as Error).message))).toEqual([
      'lost',
      'lost',
      30,
    ]);
  });

  test('never has more under way than allowed, loses nothing, and answers each caller with its own result', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 60 }),
        async (inFlight, maxSize, waits) => {
          let busy = 0;
          let most = 0;
          const commit = groupCommit<number, string>({
            maxSize,
            inFlight,
            run: async (values) => {
              most = Math.max(most, (busy += 1));
              expect(values.length).toBeLessThanOrEqual(maxSize);
              await turn();
              busy -= 1;
              return values.map(String);
            },
          });
          const answers: Array<Promise<string>> = [];
          for (const [i, wait] of waits.entries()) {
            answers.push(commit(i));
            if (wait === 0) await turn();
          }
          expect(await Promise.all(answers)).toEqual(waits.map((_, i) => String(i)));
          expect(most).toBeLessThanOrEqual(inFlight);
        },
      ),
      { numRuns: 50 },
    );
  });
});
