import { defineEntity, p } from '@mikro-orm/core';

/** One row per worker process. Unrenewed for 5 s by the database's clock means dead: its unfinished attempts are closed as interrupted. */
export const WorkerLeaseEntity = defineEntity({
  name: 'WorkerLease',
  tableName: 'worker_lease',
  properties: {
    workerId: p.uuid().primary(),
    /** The data directory's lock that the process holds; a successor on it ends this lease at once. */
    instance: p.text().nullable(),
    startedAt: p.datetime(3),
    renewedAt: p.datetime(3),
  },
});
