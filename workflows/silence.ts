import {
  ActivityCancellationType,
  condition,
  continueAsNew,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import { searchAttributes, silenceChanged, type SilenceInput, taskQueues } from './messages.ts';

/** An end may have thousands of problems to tell of. Without limit: what is kept back must come out, however long the database is away. */
const { advanceSilence } = proxyActivities<Activities>({
  taskQueue: taskQueues.main,
  startToCloseTimeout: '5m',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' },
  cancellationType: ActivityCancellationType.TRY_CANCEL,
});

/** A history of more wakes than this is begun anew, also when the server does not suggest it yet. */
const maxWakes = 1_000;

/** Waits for what a silence does by itself: notices, and at its end what it kept back. Its row says what and when. */
export async function silence(input: SilenceInput): Promise<void> {
  let isWoken = false;
  setHandler(silenceChanged, () => {
    isWoken = true;
  });
  for (let wakes = 0; ; wakes += 1) {
    isWoken = false;
    const step = await advanceSilence(input);
    if (step.kind === 'ended') {
      if (isWoken) continue;
      return;
    }
    upsertSearchAttributes([{ key: searchAttributes.dueAt, value: new Date(step.dueAt) }]);
    setCurrentDetails(step.details);
    if (!isWoken && (workflowInfo().continueAsNewSuggested || wakes >= maxWakes)) return await continueAsNew<typeof silence>(input);
    // A zero timeout would write a version marker instead of a timer.
    await condition(() => isWoken, Math.max(1, step.ms), { summary: step.summary });
  }
}
