import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { startApi, type TestAnswer, type TestApi, type TestOrganization } from './start-api.ts';

let api: TestApi;
let organization: TestOrganization;

beforeAll(async () => {
  api = await startApi();
  organization = await api.buildOrganization('Ours');
});
afterAll(() => api.stop());

const post = async (event: object, key = organization.key): Promise<TestAnswer['body']> =>
  (await api.request('POST', '/events', { key, body: { type: 'alert.fired', ...event } })).body;

/** `accepted builtin_default`: the status, and why people in the app are told or not. */
const said = ({ status, decisions }: TestAnswer['body']): string => `${status} ${decisions[0].reason}`;

async function problems(dedupKey: string): Promise<Array<Record<string, unknown>>> {
  const client = new pg.Client({ connectionString: api.databaseUrl });
  await client.connect();
  try {
    const text = 'select count, highest_severity, ended_by from problem where dedup_key = $1 order by ended_at nulls last';
    return (await client.query<Record<string, unknown>>(text, [dedupKey])).rows;
  } finally {
    await client.end();
  }
}

test('a problem is told when it opens, when it is worse than ever, and when it is over; its repetitions are counted', async () => {
  const dedupKey = 'life';
  expect(said(await post({ dedupKey, severity: 'high' }))).toBe('accepted builtin_default');
  expect(said(await post({ dedupKey, severity: 'high' }))).toBe('duplicate deduplicated');
  expect(said(await post({ dedupKey, severity: 'medium' }))).toBe('duplicate deduplicated');
  expect(said(await post({ dedupKey, severity: 'critical' }))).toBe('accepted severity_raised');
  expect(said(await post({ dedupKey, type: 'alert.resolved' }))).toBe('accepted builtin_default');
  expect(said(await post({ dedupKey, type: 'alert.resolved' }))).toBe('accepted no_open_problem');
  expect(said(await post({ dedupKey }))).toBe('accepted builtin_default');
  expect(await problems(dedupKey)).toEqual([
    { count: '4', highest_severity: 'critical', ended_by: 'resolved' },
    { count: '1', highest_severity: 'medium', ended_by: null },
  ]);
});

test('within one batch each event sees what those before it did', async () => {
  const event = { type: 'alert.fired', dedupKey: 'batch' };
  const events = [event, event, { ...event, type: 'alert.resolved' }, event];
  const { body } = await api.request('POST', '/events/batch', { key: organization.key, body: { events } });
  expect(body['data'].map(({ status }: { status: string }) => status)).toEqual(['accepted', 'duplicate', 'accepted', 'accepted']);
  expect(await problems('batch')).toEqual([
    { count: '2', highest_severity: 'medium', ended_by: 'resolved' },
    { count: '1', highest_severity: 'medium', ended_by: null },
  ]);
});

test('of many posts of one problem at once exactly one opens it', async () => {
  const keyed = { 'idempotency-key': 'one' };
  const answers = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const body = { type: 'alert.fired', dedupKey: 'crowd' };
      // Half of them by another road: a key that is asked for first.
      return (
        await api.request('POST', '/events', {
          key: organization.key,
          body,
          headers: i % 2 === 0 ? {} : { ...keyed, 'idempotency-key': `k${i}` },
        })
      ).body;
    }),
  );
  expect(answers.filter(({ status }) => status === 'accepted')).toHaveLength(1);
  expect(await problems('crowd')).toEqual([{ count: '40', highest_severity: 'medium', ended_by: null }]);
});

test('a problem belongs to its organization, its project and its family', async () => {
  const dedupKey = 'scope';
  const other = await api.buildOrganization('Theirs');
  const { body: project } = await api.request('POST', '/projects', { key: organization.key, body: { name: 'p' } });
  expect(said(await post({ dedupKey }))).toBe('accepted builtin_default');
  expect(said(await post({ dedupKey, projectId: project['id'] }))).toBe('accepted builtin_default');
  expect(said(await post({ dedupKey, type: 'host.offline' }))).toBe('accepted builtin_default');
  expect(said(await post({ dedupKey }, other.key))).toBe('accepted builtin_default');
});

test('what merely occurs is muted for ten minutes when its producer names it, and never when it does not', async () => {
  const event = { type: 'release.create', subject: 'Release 7' };
  expect(said(await post({ ...event, dedupKey: 'named' }))).toBe('accepted builtin_default');
  expect(said(await post({ ...event, dedupKey: 'named' }))).toBe('duplicate deduplicated');
  expect(said(await post(event))).toBe('accepted builtin_default');
  expect(said(await post(event))).toBe('accepted builtin_default');
});

test('explaining a repetition says what posting it would, and counts nothing', async () => {
  const event = { type: 'alert.fired', dedupKey: 'explained' };
  await post(event);
  const { body } = await api.request('POST', '/events/explain', { key: organization.key, body: event });
  expect(body['decisions'][0]).toMatchObject({ verdict: 'suppress', reason: 'deduplicated' });
  expect(await problems('explained')).toEqual([{ count: '1', highest_severity: 'medium', ended_by: null }]);
});
