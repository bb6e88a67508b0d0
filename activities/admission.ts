/**
 * How many requests one destination gets from this process at once: 1 at first, doubled by every answer under a second up to the
 * destination's own limit, back to 1 for a minute after a timeout or a slow answer. So a destination that hangs holds one slot, not all.
 */
export interface Admission {
  /** A run that would only wait belongs in the slow lane, where waiting costs nobody else a slot. */
  admitsFast(): boolean;
  /** Runs `send` when there is room, in the order of the calls; what is `urgent` goes before what waits. */
  run<T extends { slow: boolean; durationMs: number }>(send: () => Promise<T>, urgent?: boolean): Promise<T>;
  isIdle(): boolean;
}

const quickMs = 1_000;
const slowMs = 2_000;
const cautiousForMs = 60_000;

export function createAdmission(limit: () => number, now: () => number): Admission {
  let window = 1;
  let inFlight = 0;
  let cautiousUntil = 0;
  let lastUsed = now();
  const waiting: Array<() => void> = [];

  const learn = ({ slow, durationMs }: { slow: boolean; durationMs: number }): void => {
    lastUsed = now();
    if (slow || durationMs > slowMs) {
      window = 1;
      cautiousUntil = lastUsed + cautiousForMs;
    } else if (durationMs < quickMs && lastUsed >= cautiousUntil) {
      window = Math.min(limit(), window * 2);
    }
  };
  const release = (): void => {
    inFlight -= 1;
    while (inFlight < Math.min(window, limit()) && waiting.length > 0) {
      inFlight += 1;
      waiting.shift()!();
    }
  };

  return {
    admitsFast: () => window > 1 || inFlight === 0,
    async run(send, urgent = false) {
      if (inFlight < Math.min(window, limit()) && waiting.length === 0) inFlight += 1;
      else await new Promise<void>((resolve) => (urgent ? waiting.unshift(resolve) : waiting.push(resolve)));
      try {
        const answer = await send();
        learn(answer);
        return answer;
      } finally {
        release();
      }
    },
    isIdle: () => inFlight === 0 && waiting.length === 0 && now() - lastUsed > cautiousForMs,
  };
}
