import type { MikroORM } from '@mikro-orm/postgresql';
import { WorkflowNotFoundError } from '@temporalio/client';
import {
  analyzeGrownTables,
  deleteExpiredKeys,
  deleteLeases,
  deleteOldTests,
  disownRun,
  findAttemptsOf,
  findDeadWorkers,
  findLostAttempts,
  findOverdueRuns,
  findOverdueSilences,
  findUnowned,
  findUnseenEscalations,
  findUnseenGroups,
  readBacklog,
  reportLoop,
  type UnfinishedAttempt,
} from '../db/queries/relay.ts';
import { type FailingEscalation, findFailingEscalations } from '../db/queries/failing-pages.ts';
import { releaseWaitingUpdates } from '../db/queries/escalation-update.ts';
import type { Logger } from '../log.ts';
import { wake, workflowIds } from '../workflows/messages.ts';
import type { TemporalClient } from './connection.ts';
import type { UnownedDelivery } from '../db/queries/unowned.ts';
import { createHush } from './hush.ts';
import type { EscalationStarter } from './escalation-starter.ts';
import type { GroupStarter } from './group-starter.ts';
import type { RunStarter } from './run-starter.ts';
import type { SilenceStarter } from './silence-starter.ts';

export interface RelayOptions {
  /** Pool of `tocsin_relay`. */
  orm: MikroORM;
  temporal: TemporalClient;
  starter: RunStarter;
  escalations: Pick<EscalationStarter, 'wake'>;
  silences: Pick<SilenceStarter, 'wake'>;
  groups: Pick<GroupStarter, 'wake'>;
  workerId: string;
  log: Logger;
  /** Tells escalations that pages of theirs reach nobody soon. */
  tellFailing: (failing: readonly FailingEscalation[]) => Promise<void>;
  /** Closes attempts that nobody will finish, and returns the deliveries that now need a run. */
  closeAbandoned: (attempts: readonly UnfinishedAttempt[]) => Promise<UnownedDelivery[]>;
}

export interface Relay {
  stop(): Promise<void>;
}

const everyMs = 1_000;
/** Younger ones are on their way from intake to a run. */
const unownedAfterMs = 2_000;
const overdueAfterMs = 10_000;
/** A run looked at and found running is not looked at again for this long. */
const recheckAfterMs = 30_000;
/** A workflow that was told to look is not told the same again for this long. */
const quietMs = 5_000;
const leaseMs = 5_000;
const attemptOverdueMs = 5_000;
/** Attempts lost by living workers are a fault of ours, not a crash: looking for them costs more than it brings each second. */
const lostEveryRounds = 10;
const describeDeadlineMs = 2_000;
const expiredKeysEveryRounds = 60;
const limits = {
  calls: 500,
  unowned: 5_000,
  overdue: 20,
  abandoned: 1_000,
  unseen: 5_000,
  failing: 200,
  silences: 100,
  updates: 1_000,
  groups: 100,
} as const;

/**
 * Makes true what the rows say. PostgreSQL holds the work, Temporal the clocks; whatever a crash, an outage or an operator's terminate left
 * without a clock gets one here, each second. Several relays side by side are harmless: starting, claiming and closing are conditional.
 */
export function startRelay(options: RelayOptions): Relay {
  const { orm, temporal, starter, escalations, silences, groups, workerId, log, closeAbandoned, tellFailing } = options;
  const checkedAt = new Map<string, number>();
  const [untoldEscalations, untoldSilences, untoldGroups] = [createHush(quietMs), createHush(quietMs), createHush(quietMs)];
  let rounds = 0;
  let stopped = false;
  let timer: NodeJS.Timeout;
  let round: Promise<void> = Promise.resolve();

  const startUnowned = async (): Promise<number> => {
    const calls = await findUnowned(orm.em.fork(), { afterMs: unownedAfterMs, limit: limits.calls, calls: true });
    starter.offer(calls);
    // What this process has not yet offered to Temporal is waiting here, not lost.
    if (starter.load().waiting > calls.length) return calls.length;
    const known = new Set(calls.map(({ id }) => id));
    const unowned = await findUnowned(orm.em.fork(), { afterMs: unownedAfterMs, limit: limits.unowned, calls: false });
    starter.offer(unowned.filter(({ id }) => !known.has(id)));
    return unowned.length;
  };

  const closeDead = async (): Promise<number> => {
    const em = orm.em.fork();
    // Whoever runs this is alive, even when it could not renew its lease.
    const dead = await findDeadWorkers(em, { leaseMs, except: workerId });
    const attempts = dead.length === 0 ? [] : await findAttemptsOf(em, dead, limits.abandoned);
    if (dead.length > 0 && attempts.length === 0) await deleteLeases(em, dead);
    if (rounds % lostEveryRounds === 0)
      attempts.push(...(await findLostAttempts(em, { overdueMs: attemptOverdueMs, limit: limits.abandoned })));
    if (attempts.length > 0) starter.offer(await closeAbandoned(attempts));
    return attempts.length;
  };

  const restartLost = async (): Promise<number> => {
    const now = Date.now();
    for (const [runId, at] of checkedAt) if (at < now - recheckAfterMs) checkedAt.delete(runId);
    const overdue = await findOverdueRuns(orm.em.fork(), { afterMs: overdueAfterMs, limit: limits.overdue + checkedAt.size });
    let lost = 0;
    for (const { organizationId, runId } of overdue.filter((run) => !checkedAt.has(run.runId)).slice(0, limits.overdue)) {
      const running = await isRunning(runId);
      checkedAt.set(runId, now);
      if (running) continue;
      lost += 1;
      starter.offer(await disownRun(orm.em.fork(), { organizationId, runId }));
    }
    return lost;
  };

  /** Escalations whose workflow has not seen their row, or does not do what is due: it may never have started, or be gone. */
  const wakeUnseen = async (): Promise<number> => {
    const unseen = await findUnseenEscalations(orm.em.fork(), { afterMs: unownedAfterMs, limit: limits.unseen });
    escalations.wake(untoldEscalations(unseen, Date.now()));
    return unseen.length;
  };

  /** Pages whose outcome was recorded and whose escalation was not told: whoever recorded it has died, or could not reach the database. */
  const tellUnseen = async (): Promise<number> => {
    const failing = await findFailingEscalations(orm.em.fork(), { afterMs: unownedAfterMs, limit: limits.failing });
    if (failing.length > 0) await tellFailing(failing);
    return failing.length;
  };

  const wakeSilences = async (): Promise<number> => {
    const overdue = await findOverdueSilences(orm.em.fork(), { afterMs: unownedAfterMs, limit: limits.silences });
    silences.wake(untoldSilences(overdue, Date.now()));
    return overdue.length;
  };

  /** Updates that waited for a page which ended without an attempt: cancelled with its destination, or by a person. */
  const releaseUpdates = async (): Promise<number> => {
    const released = await releaseWaitingUpdates(orm.em.fork(), limits.updates, Date.now());
    starter.offer(released);
    return released.length;
  };

  /** Groups whose workflow has not seen their plan, or has not run the tick that is due. */
  const wakeGroups = async (): Promise<number> => {
    const unseen = await findUnseenGroups(orm.em.fork(), { afterMs: unownedAfterMs, limit: limits.groups });
    groups.wake(untoldGroups(unseen, Date.now()));
    return unseen.length;
  };

  /** Also wakes it: the signal that said "look again" may have been lost. */
  const isRunning = async (runId: string): Promise<boolean> => {
    const handle = temporal.client.workflow.getHandle(workflowIds.deliver(runId));
    try {
      const { status } = await temporal.withDeadline(describeDeadlineMs, async () => handle.describe());
      if (status.name !== 'RUNNING') return false;
      await temporal.withDeadline(describeDeadlineMs, async () => handle.signal(wake));
      return true;
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false;
      throw error;
    }
  };

  /** A step that fails must not keep the others from being made: with Temporal down there is still much to do. */
  const attempt = async <T>(step: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      log.warn('relay', { step, error });
      return undefined;
    }
  };

  const tick = async (): Promise<void> => {
    const startedAt = performance.now();
    rounds += 1;
    const found = {
      abandoned: (await attempt('abandoned', closeDead)) ?? 0,
      unowned: (await attempt('unowned', startUnowned)) ?? 0,
      lost: (await attempt('lost', restartLost)) ?? 0,
      unseen: (await attempt('unseen', wakeUnseen)) ?? 0,
      failing: (await attempt('failing', tellUnseen)) ?? 0,
      silences: (await attempt('silences', wakeSilences)) ?? 0,
      updates: (await attempt('updates', releaseUpdates)) ?? 0,
      groups: (await attempt('groups', wakeGroups)) ?? 0,
    };
    await attempt('housekeeping', async () => {
      await deleteOldTests(orm.em.fork());
      if (rounds % expiredKeysEveryRounds === 0) await deleteExpiredKeys(orm.em.fork());
      await analyzeGrownTables(orm.em.fork());
    });
    await attempt('report', async () => {
      const backlog = await readBacklog(orm.em.fork());
      await reportLoop(orm.em.fork(), 'relay', workerId, { ...found, ...backlog });
      if (Object.values(found).some((count) => count > 0))
        log.info('relay', { ...found, ...backlog, durationMs: Math.round(performance.now() - startedAt) });
    });
  };
  const schedule = (): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      round = tick().finally(schedule);
    }, everyMs);
  };
  schedule();

  return {
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await round;
    },
  };
}
