/**
 * `npm run bench [-- --seconds 20]`: what Tocsin does on this machine, as ratios to baselines measured in the same run. Not a test: nothing
 * fails. Publisher, endpoint and all servers share the machine, as they did for the peers that the goals come from.
 */
import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { benchAudit } from './audit.ts';
import { measureBaseline, type Baseline } from './baseline.ts';
import { type DeliveryFigures, measureDelivery } from './delivery.ts';
import { benchEscalations } from './escalation.ts';
import { startDriver, startInstance, type Driver, type Instance } from './instance.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '20' }, only: { type: 'string' }, open: { type: 'string', default: '10000' } },
});
const seconds = Number(values.seconds);
const publishers = 32;
const wanted = (name: string): boolean => values.only === undefined || values.only.split(',').includes(name);

const line = (text = ''): void => void process.stdout.write(`${text}\n`);
const round = (value: number, digits = 0): string => value.toFixed(digits);

line(
  `Machine: ${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, ${round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, ${process.platform}`,
);
const driver = await startDriver();
try {
  if (wanted('strict')) await withInstance({ TOCSIN_DELIVERY_RUN_MAX: '1' }, benchStrict);
  if (wanted('grouped') || wanted('latency') || wanted('fan')) await withInstance({}, benchGrouped);
  if (wanted('escalations'))
    await withInstance({ TOCSIN_MIN_INTERVAL: 'PT1S' }, async (instance, driver, baseline) =>
      benchEscalations({ instance, driver, baseline, open: Number(values.open), seconds, print: line }),
    );
  if (wanted('audit')) await benchAudit({ seconds: Math.min(10, seconds), print: line });
} finally {
  driver.stop();
}

async function withInstance(
  env: Record<string, string>,
  run: (instance: Instance, driver: Driver, baseline: Baseline) => Promise<void>,
): Promise<void> {
  const instance = await startInstance({ TOCSIN_LOG_LEVEL: 'info', ...env });
  try {
    describeServers(instance);
    const baseline = await measureBaseline({
      address: instance.temporalAddress,
      namespace: instance.temporalNamespace,
      seconds: Math.min(10, seconds),
    });
    line(
      `B0: ${round(baseline.perSecond)} bare workflows/s with one no-op local activity; L0: ${round(baseline.p50Ms, 1)} ms from start to result, one at a time`,
    );
    await run(instance, driver, baseline);
  } finally {
    await instance.stop();
  }
}

async function benchStrict(instance: Instance, driver: Driver, baseline: Baseline): Promise<void> {
  await createWebhooks(instance, driver, 1, 'deployment.failed');
  // Somewhat more than can be delivered, so that there is always a backlog, and not so much that draining it takes minutes.
  const perSecond = Math.ceil(baseline.perSecond * 1.5);
  const figures = await measureDelivery(instance, driver, { publishers, perSecond, seconds, batch: 1 }, 1);
  report(
    'Strictly one delivery per workflow, single posts, one endpoint',
    figures,
    baseline,
    'goal >= 0.6 B0',
    'Limited by the Temporal server: each delivery pays for a whole workflow.',
  );
}

async function benchGrouped(instance: Instance, driver: Driver, baseline: Baseline): Promise<void> {
  await createWebhooks(instance, driver, 1, 'deployment.failed');
  // The first requests compile, connect and plan.
  await measureDelivery(instance, driver, { publishers, seconds: 3, batch: 1 }, 1);
  if (wanted('latency')) {
    const figures = await measureDelivery(instance, driver, { publishers, perSecond: 20, seconds, batch: 1 }, 1);
    line();
    line('20 events/s, every delivery a workflow of its own');
    line(
      `  post -> received: p50 ${round(figures.endToEndP50Ms, 1)} ms, p99 ${round(figures.endToEndP99Ms, 1)} ms (goal <= 10 and <= 30); L0 was ${round(baseline.p50Ms, 1)} ms`,
    );
    line('  Limited by the path itself: two transactions with fsync, one workflow start, one request.');
  }
  if (wanted('grouped')) {
    const single = await measureDelivery(instance, driver, { publishers, seconds, batch: 1 }, 1);
    report(
      'Grouped, single posts, one endpoint',
      single,
      baseline,
      'goal >= 14 B0, under 8 is a defect',
      'Limited by CPU: both cores are busy with requests, SQL and the audit log.',
    );
    const keyed = await measureDelivery(instance, driver, { publishers, seconds, batch: 1, keyed: true }, 1);
    report(
      'Grouped, single posts with an Idempotency-Key each, one endpoint',
      keyed,
      baseline,
      'no goal of its own',
      'Limited by CPU: each key and its sealed answer is one more row.',
    );
    const batches = await measureDelivery(instance, driver, { publishers: 4, seconds, batch: 100 }, 1);
    report(
      'Grouped, batches of 100, one endpoint',
      batches,
      baseline,
      'goal >= 20 B0, under 12 is a defect',
      'Limited by CPU: intake in batches is cheap, so the endpoint and PostgreSQL take the cores.',
    );
  }
  if (wanted('fan')) {
    await createWebhooks(instance, driver, 9, 'deployment.failed');
    const fan = await measureDelivery(instance, driver, { publishers: 8, seconds, batch: 1 }, 10);
    report(
      'An event that goes to 10 endpoints, single posts',
      fan,
      baseline,
      'goal >= 20 B0 deliveries',
      'Limited by CPU, like one endpoint; ten runs are started for each group of events.',
    );
  }
}

async function createWebhooks(instance: Instance, driver: Driver, count: number, eventType: string): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    await instance.post('/webhooks', { name: `bench ${Math.random()}`, url: `${driver.endpointUrl}${i}`, eventTypes: [eventType] });
  }
}

function report(title: string, figures: DeliveryFigures, baseline: Baseline, goal: string, limit: string): void {
  const cpu = Object.entries(figures.cpuPer1000);
  const total = cpu.reduce((sum, [, value]) => sum + value, 0);
  line();
  line(title);
  line(`  delivered ${round(figures.deliveredPerSecond)}/s = ${round(figures.deliveredPerSecond / baseline.perSecond, 2)} B0 (${goal})`);
  line(
    `  accepted ${round(figures.acceptedPerSecond)}/s, p50 ${round(figures.acceptP50Ms, 1)} ms, p99 ${round(figures.acceptP99Ms, 1)} ms; refused ${figures.refused}`,
  );
  line(`  in this flood post -> received p50 ${round(figures.endToEndP50Ms)} ms, p99 ${round(figures.endToEndP99Ms)} ms`);
  line(
    `  CPU-seconds per 1,000 deliveries: ${round(total, 2)} (${cpu.map(([name, value]) => `${name} ${round(value, 2)}`).join(', ')}; goal <= 1.2)`,
  );
  line(
    `  workflows per delivery ${round(figures.workflowsPerDelivery, 3)}, history events ${round(figures.historyEventsPerDelivery, 2)}, Temporal actions ${round(figures.workflowsPerDelivery * 2, 3)}`,
  );
  line(
    `  resident MiB: ${Object.entries(figures.residentMiB)
      .map(([name, value]) => `${name} ${round(value)}`)
      .join(', ')}`,
  );
  line(`  ${limit}`);
}

function describeServers({ pids }: Instance): void {
  const command = process.platform === 'linux' ? execFileSync('ps', ['-o', 'args=', '-p', String(pids['temporal'])]).toString() : '';
  const file = command.split(' ')[0] ?? '';
  const version = file === '' ? 'unknown' : execFileSync(file, ['--version']).toString().trim();
  line();
  line(`Temporal: ${version}, dev server, SQLite file with WAL and synchronous NORMAL, GOGC=400; PostgreSQL: embedded, fsync on`);
}
