import { sql } from 'kysely';
import type { MikroORM } from '@mikro-orm/postgresql';
import { inOrganization } from '../db/tenant.ts';
import { DomainError } from '../domain/errors.ts';
import { newId } from '../domain/id.ts';
import { type DestinationTestInput, taskQueues, workflowIds, workflowTypes } from '../workflows/messages.ts';
import type { TemporalClient } from './connection.ts';

/** Longer than the longest attempt, shorter than a caller's patience. */
const deadlineMs = 50_000;
const startDeadlineMs = 3_000;

/**
 * Has a worker make one attempt at a destination, and waits for it.
 * @returns what the worker stored
 * @throws DomainError `unavailable` when Temporal or every worker is down
 */
export async function runDestinationTest<Result>(
  temporal: TemporalClient,
  orm: MikroORM,
  target: Omit<DestinationTestInput, 'testId'>,
): Promise<Result> {
  const testId = newId(Date.now());
  const workflowId = workflowIds.destinationTest(testId);
  try {
    const handle = await temporal.withDeadline(startDeadlineMs, async () =>
      temporal.client.workflow.start(workflowTypes.destinationTest, {
        taskQueue: taskQueues.main,
        workflowId,
        args: [{ ...target, testId }],
        workflowExecutionTimeout: '60s',
      }),
    );
    await temporal.withDeadline(deadlineMs, async () => handle.result() as Promise<string>);
  } catch (cause) {
    throw new DomainError('unavailable', 'No worker could make the test; try again later.', { cause, retryAfterSeconds: 5 });
  }
  return inOrganization(orm, target.organizationId, async (em) => {
    const { rows } = await sql<{ result: Result }>`select result from destination_test where id = ${testId}`.execute(em.getKysely());
    return rows[0]!.result;
  });
}
