import { ScheduleAlreadyRunning, ScheduleNotFoundError, ScheduleOverlapPolicy, type ScheduleOptions } from '@temporalio/client';
import type { Logger } from '../log.ts';
import { taskQueues, workflowTypes } from '../workflows/messages.ts';
import type { TemporalClient } from './connection.ts';

const schedules: readonly ScheduleOptions[] = [
  {
    scheduleId: 'sweep-deliveries',
    spec: { intervals: [{ every: '1h' }], jitter: '2m' },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1h' },
    action: {
      type: 'startWorkflow',
      workflowType: workflowTypes.sweepDeliveries,
      taskQueue: taskQueues.main,
      workflowId: 'sweep-deliveries',
      args: [],
    },
  },
];

export interface KeepSchedulesOptions {
  temporal: Pick<TemporalClient, 'client'>;
  log: Logger;
  /** Between two looks at what is missing. Default 10 minutes. */
  everyMs?: number;
}

/**
 * Registers the schedules now, and until `stop` makes those again that are missing: a Temporal server that lost its data has no schedules
 * either, and nothing else would notice.
 */
export async function keepSchedules({ temporal, log, everyMs = 10 * 60_000 }: KeepSchedulesOptions): Promise<{ stop(): void }> {
  await registerSchedules(temporal);
  const timer = setInterval(() => {
    registerSchedules(temporal, 'keep').catch((error: unknown) => log.warn('schedules', { error }));
  }, everyMs);
  return { stop: () => clearInterval(timer) };
}

/**
 * Creates the schedules; those that exist are brought up to this version, or kept as they are. Safe to repeat and to run in several processes
 * at once.
 */
export async function registerSchedules({ client }: Pick<TemporalClient, 'client'>, existing: 'update' | 'keep' = 'update'): Promise<void> {
  for (const schedule of schedules) {
    try {
      await client.schedule.create(schedule);
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
      if (existing === 'update') await update(client, schedule);
    }
  }
}

async function update(client: TemporalClient['client'], { scheduleId, spec, policies, action }: ScheduleOptions): Promise<void> {
  try {
    // `state` stays: an operator may have paused it.
    await client.schedule
      .getHandle(scheduleId)
      .update((previous) => ({ ...previous, spec, ...(policies === undefined ? {} : { policies }), action }));
  } catch (error) {
    // Deleted since: the next start creates it.
    if (!(error instanceof ScheduleNotFoundError)) throw error;
  }
}
