import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { activeSilence, type Silence, silencedUntil, silenceFaults, silenceSteps } from '../../domain/silence.ts';
import { buildEvent } from '../channels/views.ts';

const t0 = Date.parse('2026-10-01T10:00:00Z');
const minute = 60_000;
const day = 86_400_000;
const event = buildEvent({ environment: 'staging' });

function silence(fromMinute: number, toMinute: number, overrides: Partial<Silence> = {}): Silence {
  return {
    id: `${fromMinute}-${toMinute}`,
    version: 1,
    matchers: [{ key: 'environment', op: '=', value: 'staging' }],
    startsAt: t0 + fromMinute * minute,
    endsAt: t0 + toMinute * minute,
    comment: 'Migration',
    createdBy: 'u1',
    ...overrides,
  };
}
const elsewhere = { matchers: [{ key: 'environment', op: '=', value: 'production' }] } as const;

describe('an event is silenced', () => {
  test.each([
    [-1, null],
    [0, '0-10'],
    [10 * minute - 1, '0-10'],
    [10 * minute, null],
  ])('from the start to just before the end: at %d ms by %s', (afterMs, id) => {
    expect(activeSilence([silence(0, 10)], event, t0 + afterMs)?.id ?? null).toBe(id);
  });

  test('only when all matchers match', () => {
    const both = silence(0, 10, { matchers: [...silence(0, 10).matchers, { key: 'severity', op: '=', value: 'low' }] });
    expect(activeSilence([both, silence(0, 10, elsewhere)], event, t0)).toBeNull();
    expect(activeSilence([both], { ...event, severity: 'low' }, t0)).toBe(both);
  });

  test('by the silence that lasts longest, whatever their order', () => {
    const silences = [silence(0, 10), silence(0, 30), silence(0, 30, { id: '0-30b' }), silence(0, 60, elsewhere), silence(40, 90)];
    expect(activeSilence(silences, event, t0)?.id).toBe('0-30');
    expect(activeSilence(silences.toReversed(), event, t0)?.id).toBe('0-30');
  });
});

describe('the end of silence', () => {
  test.each<[string, Silence[], number, number | null]>([
    ['is none without a silence', [], 0, null],
    ['is none before it starts', [silence(5, 10)], 0, null],
    ['is the end of the only one', [silence(0, 10)], 3, 10],
    ['is that of one that begins meanwhile', [silence(5, 20), silence(0, 10)], 3, 20],
    ['goes on into one that begins at the end of another', [silence(0, 10), silence(10, 20), silence(20, 30)], 3, 30],
    ['stops at a gap', [silence(0, 10), silence(11, 20)], 3, 10],
    ['counts only those that match', [silence(0, 10), silence(5, 20, elsewhere)], 3, 10],
    ['is none at the end itself', [silence(0, 10)], 10, null],
  ])('%s', (_, silences, minutes, expected) => {
    expect(silencedUntil(silences, event, t0 + minutes * minute)).toBe(expected === null ? null : t0 + expected * minute);
  });

  test('is the first minute that no silence covers', () => {
    const span = fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 15 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(span, { maxLength: 8 }), fc.nat(50), (spans, at) => {
        const silences = spans.map(([from, length, ours]) => silence(from, from + length, ours ? {} : elsewhere));
        let free = at;
        while (activeSilence(silences, event, t0 + free * minute) !== null) free += 1;
        expect(silencedUntil(silences, event, t0 + at * minute)).toBe(free === at ? null : t0 + free * minute);
      }),
    );
  });
});

describe('a silence is saved', () => {
  const faultsOf = (overrides: Partial<Silence>) =>
    silenceFaults(silence(0, 10, overrides), t0).map(({ pointer, code }) => `${pointer} ${code}`);
  const [matcher] = silence(0, 1).matchers;

  test.each<[string, Partial<Silence>, string[]]>([
    ['as it is', {}, []],
    ['with a start in the past', { startsAt: t0 - day }, []],
    ['for thirty days exactly', { endsAt: t0 + 30 * day }, []],
    ['for no longer', { endsAt: t0 + 30 * day + 1 }, ['/endsAt out_of_range']],
    ['not when it ends before it starts', { endsAt: t0 }, ['/endsAt out_of_range']],
    ['not when it has ended', { startsAt: t0 - day, endsAt: t0 }, ['/endsAt out_of_range']],
    ['with one to ten matchers', { matchers: Array.from({ length: 10 }, () => matcher!) }, []],
    ['not with eleven', { matchers: Array.from({ length: 11 }, () => matcher!) }, ['/matchers too_big']],
    ['not for everything, nor without a word why', { matchers: [], comment: ' \n' }, ['/matchers too_small', '/comment required']],
    ['not with a novel', { comment: 'x'.repeat(1_001) }, ['/comment too_big']],
  ])('%s', (_, overrides, faults) => {
    expect(faultsOf(overrides)).toEqual(faults);
  });
});

test('its creator is told at its start and a quarter of an hour before its end, unless that is before its start', () => {
  expect(silenceSteps(silence(0, 60))).toEqual([
    { at: t0, what: 'started' },
    { at: t0 + 45 * minute, what: 'ending_soon' },
    { at: t0 + 60 * minute, what: 'ended' },
    { at: t0 + 60.5 * minute, what: 'swept' },
  ]);
  expect(silenceSteps(silence(0, 15)).map(({ what }) => what)).toEqual(['started', 'ended', 'swept']);
});
