import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import {
  defaultDigestBypass,
  defaultThrottles,
  type Patience,
  throttleWaitOf,
  waitOf,
  windowId,
  type WindowKey,
} from '../../domain/message-window.ts';

const at = (text: string): number => Date.parse(text);
const night = { times: [{ start: '22:00', end: '07:00' }], breakThrough: 'critical' } as const;

function patience(given: Partial<Patience> = {}): Patience {
  return {
    mode: 'instant',
    times: { intervalMs: 15 * 60_000, timeZone: 'UTC', dailyAt: '09:00' },
    quietHours: null,
    digestBypass: defaultDigestBypass,
    ...given,
  };
}

describe('a message to a person', () => {
  test('who wants it at once waits for nothing', () => {
    expect(waitOf(patience(), 'low', 0)).toEqual({ kind: 'none', reason: null });
  });

  test('who wants a digest waits for the end of the window in which it was accepted', () => {
    const span = { start: at('2026-03-01T10:15:00Z'), end: at('2026-03-01T10:30:00Z') };
    for (const inside of [span.start, span.end - 1])
      expect(waitOf(patience({ mode: 'digest' }), 'medium', inside)).toEqual({ kind: 'digest', span, intervalMs: 900_000 });
    expect(waitOf(patience({ mode: 'digest' }), 'medium', span.end)).toMatchObject({ span: { start: span.end } });
  });

  test('that is as bad as the bypass waits for no digest, and says why', () => {
    expect(waitOf(patience({ mode: 'digest' }), 'high', 0)).toEqual({ kind: 'none', reason: 'digest_bypass' });
    expect(waitOf(patience({ mode: 'digest', digestBypass: 'critical' }), 'high', 0)).toMatchObject({ kind: 'digest' });
  });

  test.each([
    ['medium', '2026-03-01T22:00:00Z'],
    ['medium', '2026-03-01T23:00:00Z'],
    ['high', '2026-03-02T02:00:00Z'],
    ['medium', '2026-03-02T06:59:59.999Z'],
  ] as const)('%s at %s is held to the end of the night', (severity, instant) => {
    const span = { start: at('2026-03-01T22:00:00Z'), end: at('2026-03-02T07:00:00Z') };
    expect(waitOf(patience({ quietHours: night }), severity, at(instant))).toEqual({ kind: 'quiet', span, intervalMs: 0 });
  });

  test.each([
    ['critical', '2026-03-02T02:00:00Z'],
    ['medium', '2026-03-02T07:00:00Z'],
    ['medium', '2026-03-01T21:59:59.999Z'],
  ] as const)('%s at %s is not', (severity, instant) => {
    expect(waitOf(patience({ quietHours: night }), severity, at(instant))).toEqual({ kind: 'none', reason: null });
  });

  test('at night waits for the digest that is wanted; what bypasses that is held nevertheless', () => {
    const given = patience({ mode: 'digest', quietHours: night });
    expect(waitOf(given, 'medium', at('2026-03-02T02:00:00Z'))).toMatchObject({ kind: 'digest' });
    expect(waitOf(given, 'high', at('2026-03-02T02:00:00Z'))).toMatchObject({ kind: 'quiet' });
    expect(waitOf(given, 'critical', at('2026-03-02T02:00:00Z'))).toEqual({ kind: 'none', reason: 'digest_bypass' });
  });

  test('is held by the clocks where the person is, on the night of a change of clocks too', () => {
    const times = { intervalMs: 900_000, timeZone: 'Europe/Berlin', dailyAt: '09:00' };
    expect(waitOf(patience({ quietHours: night, times }), 'low', at('2026-03-29T02:00:00Z'))).toMatchObject({
      span: { start: at('2026-03-28T21:00:00Z'), end: at('2026-03-29T05:00:00Z') },
    });
  });
});

describe('a destination', () => {
  test('gets ten messages in ten minutes of UTC; the eleventh waits for their end', () => {
    const now = at('2026-03-01T10:07:00Z');
    expect(throttleWaitOf(defaultThrottles.contact, 9, now)).toEqual({ kind: 'none', reason: null });
    expect(throttleWaitOf(defaultThrottles.contact, 10, now)).toEqual({
      kind: 'throttle',
      span: { start: at('2026-03-01T10:00:00Z'), end: at('2026-03-01T10:10:00Z') },
      intervalMs: 600_000,
    });
  });

  test('that is a channel gets sixty a minute', () => {
    const now = at('2026-03-01T10:07:30Z');
    expect(throttleWaitOf(defaultThrottles.channel, 59, now)).toEqual({ kind: 'none', reason: null });
    expect(throttleWaitOf(defaultThrottles.channel, 60, now)).toMatchObject({
      kind: 'throttle',
      span: { end: at('2026-03-01T10:08:00Z') },
    });
  });
});

describe('the id of a window', () => {
  const key: WindowKey = { organizationId: 'o', userId: 'u', destinationId: 'c', kind: 'digest', intervalMs: 900_000, start: 1_000 };

  test('is the first half of the SHA-256 of what it is', () => {
    const half = createHash('sha256').update('o|u|c|digest|900000|1000').digest('hex').slice(0, 32);
    expect(windowId(key).replaceAll('-', '')).toBe(half);
    expect(windowId(key)).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  });

  test('is another one for anything that is different', () => {
    const others: Array<Partial<WindowKey>> = [
      { organizationId: 'p' },
      { userId: 'v' },
      { userId: null },
      { destinationId: 'd' },
      { kind: 'throttle' },
      { intervalMs: 0 },
      { start: 1_001 },
    ];
    const ids = [key, ...others.map((other) => ({ ...key, ...other }))].map(windowId);
    expect(new Set(ids).size).toBe(others.length + 1);
  });
});
