import { type RawBuilder, sql } from 'kysely';
import type { DatabaseFacts } from '../failure.ts';

/** Fails when one of these deliveries is cancelled by now: for a transaction that is sent in one piece, prepared hoping that none is. */
export function assertNoneCancelled(ids: readonly string[]): RawBuilder<unknown> {
  return sql`select assert_none_cancelled(${ids}::uuid[])`;
}

/** Whether that is what failed. */
export function isCancelled({ code }: DatabaseFacts): boolean {
  return code === 'TR003';
}
