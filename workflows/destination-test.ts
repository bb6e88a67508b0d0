import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import { taskQueues, type DestinationTestInput } from './messages.ts';

/** One attempt for a person who waits for it: never repeated. Its result is where the answer is kept, not the answer. */
export async function destinationTest(input: DestinationTestInput): Promise<string> {
  const { testDestination } = proxyActivities<Activities>({
    taskQueue: taskQueues.channel(input.channelType),
    startToCloseTimeout: '45s',
    scheduleToStartTimeout: '10s',
    retry: { maximumAttempts: 1 },
    cancellationType: ActivityCancellationType.TRY_CANCEL,
  });
  return await testDestination(input);
}
