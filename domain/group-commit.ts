/** One caller's value with the way back to it. */
interface Waiting<T, R> {
  value: T;
  resolve: (result: R) => void;
  reject: (error: unknown) => void;
}

export interface GroupCommitOptions<T, R> {
  /** The most that one call of `run` gets, in values or by what `weigh` says of each; a heavier value goes alone. */
  maxSize: number;
  /** Default: each value weighs 1. */
  weigh?: (value: T) => number;
  /** How many calls of `run` may be under way at once. */
  inFlight: number;
  /** Gives one result per value, in order. When it throws, every caller of the group gets the error. */
  run: (values: T[]) => Promise<R[]>;
}

/**
 * Calls that arrive while `run` is busy go together into its next call. Nothing waits for a timer: a call that finds `run` idle goes at
 * once, by itself. The group grows by itself with the load, which is what makes it cheap under load and quick without.
 * (The group commit of DeWitt et al., "Implementation techniques for main memory database systems", 1984.)
 */
export function groupCommit<T, R>({ maxSize, weigh = () => 1, inFlight, run }: GroupCommitOptions<T, R>): (value: T) => Promise<R> {
  const waiting: Array<Waiting<T, R>> = [];
  let busy = 0;

  const commit = async (group: Array<Waiting<T, R>>): Promise<void> => {
    try {
      const results = await run(group.map(({ value }) => value));
      group.forEach(({ resolve }, i) => resolve(results[i] as R));
    } catch (error) {
      for (const { reject } of group) reject(error);
    } finally {
      busy -= 1;
      pump();
    }
  };
  const pump = (): void => {
    while (busy < inFlight && waiting.length > 0) {
      busy += 1;
      void commit(waiting.splice(0, sizeOfNext()));
    }
  };
  const sizeOfNext = (): number => {
    let size = 1;
    let weight = weigh(waiting[0]!.value);
    while (size < waiting.length && (weight += weigh(waiting[size]!.value)) <= maxSize) size += 1;
    return size;
  };
  return (value) =>
    new Promise((resolve, reject) => {
      waiting.push({ value, resolve, reject });
      // Whatever else becomes ready in this turn of the event loop joins the first group too.
      queueMicrotask(pump);
    });
}
