/** What an operator, or a server that lost its data, does to a run is healed from the rows. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { formatRunId } from '../../domain/run.ts';
import { fromWireId } from '../../domain/id.ts';
import { workflowIds, workflowTypes } from '../../workflows/messages.ts';
import { withTemporal } from '../support/servers.ts';
import { type Instance, startInstance } from './instance.ts';

const describeWithTemporal = await withTemporal();

describeWithTemporal('a run that was terminated', () => {
  let tocsin: Instance;
  beforeAll(async () => {
    tocsin = await startInstance();
  });
  afterAll(() => tocsin.stop());

  test('before it had begun anything is followed by another, though its id is used up', async () => {
    const hook = await tocsin.hook({ types: ['host.offline'] });
    const { starter } = tocsin.worker;
    const offer = starter.offer.bind(starter);
    starter.offer = () => {};
    const event = await tocsin.post({ type: 'host.offline' });
    const deliveryId = fromWireId('delivery', event['deliveries'][0].id)!;
    // Nobody works on that queue, so it never begins.
    const handle = await tocsin.client.workflow.start(workflowTypes.deliver, {
      taskQueue: 'nobody',
      workflowId: workflowIds.deliver(formatRunId({ deliveryId, runSeq: 1 })),
      args: [],
    });
    await handle.terminate();
    starter.offer = offer;
    expect(await tocsin.delivery(event)).toMatchObject({
      status: 'delivered',
      totalAttempts: 1,
      workflowId: workflowIds.deliver(formatRunId({ deliveryId, runSeq: 2 })),
    });
    expect(tocsin.receiver.arrivalsAt(hook.path)).toHaveLength(1);
  });
});
