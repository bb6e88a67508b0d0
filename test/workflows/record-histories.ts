/** Records the histories of deliveries and silences (recorder.ts says how and when). */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, test } from '@jest/globals';
import type { Answer } from '../receivers/http.ts';
import { ended, startInstance, type Instance } from '../scenarios/instance.ts';
import { createRecorder } from './recorder.ts';

const later = { status: 503, headers: { 'retry-after': '600' } };

let tocsin: Instance;
beforeAll(async () => {
  tocsin = await startInstance({ TOCSIN_RETRY_STANDARD: 'PT0S,PT0.2S,PT0.2S' });
});
afterAll(() => tocsin.stop());

const record = async (name: string, workflowId: string) => createRecorder(tocsin).record(name, workflowId);
const only = async (query: string) => createRecorder(tocsin).only(query);

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

test('silence: changed, ends', async () => {
  const matchers = [{ key: 'label.story', op: '=', value: 'recorded' }];
  const endsAt = (ms: number) => new Date(Date.now() + ms).toISOString();
  const { id } = await tocsin.call('POST', '/silences', { matchers, endsAt: endsAt(3_600_000), comment: 'Recorded' });
  const workflowId = await only(`WorkflowType = 'silence'`);
  await tocsin.call('PATCH', `/silences/${id}`, { endsAt: endsAt(1_500) });
  // It looks once more half a minute after the end.
  await sleep(30_000);
  await record('silence-ended', workflowId);
});
