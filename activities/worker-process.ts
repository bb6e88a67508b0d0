import type { MikroORM } from '@mikro-orm/postgresql';
import { type NativeConnection, Worker } from '@temporalio/worker';
import { egressOptions, type ServerConfig } from '../config.ts';
import { createFeedSignal } from '../db/feed-signal.ts';
import { openDatabase } from '../db/mikro-orm.config.ts';
import { reportLoop } from '../db/queries/relay.ts';
import { createSecretBox } from '../db/secrets.ts';
import { createSequencer } from '../db/sequencer.ts';
import { holdWorkerLease } from '../db/worker-lease.ts';
import { channelTypes } from '../domain/channel.ts';
import { isTerminal } from '../domain/delivery.ts';
import { createFactsCache } from '../db/queries/routing-facts.ts';
import { newId } from '../domain/id.ts';
import type { RetryConfiguration } from '../domain/retry.ts';
import { createEgress, type Egress } from '../egress/guard.ts';
import type { Logger } from '../log.ts';
import { attemptLatenessSeconds, attemptSeconds, deliveriesTotal } from '../metrics.ts';
import { clientOver, type TemporalClient } from '../temporal/connection.ts';
import { startRelay } from '../temporal/relay.ts';
import { createEscalationStarter, type EscalationStarter } from '../temporal/escalation-starter.ts';
import { createGroupStarter, type GroupStarter } from '../temporal/group-starter.ts';
import { createSilenceStarter, type SilenceStarter } from '../temporal/silence-starter.ts';
import { createRunStarter, type RunStarter } from '../temporal/run-starter.ts';
import { keepSchedules } from '../temporal/schedules.ts';
import { taskQueues } from '../workflows/messages.ts';
import { createAbandonedCloser } from './abandoned.ts';
import { createDestinations } from './destination.ts';
import type { AttemptReport } from './dependencies.ts';
import { createFailingPages } from './failing-pages.ts';
import { createActivities } from './index.ts';
import { createRunStore } from './run-store.ts';
import { bundleWorkflows } from './workflow-bundle.ts';
import { availableMemory, cachedWorkflowsFor } from './workflow-cache.ts';

export interface WorkerProcess {
  starter: RunStarter;
  escalations: EscalationStarter;
  silences: SilenceStarter;
  groups: GroupStarter;
  temporal: TemporalClient;
  orm: MikroORM;
  egress: Egress;
  isRunning(): boolean;
  /** Rejects when a worker stops by itself, which is a fault. */
  failed: Promise<never>;
  /** Takes no new work, lets what is under way end, closes what it opened; not the connection. */
  stop(): Promise<void>;
}

export interface WorkerProcessOptions {
  config: ServerConfig;
  connection: NativeConnection;
  log: Logger;
  /** Base of links for people. */
  publicUrl: string;
  /** Workflows that stay in memory between their tasks; with 0 each task replays its workflow from the start. Default: by the memory there is. */
  maxCachedWorkflows?: number;
}

/** From the stop to giving up what is under way. */
const sendGraceMs = 20_000;
const poolSizes = { app: 16, relay: 4, sequencer: 2 } as const;

/** Everything a worker process runs: Temporal workers, relay, audit sequencer, lease. Any number of such processes work side by side. */
export async function startWorkerProcess(options: WorkerProcessOptions): Promise<WorkerProcess> {
  const { config, connection, log, publicUrl, maxCachedWorkflows = cachedWorkflowsFor(availableMemory()) } = options;
  const { databaseUrl } = config;
  const workerId = newId(Date.now());
  const orm = await openDatabase({ databaseUrl, role: 'tocsin_app', poolMax: poolSizes.app, applicationName: 'tocsin_worker' });
  const relayOrm = await openDatabase({ databaseUrl, role: 'tocsin_relay', poolMax: poolSizes.relay });
  const sequencerOrm = await openDatabase({ databaseUrl, role: 'tocsin_sequencer', poolMax: poolSizes.sequencer });
  const temporal = clientOver(connection, config.temporal.namespace);
  const lease = await holdWorkerLease({ databaseUrl, workerId, instance: config.instance, log });

  const egress = createEgress({ ...egressOptions(config), log });
  const stopSending = new AbortController();
  const retry: RetryConfiguration = {
    standardSeconds: config.retryStandardSeconds,
    jitterMinMs: config.retryJitterMinMs,
    rateLimitedWaitMs: config.rateLimitedWaitMs,
  };
  const destinations = createDestinations({ orm, secrets: createSecretBox(config.secretKeys), publicUrl });
  const starter = createRunStarter({
    temporal,
    orm,
    maxRunSize: config.deliveryRunMax,
    publicUrl,
    onFailed: (error) => log.warn('run.start', { error }),
  });
  const escalations = createEscalationStarter({ temporal, publicUrl, onFailed: (error) => log.warn('escalation.wake', { error }) });
  const facts = createFactsCache();
  const feeds = createFeedSignal({ orm, log });
  const tellFailing = createFailingPages({ orm, facts, feeds, starter, escalations, log });
  const silences = createSilenceStarter({ temporal, publicUrl, onFailed: (error) => log.warn('silence.wake', { error }) });
  const groups = createGroupStarter({ temporal, onFailed: (error) => log.warn('group.wake', { error }) });
  const activities = createActivities({
    orm,
    facts,
    feeds,
    groups,
    tellFailing,
    namespace: config.temporal.namespace,
    starter,
    escalations,
    relayOrm,
    workerId,
    store: createRunStore({ orm, workerId, log }),
    destinations,
    egress,
    stopping: stopSending.signal,
    retry,
    deliveryRetentionDays: config.deliveryRetentionDays,
    log,
    onAttempt: (report) => reportAttempt(log, workerId, report),
    onStep: ({ destinationId, runId }) => starter.attempted(destinationId, runId),
  });

  const common = {
    connection,
    namespace: config.temporal.namespace,
    activities,
    shutdownGraceTime: '35s',
    shutdownForceTime: '60s',
  } as const;
  const poller = { type: 'autoscaling', minimum: 2, initial: 5, maximum: 100 } as const;
  const workers = await Promise.all([
    Worker.create({
      ...common,
      taskQueue: taskQueues.main,
      workflowBundle: await bundleWorkflows(log),
      // What a worker has taken and does not finish within the task's four seconds is done again, so with too many an overload only grows:
      // better that tasks wait in their queue. Without a cache the task of another workflow puts out one whose local activity is under way.
      maxConcurrentWorkflowTaskExecutions: maxCachedWorkflows === 0 ? 1 : 100,
      maxConcurrentLocalActivityExecutions: 200,
      maxConcurrentActivityTaskExecutions: 100,
      maxCachedWorkflows,
      // What was meant for the memory of a worker that died waits for so long before another may take it: a page would be as late.
      stickyQueueScheduleToStartTimeout: '4s',
      workflowTaskPollerBehavior: poller,
    }),
    ...channelTypes
      .filter((type) => type !== 'in_app')
      .map(async (type) =>
        Worker.create({
          ...common,
          taskQueue: taskQueues.channel(type),
          maxConcurrentActivityTaskExecutions: 500,
          activityTaskPollerBehavior: poller,
        }),
      ),
    Worker.create({ ...common, taskQueue: taskQueues.jobs, maxConcurrentActivityTaskExecutions: 8 }),
  ]);
  const runs = workers.map(async (worker) => worker.run());
  const relay = startRelay({
    orm: relayOrm,
    temporal,
    starter,
    workerId,
    log,
    escalations,
    tellFailing,
    silences,
    groups,
    closeAbandoned: createAbandonedCloser({ orm, destinations, retry, log }),
  });
  const sequencer = createSequencer({
    orm: sequencerOrm,
    log,
    report: async (detail) => reportLoop(relayOrm.em.fork(), 'sequencer', workerId, detail),
  });
  sequencer.start();
  const schedules = await keepSchedules({ temporal, log });

  let stopping = false;
  const failed = Promise.race(runs).then(
    () => (stopping ? new Promise<never>(() => {}) : Promise.reject(new Error('A Temporal worker stopped by itself.'))),
    (error: unknown) => Promise.reject(error instanceof Error ? error : new Error(String(error))),
  );
  failed.catch(() => {});

  return {
    starter,
    escalations,
    silences,
    groups,
    temporal,
    orm,
    egress,
    failed,
    isRunning: () => workers.every((worker) => worker.getState() === 'RUNNING'),
    async stop() {
      stopping = true;
      schedules.stop();
      await relay.stop();
      await starter.stop();
      await Promise.all([escalations.stop(), silences.stop(), groups.stop()]);
      for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
      // A receiver that has not answered by then is given up; its attempt is recorded as interrupted and does not count.
      const timer = setTimeout(() => stopSending.abort(), sendGraceMs);
      await Promise.allSettled(runs);
      clearTimeout(timer);
      await sequencer.stop();
      await lease.stop();
      await feeds.stop();
      await egress.close();
      await Promise.all([orm.close(true), relayOrm.close(true), sequencerOrm.close(true)]);
    },
  };
}

function reportAttempt(log: Logger, workerId: string, { input, member, destination, finished, reason, state }: AttemptReport): void {
  const { outcome, durationMs, statusCode, errorCode, next } = finished;
  attemptSeconds.observe({ channel_type: input.channelType, outcome }, durationMs / 1_000);
  const latenessMs = Math.max(0, finished.finishedAt - durationMs - (member.nextAttemptAt ?? finished.finishedAt));
  attemptLatenessSeconds.observe(latenessMs / 1_000);
  if (state !== undefined && isTerminal(state)) deliveriesTotal.inc({ channel_type: input.channelType, state });
  log.info('delivery.attempt', {
    organizationId: input.organizationId,
    eventId: member.eventId,
    eventType: member.eventType,
    deliveryId: member.deliveryId,
    destinationId: destination.id,
    channelType: input.channelType,
    runId: input.runId,
    workerId,
    lane: input.lane,
    trigger: member.trigger,
    attempt: member.attempt,
    latenessMs,
    outcome,
    statusCode,
    errorCode,
    durationMs,
    state,
    reason,
    nextAttemptAt: next.nextAttemptAt === null ? null : new Date(next.nextAttemptAt).toISOString(),
    possibleDuplicate: finished.possibleDuplicate,
  });
}
