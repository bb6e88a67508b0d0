import { dayMs, offsetAt, resolveWall } from './zone.ts';

/** [start, end) in Unix milliseconds. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** When the digests of one contact method come. */
export interface DigestTimes {
  /** Divides a day. */
  readonly intervalMs: number;
  /** IANA; of the person. */
  readonly timeZone: string;
  /** `HH:MM`, for a digest a day. */
  readonly dailyAt: string;
}

const hourMs = 3_600_000;

/**
 * The window that takes in what was accepted at `at`. Windows tile the line: those of less than an hour are those of UTC, longer ones begin
 * when clocks in the zone first show a multiple of the interval, or `dailyAt`. What a clock skips leaves out windows, what it repeats makes
 * one longer.
 */
export function digestSpanAt({ intervalMs, timeZone, dailyAt }: DigestTimes, at: number): Span {
  if (intervalMs < hourMs) return fixedSpanAt(intervalMs, at);
  const phase = intervalMs === dayMs ? Number(dailyAt.slice(0, 2)) * hourMs + Number(dailyAt.slice(3)) * 60_000 : 0;
  const boundary = (n: number): number => resolveWall(n * intervalMs + phase, timeZone);
  // Every interval divides a day, so that the grid of local time is the same one each day.
  let n = Math.floor((at + offsetAt(timeZone, at) - phase) / intervalMs);
  while (boundary(n) > at) n -= 1;
  while (boundary(n + 1) <= at) n += 1;
  return { start: boundary(n), end: boundary(n + 1) };
}

/** The window of UTC's grid. */
export function fixedSpanAt(intervalMs: number, at: number): Span {
  const start = Math.floor(at / intervalMs) * intervalMs;
  return { start, end: start + intervalMs };
}
