import { WorkflowIdConflictPolicy, WorkflowIdReusePolicy } from '@temporalio/common';
import { toWireId } from '../domain/id.ts';
import { changed, type NotificationGroupInput, searchAttributes, taskQueues, workflowIds, workflowTypes } from '../workflows/messages.ts';
import type { TemporalClient } from './connection.ts';

/** A group of notices whose plan has changed. Ids are UUIDs. */
export interface ChangedGroup extends NotificationGroupInput {
  version: number;
}

export interface GroupStarter {
  /** Tells the groups' workflows to look again, and starts those that do not run. Never waits; what fails is the relay's to repeat. */
  wake(groups: readonly ChangedGroup[]): void;
  stop(): Promise<void>;
}

const deadlineMs = 5_000;
/** More at once wait for the relay: their rows say that they have not been seen. */
const maxUnderWay = 100;

export function createGroupStarter(options: { temporal: TemporalClient; onFailed?: (error: unknown) => void }): GroupStarter {
  const underWay = new Set<Promise<void>>();
  let stopped = false;
  return {
    wake(groups) {
      for (const group of groups) {
        if (stopped || underWay.size >= maxUnderWay) return;
        const done = signal(options.temporal, group)
          .catch((error: unknown) => options.onFailed?.(error))
          .finally(() => underWay.delete(done));
        underWay.add(done);
      }
    },
    async stop() {
      stopped = true;
      await Promise.allSettled(underWay);
    },
  };
}

async function signal(temporal: TemporalClient, { organizationId, groupId, version }: ChangedGroup): Promise<void> {
  const input: NotificationGroupInput = { organizationId, groupId };
  await temporal.withDeadline(deadlineMs, async () =>
    temporal.client.workflow.signalWithStart(workflowTypes.notificationGroup, {
      taskQueue: taskQueues.main,
      workflowId: workflowIds.notificationGroup(groupId),
      workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
      workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
      args: [input],
      signal: changed,
      signalArgs: [{ version }],
      typedSearchAttributes: [{ key: searchAttributes.organization, value: toWireId('organization', organizationId) }],
      staticSummary: 'notices of a rule',
    }),
  );
}
