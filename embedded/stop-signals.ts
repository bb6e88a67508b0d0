/** Signals that ask a process to end. */

/**
 * Calls `stop` with the signal's name at the first SIGINT, SIGTERM or SIGHUP and `hurry` when one comes again after a second or more. Sooner is no
 * impatience: under npm a terminal's Ctrl-C arrives twice, once from the terminal and once passed on by npm.
 */
export function onStopSignals(stop: (signal: NodeJS.Signals) => void, hurry: () => void): void {
  let firstAtMs: number | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (firstAtMs === undefined) {
        firstAtMs = Date.now();
        stop(signal);
      } else if (Date.now() - firstAtMs > 1000) {
        hurry();
      }
    });
  }
}
