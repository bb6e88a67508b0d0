import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { createResolver } from '../../egress/resolver.ts';

function counting(answer: (host: string, call: number) => Promise<string[]>, now: () => number = Date.now) {
  const calls: string[] = [];
  const resolver = createResolver({
    now,
    budgetMs: 50,
    lookup: (host) => {
      calls.push(host);
      return answer(host, calls.length);
    },
  });
  return { resolver, calls };
}

const never = () => new Promise<string[]>(() => undefined);

test('an answer is kept for 30 s, a failure for 5 s', async () => {
  let now = 0;
  const { resolver, calls } = counting(
    async (host) => {
      if (host === 'bad') throw Object.assign(new Error('x'), { code: 'ENOTFOUND' });
      return ['192.0.2.1'];
    },
    () => now,
  );
  expect(await resolver.resolve('good')).toEqual({ addresses: ['192.0.2.1'] });
  expect(await resolver.resolve('bad')).toEqual({ fault: 'ENOTFOUND' });
  now = 4_999;
  await resolver.resolve('good');
  await resolver.resolve('bad');
  expect(calls).toEqual(['good', 'bad']);
  now = 5_000;
  await resolver.resolve('bad');
  now = 30_000;
  await resolver.resolve('good');
  expect(calls).toEqual(['good', 'bad', 'bad', 'good']);
});

test('callers of one name share one lookup', async () => {
  const { resolver, calls } = counting(async () => {
    await sleep(10);
    return ['192.0.2.1'];
  });
  await Promise.all(Array.from({ length: 20 }, () => resolver.resolve('shared')));
  expect(calls).toEqual(['shared']);
});

test('a name that does not answer costs each caller the budget and no more lookups', async () => {
  const { resolver, calls } = counting(never);
  const startedAt = performance.now();
  const results = await Promise.all([resolver.resolve('slow'), resolver.resolve('slow')]);
  expect(results[0]).toEqual({ fault: 'no answer within 50 ms' });
  expect(performance.now() - startedAt).toBeLessThan(1_000);
  await resolver.resolve('slow');
  expect(calls).toEqual(['slow']);
});

test('while eight lookups of hanging names are pending a ninth is refused at once, and other names are not', async () => {
  let now = 0;
  const pendingLookups: Array<() => void> = [];
  const { resolver, calls } = counting(
    (host) => (host === 'quick' ? Promise.resolve(['192.0.2.1']) : new Promise((resolve) => pendingLookups.push(() => resolve([])))),
    () => now,
  );
  const names = Array.from({ length: 9 }, (_, index) => `slow${index}`);
  await Promise.all(names.map((name) => resolver.resolve(name)));
  // the ninth answers, too late, and its failure is forgotten: looking it up again would be the ninth thread
  pendingLookups[8]!();
  await sleep(0);
  now = 6_000;
  expect(await resolver.resolve('slow8')).toEqual({ fault: 'too many lookups of names that do not answer' });
  expect(calls).toHaveLength(9);
  expect(await resolver.resolve('quick')).toEqual({ addresses: ['192.0.2.1'] });
});

test('a name without addresses is a fault', async () => {
  const { resolver } = counting(async () => []);
  expect(await resolver.resolve('empty')).toEqual({ fault: 'ENODATA' });
});
