/**
 * Leaves out what was let through less than `quietMs` ago and is still the same: a workflow that is slow to look gets slower by being told
 * each second.
 */
export function createHush(quietMs: number): <T extends object>(found: readonly T[], now: number) => T[] {
  const letThrough = new Map<string, number>();
  return (found, now) => {
    for (const [text, at] of letThrough) if (at <= now - quietMs) letThrough.delete(text);
    return found.filter((one) => {
      const text = JSON.stringify(one);
      if (letThrough.has(text)) return false;
      letThrough.set(text, now);
      return true;
    });
  };
}
