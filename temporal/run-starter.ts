import type { MikroORM } from '@mikro-orm/postgresql';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import { WorkflowIdConflictPolicy, WorkflowIdReusePolicy, type SearchAttributePair } from '@temporalio/common';
import type { UnownedDelivery } from '../db/queries/unowned.ts';
import { claimRun, releaseRun, skipRunId } from '../db/queries/run-claim.ts';
import { pipelineInOrganization } from '../db/pipeline.ts';
import { inOrganization } from '../db/tenant.ts';
import { formatRunId } from '../domain/run.ts';
import { toWireId } from '../domain/id.ts';
import { isCall } from '../domain/message.ts';
import { runSize, runStartsTotal } from '../metrics.ts';
import { type DeliverInput, searchAttributes, taskQueues, workflowIds, workflowTypes } from '../workflows/messages.ts';
import type { TemporalClient } from './connection.ts';

export interface RunStarterOptions {
  temporal: TemporalClient;
  orm: MikroORM;
  /** Most deliveries of one run; 1 = each delivery its own workflow. */
  maxRunSize: number;
  /** Base of the links shown to operators. */
  publicUrl: string;
  onFailed?: (error: unknown) => void;
}

export interface RunStarter {
  /** Never waits, never throws: what is not started from here is found by the relay. */
  offer(deliveries: readonly UnownedDelivery[]): void;
  /** Tells that a run has made an attempt in this process. */
  attempted(destinationId: string, runId: string): void;
  /** Deliveries waiting for a start and starts under way. */
  load(): { waiting: number; starting: number };
  /** Takes no more and waits for the starts under way. */
  stop(): Promise<void>;
}

const maxStarting = 30;
const maxWaiting = 10_000;
const startDeadlineMs = 5_000;
/** Members from which a run shows that its destination is under load. */
const largeRun = 8;
const holdMs = 250;
/** After a failed start nothing is offered to Temporal for this long; the relay goes on where this leaves off. */
const pauseAfterFailureMs = 1_000;

/**
 * Starts runs: group commit for workflows. A destination has one start in flight; what piles up for it meanwhile goes out as its next run.
 * At low load every delivery is a run of its own at once; nothing waits to fill one. Whoever calls somebody goes before all others, and alone:
 * nothing that it is grouped with can hold it up. (One start in flight makes the largest groups and the
 * shortest latency: three were measured slower.)
 */
export function createRunStarter(options: RunStarterOptions): RunStarter {
  const { orm, maxRunSize } = options;
  // Insertion order is the turn: a destination that started goes to the back.
  const queues = new Map<string, UnownedDelivery[]>();
  const calls = new Map<string, UnownedDelivery>();
  const starting = new Set<string>();
  const underWay = new Set<Promise<void>>();
  const held = new Map<string, { runId: string; release: () => void }>();
  let waiting = 0;
  let pausedUntil = 0;
  let stopped = false;

  const pump = (): void => {
    for (const [id, call] of calls) {
      if (underWay.size >= maxStarting || stopped) return;
      calls.delete(id);
      waiting -= 1;
      track(start([call]));
    }
    for (const [destinationId, queue] of queues) {
      if (underWay.size >= maxStarting || stopped) return;
      if (starting.has(destinationId)) continue;
      const members = queue.splice(0, maxRunSize);
      waiting -= members.length;
      queues.delete(destinationId);
      if (queue.length > 0) queues.set(destinationId, queue);
      // Strictly one delivery per workflow has nothing to gather: then a destination may use every start.
      if (maxRunSize > 1) starting.add(destinationId);
      track(start(members).finally(() => starting.delete(destinationId)));
    }
  };

  const track = (started: Promise<void>): void => {
    const done = started.finally(() => {
      underWay.delete(done);
      pump();
    });
    underWay.add(done);
  };

  const start = async (members: UnownedDelivery[]): Promise<void> => {
    try {
      const run = members.length === 1 ? { runId: firstRunId(members[0]!), size: 1 } : await claim(members);
      if (run === undefined) return;
      try {
        const hold = holdFor(run, members[0]!.destinationId);
        const how = await startWorkflow(options, run, members);
        runStartsTotal.inc({ how });
        if (how === 'ended') return await skipEnded(run, members[0]!);
        runSize.observe(run.size);
        if (how === 'eager') await hold;
      } catch (error) {
        if (run.size > 1)
          await inOrganization(orm, members[0]!.organizationId, (em) => releaseRun(em, members[0]!.organizationId, run.runId));
        throw error;
      }
    } catch (error) {
      runStartsTotal.inc({ how: 'failed' });
      pausedUntil = Date.now() + pauseAfterFailureMs;
      queues.clear();
      calls.clear();
      waiting = 0;
      options.onFailed?.(error);
    }
  };

  /**
   * A run of one that has ended did its work, or was terminated before it had begun: then its delivery needs another id, for this one is used
   * up for ever. (The members of a claimed run have its id in their rows; when it ended without them, the relay finds that out.)
   */
  const skipEnded = async (run: { size: number }, { organizationId, id, runSeq }: UnownedDelivery): Promise<void> => {
    if (run.size === 1) await inOrganization(orm, organizationId, async (em) => skipRunId(em, { organizationId, id, runSeq }));
  };

  /**
   * Under load a destination's next run waits until this one has made its first attempts, until a full run has gathered, or for a moment at
   * most: the two would share the destination's window anyway, and what gathers meanwhile costs no workflow of its own.
   */
  const holdFor = async (run: { runId: string; size: number }, destinationId: string): Promise<void> => {
    if (run.size < largeRun || (queues.get(destinationId)?.length ?? 0) >= maxRunSize) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, holdMs);
      const release = (): void => {
        clearTimeout(timer);
        resolve();
      };
      held.set(destinationId, { runId: run.runId, release });
    });
    held.delete(destinationId);
  };

  const claim = async (members: UnownedDelivery[]): Promise<{ runId: string; size: number } | undefined> => {
    const { organizationId } = members[0]!;
    const ids = members.map(({ id }) => id).toSorted();
    const [rows] = await pipelineInOrganization(orm, organizationId, [claimRun(organizationId, ids)]);
    const [first] = rows as Array<{ run_id: string }>;
    return first === undefined ? undefined : { runId: first.run_id, size: rows!.length };
  };

  return {
    offer(deliveries) {
      if (stopped || Date.now() < pausedUntil) return;
      for (const delivery of deliveries) {
        if (waiting >= maxWaiting) break;
        if (isCall(delivery.purpose)) {
          if (!calls.has(delivery.id)) waiting += 1;
          calls.set(delivery.id, delivery);
          continue;
        }
        const queue = queues.get(delivery.destinationId);
        if (queue === undefined) queues.set(delivery.destinationId, [delivery]);
        else queue.push(delivery);
        waiting += 1;
        if ((queue?.length ?? 1) >= maxRunSize) held.get(delivery.destinationId)?.release();
      }
      pump();
    },
    attempted(destinationId, runId) {
      const hold = held.get(destinationId);
      if (hold?.runId === runId) hold.release();
    },
    load: () => ({ waiting, starting: underWay.size }),
    async stop() {
      stopped = true;
      await Promise.allSettled(underWay);
    },
  };
}

/** Of Temporal's 1 (first) to 5 for all tasks of a run; 3, which is what most have, is said by saying nothing: that costs nothing. */
function priorityOf(members: readonly UnownedDelivery[]): { priority?: { priorityKey: number } } {
  if (members.some(({ purpose }) => isCall(purpose))) return { priority: { priorityKey: 1 } };
  if (members.some(({ purpose }) => purpose === 'mandatory')) return { priority: { priorityKey: 2 } };
  return members.every(({ purpose }) => purpose === 'escalation_update') ? { priority: { priorityKey: 4 } } : {};
}

function firstRunId({ id, runSeq }: UnownedDelivery): string {
  return formatRunId({ deliveryId: id, runSeq: runSeq + 1 });
}

/** Starting twice is harmless: the id derives from the rows. @returns `eager`: its first task runs in this process; `ended`: it ran before. */
async function startWorkflow(
  { temporal, publicUrl }: RunStarterOptions,
  run: { runId: string; size: number },
  members: readonly UnownedDelivery[],
): Promise<'eager' | 'queued' | 'ended'> {
  const { organizationId, destinationId, destinationKind, channelType, eventType } = members[0]!;
  const input: DeliverInput = { runId: run.runId, organizationId, destinationId, channelType };
  const destination = toWireId(destinationKind, destinationId);
  const oneType = members.every((member) => member.eventType === eventType);
  const attributes: SearchAttributePair[] = [
    { key: searchAttributes.organization, value: toWireId('organization', organizationId) },
    { key: searchAttributes.destination, value: destination },
    { key: searchAttributes.channelType, value: channelType },
    { key: searchAttributes.state, value: 'in_flight' },
  ];
  if (oneType) attributes.push({ key: searchAttributes.eventType, value: eventType });
  const what = run.size === 1 ? eventType : `${run.size} deliveries`;
  try {
    const handle = await temporal.withDeadline(startDeadlineMs, () =>
      temporal.client.workflow.start(workflowTypes.deliver, {
        taskQueue: taskQueues.main,
        workflowId: workflowIds.deliver(run.runId),
        workflowIdReusePolicy: WorkflowIdReusePolicy.REJECT_DUPLICATE,
        workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
        // A worker that dies in a local activity is replaced when this runs out.
        workflowTaskTimeout: '4s',
        ...priorityOf(members),
        requestEagerStart: temporal.eager,
        args: [input],
        typedSearchAttributes: attributes,
        staticSummary: `${what} -> ${destinationKind} ${destination}`,
        staticDetails: `${publicUrl}/api/v2/deliveries?destination=${destination}`,
      }),
    );
    return handle.eagerlyStarted ? 'eager' : 'queued';
  } catch (error) {
    // One that somebody else started and that still runs is used as if started here; this is one that has ended.
    if (error instanceof WorkflowExecutionAlreadyStartedError) return 'ended';
    throw error;
  }
}
