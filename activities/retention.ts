import type { MikroORM } from '@mikro-orm/postgresql';
import { deleteClosedGroups } from '../db/queries/notice.ts';
import { reportLoop } from '../db/queries/relay.ts';
import { deleteFinishedDeliveries, deleteLeftovers } from '../db/queries/retention.ts';
import type { Logger } from '../log.ts';
import type { SweepInput, SweepResult } from '../workflows/messages.ts';

export interface RetentionDependencies {
  /** Pool of `tocsin_relay`. */
  relayOrm: MikroORM;
  workerId: string;
  deliveryRetentionDays: number;
  log: Logger;
}

const rowsPerTransaction = 5_000;
/** Then the workflow calls again, so that a long sweep shows progress and stops within one call. */
const maxMs = 20_000;
const dayMs = 86_400_000;

export function createRetentionActivities({ relayOrm, workerId, deliveryRetentionDays, log }: RetentionDependencies) {
  /** Deletes what is old enough, in short transactions. Repeating it is harmless. */
  async function sweepDeliveries(input: SweepInput): Promise<SweepResult> {
    const startedAt = Date.now();
    const before = new Date(startedAt - deliveryRetentionDays * dayMs);
    const limit = rowsPerTransaction;
    let { deleted, emptied } = input;
    let more = true;
    while (more && Date.now() - startedAt < maxMs) {
      const em = relayOrm.em.fork();
      const batch = await deleteFinishedDeliveries(em, { before, limit });
      deleted += batch.deleted;
      emptied += batch.emptied;
      more = batch.deleted === limit;
      while ((await deleteClosedGroups(em, { before, limit })) === limit);
      while ((await deleteLeftovers(em, { before, now: new Date(startedAt), limit })) >= limit);
    }
    const result: SweepResult = { deleted, emptied, more };
    await reportLoop(relayOrm.em.fork(), 'retention', workerId, { ...result, before: before.toISOString() });
    log.info('retention', { ...result, before: before.toISOString(), durationMs: Date.now() - startedAt });
    return result;
  }

  return { sweepDeliveries };
}
