/**
 * Records the histories that replay.test.ts replays, from a real instance:
 *
 *     npm run jest -- --testMatch '<rootDir>/test/workflows/record-histories.ts'
 *
 * Run it when a workflow is added or learns a new path, never to make a failing replay pass: workflows that are under way when a new
 * version is deployed have the old histories.
 */
import { afterAll, beforeAll, test } from '@jest/globals';
import { mkdir, writeFile } from 'node:fs/promises';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { Answer } from '../receivers/http.ts';
import { acknowledge, command, plan, resolve } from '../../workflows/messages.ts';
import { ended, startInstance, waitFor, type Instance, type Json } from '../scenarios/instance.ts';
import { closedHistory } from './history.ts';

const directory = new URL('histories/', import.meta.url);
const later = { status: 503, headers: { 'retry-after': '600' } };

let tocsin: Instance;
beforeAll(async () => {
  tocsin = await startInstance({ TOCSIN_RETRY_STANDARD: 'PT0S,PT0.2S,PT0.2S' });
});
afterAll(() => tocsin.stop());

async function record(name: string, workflowId: string): Promise<void> {
  const history = await closedHistory(tocsin.client, workflowId);
  await mkdir(directory, { recursive: true });
  const recorded = { workflowId, history: JSON.parse(historyToJSON(history)) as unknown };
  await writeFile(new URL(`${name}.json`, directory), `${JSON.stringify(recorded, null, 1)}\n`);
}

async function send(
  type: string,
  answers: readonly Answer[],
  then: Answer = 204,
  act?: (delivery: Record<string, string>) => Promise<unknown>,
) {
  await tocsin.hook({ types: [type], answers, then });
  const event = await tocsin.post({ type });
  if (act) await act(await tocsin.delivery(event, ({ status }) => status === 'retrying'));
  return tocsin.delivery(event, ended);
}

test('deliver: taken at once', async () => record('deliver-fast', (await send('job.completed', []))['workflowId']));
test('deliver: taken at the third attempt', async () => record('deliver-retried', (await send('job.failed', [503, 503]))['workflowId']));
test('deliver: failed', async () => record('deliver-failed', (await send('host.online', [], 503))['workflowId']));
test('deliver: woken while it waits', async () => {
  const wake = async ({ id }: Record<string, string>) => tocsin.call('POST', `/deliveries/${id}/retry`);
  await record('deliver-woken', (await send('host.offline', [later], 204, wake))['workflowId']);
});
test('deliver: cancelled by an operator', async () => {
  const cancel = async ({ workflowId }: Record<string, string>) => tocsin.client.workflow.getHandle(workflowId!).cancel();
  await record('deliver-cancelled', (await send('agent.connect', [later], 204, cancel))['workflowId']);
});
test('deliver: refused by the fast lane', async () => {
  const hook = await tocsin.hook({ types: ['alert.fired'], answers: [{ status: 204, delayMs: 1_500 }] });
  await tocsin.post({ type: 'alert.fired', dedupKey: 'busy' });
  await tocsin.receiver.waitForArrivals(1, { path: hook.path });
  await record('deliver-slow', (await tocsin.delivery(await tocsin.post({ type: 'alert.fired', dedupKey: 'refused' })))['workflowId']);
});
test('destinationTest', async () => {
  const hook = await tocsin.hook({ types: ['alert.resolved'] });
  await tocsin.call('POST', `/webhooks/${hook.id}/test`);
  await record('destination-test', await only("WorkflowType = 'destinationTest'"));
});
test('sweepDeliveries', async () => {
  await tocsin.client.schedule.getHandle('sweep-deliveries').trigger();
  await record('sweep-deliveries', await only("WorkflowType = 'sweepDeliveries'"));
});

async function escalate(type: string): Promise<{ event: Json; workflowId: string }> {
  const hook = await tocsin.hook({ types: ['audit.integrity_failed'] });
  const target = { kind: 'webhook', id: hook.id };
  await tocsin.call('POST', '/escalation-policies', {
    name: type,
    trigger: { types: [type] },
    tiers: [{ targets: [target], timeout: 'PT0.3S' }, { targets: [target] }],
    cooldown: 'PT0S',
  });
  const event = await tocsin.post({ type, dedupKey: type });
  return { event, workflowId: await only(`WorkflowType = 'escalation' AND ExecutionStatus = 'Running'`) };
}

test('escalation: climbs, is acknowledged and resolved by signals', async () => {
  const { workflowId } = await escalate('drift.detect');
  const handle = tocsin.client.workflow.getHandle(workflowId);
  await waitFor(
    async () => handle.query(plan),
    (view) => view?.tier === 2,
    { what: 'the second tier' },
  );
  await handle.signal(acknowledge, { requestId: 'a', actor: 'pager' });
  await waitFor(
    async () => handle.query(plan),
    (view) => view?.state === 'acknowledged',
    { what: 'the acknowledgement' },
  );
  await handle.signal(resolve, { requestId: 'r', actor: 'pager', note: 'fixed' });
  await record('escalation-climbed', workflowId);
});
test('escalation: acknowledged by an update, resolved by an event', async () => {
  const { workflowId } = await escalate('agent.disconnect');
  const handle = tocsin.client.workflow.getHandle(workflowId);
  await handle.executeUpdate(command, { args: [{ requestId: 'u', actor: 'pager', command: 'acknowledge' }] });
  await tocsin.post({ type: 'agent.connect', dedupKey: 'agent.disconnect' });
  await record('escalation-answered', workflowId);
});

test('silence: changed, ends', async () => {
  const matchers = [{ key: 'label.story', op: '=', value: 'recorded' }];
  const endsAt = (ms: number) => new Date(Date.now() + ms).toISOString();
  const { id } = await tocsin.call('POST', '/silences', { matchers, endsAt: endsAt(3_600_000), comment: 'Recorded' });
  const workflowId = await only(`WorkflowType = 'silence'`);
  await tocsin.call('PATCH', `/silences/${id}`, { endsAt: endsAt(1_500) });
  await record('silence-ended', workflowId);
});

test('notificationGroup: first notice, another one, all resolved', async () => {
  const settings = { host: '127.0.0.1', port: 9, security: 'none', from: 'a@example.com', to: ['b@example.com'] };
  const { id } = await tocsin.call('POST', '/channels', { name: 'bundled', type: 'email', settings });
  const aggregate = { groupBy: ['label.story'], wait: 'PT0.5S', interval: 'PT0.5S', repeat: null };
  const matchers = [{ key: 'label.story', op: '=', value: 'bundled' }];
  await tocsin.call('POST', '/rules', { name: 'bundled', matchers, channelIds: [id], aggregate });
  const post = async (type: string, dedupKey: string) => tocsin.post({ type, dedupKey, labels: { story: 'bundled' } });
  await post('alert.fired', 'a');
  const workflowId = await only(`WorkflowType = 'notificationGroup'`);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await post('alert.fired', 'b');
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await post('alert.resolved', 'a');
  await post('alert.resolved', 'b');
  await record('notification-group', workflowId);
});

async function only(query: string): Promise<string> {
  const list = async () => Array.fromAsync(tocsin.client.workflow.list({ query }), ({ workflowId }) => workflowId);
  const [workflowId] = await waitFor(list, ({ length }) => length === 1, { what: query });
  return workflowId!;
}
