/** Local time read from `Intl` field by field, and changes of offset found by looking at every week: slow, plain, and none of domain/zone.ts. */

export interface Transition {
  at: number;
  before: number;
  after: number;
}

const weekMs = 7 * 86_400_000;
const formats = new Map<string, Intl.DateTimeFormat>();

/** What a clock in the zone shows, as `Date.UTC` of its fields, which are whole seconds. */
export function readClock(zone: string, at: number): number {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US-u-ca-gregory', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    formats.set(zone, format);
  }
  // 10/31/2027, 02:30:00
  const [month = 0, day = 0, year = 0, hour = 0, minute = 0, second = 0] = format.format(at).split(/\D+/).map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** Offsets in [from, to), as long as none lasts for less than a week. */
export class ReferenceZone {
  readonly transitions: Transition[] = [];
  private readonly first: number;

  constructor(zone: string, from: number, to: number) {
    const offset = (at: number): number => readClock(zone, at) - at;
    this.first = offset(from);
    for (let week = from; week < to; week += weekMs) {
      const before = offset(week);
      const after = offset(week + weekMs);
      if (before === after) continue;
      let [low, high] = [week, week + weekMs];
      while (high - low > 1_000) {
        const middle = Math.floor((low + high) / 2_000) * 1_000;
        if (offset(middle) === before) low = middle;
        else high = middle;
      }
      this.transitions.push({ at: high, before, after });
    }
  }

  offsetAt(at: number): number {
    return this.transitions.findLast((transition) => transition.at <= at)?.after ?? this.first;
  }

  /** The first instant at which the clock shows `wall` or later: the rule for times that are skipped or repeated. */
  resolve(wall: number): number {
    let start = -Infinity;
    let offset = this.first;
    for (const { at, after } of this.transitions) {
      if (wall - offset < at) break;
      start = at;
      offset = after;
    }
    return Math.max(start, wall - offset);
  }
}
