import { afterAll, expect, test } from '@jest/globals';
import { withTimeSkipping } from './time-skipping.ts';

const { describe, environment } = await withTimeSkipping();
afterAll(() => environment?.teardown());

describe('the time-skipping server', () => {
  test('two days pass in no time', async () => {
    const startedAt = Date.now();
    const before = await environment!.currentTimeMs();
    await environment!.sleep('2 days');
    expect((await environment!.currentTimeMs()) - before).toBeGreaterThanOrEqual(2 * 86_400_000);
    expect(Date.now() - startedAt).toBeLessThan(20_000);
  });
});
