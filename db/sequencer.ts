/**
 * The sequencer: a loop that gives every committed audit entry its place in its organization's tree. Any number may run; one works at a
 * time. While none runs nothing is lost, entries wait in the queue.
 */
import type { MikroORM } from '@mikro-orm/postgresql';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import type { Logger } from '../log.ts';
import { auditSequencedTotal, loopLagSeconds, loopSeconds } from '../metrics.ts';
import { sequenceOnce } from './audit-round.ts';
import { readSequencerLag, type SequencerLag } from './queries/audit-lag.ts';
import { DamagedTreeError, type GrowingTree, loadTrees, readTreeRow, type StoredTree } from './audit-tree.ts';

export interface SequencerOptions {
  /** Opened as `tocsin_sequencer`. */
  orm: MikroORM;
  log: Logger;
  /** Host name under which new trees are named, for ever. Default: a name that says it is nobody's, with the installation's id. */
  auditHost?: string;
  /** Told every few seconds how it goes, unless another sequencer did the work. */
  report?: (report: SequencerReport) => Promise<void>;
}

export type SequencerReport = {
  /** Entries and rounds since the last report. */
  readonly sequenced: number;
  readonly rounds: number;
  /** Entries that still wait; 100,001 stands for more. */
  readonly waiting: number;
  readonly oldestSeconds: number;
  /** Organizations whose tree is damaged. */
  readonly refused: number;
};

export interface Sequencer {
  start(): void;
  /** Resolves when the round under way has ended. */
  stop(): Promise<void>;
  lag(): Promise<SequencerLag>;
  /** Organizations whose tree is damaged: their entries wait until the tree is repaired and the process is started again. */
  refused(): readonly string[];
}

/** A full tile's worth is sequenced at once; less waits for company, because a round costs the same for one entry as for a hundred. */
const flushEntries = 256;
const flushMs = 50;
const idleMs = 250;
const reportMs = 5_000;
const logMs = 60_000;
const partitionMs = 3_600_000;
/** Audit partitions are kept three months ahead of the current one. */
const partitionMonths = 3;
const treesKept = 10_000;
const treesLoaded = 200;

export function createSequencer({ orm, log, auditHost, report }: SequencerOptions): Sequencer {
  const stopping = new AbortController();
  const known = new Map<string, GrowingTree>();
  const refused = new Set<string>();
  let running: Promise<void> | undefined;
  let originBase: string | undefined;
  let partitionsAt = Number.NEGATIVE_INFINITY;
  let reportedAt = performance.now();
  let loggedAt = performance.now();
  let worked = { sequenced: 0, rounds: 0, locked: false };
  let logged = { sequenced: 0, rounds: 0 };

  const refuse = (error: DamagedTreeError): void => {
    refused.add(error.orgId);
    known.delete(error.orgId);
    log.error('sequencer', { organizationId: error.orgId, outcome: 'refused', error });
  };
  const remember = (trees: readonly GrowingTree[]): void => {
    for (const tree of trees) {
      known.delete(tree.orgId); // so that the oldest in the map is the one not used for longest
      known.set(tree.orgId, tree);
    }
    for (const orgId of known.keys()) {
      if (known.size <= treesKept) break;
      known.delete(orgId);
    }
  };

  const transactional = <T>(work: (db: Kysely<unknown>) => Promise<T>): Promise<T> =>
    orm.em.fork().transactional((em) => work(em.getKysely<unknown>()));

  /** Every tree is rebuilt once before the first round, so that damage is known before anything is built on it. */
  const verifyTrees = async (): Promise<void> => {
    let after = '0';
    for (let more = true; more && !stopping.signal.aborted;) {
      const rows = await transactional(async (db) => {
        const chunk = await sql<StoredTree>`
          select tree_id, org_id, size, root_hash, chain_hash from audit.tree
          where tree_id > ${after}::bigint and frozen_at is null order by tree_id limit ${treesLoaded} for update`.execute(db);
        const { trees, damaged } = await loadTrees(db, chunk.rows.map(readTreeRow));
        remember(trees);
        damaged.forEach(refuse);
        return chunk.rows;
      });
      more = rows.length === treesLoaded;
      after = rows.at(-1)?.tree_id ?? after;
    }
  };

  /** @returns how long to wait before the next round, in milliseconds */
  const round = async (): Promise<number> => {
    const startedAt = performance.now();
    originBase ??= `${auditHost ?? (await defaultHost())}/tlog`;
    const base = originBase;
    try {
      const result = await transactional((db) => sequenceOnce(db, { known, refused: [...refused], originBase: base }));
      remember(result.trees);
      worked.locked ||= result.locked;
      if (result.sequenced > 0) {
        worked.rounds += 1;
        worked.sequenced += result.sequenced;
        auditSequencedTotal.inc(result.sequenced);
        loopSeconds.observe({ loop: 'sequencer', outcome: 'done' }, (performance.now() - startedAt) / 1000);
      }
      if (result.sequenced >= flushEntries) return 0;
      return result.sequenced > 0 ? flushMs : idleMs;
    } catch (error) {
      loopSeconds.observe({ loop: 'sequencer', outcome: 'failed' }, (performance.now() - startedAt) / 1000);
      if (!(error instanceof DamagedTreeError)) throw error;
      refuse(error);
      return 0;
    }
  };

  const defaultHost = async (): Promise<string> => {
    const { rows } = await transactional((db) => sql<{ id: string }>`select id from audit.installation`.execute(db));
    return `tocsin.invalid/${rows[0]!.id}`;
  };

  const ensurePartitions = async (): Promise<void> => {
    if (performance.now() - partitionsAt < partitionMs) return;
    partitionsAt = performance.now();
    const { rows } = await transactional((db) =>
      sql<{ made: number }>`select audit.ensure_partitions(${partitionMonths}) as made`.execute(db),
    );
    if (rows[0]!.made > 0) log.info('sequencer', { outcome: 'partitions', made: rows[0]!.made });
  };

  const readLag = async (): Promise<SequencerLag> => {
    const lag = await readSequencerLag(orm.em.fork());
    loopLagSeconds.set({ loop: 'sequencer' }, lag.oldestSeconds);
    return lag;
  };

  const tellProgress = async (): Promise<void> => {
    if (performance.now() - reportedAt < reportMs) return;
    reportedAt = performance.now();
    const { sequenced, rounds, locked } = worked;
    worked = { sequenced: 0, rounds: 0, locked: false };
    logged = { sequenced: logged.sequenced + sequenced, rounds: logged.rounds + rounds };
    if (!locked) return;
    const { entries: waiting, oldestSeconds } = await readLag();
    await report?.({ sequenced, rounds, waiting, oldestSeconds, refused: refused.size });
    if (performance.now() - loggedAt < logMs || logged.rounds === 0) return;
    loggedAt = performance.now();
    log.info('sequencer', { outcome: 'done', ...logged, waiting, oldestSeconds });
    logged = { sequenced: 0, rounds: 0 };
  };

  const loop = async (): Promise<void> => {
    let verified = false;
    while (!stopping.signal.aborted) {
      let waitMs = 1_000;
      try {
        if (!verified) await verifyTrees();
        verified = true;
        await ensurePartitions();
        waitMs = await round();
        await tellProgress();
      } catch (error) {
        if (!stopping.signal.aborted) log.error('sequencer', { outcome: 'failed', error: error instanceof Error ? error : undefined });
      }
      if (waitMs > 0) await sleep(waitMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  };

  return {
    start() {
      running ??= loop();
    },
    async stop() {
      stopping.abort();
      await running;
    },
    lag: readLag,
    refused: () => [...refused],
  };
}
