import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';

export interface SequencerLag {
  /** Entries that wait for their index, of all organizations; 100,001 stands for more. */
  readonly entries: number;
  /** Age of the oldest of them; 0 when none waits. */
  readonly oldestSeconds: number;
}

/** How far sequencing is behind. Any pool may ask. */
export async function readSequencerLag(em: EntityManager): Promise<SequencerLag> {
  const { rows } = await sql<{ entries: string; oldest_seconds: number }>`
    select entries, oldest_seconds from audit.sequencer_lag()`.execute(em.getKysely());
  return { entries: Number(rows[0]!.entries), oldestSeconds: Number(rows[0]!.oldest_seconds) };
}
