import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Worker } from '@temporalio/worker';
import { bundleWorkflows } from '../../activities/workflow-bundle.ts';
import type { Activities } from '../../activities/index.ts';
import { settleAttempt, type DeliveryProgress } from '../../domain/delivery.ts';
import { defaultRetryConfiguration } from '../../domain/retry.ts';
import { type DeliverInput, taskQueues, workflowIds, workflowTypes } from '../../workflows/messages.ts';
import { withTimeSkipping } from '../support/time-skipping.ts';

const { describe, environment } = await withTimeSkipping();
afterAll(() => environment?.teardown());
beforeAll(async () => {
  const keyword = 2;
  await environment?.connection.operatorService.addSearchAttributes({ namespace: 'default', searchAttributes: { TocsinState: keyword } });
});

const minute = 60_000;
const input: DeliverInput = {
  runId: '0198c0de-0000-7000-8000-000000000001.1',
  organizationId: 'o',
  destinationId: 'd',
  channelType: 'webhook',
};

describe('with the real schedule', () => {
  /** The activity over one delivery in memory: the domain's own rules, the environment's clock, no jitter. */
  function startDelivery(startedAt: number, answer: (attempt: number) => 'delivered' | 'retryable') {
    const attempts: number[] = [];
    let progress: DeliveryProgress = { schedulePos: 0, interruptions: 0, rateLimits: 0, acceptedAtMs: startedAt, cancelRequested: false };
    const attempt: Activities['attempt'] = async () => {
      const nowMs = await environment!.currentTimeMs();
      attempts.push(nowMs - startedAt);
      const outcome = answer(attempts.length);
      const result = { outcome, ...(outcome === 'retryable' ? ({ errorCode: 'http_5xx' } as const) : {}) };
      const settled = settleAttempt({
        progress,
        result,
        policy: { kind: 'standard' },
        configuration: defaultRetryConfiguration,
        u: 0,
        nowMs,
      });
      if (settled.state !== 'retrying') {
        const count = (state: string) => (settled.state === state ? 1 : 0);
        return { kind: 'done', delivered: count('delivered'), failed: count('failed'), cancelled: 0 };
      }
      progress = { ...progress, schedulePos: settled.schedulePos };
      return {
        kind: 'wait',
        ms: settled.nextDelayMs,
        state: 'retrying',
        summary: 'next',
        details: '',
        open: [],
        delivered: 0,
        failed: 0,
        cancelled: 0,
      };
    };
    return { attempts, attempt };
  }

  async function run(answer: (attempt: number) => 'delivered' | 'retryable') {
    const { client, nativeConnection: connection } = environment!;
    const { attempts, attempt } = startDelivery(await environment!.currentTimeMs(), answer);
    const activities = { attempt };
    const workers = await Promise.all([
      Worker.create({ connection, taskQueue: taskQueues.main, workflowBundle: await bundleWorkflows(), activities }),
      Worker.create({ connection, taskQueue: taskQueues.channel(input.channelType), activities }),
    ]);
    const result = await workers[0].runUntil(
      workers[1].runUntil(async () => {
        const workflowId = `${workflowIds.deliver(input.runId)}-${attempts.length}-${Date.now()}`;
        return client.workflow.execute(workflowTypes.deliver, { taskQueue: taskQueues.main, workflowId, args: [input] });
      }),
    );
    return { result, minutes: attempts.map((ms) => ms / minute) };
  }

  test('a delivery is attempted after 0, 1, 6, 21, 81 and 321 minutes, never early, and then fails', async () => {
    const { result, minutes } = await run(() => 'retryable');
    expect(result).toEqual({ delivered: 0, failed: 1, cancelled: 0 });
    const planned = [0, 1, 6, 21, 81, 321];
    expect(minutes).toHaveLength(planned.length);
    // Due times are rounded up, by at most a minute each.
    for (const [i, plan] of planned.entries()) {
      expect(minutes[i]!).toBeGreaterThanOrEqual(plan);
      expect(minutes[i]!).toBeLessThan(plan + i + 1);
    }
  });

  test('the workflow ends with the attempt that delivers', async () => {
    const { result, minutes } = await run((attempt) => (attempt === 5 ? 'delivered' : 'retryable'));
    expect(result).toEqual({ delivered: 1, failed: 0, cancelled: 0 });
    expect(minutes).toHaveLength(5);
  });
});
