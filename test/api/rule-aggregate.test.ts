import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startApi, type TestApi, type TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization();
});
afterAll(() => api.stop());

const call = async (method: string, path: string, body?: unknown) => api.request(method, path, { key: ours.key, body });

test('a rule bundles by the defaults of the specification, or as it says, or not at all', async () => {
  const { body: rule } = await call('POST', '/rules', { name: 'R', aggregate: {} });
  const defaults = { groupBy: ['type', 'projectId'], wait: 'PT30S', interval: 'PT5M', repeat: 'PT4H', sendResolved: true };
  expect(rule['aggregate']).toEqual(defaults);
  const own = { groupBy: ['label.team', 'dedupKey'], wait: 'PT0S', interval: 'PT1M', repeat: null, sendResolved: false };
  expect((await call('PATCH', `/rules/${rule['id']}`, { aggregate: own })).body['aggregate']).toEqual(own);
  expect((await call('PATCH', `/rules/${rule['id']}`, { stop: true })).body['aggregate']).toEqual(own);
  expect((await call('PATCH', `/rules/${rule['id']}`, { aggregate: null })).body['aggregate']).toBeNull();
  expect((await call('POST', '/rules', { name: 'Plain' })).body['aggregate']).toBeNull();
});

test.each<[object, string[]]>([
  [{ wait: 'PT11M', interval: 'PT30S' }, ['/aggregate/interval too_small', '/aggregate/wait too_big']],
  [{ interval: 'P2D' }, ['/aggregate/interval too_big']],
  [{ interval: 'PT10M', repeat: 'PT5M' }, ['/aggregate/repeat too_small']],
  [{ repeat: 'P31D' }, ['/aggregate/repeat too_big']],
  [{ groupBy: ['severity'], bogus: 1 }, ['/aggregate/bogus unknown_field', '/aggregate/groupBy/0 unknown_key']],
])('%j is refused with every fault', async (aggregate, faults) => {
  const { status, body } = await call('POST', '/rules', { name: 'Bad', aggregate });
  expect(status).toBe(422);
  expect(body['errors'].map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`).toSorted()).toEqual(faults);
});
