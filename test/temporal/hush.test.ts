import { expect, test } from '@jest/globals';
import { createHush } from '../../temporal/hush.ts';

const [a, b, c] = [{ id: 'a' }, { id: 'b' }, { id: 'c' }];

test('what was let through is left out until its time is over, then let through again', () => {
  const untold = createHush(5_000);
  expect(untold([a, b], 0)).toEqual([a, b]);
  expect(untold([a, b, c], 4_999)).toEqual([c]);
  expect(untold([a, b, c], 5_000)).toEqual([a, b]);
  expect(untold([c], 9_999)).toEqual([c]);
});

test('what has changed is let through at once', () => {
  const untold = createHush(5_000);
  untold([{ id: 'a', version: 1 }], 0);
  expect(untold([{ id: 'a', version: 2 }], 1)).toEqual([{ id: 'a', version: 2 }]);
});
