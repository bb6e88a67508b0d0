/** Records the histories of escalations (recorder.ts says how and when). */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, test } from '@jest/globals';
import { fromWireId } from '../../domain/id.ts';
import { acknowledge, changed, command, type EscalationView, plan, resolve, workflowIds } from '../../workflows/messages.ts';
import { startInstance, waitFor, type Instance } from '../scenarios/instance.ts';
import { createRecorder, type Recorder } from './recorder.ts';

/** A look that is held so long has outlasted its workflow task, and what came meanwhile is in the next. */
const longLookMs = 4_500;
/** So long it fails thrice in its workflow task, and then waits on a timer of its own. */
const longOutageMs = 4_000;

let tocsin: Instance;
let recorder: Recorder;
beforeAll(async () => {
  tocsin = await startInstance();
  recorder = createRecorder(tocsin);
});
afterAll(() => tocsin.stop());

/** An escalation of a policy of its own, which the event `type` opens; the first of its two tiers lasts 0.3 s. */
async function escalate(type: string, policy: object = {}) {
  const hook = await tocsin.hook({ types: ['audit.integrity_failed'] });
  const target = { kind: 'webhook', id: hook.id };
  await tocsin.call('POST', '/escalation-policies', {
    name: type,
    trigger: { types: [type] },
    tiers: [{ targets: [target], timeout: 'PT0.3S' }, { targets: [target] }],
    cooldown: 'PT0S',
    ...policy,
  });
  await tocsin.post({ type, dedupKey: type });
  const { data } = await tocsin.get('/escalations?limit=1');
  const { id, workflowId } = data[0] as { id: string; workflowId: string };
  const handle = tocsin.client.workflow.getHandle(workflowId);
  const shows = async (what: string, until: (view: EscalationView) => boolean): Promise<void> => {
    // The workflow may not have been started yet.
    const look = async () => handle.query(plan).catch(() => undefined);
    await waitFor(look, (view) => view !== undefined && until(view), { what });
  };
  return {
    id,
    workflowId,
    handle,
    shows,
    post: async (command: string, body: object) => tocsin.call('POST', `/escalations/${id}/${command}`, body),
  };
}

test('climbs, is acknowledged and resolved by signals', async () => {
  const { workflowId, handle, shows } = await escalate('drift.detect');
  await shows('the second tier', ({ tier }) => tier === 2);
  await handle.signal(acknowledge, { requestId: 'a', actor: 'pager' });
  await shows('the acknowledgement', ({ state }) => state === 'acknowledged');
  await handle.signal(resolve, { requestId: 'r', actor: 'pager', note: 'fixed' });
  await recorder.record('escalation-climbed', workflowId);
});

test('is acknowledged by an update, resolved by an event', async () => {
  const { workflowId, handle } = await escalate('agent.disconnect');
  await handle.executeUpdate(command, { args: [{ requestId: 'u', actor: 'pager', command: 'acknowledge' }] });
  await tocsin.post({ type: 'agent.connect', dedupKey: 'agent.disconnect' });
  await recorder.record('escalation-answered', workflowId);
});

test('is snoozed, and pages again at the end of that', async () => {
  const { workflowId, shows, post } = await escalate('release.fail');
  await shows('the second tier', ({ tier }) => tier === 2);
  await post('snooze', { for: 'PT1S' });
  await shows('the snooze', ({ state }) => state === 'snoozed');
  await shows('the climb after it', ({ state, tier }) => state === 'triggered' && tier === 2);
  await post('resolve', {});
  await recorder.record('escalation-snoozed', workflowId);
});

test('waits for the end of its cooldown although it is resolved', async () => {
  const { workflowId, handle, shows, post } = await escalate('alert.fired', { cooldown: 'PT2S' });
  await post('acknowledge', {});
  await post('resolve', {});
  await handle.result();
  await tocsin.post({ type: 'alert.fired', dedupKey: 'alert.fired' });
  await shows('the cooldown', ({ state }) => state === 'resolved');
  await recorder.record('escalation-cooldown', workflowId);
});

test('looks and commands fail and are repeated', async () => {
  const { workflowId, handle, shows, post } = await escalate('policy.violation.detect');
  await shows('the second tier', ({ tier }) => tier === 2);
  await post('snooze', { for: 'PT0.5S' });
  await recorder.whileAway('escalation', async () => sleep(longOutageMs));
  await shows('the climb after it', ({ state }) => state === 'triggered');
  await recorder.whileAway('escalation_command', async () => {
    await handle.signal(acknowledge, { requestId: 'a', actor: 'pager' });
    await sleep(500);
  });
  await shows('the acknowledgement', ({ state }) => state === 'acknowledged');
  await tocsin.post({ type: 'policy.violation.resolve', dedupKey: 'policy.violation.detect' });
  await recorder.record('escalation-retried', workflowId);
});

test('is cancelled by an operator while it waits', async () => {
  const { workflowId, handle, shows } = await escalate('host.offline');
  await shows('the second tier', ({ tier }) => tier === 2);
  await handle.cancel();
  await recorder.record('escalation-cancelled', workflowId);
});

test('is cancelled by an operator while it looks', async () => {
  const { workflowId, handle, shows } = await escalate('drift.detected');
  await shows('the second tier', ({ tier }) => tier === 2);
  await recorder.whileHeld('escalation', async () => {
    await handle.signal(changed, { version: 9 });
    await handle.cancel();
    await sleep(longLookMs);
  });
  await recorder.record('escalation-cancelled-looking', workflowId);
});

test('commands that come while its last look is under way are still carried out', async () => {
  const { workflowId, handle, shows, post } = await escalate('deployment.failed', { hardStop: 'PT2S' });
  await shows('the second tier', ({ tier }) => tier === 2);
  await post('acknowledge', {});
  await shows('the wait for the hard stop', ({ why }) => why === 'hard_stop');
  let answer: Promise<unknown> | undefined;
  await recorder.whileHeld('escalation', async () => {
    await sleep(2_500);
    await handle.signal(acknowledge, { requestId: 'late', actor: 'pager' });
    answer = handle.executeUpdate(command, { args: [{ requestId: 'later', actor: 'pager', command: 'resolve' }] });
    await sleep(longLookMs);
  });
  await answer;
  await recorder.record('escalation-late', workflowId);
});

test('is started again when it is over', async () => {
  const { id, workflowId, handle, post } = await escalate('job.failed');
  await post('resolve', {});
  await handle.result();
  const { id: organization } = await tocsin.get('/organization');
  const [organizationId, escalationId] = [fromWireId('organization', organization as string)!, fromWireId('escalation', id)!];
  const { runId } = await handle.describe();
  tocsin.worker.escalations.wake([{ organizationId, escalationId, policyId: escalationId, version: 99 }]);
  const next = tocsin.client.workflow.getHandle(workflowIds.escalation(escalationId));
  await waitFor(
    async () => (await next.describe()).runId,
    (latest) => latest !== runId,
    { what: 'the next execution' },
  );
  await recorder.record('escalation-over', workflowId);
});
