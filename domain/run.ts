/**
 * A run is the workflow that owns 1-100 deliveries of one destination. Its id names its oldest delivery and how many runs that delivery
 * has been in, so that it can be derived from rows by whoever starts it.
 */
export interface RunKey {
  /** UUID. */
  deliveryId: string;
  /** From 1. */
  runSeq: number;
}

export function formatRunId({ deliveryId, runSeq }: RunKey): string {
  return `${deliveryId}.${runSeq}`;
}

/** @throws on anything that `formatRunId` does not make. */
export function parseRunId(runId: string): RunKey {
  const dot = runId.indexOf('.');
  const runSeq = Number(runId.slice(dot + 1));
  if (dot !== 36 || !Number.isInteger(runSeq) || runSeq < 1) throw new Error(`Not the id of a run: ${runId}`);
  return { deliveryId: runId.slice(0, dot), runSeq };
}
