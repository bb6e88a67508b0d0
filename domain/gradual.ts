/** Work in pieces of a few microseconds each: whoever runs it may do something else between two of them. */
export type Gradual<T> = Generator<undefined, T, undefined>;

/** Runs it to its end, at once. */
export function complete<T>(work: Gradual<T>): T {
  for (;;) {
    const piece = work.next();
    if (piece.done === true) return piece.value;
  }
}
