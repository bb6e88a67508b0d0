import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { eventMaker } from '../../api/event-drafts.ts';
import { planScope } from '../../api/intake-scope.ts';
import { inOrganization } from '../../db/tenant.ts';
import { startApi, type TestApi, type TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization();
});
afterAll(() => api.stop());

const call = async (method: string, path: string, body: unknown) => {
  const answer = await api.request(method, path, { key: ours.key, body });
  if (answer.status >= 300) throw new Error(answer.text);
  return answer.body;
};

/** How many statements the events cost besides those that write them. */
async function countReads(...events: object[]): Promise<number> {
  const facts = await inOrganization(api.orm, ours.id, async (em) => api.deps.facts.read(em, ours.id));
  const drafts = events.map((event) => eventMaker(event, { data: undefined, now: new Date() })(facts.types));
  return planScope(ours.id, facts, drafts, { at: Date.now(), lock: true }).statements.length;
}

test('an event costs statements only for what its organization uses', async () => {
  const occurrence = { type: 'job.completed' };
  const noted = { type: 'deployment.started', dedupKey: 'd' };
  const problem = { type: 'alert.fired', dedupKey: 'a' };
  expect(await countReads({ type: 'release.create' })).toBe(0);
  // the lock of its keys, problems, occurrences
  for (const event of [noted, problem, occurrence]) expect(await countReads(event)).toBe(3);
  expect(await countReads(problem, problem, problem, noted)).toBe(3);

  await call('POST', '/event-types', { type: 'payment.failed' });
  await call('POST', '/rules', { name: 'plain' });
  expect(await countReads({ type: 'payment.failed' })).toBe(0);
  expect(await countReads(problem)).toBe(3);

  const { id } = await call('POST', '/rules', { name: 'bundles', types: ['alert.*'], aggregate: {} });
  expect(await countReads({ type: 'release.create' })).toBe(0);
  // and the lock of its groups' keys, of their rows, their state
  expect(await countReads(problem)).toBe(6);
  expect(await countReads(problem, problem, { type: 'alert.resolved', dedupKey: 'b' })).toBe(6);
  await call('PATCH', `/rules/${id}`, { enabled: false });
  expect(await countReads(problem)).toBe(3);
});
