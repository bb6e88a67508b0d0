import {
  ActivityCancellationType,
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  proxyActivities,
  proxyLocalActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import {
  type AttemptAnswer,
  type DeliverInput,
  type DeliverResult,
  type RunState,
  searchAttributes,
  taskQueues,
  wake,
} from './messages.ts';

/** An attempt sends for at most 30 s and must then be recorded. */
const attemptTimeout = '50s';

/** First attempts only, and only while the destination answers fast: six history events, and the answer is there in one workflow task. */
const fast = proxyLocalActivities<Activities>({
  startToCloseTimeout: attemptTimeout,
  retry: { maximumAttempts: 1 },
  cancellationType: ActivityCancellationType.TRY_CANCEL,
});

/**
 * Owns one run: attempts what is due, waits on durable timers for what is not, ends when no delivery of it is open. Outcomes and the next
 * due time come back as values and live in rows, so retry policies, classification and cancelling change without a workflow version.
 */
export async function deliver(input: DeliverInput): Promise<DeliverResult> {
  // The policy serves our own faults (database down); the destination's retries are the rows' business.
  const slow = proxyActivities<Activities>({
    taskQueue: taskQueues.channel(input.channelType),
    startToCloseTimeout: attemptTimeout,
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '60s' },
    cancellationType: ActivityCancellationType.TRY_CANCEL,
  });
  let woken = false;
  setHandler(wake, () => {
    woken = true;
  });
  try {
    return await attemptUntilDone();
  } catch (error) {
    if (!isCancellation(error)) throw error;
    // An operator cancelled the run: its open deliveries are cancelled with it. Rows are the authority, so this is written before we go.
    await CancellationScope.nonCancellable(async () => slow.cancelRun(input));
    throw error;
  }

  async function attemptUntilDone(): Promise<DeliverResult> {
    const total: DeliverResult = { delivered: 0, failed: 0, cancelled: 0 };
    let shown: RunState = 'in_flight';
    let answer = await attemptFast(input);
    for (;;) {
      if (answer.kind !== 'slow') {
        total.delivered += answer.delivered;
        total.failed += answer.failed;
        total.cancelled += answer.cancelled;
      }
      if (answer.kind === 'done') {
        if (shown !== 'in_flight')
          upsertSearchAttributes([{ key: searchAttributes.state, value: total.failed > 0 ? 'failed' : 'delivered' }]);
        return total;
      }
      if (answer.kind === 'wait') {
        if (answer.state !== shown) {
          shown = answer.state;
          upsertSearchAttributes([{ key: searchAttributes.state, value: shown }]);
        }
        setCurrentDetails(answer.details);
        // A zero timeout would write a version marker instead of a timer.
        await condition(() => woken, Math.max(1, answer.ms), { summary: answer.summary });
        woken = false;
        if (workflowInfo().continueAsNewSuggested) return await continueAsNew<typeof deliver>(input);
      }
      answer = await slow.attempt({ ...input, lane: 'slow' });
    }
  }
}

async function attemptFast(input: DeliverInput): Promise<AttemptAnswer> {
  // After continue-as-new the first attempt is long past.
  if (workflowInfo().continuedFromExecutionRunId !== undefined) return { kind: 'slow' };
  try {
    return await fast.attempt({ ...input, lane: 'fast' });
  } catch (error) {
    if (isCancellation(error)) throw error;
    // Whatever it had begun is in rows; the activity finds it there.
    return { kind: 'slow' };
  }
}
