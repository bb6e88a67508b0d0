/**
 * Records the histories that end with continue-as-new (recorder.ts says how and when): on a server of their own, which suggests it after a
 * few events instead of thousands.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, test } from '@jest/globals';
import { provisionTemporalCli } from '../../embedded/temporal-provision.ts';
import { startTemporalServer, type TemporalServer } from '../../embedded/temporal-server.ts';
import { silenceChanged } from '../../workflows/messages.ts';
import { startInstance, waitFor, type Instance } from '../scenarios/instance.ts';
import { createRecorder, type Recorder } from './recorder.ts';

const namespace = 'tocsin';
/** Reached with the third look. */
const fullAt = '16';

let directory: string;
let server: TemporalServer;
let tocsin: Instance;
let recorder: Recorder;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tocsin-record-'));
  const cli = await provisionTemporalCli({ cliPath: process.env['TEMPORAL_CLI_PATH'], env: process.env, progress: () => {} });
  server = await startTemporalServer({
    cliPath: cli.path,
    directory,
    databaseFile: join(directory, 'temporal.db'),
    namespaces: [namespace],
    uiPort: 'none',
    output: 'ignore',
    dynamicConfig: { 'limit.historyCount.suggestContinueAsNew': fullAt },
  });
  tocsin = await startInstance({}, { temporal: { address: server.address, namespace } });
  recorder = createRecorder(tocsin);
}, 120_000);
afterAll(async () => {
  await tocsin.stop();
  await server.stop();
  rmSync(directory, { recursive: true });
});

/** The first execution, once another continues it. */
async function recordFirst(name: string, workflowId: string): Promise<void> {
  const executions = async () =>
    Array.fromAsync(tocsin.client.workflow.list({ query: `WorkflowId = '${workflowId}'` }), ({ runId, status }) => ({ runId, status }));
  const found = await waitFor(executions, (all) => all.some(({ status }) => status.name === 'CONTINUED_AS_NEW'), { what: name });
  const first = found.findLast(({ status }) => status.name === 'CONTINUED_AS_NEW')!;
  await recorder.record(name, workflowId, first.runId);
}

test('an escalation', async () => {
  const hook = await tocsin.hook({ types: ['job.completed'] });
  const tier = { targets: [{ kind: 'webhook', id: hook.id }], timeout: 'PT0.3S' };
  await tocsin.call('POST', '/escalation-policies', { name: 'long', trigger: { types: ['alert.fired'] }, tiers: [tier, tier, tier, tier] });
  await tocsin.post({ type: 'alert.fired' });
  const { data } = await tocsin.get('/escalations?limit=1');
  await recordFirst('escalation-continued', data[0].workflowId as string);
});

test('a group of notices', async () => {
  const settings = { host: '127.0.0.1', port: 9, security: 'none', from: 'a@example.com', to: ['b@example.com'] };
  const { id } = await tocsin.call('POST', '/channels', { name: 'bundled', type: 'email', settings });
  const aggregate = { wait: 'PT0.5S', interval: 'PT0.5S', repeat: 'PT0.5S' };
  await tocsin.call('POST', '/rules', { name: 'long', types: ['drift.detected'], channelIds: [id], aggregate });
  await tocsin.post({ type: 'drift.detected' });
  await recordFirst(
    'notification-group-continued',
    await recorder.only(`WorkflowType = 'notificationGroup' AND ExecutionStatus = 'Running'`),
  );
});

test('a silence', async () => {
  const matchers = [{ key: 'label.story', op: '=', value: 'recorded' }];
  const endsAt = new Date(Date.now() + 3_600_000).toISOString();
  await tocsin.call('POST', '/silences', { matchers, endsAt, comment: 'Recorded' });
  const workflowId = await recorder.only(`WorkflowType = 'silence' AND ExecutionStatus = 'Running'`);
  const first = tocsin.client.workflow.getHandle(workflowId);
  const { runId } = await first.describe();
  const isFirst = async () => (await first.describe()).runId === runId;
  for (let changes = 0; changes < 5 && (await isFirst()); changes += 1) {
    await first.signal(silenceChanged);
    await sleep(300);
  }
  await recordFirst('silence-continued', workflowId);
});
