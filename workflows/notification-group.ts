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
import { changed, type NotificationGroupInput, searchAttributes, taskQueues } from './messages.ts';

/** Without limit: while the database is away a notice waits for it, and the row decides what is due when it is back. */
const { stepNotificationGroup } = proxyActivities<Activities>({
  taskQueue: taskQueues.main,
  startToCloseTimeout: '15s',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' },
  cancellationType: ActivityCancellationType.TRY_CANCEL,
});

/** A history of more wakes than this is begun anew, also when the server does not suggest it yet. */
const maxWakes = 1_000;

/** Waits for the ticks of what a rule bundles. The row in PostgreSQL says which is next, so an execution that is lost loses nothing. */
export async function notificationGroup(input: NotificationGroupInput): Promise<void> {
  let wantedVersion = 0;
  let shownDueAt: string | null | undefined;
  setHandler(changed, ({ version }) => {
    wantedVersion = Math.max(wantedVersion, version);
  });
  for (let wakes = 0; ; wakes += 1) {
    // Whatever was asked for until now is seen with this look, even if no row ever had that version.
    wantedVersion = 0;
    const step = await stepNotificationGroup(input);
    if (step.kind === 'ended') return;
    if (step.dueAt !== shownDueAt) {
      upsertSearchAttributes([{ key: searchAttributes.dueAt, value: step.dueAt === null ? null : new Date(step.dueAt) }]);
      shownDueAt = step.dueAt;
    }
    setCurrentDetails(step.details);
    const isWoken = (): boolean => wantedVersion > step.version;
    if (!isWoken() && (workflowInfo().continueAsNewSuggested || wakes >= maxWakes))
      return await continueAsNew<typeof notificationGroup>(input);
    if (step.ms === null) await condition(isWoken);
    // A zero timeout would write a version marker instead of a timer.
    else await condition(isWoken, Math.max(1, step.ms), { summary: step.summary });
  }
}
