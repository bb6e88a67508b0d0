import { sha256Hex } from './hash.ts';
import { type MatchedEvent, valueOf } from './rule.ts';

/** What events can be grouped by, besides `label.<name>`. */
export const groupByKeys = ['type', 'category', 'projectId', 'environment', 'source', 'resource.id', 'dedupKey', 'groupKey'] as const;

export function isGroupByKey(key: string): boolean {
  return (groupByKeys as readonly string[]).includes(key) || /^label\.[A-Za-z0-9_.\-/]{1,64}$/.test(key);
}

/** The event's values of `groupBy`, in its order; what the event does not have is the empty text. */
export function groupValues(groupBy: readonly string[], event: MatchedEvent): string[] {
  return groupBy.map((key) => valueOf(key, event));
}

/**
 * Same group: events with equal values under one rule or policy, whose UUID `ownerId` is. Hex of SHA-256. A list of texts is its own
 * canonical JSON (RFC 8785), and as a list two values cannot run into each other.
 */
export function deriveGroupKey(ownerId: string, groupBy: readonly string[], event: MatchedEvent): string {
  return sha256Hex(JSON.stringify([ownerId, groupValues(groupBy, event)]));
}
