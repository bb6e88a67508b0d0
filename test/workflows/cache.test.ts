import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { acknowledge, command } from '../../workflows/messages.ts';
import { startInstance, waitFor, type Instance, type Json } from '../scenarios/instance.ts';
import { withTemporal } from '../support/servers.ts';
import { closedHistory } from './history.ts';

const describeWithTemporal = await withTemporal();
/** Of temporal.api.enums.v1.EventType: a task made other commands than its workflow's history has. */
const failed = 9;
/** Of temporal.api.enums.v1.TaskQueueKind. */
const sticky = 2;

describeWithTemporal('a worker that keeps no workflow in memory, so that every task replays from the start', () => {
  let tocsin: Instance;
  beforeAll(async () => {
    tocsin = await startInstance({}, { maxCachedWorkflows: 0 });
  });
  afterAll(() => tocsin.stop());

  /** Its tasks: none came from the memory of a worker, none contradicted what was before. */
  async function expectReplays(workflowId: string): Promise<void> {
    const { events } = await closedHistory(tocsin.client, workflowId);
    const tasks = events!.flatMap(({ workflowTaskScheduledEventAttributes: task }) => (task ? [task.taskQueue!.kind] : []));
    expect(tasks.length).toBeGreaterThan(1);
    expect(tasks).not.toContain(sticky);
    expect(events!.map(({ eventType }) => eventType)).not.toContain(failed);
  }

  test('pages tier by tier, repeats a page that was refused, and heeds who acknowledges and resolves', async () => {
    const first = await tocsin.hook({ types: ['job.completed'] });
    const second = await tocsin.hook({ types: ['job.completed'], answers: [503] });
    await tocsin.call('POST', '/escalation-policies', {
      name: 'uncached',
      trigger: { types: ['alert.fired'] },
      tiers: [first, second].map(({ id }) => ({ targets: [{ kind: 'webhook', id }], timeout: 'PT0.8S' })),
    });
    await tocsin.post({ type: 'alert.fired' });
    const escalation = async (): Promise<Json> => (await tocsin.get('/escalations'))['data'][0];
    const isIn = async (state: string): Promise<Json> => waitFor(escalation, (found) => found['state'] === state, { what: state });
    await tocsin.receiver.waitForArrivals(2, { path: second.path });
    const { workflowId } = await escalation();
    const handle = tocsin.client.workflow.getHandle(workflowId as string);
    await handle.signal(acknowledge, { requestId: 'a', actor: 'pager' });
    await isIn('acknowledged');
    const answer = await handle.executeUpdate(command, { args: [{ requestId: 'r', actor: 'pager', command: 'resolve' }] });
    expect(answer).toMatchObject({ state: 'resolved', already: false });

    await expectReplays(workflowId as string);
    const pages = tocsin.receiver.arrivals.flatMap(({ path, body }) => {
      const { type } = JSON.parse(body.toString()) as { type: string };
      return type === 'escalation.triggered' ? [path] : [];
    });
    expect(pages).toEqual([first.path, second.path, second.path]);
    const { data: deliveries } = await tocsin.get(`/webhooks/${second.id}/deliveries`);
    const refused = deliveries.find(({ totalAttempts }: Json) => totalAttempts === 2);
    await expectReplays(refused['workflowId'] as string);
  });
});
