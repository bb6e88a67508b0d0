import pg from 'pg';
import type { Baseline } from './baseline.ts';
import type { Driver, Instance } from './instance.ts';
import { measureTrees, type ProcessFigures } from './processes.ts';

/** How escalations bear numbers: many that are open at once and all come due, and many events into one policy. */

export interface EscalationBench {
  instance: Instance;
  driver: Driver;
  baseline: Baseline;
  /** Escalations open at once. */
  open: number;
  seconds: number;
  print: (line?: string) => void;
}

/** Escalations are opened, and so come due, at this share of what the Temporal server can run: each is a workflow, and so is its page. */
const share = 0.2;
/** From the end of the opening to the first second tier. */
const idleSeconds = 15;

export async function benchEscalations(options: EscalationBench): Promise<void> {
  const { instance, driver } = options;
  // The first requests compile, connect and plan.
  await driver.publish({ url: instance.apiUrl, apiKey: instance.apiKey, publishers: 8, seconds: 3, batch: 1 });
  await benchFlood(options);
  await benchOpen(options);
}

/** 200 events/s into one policy: of one group, and each problem a group of its own that mostly is open already. */
async function benchFlood({ instance, driver, seconds, print }: EscalationBench): Promise<void> {
  const perSecond = 200;
  for (const { title, groupBy, problems } of [
    { title: '50 problems in turn, all of one group', groupBy: ['type'], problems: 50 },
    { title: 'each event another problem, all of one group', groupBy: ['type'], problems: 1_000_000 },
    { title: '50 problems in turn, each an escalation', groupBy: ['dedupKey'], problems: 50 },
  ]) {
    const { id } = await buildPolicy(instance, driver, { name: title, trigger: { types: ['alert.fired'] }, groupBy, timeout: 'PT1H' });
    const before = measure(instance);
    const database = await open(instance);
    const { commits: commitsBefore } = await readLoad(database);
    const published = await driver.publish({
      url: instance.apiUrl,
      apiKey: instance.apiKey,
      publishers: 1,
      perSecond,
      seconds,
      batch: 1,
      problems: { count: problems, prefix: title },
    });
    const { commits } = await readLoad(database);
    const { rows } = await database.query<{ escalations: number; pages: number }>(
      `select count(distinct e.id)::int as escalations, count(d.id)::int as pages from escalation e
         left join delivery d on d.escalation_id = e.id and d.purpose = 'page' where e.policy_id in (select id from escalation_policy where name = $1)`,
      [title],
    );
    await database.end();
    await remove(instance, id);
    const after = measure(instance);
    print();
    print(`${perSecond} events/s into one policy: ${title}`);
    print(
      `  accepted ${round(published.accepted / published.seconds)}/s, p50 ${round(published.p50Ms, 1)} ms, p99 ${round(published.p99Ms, 1)} ms; refused ${published.refused}; ${rows[0]!.escalations} escalations, ${rows[0]!.pages} pages`,
    );
    print(`  ${costs(before, after, seconds)}; ${round((commits - commitsBefore) / published.seconds)} commits/s in PostgreSQL`);
  }
}

/** So many open at once; their second tiers come due at the pace at which they were opened. */
async function benchOpen({ instance, driver, baseline, open: count, print }: EscalationBench): Promise<void> {
  const perSecond = Math.max(1, Math.round(baseline.perSecond * share));
  const openingSeconds = Math.ceil(count / perSecond);
  const trigger = { types: ['alert.fired'] };
  const timeout = `PT${openingSeconds + idleSeconds + 5}S`;
  await buildPolicy(instance, driver, { name: 'open', trigger, groupBy: ['dedupKey'], timeout });
  const startedAt = Date.now();
  for (let second = 0; second < openingSeconds; second += 1) {
    const events = Array.from({ length: Math.min(perSecond, count - second * perSecond) }, (_, i) => ({
      type: 'alert.fired',
      severity: 'high',
      subject: 'Replication lags',
      dedupKey: `open ${second * perSecond + i}`,
    }));
    await instance.post('/events/batch', { events });
    await sleep(startedAt + (second + 1) * 1_000 - Date.now());
  }
  const database = await open(instance);
  const { rows: unseen } = await database.query<{ count: number }>(
    `select count(*)::int as count from escalation where seen_version < version and policy_id = (select id from escalation_policy where name = 'open')`,
  );

  // Between the last opening and the first due time nothing happens but waiting.
  const [idleBefore, { commits: idleCommitsBefore }] = [measure(instance), await readLoad(database)];
  await sleep(idleSeconds * 1_000);
  const [idleAfter, { commits: idleCommits }] = [measure(instance), await readLoad(database)];

  // The machine is to be busy with what is measured: counting all of them each time would take a tenth of a core.
  const lastDue = new Date(startedAt + (2 * openingSeconds + idleSeconds + 60) * 1_000);
  await until('every second tier has fired', (openingSeconds * 2 + 120) * 1_000, async () => {
    const { rows } = await database.query<{ waits: boolean }>(`select exists (select from escalation where due_at < $1) as waits`, [
      lastDue,
    ]);
    return !rows[0]!.waits;
  });
  const second = `escalation_firing f join escalation e on e.id = f.escalation_id join escalation_policy p on p.id = e.policy_id
    where f.firing = 2 and p.name = 'open'`;
  const after = measure(instance);
  const { rows } = await database.query<{ p50: number; p99: number; max: number }>(
    `select percentile_cont(0.5) within group (order by late) as p50, percentile_cont(0.99) within group (order by late) as p99, max(late) as max
       from (select extract(epoch from f.fired_at - f.scheduled_at)::float8 * 1000 as late from ${second}) as l`,
  );
  await database.end();
  const { p50, p99, max } = rows[0]!;
  print();
  print(`${count} open escalations: ${perSecond}/s opened (${share} B0), and as many a second come due`);
  print(`  when the last was opened ${unseen[0]!.count} workflows had not looked yet`);
  print(
    `  waiting: ${costs(idleBefore, idleAfter, idleSeconds)}; ${round((idleCommits - idleCommitsBefore) / idleSeconds)} commits/s in PostgreSQL`,
  );
  print(`  due -> fired: p50 ${round(p50)} ms, p99 ${round(p99)} ms, worst ${round(max)} ms (goal p99 <= 1000)`);
  print(
    `  resident MiB: ${Object.entries(after)
      .map(([name, { residentBytes }]) => `${name} ${round(residentBytes / 2 ** 20)}`)
      .join(', ')}`,
  );
}

interface PolicyOptions {
  name: string;
  trigger: object;
  groupBy: string[];
  timeout: string;
}

async function buildPolicy(
  instance: Instance,
  driver: Driver,
  { name, trigger, groupBy, timeout }: PolicyOptions,
): Promise<{ id: string }> {
  const { id } = (await instance.post('/webhooks', {
    name: `page ${name}`,
    url: `${driver.endpointUrl}page`,
    eventTypes: ['job.completed'],
  })) as { id: string };
  const tier = { targets: [{ kind: 'webhook', id }], timeout };
  return (await instance.post('/escalation-policies', { name, trigger, groupBy, tiers: [tier, { ...tier, timeout: 'PT24H' }] })) as {
    id: string;
  };
}

async function remove({ apiUrl, apiKey }: Instance, id: string): Promise<void> {
  await fetch(`${apiUrl}/api/v2/escalation-policies/${id}`, { method: 'DELETE', headers: { authorization: `Bearer ${apiKey}` } });
}

async function open({ databaseUrl }: Instance): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  return client;
}

async function readLoad(database: pg.Client): Promise<{ commits: number }> {
  const { rows } = await database.query<{ commits: string }>(
    `select xact_commit as commits from pg_stat_database where datname = current_database()`,
  );
  return { commits: Number(rows[0]!.commits) };
}

function measure({ pids }: Instance): Record<string, ProcessFigures> {
  return measureTrees({ tocsin: pids['worker']!, temporal: pids['temporal']!, postgres: pids['postgres']! }) ?? {};
}

function costs(before: Record<string, ProcessFigures>, after: Record<string, ProcessFigures>, seconds: number): string {
  const cores = Object.entries(after).map(
    ([name, { cpuSeconds }]) => `${name} ${round((cpuSeconds - before[name]!.cpuSeconds) / seconds, 2)}`,
  );
  return `cores: ${cores.join(', ')}`;
}

async function until(what: string, withinMs: number, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`Waited ${withinMs / 1_000} s in vain until ${what}.`);
    await sleep(500);
  }
}

async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

function round(value: number, digits = 0): string {
  return value.toFixed(digits);
}
