/** A column of byte strings, as one binary parameter and where each string lies in it. */
export interface ByteColumn {
  bytes: Buffer;
  /** Counted from 1, as SQL's `substring` does. */
  starts: number[];
  /** Null: no byte string, which `substring` passes on. */
  lengths: Array<number | null>;
}

/**
 * For `substring(bytes from start for length)`: pg would send an array of byte strings as escaped hexadecimal text, at more than twice the
 * size, and PostgreSQL would parse it again.
 */
export function packBytes(values: ReadonlyArray<Uint8Array | null>): ByteColumn {
  let start = 1;
  const starts = values.map((value) => {
    const own = start;
    start += value?.length ?? 0;
    return own;
  });
  return {
    bytes: Buffer.concat(values.filter((value) => value !== null)),
    starts,
    lengths: values.map((value) => value?.length ?? null),
  };
}
