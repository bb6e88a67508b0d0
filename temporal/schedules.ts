import { ScheduleAlreadyRunning, ScheduleNotFoundError, ScheduleOverlapPolicy, type ScheduleOptions } from '@temporalio/client';
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
