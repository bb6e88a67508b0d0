import { WorkflowIdConflictPolicy, WorkflowIdReusePolicy } from '@temporalio/common';
import { toWireId } from '../domain/id.ts';
import { searchAttributes, silenceChanged, type SilenceInput, taskQueues, workflowIds, workflowTypes } from '../workflows/messages.ts';
import type { TemporalClient } from './connection.ts';

export interface SilenceStarter {
  /** Tells the silences' workflows to look again, and starts those that do not run. Never waits; what fails is the relay's to repeat. */
  wake(silences: readonly SilenceInput[]): void;
  stop(): Promise<void>;
}

const deadlineMs = 5_000;
/** More at once wait for the relay: their rows say that they are due. */
const maxUnderWay = 100;

export function createSilenceStarter(options: {
  temporal: TemporalClient;
  /** Base of the links shown to operators. */
  publicUrl: string;
  onFailed?: (error: unknown) => void;
}): SilenceStarter {
  const underWay = new Set<Promise<void>>();
  let stopped = false;
  return {
    wake(silences) {
      for (const input of silences) {
        if (stopped || underWay.size >= maxUnderWay) return;
        const done = signal(options, input)
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

async function signal({ temporal, publicUrl }: { temporal: TemporalClient; publicUrl: string }, input: SilenceInput): Promise<void> {
  const id = toWireId('silence', input.silenceId);
  await temporal.withDeadline(deadlineMs, async () =>
    temporal.client.workflow.signalWithStart(workflowTypes.silence, {
      taskQueue: taskQueues.main,
      workflowId: workflowIds.silence(input.silenceId),
      workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
      workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
      args: [input],
      signal: silenceChanged,
      typedSearchAttributes: [{ key: searchAttributes.organization, value: toWireId('organization', input.organizationId) }],
      staticSummary: `silence ${id}`,
      staticDetails: `${publicUrl}/api/v2/silences/${id}`,
    }),
  );
}
