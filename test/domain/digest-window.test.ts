import { describe, expect, test } from '@jest/globals';
import { digestSpanAt, type DigestTimes } from '../../domain/digest-window.ts';
import { nextTransition } from '../../domain/zone.ts';
import { ReferenceZone } from './reference-clock.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

const instant = (text: string) => Date.parse(text);
const show = ({ start, end }: { start: number; end: number }) => `${new Date(start).toISOString()} ${new Date(end).toISOString()}`;

/** The windows from `from` on, until one begins at or after `to`. */
function windows(times: DigestTimes, from: string, to: string): string[] {
  const found: string[] = [];
  for (let at = instant(from); at < instant(to);) {
    const span = digestSpanAt(times, at);
    found.push(show(span).replaceAll(':00.000Z', 'Z'));
    at = span.end;
  }
  return found;
}

describe('a window', () => {
  const times = (minutes: number, timeZone = 'UTC', dailyAt = '09:00') => ({ intervalMs: minutes * minute, timeZone, dailyAt });

  test('begins at its first millisecond and ends before the next one’s', () => {
    const first = '2026-11-21T12:15:00.000Z 2026-11-21T12:30:00.000Z';
    for (const at of ['2026-11-21T12:15:00.000Z', '2026-11-21T12:29:59.999Z'])
      expect(show(digestSpanAt(times(15), instant(at)))).toBe(first);
    expect(show(digestSpanAt(times(15), instant('2026-11-21T12:30:00.000Z')))).toBe('2026-11-21T12:30:00.000Z 2026-11-21T12:45:00.000Z');
  });

  test('of less than an hour is of UTC’s grid, whatever the zone', () => {
    expect(windows(times(20, 'Asia/Kathmandu'), '2026-11-21T12:05:00Z', '2026-11-21T12:45:00Z')).toEqual([
      '2026-11-21T12:00Z 2026-11-21T12:20Z',
      '2026-11-21T12:20Z 2026-11-21T12:40Z',
      '2026-11-21T12:40Z 2026-11-21T13:00Z',
    ]);
  });

  test('of hours is counted from local midnight', () => {
    // UTC+05:45
    expect(windows(times(240, 'Asia/Kathmandu'), '2026-11-21T18:15:00Z', '2026-11-22T04:00:00Z')).toEqual([
      '2026-11-21T18:15Z 2026-11-21T22:15Z',
      '2026-11-21T22:15Z 2026-11-22T02:15Z',
      '2026-11-22T02:15Z 2026-11-22T06:15Z',
    ]);
  });

  test('of a day begins at the time that was chosen', () => {
    expect(windows(times(1440, 'America/New_York'), '2026-11-20T15:00:00Z', '2026-11-22T14:00:00Z')).toEqual([
      '2026-11-20T14:00Z 2026-11-21T14:00Z',
      '2026-11-21T14:00Z 2026-11-22T14:00Z',
    ]);
  });
});

describe('when clocks change', () => {
  test.each<[string, number, string, string, string, string, string[]]>([
    [
      'an hour that is skipped has no window (Berlin)',
      60,
      'Europe/Berlin',
      '09:00',
      '2027-03-28T00:00:00Z',
      '2027-03-28T02:00:00Z',
      ['2027-03-28T00:00Z 2027-03-28T01:00Z', '2027-03-28T01:00Z 2027-03-28T02:00Z'],
    ],
    [
      'an hour that is repeated lies in one window (Berlin)',
      60,
      'Europe/Berlin',
      '09:00',
      '2027-10-30T23:00:00Z',
      '2027-10-31T02:00:00Z',
      ['2027-10-30T23:00Z 2027-10-31T00:00Z', '2027-10-31T00:00Z 2027-10-31T02:00Z'],
    ],
    [
      'a day of 23 hours, and one of 25 (Berlin)',
      1440,
      'Europe/Berlin',
      '09:00',
      '2027-03-27T08:00:00Z',
      '2027-03-29T07:00:00Z',
      ['2027-03-27T08:00Z 2027-03-28T07:00Z', '2027-03-28T07:00Z 2027-03-29T07:00Z'],
    ],
    [
      'a time of day that is skipped is the first instant after it (New York)',
      1440,
      'America/New_York',
      '02:30',
      '2027-03-13T07:30:00Z',
      '2027-03-15T06:30:00Z',
      ['2027-03-13T07:30Z 2027-03-14T07:00Z', '2027-03-14T07:00Z 2027-03-15T06:30Z'],
    ],
    [
      'half an hour is repeated (Lord Howe)',
      60,
      'Australia/Lord_Howe',
      '09:00',
      '2027-04-03T13:30:00Z',
      '2027-04-03T16:00:00Z',
      ['2027-04-03T13:00Z 2027-04-03T14:00Z', '2027-04-03T14:00Z 2027-04-03T15:30Z', '2027-04-03T15:30Z 2027-04-03T16:30Z'],
    ],
    [
      'a day that has no date (Apia)',
      1440,
      'Pacific/Apia',
      '09:00',
      '2011-12-29T19:00:00Z',
      '2012-01-01T00:00:00Z',
      [
        '2011-12-29T19:00Z 2011-12-30T10:00Z',
        '2011-12-30T10:00Z 2011-12-30T19:00Z',
        '2011-12-30T19:00Z 2011-12-31T19:00Z',
        '2011-12-31T19:00Z 2012-01-01T19:00Z',
      ],
    ],
    [
      'midnight is skipped (Cairo)',
      720,
      'Africa/Cairo',
      '09:00',
      '2027-04-29T10:00:00Z',
      '2027-04-30T09:00:00Z',
      ['2027-04-29T10:00Z 2027-04-29T22:00Z', '2027-04-29T22:00Z 2027-04-30T09:00Z'],
    ],
  ])('%s', (_, minutes, timeZone, dailyAt, from, to, expected) => {
    expect(windows({ intervalMs: minutes * minute, timeZone, dailyAt }, from, to)).toEqual(expected);
  });

  const from = Date.UTC(2026, 0, 1);
  const to = Date.UTC(2032, 0, 1);

  test('windows tile the line in every zone, at every change of five years: each begins where a clock first shows its boundary', () => {
    const wrong: string[] = [];
    for (const timeZone of Intl.supportedValuesOf('timeZone')) {
      const reference = new ReferenceZone(timeZone, from - 14 * day, to + 14 * day);
      const centres: number[] = [];
      for (let at = nextTransition(timeZone, from, to); at !== null; at = nextTransition(timeZone, at, to)) centres.push(at);
      if (centres.length === 0) centres.push((from + to) / 2);
      for (const centre of centres)
        for (const intervalMs of [hour, 6 * hour, day]) {
          let at = centre - 2 * intervalMs - 3 * hour;
          let end: number | undefined;
          while (at < centre + 2 * intervalMs + 3 * hour) {
            const times = { intervalMs, timeZone, dailyAt: '02:30' };
            const span = digestSpanAt(times, at);
            const last = digestSpanAt(times, span.end - 1);
            // What a clock shows at the start, or has skipped just before it, is of the grid.
            const phase = intervalMs === day ? 2.5 * hour : 0;
            const [before, shown] = [span.start - 1, span.start].map((each) => each + reference.offsetAt(each) - phase) as [number, number];
            const crossed = shown % intervalMs === 0 || Math.floor(shown / intervalMs) > Math.floor(before / intervalMs);
            const tiled = (end === undefined || span.start === end) && span.start <= at && span.end > at && last.start === span.start;
            if (!crossed || !tiled) wrong.push(`${timeZone} ${intervalMs / minute} ${show(span)}`);
            at = end = span.end;
          }
        }
    }
    expect(wrong).toEqual([]);
  });
});
