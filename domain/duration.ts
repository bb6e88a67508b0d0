/** ISO 8601 durations of a fixed length, as milliseconds: weeks, days of 24 hours, hours, minutes, seconds. */

const pattern = /^P(?=\d|T\d)(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d{1,3})?)S)?)?$/;

/** Milliseconds; undefined when `text` is none. A year or month has no fixed length and is refused. */
export function parseDuration(text: string): number | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [weeks = 0, days = 0, hours = 0, minutes = 0, seconds = 0] = match.slice(1).map((part) => Number(part ?? 0));
  return Math.round((((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60_000 + seconds * 1000);
}

/** The one way to write a duration: `PT10M`, `PT1H30M`, `P7D`, `PT0S`. `ms` is a whole number, not negative. */
export function formatDuration(ms: number): string {
  const days = Math.floor(ms / 86_400_000);
  const hours = Math.floor(ms / 3_600_000) % 24;
  const minutes = Math.floor(ms / 60_000) % 60;
  const seconds = (ms % 60_000) / 1000;
  const time = [hours > 0 ? `${hours}H` : '', minutes > 0 ? `${minutes}M` : '', seconds > 0 ? `${seconds}S` : ''].join('');
  if (days === 0) return `PT${time === '' ? '0S' : time}`;
  return `P${days}D${time === '' ? '' : `T${time}`}`;
}

/**
 * The least duration that is accepted where the rules state one of a minute or more: `minIntervalMs`, by which an operator lowers all of
 * them (for tests and demos) or raises those below it.
 */
export function leastDuration(statedMs: number, minIntervalMs: number): number {
  return minIntervalMs < 60_000 ? Math.min(statedMs, minIntervalMs) : Math.max(statedMs, minIntervalMs);
}
