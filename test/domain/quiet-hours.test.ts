import { describe, expect, test } from '@jest/globals';
import { type QuietHours, quietHoursFaults, quietSpanAt } from '../../domain/quiet-hours.ts';

const hour = 3_600_000;
const instant = (text: string) => Date.parse(text);

function hours(...times: string[]): QuietHours {
  return { times: times.map((time) => ({ start: time.slice(0, 5), end: time.slice(6) })), breakThrough: 'critical' };
}
const nights = hours('22:00-07:00');

function spanAt(quiet: QuietHours, timeZone: string, at: string): string | null {
  const span = quietSpanAt(quiet, timeZone, instant(at));
  return span && [span.start, span.end].map((each) => new Date(each).toISOString().slice(0, 16)).join(' ');
}

describe('quiet hours', () => {
  const night = '2026-11-21T22:00 2026-11-22T07:00';
  test.each([
    ['2026-11-21T21:59:59.999Z', null],
    ['2026-11-21T22:00:00.000Z', night],
    ['2026-11-21T23:59:59.999Z', night],
    ['2026-11-22T00:00:00.000Z', night],
    ['2026-11-22T06:59:59.999Z', night],
    ['2026-11-22T07:00:00.000Z', null],
  ])('past midnight are one stretch: %s', (at, expected) => {
    expect(spanAt(nights, 'UTC', at)).toBe(expected);
  });

  test('are those of the person’s clock', () => {
    expect(spanAt(nights, 'Asia/Kathmandu', '2026-11-21T16:15:00Z')).toBe('2026-11-21T16:15 2026-11-22T01:15');
  });

  test('of weekdays go on into the morning after the last of them, and do not begin on it', () => {
    // 2026-11-20 is a Friday.
    const quiet = { ...nights, weekdays: ['monday:friday'] };
    expect(spanAt(quiet, 'UTC', '2026-11-21T06:00:00Z')).toBe('2026-11-20T22:00 2026-11-21T07:00');
    expect(spanAt(quiet, 'UTC', '2026-11-21T22:00:00Z')).toBeNull();
    expect(spanAt(quiet, 'UTC', '2026-11-23T06:00:00Z')).toBeNull();
    const sundays = { ...nights, weekdays: ['sunday'] };
    expect(spanAt(sundays, 'UTC', '2026-11-23T06:00:00Z')).toBe('2026-11-22T22:00 2026-11-23T07:00');
  });

  test('that follow each other at once are one', () => {
    expect(spanAt(hours('20:00-22:00', '22:00-07:00'), 'UTC', '2026-11-22T01:00:00Z')).toBe('2026-11-21T20:00 2026-11-22T07:00');
    const weekend = { ...hours('00:00-24:00'), weekdays: ['saturday:sunday'] };
    expect(spanAt(weekend, 'UTC', '2026-11-22T23:00:00Z')).toBe('2026-11-21T00:00 2026-11-23T00:00');
    const almostAll = { ...hours('00:00-24:00'), weekdays: ['monday:saturday'] };
    expect(spanAt(almostAll, 'UTC', '2026-11-28T23:00:00Z')).toBe('2026-11-23T00:00 2026-11-29T00:00');
  });

  test('have one beginning, from wherever in them one looks', () => {
    const quiet = { ...hours('00:00-24:00'), weekdays: ['monday:saturday'] };
    const starts = new Set<number>();
    for (let at = instant('2026-11-23T00:00:00Z'); at < instant('2026-11-29T00:00:00Z'); at += 5 * hour)
      starts.add(quietSpanAt(quiet, 'UTC', at)!.start);
    expect([...starts]).toEqual([instant('2026-11-23T00:00:00Z')]);
  });

  test.each([
    ['an hour shorter in spring', '2027-03-28T00:00:00Z', '2027-03-27T21:00 2027-03-28T05:00'],
    ['an hour longer in autumn', '2027-10-31T00:30:00Z', '2027-10-30T20:00 2027-10-31T06:00'],
  ])('are %s (Berlin)', (_, at, expected) => {
    expect(spanAt(nights, 'Europe/Berlin', at)).toBe(expected);
  });

  test('that end in an hour that is skipped end when it is over', () => {
    expect(spanAt(hours('22:00-02:30'), 'Europe/Berlin', '2027-03-28T00:30:00Z')).toBe('2027-03-27T21:00 2027-03-28T01:00');
  });
});

describe('quiet hours are saved', () => {
  const faultsOf = (quiet: Partial<QuietHours>) =>
    quietHoursFaults({ ...nights, ...quiet }, 'Europe/Berlin', instant('2026-11-21T12:00:00Z'), '/quietHours').map(
      ({ pointer, code }) => `${pointer} ${code}`,
    );
  const time = (start: string, end: string) => ({ start, end });
  test.each<[string, Partial<QuietHours>, string[]]>([
    ['as they are', {}, []],
    ['to midnight', { times: [time('22:00', '24:00')] }, []],
    ['to the midnight of the next day', { times: [time('22:00', '00:00')] }, []],
    ['not without times', { times: [] }, ['/quietHours/times empty']],
    ['not of no length', { times: [time('22:00', '22:00')] }, ['/quietHours/times/0 wrong_order']],
    [
      'not of times that no clock shows',
      { times: [time('22:00', '07:00'), time('25:00', '07:60')] },
      ['/quietHours/times/1 invalid_time', '/quietHours/times/1 invalid_time'],
    ],
    ['not on days that there are not', { weekdays: ['noday', 'sunday'] }, ['/quietHours/weekdays/0 unknown_weekday']],
    ['not for ever', { times: [time('00:00', '24:00')] }, ['/quietHours never_open']],
    ['not for ever in parts', { times: [time('07:00', '22:00'), time('22:00', '07:00')] }, ['/quietHours never_open']],
    ['for all week but a day', { times: [time('00:00', '24:00')], weekdays: ['monday:saturday'] }, []],
  ])('%s', (_, quiet, faults) => {
    expect(faultsOf(quiet)).toEqual(faults);
  });

  test('and always end', () => {
    const quiet = { ...hours('00:00-02:00', '03:00-24:00'), weekdays: ['sunday'] };
    const always = { ...quiet, weekdays: ['monday:sunday'] };
    // The only hour that is not quiet is skipped.
    expect(quietSpanAt(always, 'Europe/Berlin', instant('2027-03-28T00:00:00Z'))).toEqual({
      start: instant('2027-03-27T02:00:00Z'),
      end: instant('2027-03-29T00:00:00Z'),
    });
    expect(quietSpanAt(quiet, 'Europe/Berlin', instant('2027-03-28T00:00:00Z'))!.end - instant('2027-03-27T23:00:00Z')).toBe(23 * hour);
  });
});
