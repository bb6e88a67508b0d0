import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatRunId, parseRunId } from '../../domain/run.ts';

test('a run id holds its oldest delivery and how many runs that has been in', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.integer({ min: 1, max: 2 ** 31 - 1 }), (deliveryId, runSeq) => {
      expect(parseRunId(formatRunId({ deliveryId, runSeq }))).toEqual({ deliveryId, runSeq });
    }),
  );
});

test.each([
  '',
  'x.1',
  '0198c0de-0000-7000-8000-000000000001',
  '0198c0de-0000-7000-8000-000000000001.0',
  '0198c0de-0000-7000-8000-000000000001.x',
])('%j is not the id of a run', (text) => {
  expect(() => parseRunId(text)).toThrow('Not the id of a run');
});
