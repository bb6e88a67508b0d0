import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Context } from '@temporalio/activity';
import { Client } from '@temporalio/client';
import { NativeConnection, Worker, type WorkflowBundle } from '@temporalio/worker';
import type { AttemptInput } from '../../activities/dependencies.ts';
import { bundleWorkflows } from '../../activities/workflow-bundle.ts';
import {
  type AttemptAnswer,
  type DeliverInput,
  searchAttributes,
  taskQueues,
  workflowIds,
  workflowTypes,
} from '../../workflows/messages.ts';
import { createTestNamespace, withTemporal } from '../support/servers.ts';

const describeWithTemporal = await withTemporal();
const input: DeliverInput = {
  runId: '0198c0de-0000-7000-8000-000000000001.1',
  organizationId: 'o',
  destinationId: 'd',
  channelType: 'webhook',
};

describeWithTemporal('a run whose history is full', () => {
  let connection: NativeConnection;
  let client: Client;
  let bundle: WorkflowBundle;
  beforeAll(async () => {
    const { address, namespace } = await createTestNamespace();
    connection = await NativeConnection.connect({ address });
    client = new Client({ connection, namespace });
    bundle = await bundleWorkflows();
  });
  afterAll(() => connection.close());

  test('goes on with an empty one, where it was: in the slow lane, with what is still open and what is already counted', async () => {
    const steps: Array<Pick<AttemptInput, 'lane' | 'open'> & { execution: string }> = [];
    const executions = () => [...new Set(steps.map(({ execution }) => execution))];
    /** Each step delivers one and waits for two; the first step of the second execution ends them. Four such answers are 4 MB of history. */
    const attempt = async ({ lane, open }: AttemptInput): Promise<AttemptAnswer> => {
      steps.push({ lane, execution: Context.current().info.workflowExecution!.runId, ...(open === undefined ? {} : { open }) });
      if (executions().length > 1 || steps.length > 20) return { kind: 'done', delivered: 0, failed: 0, cancelled: 2 };
      const details = `step ${steps.length} ${'x'.repeat(1_000_000)}`;
      return { kind: 'wait', ms: 1, summary: 'next', state: 'retrying', details, open: ['a', 'b'], delivered: 1, failed: 0, cancelled: 0 };
    };
    const common = { connection, namespace: client.options.namespace, activities: { attempt } };
    const workers = await Promise.all([
      Worker.create({ ...common, taskQueue: taskQueues.main, workflowBundle: bundle }),
      Worker.create({ ...common, taskQueue: taskQueues.channel(input.channelType) }),
    ]);
    const workflowId = workflowIds.deliver(input.runId);
    const handle = await workers[0].runUntil(
      workers[1].runUntil(async () => {
        const started = await client.workflow.start(workflowTypes.deliver, {
          taskQueue: taskQueues.main,
          workflowId,
          args: [input],
          typedSearchAttributes: [
            { key: searchAttributes.destination, value: 'd' },
            { key: searchAttributes.state, value: 'in_flight' },
          ],
        });
        await started.result();
        return client.workflow.getHandle(workflowId);
      }),
    );

    const [first, second, ...others] = executions();
    expect(others).toEqual([]);
    const before = steps.filter(({ execution }) => execution === first);
    expect(before.map(({ lane }) => lane)).toEqual(['fast', ...before.slice(1).map(() => 'slow')]);
    expect(steps.filter(({ execution }) => execution === second)).toEqual([{ lane: 'slow', open: ['a', 'b'], execution: second }]);
    expect(await handle.result()).toEqual({ delivered: before.length, failed: 0, cancelled: 2 });

    const { runId, typedSearchAttributes } = await handle.describe();
    expect(runId).toBe(second);
    expect(typedSearchAttributes.get(searchAttributes.destination)).toBe('d');
    expect(typedSearchAttributes.get(searchAttributes.state)).toBe('delivered');
    for (const execution of [first, second]) {
      const history = await client.workflow.getHandle(workflowId, execution).fetchHistory();
      await Worker.runReplayHistory({ workflowBundle: bundle }, history, workflowId);
    }
  });
});
