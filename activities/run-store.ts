import type { MikroORM } from '@mikro-orm/postgresql';
import { appendAudit } from '../db/audit-log.ts';
import { disableDestination, type DisabledDestination } from '../db/queries/destination.ts';
import { beginRuns, type BeginRun, type DestinationMark, finishAttempts, type FinishedAttempt, type RunMember } from '../db/queries/run.ts';
import { inOrganization } from '../db/tenant.ts';
import type { AuditDraft } from '../domain/audit/entry.ts';
import type { DeliveryState } from '../domain/delivery.ts';
import { groupCommit } from '../domain/group-commit.ts';
import type { Logger } from '../log.ts';

export interface RunStoreOptions {
  orm: MikroORM;
  workerId: string;
  log: Logger;
}

export type BegunMember = RunMember & { destination: DestinationMark | null };

/** One answered attempt with what is written beside it. */
export interface AttemptRecord {
  finished: FinishedAttempt;
  audit: AuditDraft;
  /** The receiver wants nothing more. */
  disable?: Omit<DisabledDestination, 'organizationId'> | undefined;
}

export interface RunStore {
  /** Begins what is due in a run; returns all its open members. */
  begin(organizationId: string, run: BeginRun & { timeoutMs: number }): Promise<BegunMember[]>;
  /**
   * Records answers and their audit entries in one transaction. While the database is away it keeps trying: an answer that came is only lost
   * with the process. @returns the state that each delivery took.
   */
  finish(organizationId: string, records: readonly AttemptRecord[]): Promise<Map<string, DeliveryState>>;
}

const retryFromMs = 250;
const retryToMs = 4_000;

/** Begins and finishes of one organization that come together share a transaction. */
export function createRunStore({ orm, workerId, log }: RunStoreOptions): RunStore {
  const begins = new Map<string, (run: BeginRun & { timeoutMs: number }) => Promise<BegunMember[]>>();
  const finishes = new Map<string, (records: readonly AttemptRecord[]) => Promise<Map<string, DeliveryState>>>();

  const beginGroup = (organizationId: string) =>
    groupCommit({
      maxSize: 50,
      inFlight: 2,
      run: async (runs: Array<BeginRun & { timeoutMs: number }>) => {
        const timeoutMs = Math.max(...runs.map((run) => run.timeoutMs));
        const members = await inOrganization(orm, organizationId, async (em) =>
          beginRuns(em, organizationId, runs, { now: Date.now(), timeoutMs, workerId }),
        );
        return runs.map(({ runId }) => members.filter((member) => member.runId === runId));
      },
    });

  const finishGroup = (organizationId: string) =>
    groupCommit({
      maxSize: 500,
      weigh: (records: readonly AttemptRecord[]) => records.length,
      inFlight: 2,
      run: async (groups: Array<readonly AttemptRecord[]>) => {
        const records = groups.flat();
        const states = await untilRecorded(async () =>
          inOrganization(orm, organizationId, async (em) => {
            const states = await finishAttempts(
              em,
              organizationId,
              records.map(({ finished }) => finished),
            );
            const drafts = records.map(({ audit }) => audit);
            for (const { disable } of records)
              if (disable !== undefined) drafts.push(...(await disableDestination(em, { ...disable, organizationId })));
            await appendAudit(em, drafts);
            return states;
          }),
        );
        return groups.map(() => states);
      },
    });

  const untilRecorded = async <T>(write: () => Promise<T>): Promise<T> => {
    for (let waitMs = retryFromMs; ; waitMs = Math.min(retryToMs, waitMs * 2)) {
      try {
        return await write();
      } catch (error) {
        log.error('delivery.record', { error, retryInMs: waitMs });
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  };

  return {
    begin: async (organizationId, run) => groupOf(begins, organizationId, beginGroup)(run),
    finish: async (organizationId, records) => groupOf(finishes, organizationId, finishGroup)(records),
  };
}

function groupOf<G>(groups: Map<string, G>, organizationId: string, create: (organizationId: string) => G): G {
  let group = groups.get(organizationId);
  if (group === undefined) groups.set(organizationId, (group = create(organizationId)));
  return group;
}
