import { WorkflowIdConflictPolicy, WorkflowIdReusePolicy } from '@temporalio/common';
import { toWireId } from '../domain/id.ts';
import { changed, type EscalationInput, searchAttributes, taskQueues, workflowIds, workflowTypes } from '../workflows/messages.ts';
import type { TemporalClient } from './connection.ts';

/** An escalation whose row has changed. Ids are UUIDs. */
export interface ChangedEscalation {
  organizationId: string;
  escalationId: string;
  policyId: string;
  version: number;
}

export interface EscalationStarter {
  /** Tells the escalations' workflows to look again, and starts those that do not run. Never waits; what fails is the relay's to repeat. */
  wake(escalations: readonly ChangedEscalation[]): void;
  stop(): Promise<void>;
}

const deadlineMs = 5_000;
/** So many calls to Temporal at once. */
const maxUnderWay = 32;
/** More wait for the relay: their rows say that they have not been seen. */
const maxWaiting = 10_000;

/** One signal per escalation at a time: what changes while it is under way is told with the next. */
export function createEscalationStarter(options: {
  temporal: TemporalClient;
  /** Base of the links shown to operators. */
  publicUrl: string;
  onFailed?: (error: unknown) => void;
}): EscalationStarter {
  const waiting = new Map<string, ChangedEscalation>();
  const underWay = new Map<string, Promise<void>>();
  let stopped = false;

  const pump = (): void => {
    for (const [id, escalation] of waiting) {
      if (underWay.size >= maxUnderWay || stopped) return;
      if (underWay.has(id)) continue;
      waiting.delete(id);
      const done = signal(options, escalation)
        .catch((error: unknown) => options.onFailed?.(error))
        .finally(() => {
          underWay.delete(id);
          pump();
        });
      underWay.set(id, done);
    }
  };

  return {
    wake(escalations) {
      if (stopped) return;
      for (const escalation of escalations) {
        const known = waiting.get(escalation.escalationId);
        if (known === undefined && waiting.size >= maxWaiting) continue;
        if (known === undefined || known.version < escalation.version) waiting.set(escalation.escalationId, escalation);
      }
      pump();
    },
    async stop() {
      stopped = true;
      await Promise.allSettled(underWay.values());
    },
  };
}

async function signal(
  { temporal, publicUrl }: { temporal: TemporalClient; publicUrl: string },
  { organizationId, escalationId, policyId, version }: ChangedEscalation,
): Promise<void> {
  const input: EscalationInput = { organizationId, escalationId };
  const id = toWireId('escalation', escalationId);
  await temporal.withDeadline(deadlineMs, async () =>
    temporal.client.workflow.signalWithStart(workflowTypes.escalation, {
      taskQueue: taskQueues.main,
      workflowId: workflowIds.escalation(escalationId),
      workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
      workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
      // A worker that dies in a look is replaced when this runs out.
      workflowTaskTimeout: '4s',
      args: [input],
      signal: changed,
      signalArgs: [{ version }],
      typedSearchAttributes: [
        { key: searchAttributes.organization, value: toWireId('organization', organizationId) },
        { key: searchAttributes.policy, value: toWireId('escalation_policy', policyId) },
      ],
      staticSummary: `escalation ${id}`,
      staticDetails: `${publicUrl}/api/v2/escalations/${id}`,
    }),
  );
}
