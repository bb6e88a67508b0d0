import { totalmem } from 'node:os';

/** A workflow that waits costs so much, most of it the SDK's own: measured between 2,000 and 4,000 of them. */
const workflowBytes = 200 * 1024;
const [least, most] = [500, 20_000];

/**
 * How many workflows stay in memory between their tasks. One that does not is replayed from its history when something happens to it, which
 * more than doubles the lateness of its timer under load; so together they may take an eighth of what the machine has.
 */
export function cachedWorkflowsFor(memoryBytes: number): number {
  return Math.min(most, Math.max(least, Math.floor(memoryBytes / 8 / workflowBytes)));
}

/** Of the machine, or of the container around this process. Bytes. */
export function availableMemory(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
