import { describe, expect, test } from '@jest/globals';
import type { Contact, PeopleFacts } from '../../domain/personal-routing.ts';
import type { Preference } from '../../domain/preference.ts';
import type { QuietHours } from '../../domain/quiet-hours.ts';
import { closeWindow, type ClosingWindow, type WindowItem } from '../../domain/window-close.ts';

const at = Date.parse('2026-03-02T02:00:00Z');
const contact: Contact = { id: 'work', version: 1, channelType: 'email', digestIntervalMs: 900_000, dailyAt: '09:00' };
const night: QuietHours = { times: [{ start: '22:00', end: '07:00' }], breakThrough: 'critical' };
const wanted: Preference = {
  id: 'r1',
  version: 1,
  projectId: null,
  selector: { kind: 'all' },
  way: { kind: 'channel_type', channelType: 'email' },
  mode: 'digest',
  minSeverity: null,
  environments: [],
};

let made = 0;
function item(given: Partial<WindowItem> = {}): WindowItem {
  made += 1;
  return {
    eventId: `e${made}`,
    type: 'drift.detect',
    category: 'governance',
    severity: 'medium',
    subject: `S${made}`,
    projectId: 'p1',
    projectName: 'api',
    environment: null,
    acceptedAt: made,
    problemId: null,
    isEnd: false,
    ...given,
  };
}

function close(
  items: readonly WindowItem[],
  given: { window?: Partial<ClosingWindow>; facts?: Partial<PeopleFacts>; rules?: Preference[]; quietHours?: QuietHours } = {},
) {
  const { window, facts, rules = [wanted], quietHours = null } = given;
  return closeWindow(
    { kind: 'digest', userId: 'u1', contact, items, ...window },
    {
      activeMemberIds: new Set(['u1']),
      contacts: new Map([['u1', [contact]]]),
      senders: new Map([['email', 'sender']]),
      digestBypass: 'high',
      preferences: {
        users: new Map([['u1', { version: 1, rules, timeZone: 'UTC', quietHours }]]),
        projects: new Map(),
        organization: null,
      },
      ...facts,
    },
    { liveProjectIds: new Set(['p1']), at },
  );
}

describe('a window', () => {
  test('is told as one message of all that it took in', () => {
    expect(close([item(), item()])).toMatchObject({ state: 'sent', lines: [{ state: 'occurred' }, { state: 'occurred' }], dropped: [] });
  });

  test('that took in nothing is told to nobody', () => {
    expect(close([])).toEqual({ state: 'empty', dropped: [] });
  });

  test.each([
    ['of whom is no member any more', { facts: { activeMemberIds: new Set<string>() } }, 'user_inactive'],
    ['of an address that is not verified any more', { window: { contact: null } }, 'contact_unverified'],
    ['that no sender can tell', { facts: { senders: new Map<string, string>() } }, 'channel_disabled'],
  ] as const)('%s is cancelled', (_title, given, reason) => {
    expect(close([item()], given)).toEqual({ state: 'cancelled', reason });
  });

  test('leaves out what is of a project that is gone, and what is not wanted any more', () => {
    const gone = item({ projectId: 'p2' });
    const filtered = item({ severity: 'low' });
    const off = item({ type: 'host.offline' });
    const rules: Preference[] = [
      { ...wanted, minSeverity: 'medium' },
      { ...wanted, id: 'r2', selector: { kind: 'type', type: 'host.offline' }, mode: 'off' },
    ];
    expect(close([gone, filtered, off, item({ subject: 'left' })], { rules })).toMatchObject({
      state: 'sent',
      lines: [{ lead: { subject: 'left' } }],
      dropped: [
        { eventId: gone.eventId, reason: 'no_access' },
        { eventId: filtered.eventId, reason: 'preference_filter' },
        { eventId: off.eventId, reason: 'preference_off' },
      ],
    });
  });

  test('of which nothing is left is told to nobody, and says what it left out', () => {
    const only = item();
    expect(close([only], { rules: [] })).toEqual({ state: 'empty', dropped: [{ eventId: only.eventId, reason: 'preference_off' }] });
  });

  test('tells what would go at once by now: nobody else will', () => {
    expect(close([item()], { rules: [{ ...wanted, mode: 'instant' }] })).toMatchObject({ state: 'sent' });
  });
});

describe('in quiet hours', () => {
  test('a digest waits for their end, with what is left of it', () => {
    const kept = item();
    const span = { start: Date.parse('2026-03-01T22:00:00Z'), end: Date.parse('2026-03-02T07:00:00Z') };
    expect(close([kept, item({ projectId: 'p2' })], { quietHours: night })).toMatchObject({
      state: 'joined',
      span,
      items: [kept],
      dropped: [{}],
    });
  });

  test('one that holds something as bad as breaks through does not', () => {
    expect(close([item(), item({ severity: 'critical' })], { quietHours: night })).toMatchObject({ state: 'sent' });
  });

  test.each(['quiet', 'throttle'] as const)('a window of kind %s has waited long enough', (kind) => {
    expect(close([item()], { window: { kind }, quietHours: night })).toMatchObject({ state: 'sent' });
  });
});
