import type { MikroORM } from '@mikro-orm/postgresql';
import type { RawBuilder } from 'kysely';
import { appendAudit, auditStatements } from '../db/audit-log.ts';
import { databaseFacts, isTransient } from '../db/failure.ts';
import { pipelineInOrganization } from '../db/pipeline.ts';
import { assertNoneCancelled, isCancelled } from '../db/queries/delivery-cancelled.ts';
import { noteMessageEnds } from '../db/queries/escalation-message-end.ts';
import { releaseUpdates } from '../db/queries/escalation-update.ts';
import { disableDestination, type DisabledDestination } from '../db/queries/destination.ts';
import {
  beginRuns,
  finishAttempts,
  readBegun,
  type BeginRun,
  type BegunRow,
  type DestinationMark,
  type FinishedAttempt,
  type FinishedDelivery,
  type RunMember,
} from '../db/queries/run.ts';
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
  /** What it makes of its delivery concerns an escalation. */
  ofEscalation: boolean;
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
        const [rows] = await pipelineInOrganization(orm, organizationId, [
          beginRuns(organizationId, runs, { now: Date.now(), timeoutMs, workerId }),
        ]);
        const members = readBegun(rows as BegunRow[]);
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
        const rows = await recordTogether(organizationId, records);
        const states = new Map(rows.map(({ id, state }) => [id, state]));
        return groups.map(() => states);
      },
    });

  /** An entry names the state that its delivery takes: these are written hoping that nobody has cancelled what is to be tried again. */
  const recordAtOnce = async (organizationId: string, records: readonly AttemptRecord[]): Promise<FinishedDelivery[]> => {
    const retried = records.filter(({ finished }) => finished.next.state === 'retrying').map(({ finished }) => finished.deliveryId);
    const audit = auditStatements(records.map((one) => one.audit));
    const consequences = consequencesOf(organizationId, records, audit.ids);
    try {
      const [rows] = await pipelineInOrganization(orm, organizationId, [
        finishAttempts(organizationId, records.map(finishedOf)),
        ...(retried.length === 0 ? [] : [assertNoneCancelled(retried)]),
        ...consequences,
        ...audit.statements,
      ]);
      return rows as FinishedDelivery[];
    } catch (error) {
      if (isCancelled(databaseFacts(error))) return recordInSteps(organizationId, records);
      throw error;
    }
  };

  const recordInSteps = async (organizationId: string, records: readonly AttemptRecord[]): Promise<FinishedDelivery[]> =>
    inOrganization(orm, organizationId, async (em) => {
      const { rows } = await finishAttempts(organizationId, records.map(finishedOf)).execute(em.getKysely());
      const states = new Map(rows.map(({ id, state }) => [id, state]));
      const drafts = records.map((one) => auditIn(one, states.get(one.finished.deliveryId)));
      for (const { disable } of records)
        if (disable !== undefined) drafts.push(...(await disableDestination(em, { ...disable, organizationId })));
      const entryIds = await appendAudit(em, drafts);
      for (const statement of consequencesOf(organizationId, records, entryIds)) await statement.execute(em.getKysely());
      return rows;
    });

  /** One record that cannot be written must not keep the others from being written: what fails together is written alone. */
  const recordTogether = async (organizationId: string, records: readonly AttemptRecord[]): Promise<FinishedDelivery[]> => {
    try {
      return await untilRecorded(organizationId, records);
    } catch (error) {
      if (records.length > 1) return (await Promise.all(records.map(async (one) => recordTogether(organizationId, [one])))).flat();
      // The relay closes the attempt when its time is up.
      log.error('delivery.record', { organizationId, deliveryId: records[0]?.finished.deliveryId, error });
      return [];
    }
  };

  const untilRecorded = async (organizationId: string, records: readonly AttemptRecord[]): Promise<FinishedDelivery[]> => {
    for (let waitMs = retryFromMs; ; waitMs = Math.min(retryToMs, waitMs * 2)) {
      try {
        return await (records.some(({ disable }) => disable) ? recordInSteps : recordAtOnce)(organizationId, records);
      } catch (error) {
        if (!isTransient(databaseFacts(error))) throw error;
        log.warn('delivery.record', { error, retryInMs: waitMs });
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  };

  return {
    begin: async (organizationId, run) => groupOf(begins, organizationId, beginGroup)(run),
    finish: async (organizationId, records) => groupOf(finishes, organizationId, finishGroup)(records),
  };
}

/**
 * What an outcome means to the escalation that sent the message, committed with it. (That a page will reach nobody is told afterwards: it
 * takes locks that come before those of deliveries.) Updates that are due now are the relay's to start.
 * @param entryIds of the attempts' audit entries, in their order
 */
function consequencesOf(
  organizationId: string,
  records: readonly AttemptRecord[],
  entryIds: readonly string[],
): Array<RawBuilder<unknown>> {
  const ended = records.flatMap(({ ofEscalation, finished: { deliveryId } }, index) =>
    ofEscalation ? [{ deliveryId, auditEntryId: entryIds[index] ?? null }] : [],
  );
  if (ended.length === 0) return [];
  const ids = ended.map(({ deliveryId }) => deliveryId);
  return [noteMessageEnds(organizationId, ended), releaseUpdates(organizationId, ids, Date.now())];
}

function finishedOf({ finished }: AttemptRecord): FinishedAttempt {
  return finished;
}

/** The entry as it is when the attempt left its delivery in `state`; undefined: another attempt decides that. */
function auditIn({ audit }: AttemptRecord, state: DeliveryState | undefined): AuditDraft {
  return state === undefined ? audit : { ...audit, details: { ...audit.details, state } };
}

function groupOf<G>(groups: Map<string, G>, organizationId: string, create: (organizationId: string) => G): G {
  let group = groups.get(organizationId);
  if (group === undefined) groups.set(organizationId, (group = create(organizationId)));
  return group;
}
