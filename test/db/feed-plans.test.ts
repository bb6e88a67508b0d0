/** The feed of somebody with a long history: what is asked of it must not grow with what was read. Judged by the rows read, not by time. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';

/** Of the person's own, and as many for everybody. */
const history = 100_000;
const unread = 30;
/** Rows that a page or a count may read in all. */
const enough = 2_000;

let api: TestApi;
let organization: TestOrganization;
let database: pg.Client;
const statements: Array<{ text: string; values: unknown[] }> = [];

beforeAll(async () => {
  api = await startApi();
  organization = await api.buildOrganization();
  database = new pg.Client({ connectionString: api.databaseUrl });
  await database.connect();
  await fill(0, history);
  await api.request('POST', '/notifications/mark-all-read', { key: organization.key });
  await fill(history, unread);
  await database.query('analyze notification, notification_read, notification_watermark, member');
  await record();
}, 120_000);
afterAll(async () => {
  await database.end();
  await api.stop();
});

/** Older than a day the first, in two categories and one that is rare; half as many of other people's among them. */
async function fill(from: number, count: number): Promise<void> {
  await database.query(
    `insert into notification (org_id, id, user_id, type, feed, severity, subject, created_at)
      select $1, ('0198c0de-' || lpad(to_hex(i >> 12), 4, '0') || '-7' || lpad(to_hex(i & 4095), 3, '0') || '-8000-' || lpad(who::text, 12, '0'))::uuid,
          case who when 1 then $2::uuid when 3 then '0198c0de-0000-7000-8000-00000000000f'::uuid end, 'job.failed',
          case when i % 20000 = 0 then 'security' when i % 2 = 0 then 'job' else 'alert' end, 'info', 's', now()
        from generate_series($3::int, $3::int + $4::int - 1) i, generate_series(1, 3) who`,
    [organization.id, organization.ownerId, from, count],
  );
  await database.query(`update member set created_at = '2020-01-01'`);
}

async function record(): Promise<void> {
  const pool = await api.orm.em.getConnection().getNativeClient();
  const client = await pool.connect();
  const prototype = Object.getPrototypeOf(client) as { query: (...given: unknown[]) => unknown };
  const { query } = prototype;
  client.release();
  prototype.query = function note(this: unknown, ...given: unknown[]) {
    const [text, values] = given;
    if (typeof text === 'string' && Array.isArray(values) && /^\s*(?:select|with)\b[^]*\bnotification n\b/.test(text))
      statements.push({ text, values });
    return query.apply(this, given);
  };
}

interface Plan {
  'Node Type': string;
  'Relation Name'?: string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  Plans?: Plan[];
}

const nodesOf = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];

/** Explains, as the API's own role, what was asked since. */
async function explainSent(): Promise<{ read: number; scanned: string[] }> {
  const sent = statements.splice(0);
  expect(sent.length).toBeGreaterThan(0);
  const nodes: Plan[] = [];
  for (const { text, values } of sent) {
    await database.query('begin');
    await database.query('set local role tocsin_app');
    await database.query(`select set_config('app.org_id', $1, true)`, [organization.id]);
    const explained = await database.query<{ 'QUERY PLAN': Array<{ Plan: Plan }> }>(
      `explain (analyze, timing off, format json) ${text}`,
      values,
    );
    await database.query('rollback');
    nodes.push(...nodesOf(explained.rows[0]!['QUERY PLAN'][0]!.Plan));
  }
  const scans = nodes.filter((node) => node['Relation Name'] !== undefined);
  return {
    read: scans.reduce((sum, node) => sum + (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'], 0),
    scanned: scans
      .filter((node) => node['Node Type'].includes('Seq Scan'))
      .map((node) => node['Relation Name']!)
      .filter((name) => name === 'notification'),
  };
}

test.each([
  ['/notifications', 50],
  ['/notifications?read=false', 50],
  ['/notifications?read=true', 50],
  ['/notifications?category=security', 12],
  ['/notifications?category=security&read=false', 2],
])('%s reads about a page, however much was read before', async (path, expected) => {
  const { status, body } = await api.request('GET', `${path}${path.includes('?') ? '&' : '?'}limit=50`, { key: organization.key });
  expect([status, body['data'].length]).toEqual([200, expected]);
  const { read, scanned } = await explainSent();
  expect(scanned).toEqual([]);
  expect(read).toBeLessThanOrEqual(enough);
});

test('the unread count reads what is unread', async () => {
  const { body } = await api.request('GET', '/notifications/unread-count', { key: organization.key });
  expect(body).toMatchObject({ count: 2 * unread });
  const { read, scanned } = await explainSent();
  expect(scanned).toEqual([]);
  expect(read).toBeLessThanOrEqual(enough);
});

test('marking all read writes a row per category and reads what is unread', async () => {
  const { body } = await api.request('POST', '/notifications/mark-all-read', { key: organization.key });
  expect(body).toEqual({ marked: 2 * unread });
  const { rows } = await database.query('select count(*)::int as marks from notification_read');
  expect(rows).toEqual([{ marks: 0 }]);
  const { read, scanned } = await explainSent();
  expect(scanned).toEqual([]);
  expect(read).toBeLessThanOrEqual(enough);
});
