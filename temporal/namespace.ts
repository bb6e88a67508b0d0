import { setTimeout as sleep } from 'node:timers/promises';
import { isGrpcServiceError } from '@temporalio/client';
import type { Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';
import type { NativeConnection } from '@temporalio/worker';
import { searchAttributeTypes, type SearchAttributeName } from './search-attributes.ts';

/** How long Temporal shows a workflow that has ended. */
const retention = msToTs('3 days');
/** gRPC status. */
const alreadyExists = 6;
const waitMs = 60_000;
/** temporal.api.enums.v1.IndexedValueType */
const indexedValueTypes = { Keyword: 2, Int: 3, Datetime: 6 } as const;

/**
 * Registers the namespace and its search attributes where they are missing, and returns when a workflow may use them. Safe to repeat and to
 * run in several processes at once.
 */
export async function prepareNamespace(
  { workflowService, operatorService }: Connection | NativeConnection,
  namespace: string,
): Promise<void> {
  try {
    await workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod: retention });
  } catch (error) {
    if (!isGrpcServiceError(error) || Number(error.code) !== alreadyExists) throw error;
  }
  const deadline = Date.now() + waitMs;
  for (let round = 0; ; round += 1) {
    const missing = await missingAttributes(operatorService, namespace, deadline);
    if (missing.length === 0) return;
    if (Date.now() > deadline)
      throw new Error(`Temporal did not register the search attributes ${missing.join(', ')} within ${waitMs / 1_000} s.`);
    // In every other round: the server needs a moment until what was asked for shows.
    if (round % 2 === 0) {
      const searchAttributes = Object.fromEntries(missing.map((name) => [name, indexedValueTypes[searchAttributeTypes[name]]]));
      await operatorService.addSearchAttributes({ namespace, searchAttributes }).catch((error: unknown) => {
        // Another process was quicker with some of them; the next round asks for the rest.
        if (!isGrpcServiceError(error) || Number(error.code) !== alreadyExists) throw error;
      });
    }
    await sleep(250);
  }
}

/** A namespace just registered is unknown to parts of the server for some seconds. */
async function missingAttributes(
  operatorService: (Connection | NativeConnection)['operatorService'],
  namespace: string,
  deadline: number,
): Promise<SearchAttributeName[]> {
  for (;;) {
    try {
      const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
      return (Object.keys(searchAttributeTypes) as SearchAttributeName[]).filter((name) => !(name in customAttributes));
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(250);
    }
  }
}
