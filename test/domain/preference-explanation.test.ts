import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decidePeople, type PeopleFacts } from '../../domain/personal-routing.ts';
import { type Preference, preferenceKey, type PreferenceMode, type Selector, type Way } from '../../domain/preference.ts';
import { type AskedContact, explainPreferences, type PreferenceExplanation } from '../../domain/preference-explanation.ts';
import type { QuietHours } from '../../domain/quiet-hours.ts';
import { severities } from '../../domain/severity.ts';
import { buildEvent } from '../channels/views.ts';

const at = Date.parse('2026-03-01T23:07:00Z');
const night: QuietHours = { times: [{ start: '22:00', end: '07:00' }], breakThrough: 'critical' };
const event = {
  ...buildEvent({ type: 'drift.detect', category: 'cluster', severity: 'medium', projectId: 'p1', audience: ['u1'] }),
  acceptedAt: at,
};
const all: Selector = { kind: 'all' };
const email: Way = { kind: 'channel_type', channelType: 'email' };

function prefer(way: Way, given: Partial<Preference> = {}): Preference {
  return { id: 'r', version: 1, projectId: null, selector: all, way, mode: 'instant', minSeverity: null, environments: [], ...given };
}
const contact: AskedContact = { id: 'mail', version: 1, channelType: 'email', digestIntervalMs: 900_000, dailyAt: '09:00', verified: true };

function factsOf(
  rules: readonly Preference[],
  quietHours: QuietHours | null = null,
  senders = new Map([['email', 'sender']]),
): PeopleFacts {
  return {
    activeMemberIds: new Set(['u1']),
    preferences: {
      users: new Map([['u1', { version: 1, rules, timeZone: 'UTC', quietHours }]]),
      projects: new Map(),
      organization: null,
    },
    contacts: new Map([['u1', [contact]]]),
    senders,
    digestBypass: 'high',
  };
}

/** `mail: digest preference, digest until 23:15`. */
function print({ reach, mode, reason, wait }: PreferenceExplanation): string {
  const until = wait && `${wait.kind} until ${new Date(wait.until).toISOString().slice(11, 16)}`;
  return [`${reach.contactMethodId ?? reach.channelType}: ${mode} ${reason}`, ...(until === null ? [] : [until])].join(', ');
}
const explain = (facts: PeopleFacts, about = event, contacts = [contact]) =>
  explainPreferences(about, { userId: 'u1', contacts, at }, facts).map(print);

describe('how somebody hears of an event', () => {
  test('without a preference: in the app, and by no address', () => {
    expect(explain(factsOf([]))).toEqual(['in_app: instant builtin_default', 'mail: off preference_off']);
  });

  test.each<[string, PreferenceMode, QuietHours | null, (typeof severities)[number], string]>([
    ['at once', 'instant', null, 'medium', 'mail: instant preference'],
    ['when it is quiet no more', 'instant', night, 'medium', 'mail: instant preference, quiet until 07:00'],
    ['at once though it is quiet, for it is bad enough', 'instant', night, 'critical', 'mail: instant preference'],
    ['with the next digest', 'digest', night, 'medium', 'mail: digest preference, digest until 23:15'],
    ['at once though there are digests, for it is bad enough', 'digest', null, 'high', 'mail: digest digest_bypass'],
    ['not at all', 'off', night, 'medium', 'mail: off preference_off'],
  ])('by an address: %s', (_, mode, quiet, severity, expected) => {
    expect(explain(factsOf([prefer(email, { mode })], quiet), { ...event, severity })[1]).toBe(expected);
  });

  test('by an address that is not verified, or to which the organization has no way: not, but with what would decide', () => {
    const facts = factsOf([prefer(email)]);
    const unverified = explainPreferences(event, { userId: 'u1', contacts: [{ ...contact, verified: false }], at }, facts)[1]!;
    expect([print(unverified), unverified.winner?.layer]).toEqual(['mail: off contact_unverified', 'user']);
    expect(explain(factsOf([prefer(email)], null, new Map()))[1]).toBe('mail: off channel_disabled');
  });
});

test('what is explained is what is decided, whatever somebody prefers', () => {
  const way = fc.constantFrom<Way>(
    email,
    { kind: 'contact_method', id: 'mail' },
    { kind: 'channel_type', channelType: 'in_app' },
    { kind: 'any' },
  );
  const selector = fc.constantFrom<Selector>(all, { kind: 'type', type: 'drift.detect' }, { kind: 'category', category: 'cluster' });
  const row = fc.record({
    projectId: fc.constantFrom(null, 'p1', 'p2'),
    selector,
    way,
    mode: fc.constantFrom<PreferenceMode>('instant', 'digest', 'off'),
    minSeverity: fc.constantFrom(null, ...severities),
    environments: fc.constantFrom([], ['production']),
  });
  const rows = fc
    .uniqueArray(row, { selector: preferenceKey, maxLength: 12 })
    .map((each) => each.map((fields, i) => ({ ...fields, id: `r${i}`, version: 1 })));
  fc.assert(
    fc.property(rows, fc.constantFrom(...severities), fc.constantFrom(null, night), (rules, severity, quiet) => {
      const about = { ...event, severity };
      const facts = factsOf(rules, quiet);
      const explained = explainPreferences(about, { userId: 'u1', contacts: [contact], at }, facts);
      const decided = decidePeople(about, facts).map(({ reach, verdict, wait, winner }) => ({
        way: reach.contactMethodId ?? reach.channelType,
        sent: verdict !== 'suppress',
        until: wait?.span.end ?? null,
        winner,
      }));
      const expected = explained
        // nothing is decided for ways that nobody has asked for
        .filter(({ reach, winner }) => reach.contactMethodId === null || winner !== null)
        .map(({ reach, mode, wait, winner }) => ({
          way: reach.contactMethodId ?? reach.channelType,
          sent: mode !== 'off',
          until: wait?.until ?? null,
          winner: winner && `preference:${winner.preference.id}@${winner.preference.version}`,
        }));
      expect(decided).toEqual(expected);
    }),
  );
});
