import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { AcceptedEvent } from '../../domain/event.ts';
import { waitOf } from '../../domain/message-window.ts';
import { type Contact, decidePeople, type PeopleFacts, type PersonalDecision } from '../../domain/personal-routing.ts';
import { choosePreference, type Preference, type Selector, type Way } from '../../domain/preference.ts';
import { layersOf, type PersonalPreferences } from '../../domain/preference-set.ts';
import type { QuietHours } from '../../domain/quiet-hours.ts';
import { severities } from '../../domain/severity.ts';
import { buildEvent } from '../channels/views.ts';

const acceptedAt = Date.parse('2026-03-01T23:00:00Z');
const night: QuietHours = { times: [{ start: '22:00', end: '07:00' }], breakThrough: 'critical' };
const all: Selector = { kind: 'all' };
const app: Way = { kind: 'channel_type', channelType: 'in_app' };
const email: Way = { kind: 'channel_type', channelType: 'email' };

function event(given: Partial<AcceptedEvent> = {}): AcceptedEvent {
  return { ...buildEvent({ type: 'drift.detect', category: 'governance', severity: 'medium', projectId: 'p1', ...given }), acceptedAt };
}

let ids = 0;
function prefer(way: Way, given: Partial<Preference> = {}): Preference {
  ids += 1;
  return { id: `r${ids}`, version: 1, projectId: null, selector: all, way, mode: 'instant', minSeverity: null, environments: [], ...given };
}

function person(rules: readonly Preference[], quietHours: QuietHours | null = null): PersonalPreferences {
  return { version: 1, rules, timeZone: 'UTC', quietHours };
}

function mail(id: string, given: Partial<Contact> = {}): Contact {
  return { id, version: 1, channelType: 'email', digestIntervalMs: 900_000, dailyAt: '09:00', ...given };
}

function facts({
  users = {},
  project = [],
  organization = [],
  ...given
}: Partial<PeopleFacts> & {
  users?: Record<string, PersonalPreferences>;
  project?: readonly Preference[];
  organization?: readonly Preference[];
} = {}): PeopleFacts {
  return {
    activeMemberIds: new Set(['u1', 'u2', 'u3']),
    contacts: new Map(['u1', 'u2', 'u3'].map((id) => [id, [mail(`mail of ${id}`)]])),
    senders: new Map([['email', 'sender']]),
    digestBypass: 'high',
    preferences: {
      users: new Map(Object.entries(users)),
      projects: new Map([['p1', { version: 1, rules: project }]]),
      organization: { version: 1, rules: organization },
    },
    ...given,
  };
}

/** `u1 by email: send preference`; `-`: all, in the app. */
function print({ userId, reach, verdict, reason }: PersonalDecision): string {
  return `${userId ?? '-'} by ${reach.contactMethodId ?? reach.channelType}: ${verdict} ${reason}`;
}
const decide = (given: PeopleFacts, about: AcceptedEvent = event()): string[] => decidePeople(about, given).map(print);

describe('an event for everybody', () => {
  test('of which nobody has said anything is one decision, however many there are: in the app, at once, and nowhere else', () => {
    expect(decide(facts())).toEqual(['- by in_app: send builtin_default']);
  });

  test('is not for whom has switched the app off, and for all others', () => {
    expect(decide(facts({ users: { u1: person([prefer(app, { mode: 'off' })]), u2: person([prefer(app)]) } }))).toEqual([
      '- by in_app: send builtin_default',
      'u1 by in_app: suppress preference_off',
    ]);
  });

  test('that a default keeps from the app is for whom wants it there', () => {
    const given = facts({ users: { u1: person([prefer(app)]) }, organization: [prefer(app, { mode: 'off' })] });
    expect(decide(given)).toEqual(['- by in_app: suppress preference_off', 'u1 by in_app: send preference']);
  });

  test('goes to the contact methods of those who want it, by each of them as they want it', () => {
    const contacts = new Map([['u1', [mail('work'), mail('home', { digestIntervalMs: 3_600_000 })]]]);
    const rules = [prefer(email), prefer({ kind: 'contact_method', id: 'home' }, { mode: 'digest' })];
    const decided = decidePeople(event(), facts({ contacts, users: { u1: person(rules) } }));
    expect(decided.map(print)).toEqual(['- by in_app: send builtin_default', 'u1 by work: send preference', 'u1 by home: digest digest']);
    expect(decided[2]).toMatchObject({
      winner: `preference:${rules[1]!.id}@1`,
      losers: [`preference:${rules[0]!.id}@1`],
      wait: { kind: 'digest', span: { start: acceptedAt, end: acceptedAt + 3_600_000 } },
    });
  });

  test('goes by a default to everybody who has such a contact method and has not said otherwise', () => {
    const given = facts({
      users: { u1: person([prefer(email, { mode: 'off' })]) },
      project: [prefer(email)],
      contacts: new Map([
        ['u1', [mail('1')]],
        ['u2', [mail('2')]],
      ]),
    });
    expect(decide(given)).toEqual([
      '- by in_app: send builtin_default',
      'u1 by 1: suppress preference_off',
      'u2 by 2: send project_default',
    ]);
  });

  test('of another project is no matter of this project’s defaults', () => {
    expect(decide(facts({ project: [prefer(email)] }), event({ projectId: 'p2' }))).toEqual(['- by in_app: send builtin_default']);
  });

  test('goes nowhere that no sender reaches', () => {
    expect(decide(facts({ users: { u1: person([prefer(email)]) }, senders: new Map() }))).toEqual(['- by in_app: send builtin_default']);
  });

  test('is held by quiet hours, but not in the app', () => {
    const [inApp, mailed] = decidePeople(event(), facts({ users: { u1: person([prefer({ kind: 'any' })], night) } }));
    expect(print(inApp!)).toBe('- by in_app: send builtin_default');
    expect(print(mailed!)).toBe('u1 by mail of u1: hold quiet_hours');
    expect(mailed!.wait).toMatchObject({ kind: 'quiet', span: { end: Date.parse('2026-03-02T07:00:00Z') } });
  });

  test('as bad as the bypass waits for no digest', () => {
    const given = facts({ users: { u1: person([prefer(email, { mode: 'digest' })]) } });
    expect(decide(given, event({ severity: 'high' }))).toContain('u1 by mail of u1: send digest_bypass');
  });

  test('is not for whom is no member any more, whatever they have said', () => {
    const given = facts({ activeMemberIds: new Set(['u2']), contacts: new Map(), users: { u1: person([prefer(app, { mode: 'off' })]) } });
    expect(decide(given)).toEqual(['- by in_app: send builtin_default']);
  });
});

describe('an event for some', () => {
  test('is decided for each of them, and for nobody else', () => {
    const given = facts({ users: { u1: person([prefer(email)]), u2: person([prefer({ kind: 'any' })]) } });
    expect(decide(given, event({ audience: ['u2', 'u3', 'u9'] }))).toEqual([
      'u2 by in_app: send preference',
      'u2 by mail of u2: send preference',
      'u3 by in_app: send builtin_default',
      'u9 by in_app: suppress user_inactive',
    ]);
  });
});

test('everybody hears of everything exactly as they would if asked one by one', () => {
  const anySelector = fc.constantFrom<Selector>(
    all,
    { kind: 'type', type: 'drift.detect' },
    { kind: 'type', type: 'release.fail' },
    { kind: 'category', category: 'governance' },
    { kind: 'category', category: 'cluster' },
  );
  const anyWay = fc.constantFrom<Way>(app, email, { kind: 'any' }, { kind: 'contact_method', id: 'mail of u1' });
  const anyRules = fc.array(
    fc
      .record({
        projectId: fc.constantFrom(null, 'p1', 'p2'),
        selector: anySelector,
        way: anyWay,
        mode: fc.constantFrom('instant', 'digest', 'off'),
        minSeverity: fc.constantFrom(null, ...severities),
      })
      .map(({ way, ...given }) => prefer(way, given)),
    { maxLength: 4 },
  );
  const anyPerson = fc.record({ rules: anyRules, quiet: fc.boolean() }).map(({ rules, quiet }) => person(rules, quiet ? night : null));
  const anyFacts = fc.record({ u1: fc.option(anyPerson), u2: fc.option(anyPerson), project: anyRules, organization: anyRules });
  const anyEvent = fc.record({
    severity: fc.constantFrom(...severities),
    projectId: fc.constantFrom(null, 'p1', 'p2'),
    some: fc.boolean(),
  });

  fc.assert(
    fc.property(anyFacts, anyEvent, ({ u1, u2, project, organization }, { severity, projectId, some }) => {
      const given = facts({ users: { ...(u1 && { u1 }), ...(u2 && { u2 }) }, project, organization });
      const about = event({ severity, projectId, audience: some ? ['u1', 'u2', 'u3'] : null });
      const decided = decidePeople(about, given);
      for (const userId of given.activeMemberIds) {
        const layers = layersOf(given.preferences, userId, projectId);
        const inApp = choosePreference(about, { channelType: 'in_app', contactMethodId: null }, layers);
        const heard =
          decided.find((one) => one.userId === userId && one.reach.channelType === 'in_app') ?? decided.find((one) => one.userId === null);
        expect(heard!.verdict).toBe(inApp.mode === 'off' ? 'suppress' : 'send');

        const contactMethodId = `mail of ${userId}`;
        const mailed = decided.filter((one) => one.reach.contactMethodId === contactMethodId);
        const choice = choosePreference(about, { channelType: 'email', contactMethodId }, layers);
        const times = { intervalMs: 900_000, timeZone: 'UTC', dailyAt: '09:00' };
        const quietHours = given.preferences.users.get(userId)?.quietHours ?? null;
        const expected =
          choice.winner === null
            ? []
            : choice.mode === 'off'
              ? ['suppress']
              : [verdicts[waitOf({ mode: choice.mode, times, quietHours, digestBypass: 'high' }, severity, acceptedAt).kind]];
        expect(mailed.map(({ verdict }) => verdict)).toEqual(expected);
      }
      const keys = decided.map(({ userId, reach }) => `${userId} ${reach.contactMethodId}`);
      expect(new Set(keys).size).toBe(keys.length);
    }),
  );
});

const verdicts = { none: 'send', digest: 'digest', quiet: 'hold', throttle: 'digest' } as const;

test('ten thousand who have said something about other things cost nothing', () => {
  const users = Object.fromEntries(
    Array.from({ length: 10_000 }, (_, i) => [`v${i}`, person([prefer(email, { selector: { kind: 'type', type: 'release.fail' } })])]),
  );
  const asked: string[] = [];
  const given = facts({ users });
  const activeMemberIds = new Set<string>();
  activeMemberIds.has = (id) => asked.push(id) > 0;
  const spied = { ...given, activeMemberIds };
  expect(decide(spied)).toEqual(['- by in_app: send builtin_default']);
  expect(asked).toEqual([]);
});
