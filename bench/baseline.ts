import { fileURLToPath } from 'node:url';
import { Client } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';

export interface Baseline {
  /** Bare workflows completed per second. */
  perSecond: number;
  /** Milliseconds from start to result, one at a time. */
  p50Ms: number;
}

Runtime.install({ logger: new DefaultLogger('WARN') });

const inFlight = 30;
const singles = 100;

/** B0 and L0: workflows with one no-op local activity, on the server that the deliveries use, started from the worker's own process. */
export async function measureBaseline({
  address,
  namespace,
  seconds,
}: {
  address: string;
  namespace: string;
  seconds: number;
}): Promise<Baseline> {
  const connection = await NativeConnection.connect({ address });
  const client = new Client({ connection, namespace });
  const taskQueue = `bench-${process.pid}`;
  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue,
    workflowsPath: fileURLToPath(new URL('baseline-workflows.ts', import.meta.url)),
    activities: { nothing: async () => {} },
    maxConcurrentWorkflowTaskExecutions: 200,
    maxConcurrentLocalActivityExecutions: 200,
    maxCachedWorkflows: 2_000,
    workflowTaskPollerBehavior: { type: 'autoscaling', minimum: 2, initial: 5, maximum: 100 },
  });
  let n = 0;
  const start = async (): Promise<void> => {
    const handle = await client.workflow.start('bare', { taskQueue, workflowId: `${taskQueue}-${(n += 1)}`, requestEagerStart: true });
    await handle.result();
  };
  try {
    return await worker.runUntil(async () => {
      for (let i = 0; i < 20; i += 1) await start();
      const latencies: number[] = [];
      for (let i = 0; i < singles; i += 1) {
        const startedAt = performance.now();
        await start();
        latencies.push(performance.now() - startedAt);
      }
      latencies.sort((a, b) => a - b);
      const startedAt = performance.now();
      const endsAt = startedAt + seconds * 1_000;
      let done = 0;
      await Promise.all(
        Array.from({ length: inFlight }, async () => {
          while (performance.now() < endsAt) {
            await start();
            done += 1;
          }
        }),
      );
      return { perSecond: done / ((performance.now() - startedAt) / 1_000), p50Ms: latencies[singles / 2]! };
    });
  } finally {
    await connection.close();
  }
}
