/** Lists at size: what a page costs must not grow with the table. Plans are judged by the rows they read, not by time. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { toWireId } from '../../domain/id.ts';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';

const rows = 200_000;
/** Open ones, each in an escalation of its own. */
const problems = 30_000;
const policies = ['0198c0de-0000-7000-8000-00000000000c', '0198c0de-0000-7000-8000-00000000000d'] as const;
const webhooks = ['0198c0de-0000-7000-8000-00000000000a', '0198c0de-0000-7000-8000-00000000000b'] as const;
/** Rows that a page of 50 may read in all: itself, what filters drop around it, and look-ups. */
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
  await fill();
  await record();
});
afterAll(async () => {
  await database.end();
  await api.stop();
});

/** Events one millisecond apart with a delivery each: one in 2,000 failed, one in 5,000 open, a few to a second webhook. */
async function fill(): Promise<void> {
  const uuid = `('0198c0de-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid`;
  await database.query(
    `insert into event (org_id, id, type, posted_type, category, severity, subject, source, dedup_key, occurred_at, accepted_at, principal_type, principal_id)
      select $1, ${uuid}, case when i % 1000 = 0 then 'job.failed' else 'job.completed' end, 'job.completed', 'job', 'info', 's', 'api', 'k', now(), now(), 'user', $1
        from generate_series(1, $2::int) i`,
    [organization.id, rows],
  );
  await database.query(
    `insert into delivery (org_id, id, event_id, event_type, destination_kind, destination_id, channel_type, state, created_at, finished_at, undelivered_at, next_attempt_at)
      select $1, ${uuid}, ${uuid}, case when i % 1000 = 0 then 'job.failed' else 'job.completed' end, 'webhook',
          case when i % 3000 = 0 then $4::uuid else $3::uuid end, 'webhook',
          case when i % 2000 = 0 then 'failed' when i % 5000 = 1 then 'pending' else 'delivered' end, now(),
          case when i % 5000 <> 1 then now() end, case when i % 2000 = 0 then now() end, case when i % 5000 = 1 then now() end
        from generate_series(1, $2::int) i`,
    [organization.id, rows, ...webhooks],
  );
  await database.query(
    `insert into escalation (org_id, id, group_id, policy_id, policy_version, event_id, subject, status, severity, version, changed_at, round, tier, firing, opened_at)
      select $1, ${uuid}, ${uuid}, case when i % 3000 = 0 then $4::uuid else $3::uuid end, 1, ${uuid}, 's',
          case when i % 5000 = 1 then 'triggered' when i % 8000 = 1 then 'acknowledged' else 'resolved' end,
          case when i % 10 = 0 then 'critical' else 'medium' end, 1, now(), 1, 1, 1, now()
        from generate_series(1, $2::int) i`,
    [organization.id, rows, ...policies],
  );
  await database.query(
    `insert into problem (org_id, id, family, dedup_key, highest_severity, count, opened_at, last_at, first_event_id, last_event_id)
      select $1, ${uuid}, 'alert', 'problem ' || i, 'medium', 1, now(), now(), ${uuid}, ${uuid} from generate_series(1, $2::int) i`,
    [organization.id, problems],
  );
  await database.query(
    `insert into escalation_member (org_id, escalation_id, key, kind, event_id, severity, attached, firing, attached_at)
      select $1, ${uuid}, ${uuid}, 'problem', ${uuid}, 'medium', 'opened', true, now() from generate_series(1, $2::int) i`,
    [organization.id, problems],
  );
  await database.query(
    `insert into escalation_group (org_id, id, policy_id, group_key, state, created_at, stepped_at)
      select $1, ${uuid}, $3::uuid, 'group ' || i, jsonb_build_object('policyId', $3::uuid, 'version', 1, 'escalation', null, 'held', '[]'::jsonb, 'cooldown', null,
          'members', jsonb_build_array(jsonb_build_object('key', ${uuid}, 'kind', 'problem', 'firing', true))), now(), now()
        from generate_series(1, $2::int) i`,
    [organization.id, problems, policies[0]],
  );
  await database.query('analyze event, delivery, escalation, problem, escalation_member, escalation_group');
}

/** Notes every statement that the API sends from here on. */
async function record(): Promise<void> {
  const pool = await api.orm.em.getConnection().getNativeClient();
  const client = await pool.connect();
  const prototype = Object.getPrototypeOf(client) as { query: (...given: unknown[]) => unknown };
  const { query } = prototype;
  client.release();
  prototype.query = function note(this: unknown, ...given: unknown[]) {
    const [first, second] = given;
    if (typeof first === 'string' && Array.isArray(second)) statements.push({ text: first, values: second });
    // As a pipeline sends them.
    if (typeof first === 'object' && first !== null && 'text' in first && 'values' in first)
      statements.push(first as (typeof statements)[number]);
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

function nodesOf(plan: Plan): Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];
}

/** Asks for a list and explains what it sent. */
async function explain(path: string): Promise<{ answered: number; read: number; scanned: string[] }> {
  statements.length = 0;
  const { status, body } = await api.request('GET', path, { key: organization.key });
  expect(status).toBe(200);
  return { answered: body['data'].length, ...(await explainSent()) };
}

/** Explains, as the API's own role, what was asked of the large tables since. `settings` are those that it was asked under. */
async function explainSent(settings = ''): Promise<{ read: number; scanned: string[] }> {
  const sent = statements.filter(({ text }) =>
    /^\s*(?:select|with)\b[^]*\b(?:from|join) "?(?:event|delivery|escalation|escalation_group|problem)\b/i.test(text),
  );
  expect(sent.length).toBeGreaterThan(0);
  await database.query('begin');
  await database.query(`set local role tocsin_app; ${settings}`);
  await database.query(`select set_config('app.org_id', $1, true)`, [organization.id]);
  const nodes: Plan[] = [];
  for (const { text, values } of sent) {
    const explained = await database.query<{ 'QUERY PLAN': Array<{ Plan: Plan }> }>(
      `explain (analyze, timing off, format json) ${text}`,
      values,
    );
    nodes.push(...nodesOf(explained.rows[0]!['QUERY PLAN'][0]!.Plan));
  }
  await database.query('rollback');
  const scans = nodes.filter((node) => node['Relation Name'] !== undefined);
  return {
    read: scans.reduce((sum, node) => sum + (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'], 0),
    scanned: scans.filter((node) => node['Node Type'].includes('Seq Scan')).map((node) => node['Relation Name']!),
  };
}

const [main, second] = webhooks.map((id) => toWireId('webhook', id));
const [busy, rare] = policies.map((id) => toWireId('escalation_policy', id));
test.each([
  ['/events', 50],
  ['/events?type=job.failed', 50],
  ['/events?category=job', 50],
  ['/deliveries', 50],
  ['/deliveries?status=failed', 50],
  ['/deliveries?status=failed,cancelled', 50],
  [`/deliveries?destination=${main}`, 50],
  [`/deliveries?destination=${second}`, 50],
  [`/deliveries?destination=${main}&status=failed`, 50],
  ['/deliveries?status=pending,in_flight,retrying,held', 40],
  ['/escalations', 50],
  ['/escalations?state=triggered', 40],
  ['/escalations?state=triggered,acknowledged,snoozed,exhausted', 50],
  ['/escalations?state=resolved', 50],
  ['/escalations?severity=critical', 50],
  [`/escalations?policyId=${busy}`, 50],
  [`/escalations?policyId=${rare}`, 50],
  [`/escalations?policyId=${rare}&state=resolved`, 50],
  [`/escalations?policyId=${busy}&state=triggered`, 40],
])('%s reads about a page, however many rows there are', async (path, expected) => {
  const { answered, read, scanned } = await explain(`${path}${path.includes('?') ? '&' : '?'}limit=50`);
  expect([answered, scanned]).toEqual([expected, []]);
  expect(read).toBeLessThanOrEqual(enough);
});

test('a page in the middle costs what the first one costs', async () => {
  let cursor = '';
  for (let page = 0; page < 3; page += 1) {
    const { body } = await api.request('GET', `/events?limit=100${cursor}`, { key: organization.key });
    cursor = `&cursor=${body['nextCursor']}`;
  }
  const { read, scanned } = await explain(`/events?limit=50${cursor}`);
  expect(read).toBeLessThanOrEqual(enough);
  expect(scanned).toEqual([]);
});

test('an event that a policy asks for looks up its problem and its group, however many there are of either and of events', async () => {
  const { key } = organization;
  const { id } = (
    await api.request('POST', '/webhooks', { key, body: { name: 'page', url: 'http://127.0.0.1:9/', eventTypes: ['job.failed'] } })
  ).body;
  const tiers = [{ targets: [{ kind: 'webhook', id }] }];
  await api.request('POST', '/escalation-policies', { key, body: { name: 'p', trigger: { types: ['alert.*'] }, tiers } });
  const post = async (type: string) =>
    api.request('POST', '/events', { key, body: { type, dedupKey: 'problem 77', severity: 'critical' } });
  // The first makes its group, and teaches the process what there is.
  await post('alert.fired');
  for (const type of ['alert.fired', 'alert.resolved']) {
    statements.length = 0;
    expect((await post(type)).status).toBe(202);
    const asked = statements.filter(({ text }) => text.includes('escalation_group g'));
    expect(asked.length).toBeGreaterThan(0);
    const { read, scanned } = await explainSent(
      'set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off;',
    );
    expect(scanned).toEqual([]);
    expect(read).toBeLessThanOrEqual(enough / 10);
  }
});
