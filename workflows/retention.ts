import { ActivityCancellationType, continueAsNew, proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import { taskQueues, type SweepInput, type SweepResult } from './messages.ts';

const jobs = proxyActivities<Activities>({
  taskQueue: taskQueues.jobs,
  startToCloseTimeout: '2m',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '60s' },
  cancellationType: ActivityCancellationType.TRY_CANCEL,
});

/** Most activity calls of one run: their results are history. */
const maxSteps = 200;

/** Deletes deliveries past their retention; started by a Schedule. */
export async function sweepDeliveries(input: SweepInput = { deleted: 0, emptied: 0 }): Promise<SweepResult> {
  let result: SweepResult = { ...input, more: true };
  for (let step = 0; result.more; step += 1) {
    if (step === maxSteps) return await continueAsNew<typeof sweepDeliveries>({ deleted: result.deleted, emptied: result.emptied });
    result = await jobs.sweepDeliveries({ deleted: result.deleted, emptied: result.emptied });
  }
  return result;
}
