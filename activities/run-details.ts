import type { DeliveryState } from '../domain/delivery.ts';
import { toWireId } from '../domain/id.ts';

/** A delivery of a run as the step left it. */
export interface MemberProgress {
  deliveryId: string;
  eventType: string;
  /** Number of its last attempt. */
  attempt: number;
  state: DeliveryState;
  /** Unix milliseconds. */
  nextAttemptAt: number | null;
  /** Of the last attempt: `http_503`. */
  failure: string | null;
}

const maxRows = 50;

/** What an operator reads in the Temporal Web UI: on the timer, and as the workflow's details. Ids and codes only, no address. */
export function describeMembers(first: MemberProgress, members: readonly MemberProgress[]): { summary: string; details: string } {
  const next = first.state === 'in_flight' ? `attempt ${first.attempt} is under way elsewhere` : `attempt ${first.attempt + 1}`;
  const rows = members
    .slice(0, maxRows)
    .map(
      ({ deliveryId, eventType, attempt, state, nextAttemptAt, failure }) =>
        `| ${toWireId('delivery', deliveryId)} | ${eventType} | ${state} | ${attempt} | ${failure ?? ''} | ${nextAttemptAt === null ? '' : new Date(nextAttemptAt).toISOString()} |`,
    );
  const more = members.length > maxRows ? [`and ${members.length - maxRows} more`] : [];
  return {
    summary: first.failure === null ? next : `${next}: ${first.failure}`,
    details: [
      '| delivery | event type | state | attempts | last failure | next attempt |',
      '|---|---|---|---|---|---|',
      ...rows,
      ...more,
    ].join('\n'),
  };
}
