import { wake, workflowIds } from '../workflows/messages.ts';
import type { TemporalClient } from './connection.ts';

const deadlineMs = 3_000;

/** Tells a run that rows of its changed. What cannot be told is found by the relay. */
export async function wakeRun(temporal: TemporalClient, runId: string): Promise<void> {
  await temporal.withDeadline(deadlineMs, async () => temporal.client.workflow.getHandle(workflowIds.deliver(runId)).signal(wake));
}
