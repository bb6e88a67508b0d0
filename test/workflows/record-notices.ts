/** Records the histories of notice groups (recorder.ts says how and when). */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, test } from '@jest/globals';
import { workflowTypes } from '../../workflows/messages.ts';
import { startInstance, type Instance } from '../scenarios/instance.ts';
import { createRecorder, type Recorder } from './recorder.ts';

let tocsin: Instance;
let recorder: Recorder;
let channelId: string;
beforeAll(async () => {
  tocsin = await startInstance();
  recorder = createRecorder(tocsin);
  const settings = { host: '127.0.0.1', port: 9, security: 'none', from: 'a@example.com', to: ['b@example.com'] };
  channelId = (await tocsin.call('POST', '/channels', { name: 'bundled', type: 'email', settings }))['id'];
});
afterAll(() => tocsin.stop());

/** A group of the first problem, `a`, by a rule of its own; first told of after `wait`. */
async function bundle(story: string, wait = 'PT0.5S') {
  const { id: ruleId } = await tocsin.call('POST', '/rules', {
    name: story,
    matchers: [{ key: 'label.story', op: '=', value: story }],
    channelIds: [channelId],
    aggregate: { groupBy: ['label.story'], wait, interval: 'PT0.5S', repeat: null },
  });
  const post = async (type: string, name: string) => tocsin.post({ type, dedupKey: `${story} ${name}`, labels: { story } });
  await post('alert.fired', 'a');
  const workflowId = await recorder.only(`WorkflowType = '${workflowTypes.notificationGroup}' AND ExecutionStatus = 'Running'`);
  return { ruleId, workflowId, post };
}

test('tells first, then of another one, then that all are resolved', async () => {
  const { workflowId, post } = await bundle('bundled');
  await sleep(1_500);
  await post('alert.fired', 'b');
  await sleep(1_500);
  await post('alert.resolved', 'a');
  await post('alert.resolved', 'b');
  await recorder.record('notification-group', workflowId);
});

test('is closed with its rule while it waits for its tick', async () => {
  const { workflowId, ruleId } = await bundle('closed', 'PT10M');
  await sleep(500);
  await tocsin.call('DELETE', `/rules/${ruleId}`);
  await recorder.record('notification-group-closed', workflowId);
});

test('a tick fails and is repeated', async () => {
  const { workflowId, ruleId } = await bundle('repeated', 'PT1.5S');
  await recorder.whileAway('notice_group_member', async () => sleep(2_000));
  await sleep(1_500);
  await tocsin.call('DELETE', `/rules/${ruleId}`);
  await recorder.record('notification-group-retried', workflowId);
});

test('is cancelled by an operator while it waits', async () => {
  const { workflowId } = await bundle('cancelled', 'PT10M');
  await sleep(500);
  await tocsin.client.workflow.getHandle(workflowId).cancel();
  await recorder.record('notification-group-cancelled', workflowId);
});
