import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { appendAudit } from '../db/audit-log.ts';
import { findUnfinished, finishAttempts, releaseFromRun, type FinishedAttempt } from '../db/queries/run.ts';
import { noteMessageEnds } from '../db/queries/escalation-message-end.ts';
import { releaseUpdates } from '../db/queries/escalation-update.ts';
import type { UnfinishedAttempt } from '../db/queries/relay.ts';
import { inOrganization } from '../db/tenant.ts';
import { interruptedAttempt, isPageFailing, settleAttempt } from '../domain/delivery.ts';
import { jitterFraction } from '../domain/hash.ts';
import { isCall } from '../domain/message.ts';
import { pagePolicy, type RetryConfiguration } from '../domain/retry.ts';
import type { Logger } from '../log.ts';
import type { UnownedDelivery } from '../db/queries/unowned.ts';
import { auditAttempt } from './delivery-audit.ts';
import { emptyAttempt } from './delivery.ts';
import type { Destinations } from './destination.ts';

export interface AbandonedDependencies {
  orm: MikroORM;
  destinations: Destinations;
  retry: RetryConfiguration;
  log: Logger;
}

/**
 * Closes attempts whose worker died as `interrupted` and takes their deliveries from their runs, so that a new run goes on at once: the old
 * one would notice only when its activity times out. An answer may have been lost, so the attempt is marked as a possible duplicate.
 */
export function createAbandonedCloser({ orm, destinations, retry, log }: AbandonedDependencies) {
  return async (attempts: readonly UnfinishedAttempt[]): Promise<UnownedDelivery[]> => {
    const freed: UnownedDelivery[] = [];
    for (const [organizationId, own] of Map.groupBy(attempts, (attempt) => attempt.organizationId)) {
      try {
        freed.push(...(await inOrganization(orm, organizationId, async (em) => close(em, organizationId, own))));
      } catch (error) {
        // One organization's trouble is not the others'; the next round tries again.
        log.error('relay', { step: 'abandoned', organizationId, error });
      }
    }
    return freed;
  };

  async function close(em: EntityManager, organizationId: string, attempts: readonly UnfinishedAttempt[]): Promise<UnownedDelivery[]> {
    const now = Date.now();
    const deliveries = await findUnfinished(em, organizationId, attempts);
    const closed = await Promise.all(
      deliveries.map(async (delivery) => {
        const { runId, destination } = delivery;
        const policy = await destinations.policyOf(em, organizationId, destination);
        const settlement = settleAttempt({
          progress: { ...delivery, acceptedAtMs: delivery.createdAt },
          result: interruptedAttempt,
          policy: isCall(delivery.page?.purpose ?? null) ? pagePolicy(destination.kind, policy.retryPolicy) : policy.retryPolicy,
          configuration: retry,
          u: jitterFraction(runId, delivery.attempt),
          nowMs: now,
        });
        const waits = settlement.state === 'retrying' ? settlement : undefined;
        const next = {
          state: settlement.state,
          schedulePos: settlement.schedulePos,
          attemptCount: delivery.attemptCount,
          interruptions: settlement.interruptions,
          rateLimits: settlement.rateLimits,
          nextAttemptAt: waits?.nextAttemptAtMs ?? null,
        };
        const finished: FinishedAttempt = {
          ...emptyAttempt,
          deliveryId: delivery.deliveryId,
          attempt: delivery.attempt,
          finishedAt: now,
          durationMs: Math.max(0, now - delivery.startedAt),
          outcome: interruptedAttempt.outcome,
          errorCode: 'interrupted',
          errorDetail: interruptedAttempt.detail ?? null,
          possibleDuplicate: true,
          nextDelayMs: waits?.nextDelayMs ?? null,
          scheduleConsumed: settlement.scheduleConsumed,
          next,
          // The relay, which runs this, tells the escalation with its next round.
          failing: delivery.page?.purpose === 'page' && isPageFailing(interruptedAttempt.outcome, next, now),
        };
        const input = { runId, organizationId, destinationId: destination.id, channelType: delivery.channelType };
        return { delivery, finished, audit: auditAttempt(input, { ...destination, name: policy.name }, delivery, finished) };
      }),
    );
    const finished = finishAttempts(
      organizationId,
      closed.map((one) => one.finished),
    );
    const { rows } = await finished.execute(em.getKysely());
    const states = new Map(rows.map(({ id, state }) => [id, state]));
    const taken = closed.filter(({ delivery }) => states.has(delivery.deliveryId));
    const entryIds = await appendAudit(
      em,
      taken.map(({ audit }) => audit),
    );
    const ended = taken.flatMap(({ delivery: { page, deliveryId } }, index) =>
      page === null ? [] : [{ deliveryId, auditEntryId: entryIds[index]! }],
    );
    if (ended.length > 0) {
      await noteMessageEnds(organizationId, ended).execute(em.getKysely());
      const ids = ended.map(({ deliveryId }) => deliveryId);
      await releaseUpdates(organizationId, ids, now).execute(em.getKysely());
    }
    return releaseFromRun(
      em,
      organizationId,
      taken.filter(({ delivery }) => states.get(delivery.deliveryId) === 'retrying').map(({ delivery }) => delivery.deliveryId),
    );
  }
}
