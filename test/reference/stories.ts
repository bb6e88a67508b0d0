import type { Calendar } from '../../domain/calendar.ts';
import type { EscalationPolicy, Target, Tier } from '../../domain/escalation-policy.ts';
import type { Severity } from '../../domain/severity.ts';
import type { ScriptCommand, ScriptSilence, ScriptStep, SimulatedMessage, Simulation } from '../../domain/simulation.ts';

/**
 * Stories with every message that comes of them: the acceptance table of escalations, and the finer points of its rules. The model, the
 * simulation and the whole system on PostgreSQL are held against the same words.
 */

/** Minutes count from here, 02:00 of a Monday. */
export const start = Date.parse('2026-10-05T02:00:00Z');
export const at = (minutes: number): number => start + Math.round(minutes * 60_000);
const ms = (minutes: number): number => minutes * 60_000;

const user = (id: string): Target => ({ kind: 'user', id });
export const tier = (id: string, change: Partial<Tier> = {}): Tier => ({
  name: null,
  targets: [user(id)],
  timeoutMs: ms(10),
  when: 'always',
  calendarId: null,
  ...change,
});

/** The policy of the acceptance table. */
export const p: EscalationPolicy = {
  id: 'P',
  version: 1,
  name: 'P',
  enabled: true,
  ownerUserId: null,
  trigger: { types: [], categories: [], projectIds: [], minSeverity: 'info', matchers: [] },
  groupBy: ['type'],
  groupWaitMs: 0,
  tiers: [tier('u1', { targets: [{ kind: 'schedule', id: 'u1' }] }), tier('u2'), tier('u3')],
  calendarId: null,
  defer: null,
  repeat: { everyMs: ms(30), max: 1 },
  acknowledgementTimeoutMs: null,
  acknowledgementReminder: false,
  cooldownMs: ms(30),
  cooldownScope: 'full',
  hardStopMs: ms(7 * 24 * 60),
  fallback: [user('f')],
  followUp: 'none',
  autoResolve: true,
  minProof: 'any',
};

export const problem = (minutes: number, key = 'A', severity: Severity = 'high'): ScriptStep => ({
  at: at(minutes),
  kind: 'problem',
  key,
  severity,
});
const occurrence = (minutes: number): ScriptStep => ({ at: at(minutes), kind: 'occurrence', key: 'A', severity: 'high' });
const resolved = (minutes: number, key = 'A'): ScriptStep => ({ at: at(minutes), kind: 'resolved', key });
const command = (minutes: number, given: ScriptCommand): ScriptStep => ({ at: at(minutes), kind: 'command', actor: 'u1', command: given });
export const ack = (minutes: number): ScriptStep => command(minutes, { name: 'acknowledge' });
export const escalate = (minutes: number, round: number, tier: number): ScriptStep =>
  command(minutes, { name: 'escalate', expected: { round, tier } });
const silence = (from: number, to: number, ...keys: string[]): ScriptSilence => ({ startsAt: at(from), endsAt: at(to), keys });
/** Open from 09:00, which is minute 420. */
export const officeHours: Calendar = {
  id: 'hours',
  version: 1,
  name: 'hours',
  timeZone: 'UTC',
  intervals: [{ times: [{ start: '09:00', end: '17:00' }], weekdays: ['monday:friday'] }],
  holidays: [],
};

/** What differs from policy P, with everybody reachable and nothing silenced. */
export interface Case extends Partial<Omit<Simulation, 'script'>> {
  policy?: Partial<EscalationPolicy>;
  /** Whom nobody answers for. */
  unreachable?: string[];
  horizon?: number;
}

/** Name, every message as `printMessages` writes it, what happens, and in which circumstances. */
export type Story = [name: string, messages: string, script: ScriptStep[], given?: Case];

/** `u1@0 ?u1@15 f@60`: who gets a message in which minute; ? is a reminder. */
export function printMessages(messages: ReadonlyArray<Pick<SimulatedMessage, 'at' | 'kind' | 'recipientId'>>): string {
  return messages
    .map(({ at: time, kind, recipientId }) => `${kind === 'reminder' ? '?' : ''}${recipientId}@${printInstant(time)}`)
    .join(' ');
}

export function printInstant(time: number): string {
  const minutes = (time - start) / 60_000;
  return Number.isInteger(minutes) ? `${minutes}` : `${minutes * 60}s`;
}

/** A story as the simulation and the model take it. */
export function simulationOf(script: ScriptStep[], { policy = {}, unreachable = [], horizon = 600, ...facts }: Case = {}): Simulation {
  return {
    policies: [
      { ...p, ...policy },
      { ...p, id: 'Q', tiers: [tier('q1')] },
    ],
    calendars: new Map([['hours', officeHours]]),
    reach: ({ id }) => (unreachable.includes(id) ? [] : [{ kind: 'contact', id, userId: id }]),
    failures: new Map(),
    silences: [],
    until: at(horizon),
    ...facts,
    script,
  };
}

const everyRound = 'u1@0 u2@10 u3@20 u1@30 u2@40 u3@50 f@60';
const medium: Partial<EscalationPolicy> = { calendarId: 'hours', defer: { maxSeverity: 'medium' } };
const p2: EscalationPolicy = { ...p, version: 2, tiers: p.tiers.with(1, tier('u9')) };
const edit: ScriptStep = { at: at(5), kind: 'policy_changed', policy: p2 };

const single: Case = { policy: { tiers: [tier('u1')], repeat: null, hardStopMs: ms(60) }, horizon: 90 };
// minute 0 is 10:00 of the page
const acknowledged = [problem(0), ack(5), problem(10, 'B')];
const bothResolved = [...acknowledged, resolved(20), resolved(20, 'B')];
const reminding: Case = { policy: { acknowledgementTimeoutMs: ms(15), acknowledgementReminder: true } };

export const stories: Readonly<Record<string, readonly Story[]>> = {
  'the acceptance table': [
    ['1: nobody acknowledges', everyRound, [problem(0)]],
    ['1: a round that outlasts the interval', everyRound, [problem(0)], { policy: { repeat: { everyMs: ms(20), max: 1 } } }],
    [
      '1: rounds without end, and a hard stop',
      everyRound,
      [problem(0)],
      { policy: { repeat: { everyMs: ms(30), max: null }, hardStopMs: ms(60) }, horizon: 90 },
    ],
    ['2: acknowledged', 'u1@0', [problem(0), ack(5)]],
    ['2: acknowledged at exactly the next tier', 'u1@0', [problem(0), ack(10)]],
    // the page of 10:00 is made; that it is cancelled unsent is the delivery's part
    ['3: acknowledged 1 ms after the next tier', 'u1@0 u2@10', [problem(0), ack(10 + 1 / 60_000)]],
    ['4: nobody on schedule', 'u2@0 u3@10 u2@30 u3@40 f@50', [problem(0)], { unreachable: ['u1'] }],
    ['4: nobody at all', 'f@0', [problem(0)], { unreachable: ['u1', 'u2', 'u3'] }],
    ['5: one tier', 'u1@0 u1@30 u1@60 f@70', [problem(0)], { policy: { tiers: [tier('u1')], repeat: { everyMs: ms(30), max: 2 } } }],
    ['6: no repeat', 'u1@0 u2@10 u3@20 f@30', [problem(0)], { policy: { repeat: null } }],
    [
      '7: the acknowledgement times out',
      'u1@0 u1@20 u2@30',
      [problem(0), ack(5), resolved(35)],
      { policy: { acknowledgementTimeoutMs: ms(15) } },
    ],
    ['8: snoozed, resolved before', 'u1@0', [problem(0), command(5, { name: 'snooze', untilMs: at(65) }), resolved(61)]],
    ['8: snoozed, resolved after', 'u1@0 u1@65', [problem(0), command(5, { name: 'snooze', untilMs: at(65) }), resolved(70)]],
    ['9: two escalate', 'u1@0 u2@3', [problem(0), escalate(3, 1, 1), escalate(3, 1, 1), ack(4)]],
    ['10: escalated while acknowledged', 'u1@0 u2@5', [problem(0), ack(4), escalate(5, 1, 1), ack(6)]],
    ['11: reassigned', 'u1@0 q1@5', [problem(0), command(5, { name: 'reassign', policyId: 'Q' }), ack(6)]],
    ['12: a rejected page', 'u1@0 u2@2s', [problem(0), ack(1)], { failures: new Map([['u1', { rejectedAfterMs: 2_000 }]]) }],
    ['14: deferred, resolved before the hours', '', [problem(0, 'A', 'medium'), resolved(419)], { policy: medium }],
    ['14: deferred, acknowledged in the hours', 'u1@420', [problem(0, 'A', 'medium'), ack(425)], { policy: medium }],
    ['14: deferred, then raised', 'u1@60', [problem(0, 'A', 'medium'), problem(60), ack(61)], { policy: medium }],
    [
      '15: a tier outside its hours',
      'u1@0 u3@10',
      [problem(0), ack(11)],
      { policy: { calendarId: 'hours', tiers: p.tiers.with(1, tier('u2', { when: 'open' })) } },
    ],
    ['19: a new problem after the cooldown', 'u1@0 u1@36', [problem(0), ack(5), problem(36, 'B'), ack(37)]],
    ['20: silenced, still open', 'u1@20', [problem(5), ack(21)], { silences: [silence(0, 20, 'A')] }],
    ['20: silenced, resolved', '', [problem(5), resolved(15)], { silences: [silence(0, 20, 'A')] }],
    ['21: an edit', 'u1@0 u2@10', [problem(0), edit, resolved(11)]],
    ['21: an edit and a rebase', 'u1@0 u9@10', [problem(0), edit, command(6, { name: 'rebase', policyVersion: 2 }), resolved(11)]],
  ],
  'cooldown of 30 minutes': [
    ['a problem still open at its end pages', 'u1@0 u1@35', [...bothResolved, problem(25), ack(36)]],
    [
      'what it hid is closed with the escalation that tells of it',
      'u1@0 u1@35 u1@37',
      [...bothResolved, problem(25), command(36, { name: 'resolve' }), problem(37), ack(38)],
    ],
    ['a higher severity pages at once', 'u1@0 u1@25', [...bothResolved, problem(25, 'A', 'critical'), ack(26)]],
    ['as high as the highest is not higher', 'u1@0', [...bothResolved, problem(25), resolved(30)]],
    ['a raise in it pages at once', 'u1@0 u1@26', [...bothResolved, problem(25), problem(26, 'A', 'critical'), ack(27)]],
    ['resolved at exactly its end: nothing', 'u1@0', [...bothResolved, problem(25), resolved(35)]],
    ['a problem 1 ms before its end waits for it', 'u1@0 u1@35', [...bothResolved, problem(35 - 1 / 60_000), ack(36)]],
    ['a problem at exactly its end opens', 'u1@0 u1@35', [...bothResolved, problem(35), ack(36)]],
    [
      'until_resolved: a resolve ends it',
      'u1@0 u1@25',
      [...bothResolved, problem(25), ack(26)],
      { policy: { cooldownScope: 'until_resolved' } },
    ],
    ['a hidden member still firing restarts', 'u1@0 u1@35', [...acknowledged, ack(36)]],
    ['a hidden member resolved does not', 'u1@0', [...acknowledged, resolved(34, 'B')]],
    ['a further acknowledge covers it', 'u1@0', [...acknowledged, ack(11)]],
    ['a further acknowledge does not cover what comes after', 'u1@0 u1@35', [...acknowledged, ack(11), problem(12, 'C'), ack(36)]],
    ['duplicates never restart', 'u1@0', [problem(0), ack(5), problem(10), problem(40)]],
    [
      'a restart clears it',
      'u1@0 u1@6 u1@12',
      [problem(0), ack(5), command(6, { name: 'unacknowledge' }), resolved(7), problem(12), ack(13)],
    ],
    [
      'what opens anew in it waits for its group',
      'u1@5 u1@30',
      [problem(0), ack(6), resolved(20), problem(25, 'A', 'critical'), ack(31)],
      { policy: { groupWaitMs: ms(5) } },
    ],
    [
      'escalating undoes it with its acknowledge',
      'u1@0 u2@6 u1@8',
      [problem(0), ack(5), escalate(6, 1, 1), resolved(7), problem(8), ack(9)],
    ],
    ['an expiry ends it: the next event pages', 'u1@0 f@10 u1@62', [problem(0), ack(59), problem(62), ack(63)], single],
    ['a cooldown of nothing hides nothing', 'u1@0 u1@10', [...acknowledged, ack(11)], { policy: { cooldownMs: 0 } }],
  ],
  silence: [
    ['a problem at exactly its end is not silenced', 'u1@20', [problem(20), ack(21)], { silences: [silence(0, 20, 'A')] }],
    ['resolved at exactly its end: nothing', '', [problem(5), resolved(20)], { silences: [silence(0, 20, 'A')] }],
    [
      'one that another silence covers waits for that',
      'u1@40',
      [problem(5), ack(41)],
      { silences: [silence(0, 20, 'A'), silence(10, 40, 'A')] },
    ],
    ['others are not muted', 'u1@5', [problem(5, 'B'), ack(6)], { silences: [silence(0, 20, 'A')] }],
    [
      'a raise in it is told at its end',
      'u1@0 u1@20',
      [problem(0), ack(1), problem(6, 'A', 'critical'), ack(21)],
      { silences: [silence(5, 20, 'A')] },
    ],
    [
      'a raise in it is not told when the problem is closed meanwhile',
      'u1@0',
      [problem(0), ack(1), problem(6, 'A', 'critical'), command(7, { name: 'resolve' })],
      { silences: [silence(5, 20, 'A')] },
    ],
    [
      'a duplicate at its end changes nothing',
      'u1@20',
      [problem(5), problem(20), ack(21)],
      { silences: [silence(0, 20, 'A')], policy: { groupWaitMs: ms(5) } },
    ],
    ['an occurrence in it opens no problem that could be told', '', [occurrence(5)], { silences: [silence(0, 20, 'A')] }],
    ['a due tier waits for the end', 'u1@0 u2@25 u3@35', [problem(0), resolved(36)], { silences: [silence(5, 25, 'A')] }],
    ['a tier due at exactly the end fires', 'u1@0 u2@10', [problem(0), ack(11)], { silences: [silence(5, 10, 'A')] }],
    ['a member that is not silenced pages', 'u1@0 u2@10', [problem(0), problem(1, 'B'), ack(11)], { silences: [silence(5, 25, 'A')] }],
    [
      'a problem muted at intake joins at the end',
      'u1@0 u1@40',
      [problem(0), ack(1), problem(6, 'B'), ack(41)],
      { silences: [silence(5, 40, 'B')] },
    ],
    [
      'what became worse in it, hidden by a cooldown before, is told once',
      'u1@395 f@440',
      [problem(395), ack(396), resolved(397), problem(400, 'B', 'low'), problem(430, 'B', 'medium'), resolved(441, 'B')],
      {
        policy: { calendarId: 'hours', tiers: [tier('u1', { when: 'closed' })], repeat: null },
        silences: [silence(425, 440, 'B')],
      },
    ],
    [
      'the hard stop does not come meanwhile',
      'u1@0 u2@100 u3@110 f@150',
      [problem(0)],
      { silences: [silence(5, 100, 'A')], policy: { hardStopMs: ms(60), repeat: { everyMs: ms(300), max: 1 } }, horizon: 180 },
    ],
  ],
  'further rules of time': [
    ['tier 1 waits for the group', 'u1@5 u2@15', [problem(0), ack(16)], { policy: { groupWaitMs: ms(5) } }],
    ['resolved while it waits: nothing', '', [problem(0), resolved(5)], { policy: { groupWaitMs: ms(5) } }],
    [
      'a deferred first tier moves its round',
      'u1@420 u1@450 f@460',
      [problem(0, 'A', 'low')],
      { policy: { ...medium, tiers: [tier('u1')] } },
    ],
    ['a reminder comes before the timeout', 'u1@0 ?u1@15 u1@20', [problem(0), ack(5), resolved(21)], reminding],
    ['after exhaustion a new problem restarts', 'u1@0 f@10 u1@12', [problem(0), problem(12, 'B'), ack(13)], single],
    ['exhausted for a hard stop its problems close', 'u1@0 f@10 u1@71', [problem(0), problem(69), problem(71), ack(72)], single],
    ['acknowledged past the hard stop its problems close', 'u1@0 u1@61', [problem(0), ack(5), problem(59), problem(61), ack(62)], single],
    [
      'exhausted before anybody was reached, the hard stop counts from then',
      'u1@420 u1@485',
      [problem(0), ack(419), escalate(420, 1, 0), ack(425), problem(485), ack(486)],
      { policy: { calendarId: 'hours', tiers: [tier('u1', { when: 'open' })], repeat: null, fallback: [], hardStopMs: ms(480) } },
    ],
    [
      'a tier that is asked for and waits is the last one, when a rebase leaves none such',
      'u1@6',
      [
        problem(0, 'A', 'medium'),
        command(1, { name: 'escalate', expected: { round: 1, tier: 0 }, toTier: 3 }),
        { at: at(5), kind: 'policy_changed', policy: { ...p, version: 2, tiers: [tier('u1')] } },
        command(6, { name: 'rebase', policyVersion: 2 }),
        ack(7),
      ],
      { policy: medium },
    ],
    ['an occurrence is closed by commands only', 'u1@0 f@10', [occurrence(0), resolved(5)], single],
    [
      'escalating past the last tier begins an uncounted round',
      'u1@0 u1@5 u1@35 f@45',
      [problem(0), escalate(5, 1, 1)],
      {
        policy: { tiers: [tier('u1')] },
      },
    ],
  ],
};
