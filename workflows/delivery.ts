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
  type DeliverProgress,
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
 * @param progress of the execution before, if this one continues it
 */
export async function deliver(input: DeliverInput, progress?: DeliverProgress): Promise<DeliverResult> {
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
    const total: DeliverResult = { delivered: 0, failed: 0, cancelled: 0, ...progress?.settled };
    let shown: RunState = progress?.shown ?? 'in_flight';
    let open = progress?.open ?? [];
    // The first attempt of an execution that continues another is long past.
    let answer: AttemptAnswer = progress === undefined ? await attemptFast(input) : { kind: 'slow' };
    for (;;) {
      if (answer.kind !== 'slow') {
        total.delivered += answer.delivered;
        total.failed += answer.failed;
        total.cancelled += answer.cancelled;
      }
      if (answer.kind === 'done') {
        if (shown !== 'in_flight') upsertSearchAttributes([{ key: searchAttributes.state, value: endOf(total) }]);
        return total;
      }
      if (answer.kind === 'wait') {
        open = answer.open;
        if (answer.state !== shown) {
          shown = answer.state;
          upsertSearchAttributes([{ key: searchAttributes.state, value: shown }]);
        }
        setCurrentDetails(answer.details);
        // A zero timeout would write a version marker instead of a timer.
        await condition(() => woken, Math.max(1, answer.ms), { summary: answer.summary });
        woken = false;
        if (workflowInfo().continueAsNewSuggested) return await continueAsNew<typeof deliver>(input, { settled: total, open, shown });
      }
      answer = await slow.attempt({ ...input, lane: 'slow', open });
    }
  }
}

/** How a run ended, in one word for the search attribute: a failure among many is what somebody looks for. */
function endOf({ delivered, failed }: DeliverResult): 'delivered' | 'failed' | 'cancelled' {
  if (failed > 0) return 'failed';
  return delivered > 0 ? 'delivered' : 'cancelled';
}

async function attemptFast(input: DeliverInput): Promise<AttemptAnswer> {
  try {
    return await fast.attempt({ ...input, lane: 'fast' });
  } catch (error) {
    if (isCancellation(error)) throw error;
    // Whatever it had begun is in rows; the activity finds it there.
    return { kind: 'slow' };
  }
}
