/** What a finished workflow left behind in Temporal, for tests that count events and look into payloads. */
import type { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { waitFor } from '../scenarios/instance.ts';

export type History = Awaited<ReturnType<ReturnType<Client['workflow']['getHandle']>['fetchHistory']>>;

/** The history of a workflow, once it is closed: of its latest execution, or of the one that is named. */
export async function closedHistory(client: Client, workflowId: string, runId?: string): Promise<History> {
  const handle = client.workflow.getHandle(workflowId, runId);
  await waitFor(
    async () => (await handle.describe()).status.name,
    (status) => status !== 'RUNNING',
    { what: workflowId },
  );
  return handle.fetchHistory();
}

/** Every payload of a history in clear: what anyone sees who can read the namespace. */
export function readableHistory(history: History): string {
  const json = historyToJSON(history);
  return json.replaceAll(
    /"data": *"([A-Za-z0-9+/=]+)"/g,
    (_, data: string) => `"data":${JSON.stringify(Buffer.from(data, 'base64').toString())}`,
  );
}
