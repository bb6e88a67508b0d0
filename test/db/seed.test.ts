import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { seedFirstOrganization } from '../../db/seed.ts';
import { startApi } from '../api/start-api.ts';
import type { TestApi } from '../api/start-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

test('any number of processes make one demo organization, whose generated key is told to one of them', async () => {
  const { databaseUrl } = api;
  const seeded = await Promise.all(Array.from({ length: 4 }, () => seedFirstOrganization({ databaseUrl, now: new Date() })));
  const [made, ...others] = seeded.toSorted((left, right) => Number(right.created) - Number(left.created));
  expect(made).toMatchObject({ created: true, apiKey: expect.stringMatching(/^tsn_[A-Za-z0-9]{40}$/) });
  expect(others).toEqual([{ created: false }, { created: false }, { created: false }]);

  const key = made!.apiKey!;
  expect((await api.request('GET', '/me', { key })).body).toMatchObject({ role: 'owner', organization: { name: 'Demo' } });
  expect((await api.request('GET', '/projects', { key })).body['data']).toMatchObject([{ name: 'Default' }]);

  const later = await seedFirstOrganization({ databaseUrl, bootstrapKey: `tsn_${'b'.repeat(40)}`, now: new Date() });
  expect(later).toEqual({ created: false });
  expect((await api.request('GET', '/me', { key: `tsn_${'b'.repeat(40)}` })).status).toBe(401);
});

test('a bootstrap key is taken as it is and told to nobody', async () => {
  const fresh = await startApi();
  try {
    const bootstrapKey = `tsn_boot-strap_${'b'.repeat(40)}`;
    const seeded = await seedFirstOrganization({ databaseUrl: fresh.databaseUrl, bootstrapKey, now: new Date() });
    expect(seeded).toMatchObject({ created: true });
    expect(seeded.apiKey).toBeUndefined();
    expect((await fresh.request('GET', '/me', { key: bootstrapKey })).status).toBe(200);
  } finally {
    await fresh.stop();
  }
});
