/**
 * Time zones by `Intl.DateTimeFormat` alone. Local time is a number too, *wall milliseconds*: what `Date.UTC` makes of the fields that a
 * clock on the wall shows, so that local dates and times are added and compared like instants.
 */

/** What a clock on the wall shows. */
export interface WallTime {
  year: number;
  /** 1 to 12. */
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
  millisecond: number;
  /** ISO 8601: 1 is Monday, 7 Sunday. */
  weekday: number;
}

/** Local minus universal time is `offset` milliseconds for all instants of [start, end), which need not be the longest such span. */
export interface OffsetSpan {
  offset: number;
  start: number;
  end: number;
}

export const dayMs = 86_400_000;

/** No offset was ever larger; the largest, Manila's of 1844, is 15:56:08. */
const largestOffsetMs = 16 * 3_600_000;

/**
 * Offsets are remembered per chunk of this length (2.9 days). No zone ever changed its offset twice within so short a time (the least is
 * 3.99 days, Freetown in 1939), so a chunk has at most one change, and it shows at the chunk's ends.
 */
const chunkMs = 250_000_000;

/** 32 years of chunks; whoever asks for more starts anew. */
const chunksPerZone = 4_096;

/** The tz database has some 600 names, and `Intl` takes them in any case. */
const zonesRemembered = 1_000;

/** Short names that the tz database has. ICU knows more of them, which are ambiguous: its IST is India's, its CST is Chicago's. */
const shortNames = ['CET', 'EET', 'EST', 'GB', 'GMT', 'HST', 'MET', 'MST', 'NZ', 'PRC', 'ROC', 'ROK', 'UCT', 'UTC', 'WET'];

/** Whether `text` names a zone of the IANA database (in any case, links included); offsets such as `+01:00` do not. */
export function isTimeZone(text: string): boolean {
  if (!/^[a-z][a-z0-9_+/-]*$/i.test(text) || /^systemv\//i.test(text)) return false;
  if (text.length <= 3 && !shortNames.includes(text.toUpperCase())) return false;
  try {
    zoneNamed(text);
    return true;
  } catch {
    return false;
  }
}

/** Local minus universal time in milliseconds. @throws RangeError when there is no such zone, or on an instant that Date cannot hold */
export function offsetAt(zone: string, at: number): number {
  const chunk = chunkAt(zoneNamed(zone), Math.floor(at / chunkMs));
  return at < chunk.changesAt ? chunk.before : chunk.after;
}

/** The offset at an instant with a span around it; consecutive spans tile the line. Fails like `offsetAt`. */
export function offsetSpanAt(zone: string, at: number): OffsetSpan {
  const index = Math.floor(at / chunkMs);
  const { before, changesAt, after } = chunkAt(zoneNamed(zone), index);
  const start = index * chunkMs;
  const end = start + chunkMs;
  return at < changesAt ? { offset: before, start, end: Math.min(changesAt, end) } : { offset: after, start: changesAt, end };
}

/** The first instant in (after, until] from which the zone has another offset than just before; null: there is none. */
export function nextTransition(zone: string, after: number, until: number): number | null {
  let span = offsetSpanAt(zone, after);
  while (span.end <= until) {
    const next = offsetSpanAt(zone, span.end);
    if (next.offset !== span.offset) return next.start;
    span = next;
  }
  return null;
}

export function wallTimeAt(zone: string, at: number): WallTime {
  const date = new Date(at + offsetAt(zone, at));
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
    second: date.getUTCSeconds(),
    millisecond: date.getUTCMilliseconds(),
    weekday: date.getUTCDay() === 0 ? 7 : date.getUTCDay(),
  };
}

/**
 * The instant at which clocks in the zone first show `wall` (wall milliseconds) or later. A time that they skip is thereby the first
 * instant after the gap, a time that they repeat is its first occurrence, and a later time is never an earlier instant.
 * @returns Unix milliseconds. Fails like `offsetAt`
 */
export function resolveWall(wall: number, zone: string): number {
  let span = offsetSpanAt(zone, wall - largestOffsetMs);
  // local time grows steadily within a span, so the earliest span that reaches `wall` has the answer
  while (wall - span.offset >= span.end) span = offsetSpanAt(zone, span.end);
  return Math.max(span.start, wall - span.offset);
}

/** Wall milliseconds of a local `YYYY-MM-DDTHH:MM` from 1900 to 2999; undefined for another form, and for a date or time that no calendar has. */
export function parseWall(text: string): number | undefined {
  if (!/^(?:19|2\d)\d\d-\d\d-\d\dT\d\d:\d\d$/.test(text)) return undefined;
  const wall = Date.parse(`${text}Z`);
  // Date.parse makes March out of the 30th of February, and the next day out of 24:00
  return !Number.isNaN(wall) && new Date(wall).toISOString().startsWith(text) ? wall : undefined;
}

interface Chunk {
  /** The offset at the chunk's start. */
  before: number;
  /** Infinity: the offset does not change in this chunk. */
  changesAt: number;
  /** The offset at the start of the next chunk. */
  after: number;
}

interface Zone {
  format: Intl.DateTimeFormat;
  chunks: Map<number, Chunk>;
}

const zones = new Map<string, Zone>();

function zoneNamed(name: string): Zone {
  const known = zones.get(name);
  if (known !== undefined) return known;
  const format = new Intl.DateTimeFormat('en-US', { timeZone: name, year: 'numeric', timeZoneName: 'longOffset' });
  if (zones.size >= zonesRemembered) zones.clear();
  const zone = { format, chunks: new Map<number, Chunk>() };
  zones.set(name, zone);
  return zone;
}

function chunkAt(zone: Zone, index: number): Chunk {
  const known = zone.chunks.get(index);
  if (known !== undefined) return known;
  const start = index * chunkMs;
  const before = zone.chunks.get(index - 1)?.after ?? readOffset(zone, start);
  const after = zone.chunks.get(index + 1)?.before ?? readOffset(zone, start + chunkMs);
  const changesAt = before === after ? Infinity : findChange(zone, start, before);
  if (zone.chunks.size >= chunksPerZone) zone.chunks.clear();
  const chunk = { before, changesAt, after };
  zone.chunks.set(index, chunk);
  return chunk;
}

/** The instant, a whole second, at which the zone leaves the offset that it has at a chunk's start, by bisection. */
function findChange(zone: Zone, start: number, before: number): number {
  let last = start;
  let first = start + chunkMs;
  while (first - last > 1_000) {
    const middle = last + Math.floor((first - last) / 2_000) * 1_000;
    if (readOffset(zone, middle) === before) last = middle;
    else first = middle;
  }
  return first;
}

/** Reads `2026, GMT+05:30`, `1970, GMT-00:44:30` or `2026, GMT`: the one form of `Intl` with seconds, and without days, hours or eras to undo. */
function readOffset({ format }: Zone, at: number): number {
  const text = format.format(at);
  const match = /GMT(?:(\D)(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(text);
  if (match === null) throw new Error(`Intl.DateTimeFormat gave an offset of an unknown form: ${text}`);
  const [, sign = '+', hours = '0', minutes = '0', seconds = '0'] = match;
  return (sign === '+' ? 1_000 : -1_000) * (Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds));
}
