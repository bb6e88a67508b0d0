import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { GroupCommand } from '../../domain/escalation-input.ts';
import type { EscalationPolicy } from '../../domain/escalation-policy.ts';
import type { GroupStep } from '../../domain/escalation-effect.ts';
import type { GroupState } from '../../domain/escalation-state.ts';
import { at, beginGroup, buildPolicy, hour, minute, openBetween, reach, start, tier, user, type Group } from './escalation-story.ts';

/** What must hold whatever happens, checked at each step of random stories. */

const keys = ['A', 'B', 'C'] as const;
const timeout = fc.integer({ min: 1, max: 30 }).map((minutes) => minutes * minute);
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(value, { nil: null });

const policies: fc.Arbitrary<EscalationPolicy> = fc
  .record({
    groupWaitMs: fc.constantFrom(0, 0, 3 * minute),
    tiers: fc.array(
      fc
        .record({
          target: fc.constantFrom('u1', 'u2', 'u3', 'nobody'),
          timeoutMs: timeout,
          when: fc.constantFrom('always', 'always', 'open', 'closed'),
        })
        .map(({ target, ...rest }) => tier(user(target), rest)),
      { minLength: 1, maxLength: 4 },
    ),
    calendarId: maybe(fc.constant('hours')),
    defer: maybe(fc.constant({ maxSeverity: 'medium' } as const)),
    repeat: maybe(fc.record({ everyMs: timeout, max: maybe(fc.integer({ min: 0, max: 3 })) })),
    acknowledgementTimeoutMs: maybe(timeout),
    acknowledgementReminder: fc.boolean(),
    cooldownMs: fc.constantFrom(0, 10 * minute, 30 * minute),
    cooldownScope: fc.constantFrom('full', 'until_resolved'),
    hardStopMs: fc.constantFrom(hour, 3 * hour),
    autoResolve: fc.boolean(),
  })
  .map((overrides) => buildPolicy(overrides));

const position = fc.record({ round: fc.integer({ min: 1, max: 2 }), tier: fc.integer({ min: 0, max: 3 }) });
const commandsOf: fc.Arbitrary<GroupCommand> = fc.oneof(
  fc.record({ name: fc.constant('acknowledge'), extend: fc.boolean() }),
  fc.constant({ name: 'unacknowledge' } as const),
  fc.record({ name: fc.constant('escalate'), expected: position, toTier: maybe(fc.integer({ min: 1, max: 4 })) }),
  fc.record({ name: fc.constant('snooze'), until: fc.integer({ min: 1, max: 200 }).map(at) }),
  fc.constantFrom({ policyId: 'Q' }, { policyId: 'P' }, { targets: [user('x')] }).map((to) => ({ name: 'reassign', to }) as const),
  fc.record({ name: fc.constant('rebase'), version: fc.integer({ min: 1, max: 2 }) }),
  fc.constant({ name: 'resolve' } as const),
);
const acts = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('problem', 'occurrence'),
      key: fc.constantFrom(...keys),
      severity: fc.constantFrom('low', 'medium', 'high', 'critical'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('problem_resolved'), key: fc.constantFrom(...keys) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('command'), command: commandsOf }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('firing_failing') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('silences_changed') }) },
);
type Act = typeof acts extends fc.Arbitrary<infer T> ? T : never;

const stories = fc.record({
  policy: policies,
  other: policies,
  script: fc
    .array(fc.record({ minutes: fc.integer({ min: 0, max: 180 }), act: acts }), { maxLength: 20 })
    .map((script) => script.toSorted((a, b) => a.minutes - b.minutes)),
  silences: fc.array(
    fc.record({ key: fc.constantFrom(...keys), from: fc.integer({ min: 0, max: 120 }), length: fc.integer({ min: 1, max: 60 }) }),
    {
      maxLength: 3,
    },
  ),
});
type Story = typeof stories extends fc.Arbitrary<infer T> ? T : never;

/** Plays a story to its end, two days later. Timers come `lateMs` late. Every step that changed something is shown to `check`. */
function playOut({ policy, other, script, silences }: Story, check: (step: GroupStep, before: GroupState) => void, lateMs = 0): Group {
  let now = 0;
  const silencedUntil = (key: string): number | null => {
    const ends = silences.filter((silence) => silence.key === key && silence.from <= now && now < silence.from + silence.length);
    return ends.length === 0 ? null : at(Math.max(...ends.map(({ from, length }) => from + length)));
  };
  const calendar = openBetween('12:30', '13:30');
  const group = beginGroup([{ ...other, version: 2 }, { ...other, id: 'Q' }, policy], {
    silencedUntil,
    calendar: () => calendar,
    recipients: reach,
  });
  const watch = (minutes: number, run: (minutes: number) => void): void => {
    now = Math.max(now, minutes);
    const before = group.state;
    run(now);
    check(group.last, before);
  };
  const elapseUntil = (minutes: number): void => {
    // Infinitely many steps would be a defect of their own.
    for (let steps = 0; steps < 5_000; steps += 1) {
      const { plan } = group.last;
      if (plan === null) return;
      const due = (plan.dueAt + lateMs - start) / minute;
      if (due > minutes) return;
      watch(due, group.elapse);
    }
    throw new Error('The group never comes to rest.');
  };
  for (const { minutes, act } of script) {
    elapseUntil(minutes - 0.001);
    watch(minutes, (moment) => enact(group, moment, act));
  }
  elapseUntil(48 * 60);
  return group;
}

function enact(group: Group, minutes: number, act: Act): void {
  const { id = '', firing = 0 } = group.state.escalation ?? {};
  switch (act.kind) {
    case 'command':
      group.command(minutes, act.command);
      break;
    case 'firing_failing':
      group.send(minutes, { kind: 'firing_failing', escalationId: id, firing });
      break;
    default:
      group.send(minutes, act);
  }
}

test('an input is applied as a whole or leaves everything as it was', () => {
  fc.assert(
    fc.property(stories, (story) => {
      playOut(story, ({ state, effects, outcome }, before) => {
        if (outcome === 'applied') expect(state.version).toBe(before.version + 1);
        else {
          expect(state).toBe(before);
          expect(effects.filter(({ kind }) => kind !== 'timeline')).toEqual([]);
        }
        expect(JSON.parse(JSON.stringify(state))).toEqual(state);
      });
    }),
  );
});

test('whatever is open always waits for something, and comes to an end by itself', () => {
  fc.assert(
    fc.property(stories, (story) => {
      const { state, last } = playOut(story, ({ state, plan }) => {
        if (state.escalation !== null && state.escalation.phase.status !== 'resolved') expect(plan).not.toBeNull();
        if (state.held.length > 0) expect(plan).not.toBeNull();
      });
      expect(last.plan).toBeNull();
      expect(state.escalation?.phase.status ?? 'resolved').toBe('resolved');
    }),
  );
});

test('pages come from a triggered escalation only, numbered without a gap, at a position that exists', () => {
  fc.assert(
    fc.property(stories, (story) => {
      playOut(story, ({ state, effects }, before) => {
        for (const effect of effects) {
          if (effect.kind !== 'fire') continue;
          const { id, phase, round, tier, firing } = state.escalation!;
          expect([effect.escalationId, effect.round, effect.tier, effect.firing]).toEqual([id, round, tier, firing]);
          expect(phase.status).toBe('triggered');
          expect(firing).toBe(before.escalation?.id === id ? before.escalation.firing + 1 : 1);
          expect(effect.recipients.length).toBeGreaterThan(0);
        }
      });
    }),
  );
});

test('after an acknowledgement nobody is paged until it is undone', () => {
  fc.assert(
    fc.property(stories, (story) => {
      let acknowledged: string | null = null;
      playOut(story, ({ state, effects }) => {
        for (const effect of effects) {
          if (effect.kind === 'timeline' && effect.status !== 'acknowledged') acknowledged = null;
          if (effect.kind === 'timeline' && effect.what === 'acknowledged') acknowledged = effect.escalationId;
          if (effect.kind === 'fire' || effect.kind === 'fallback') expect(effect.escalationId).not.toBe(acknowledged);
        }
        if (acknowledged !== null) expect(state.escalation?.phase.status).toBe('acknowledged');
      });
    }),
  );
});

test('what the cooldown hides is hidden only while nobody is paged anyway', () => {
  fc.assert(
    fc.property(stories, (story) => {
      playOut(story, ({ state }) => {
        const status = state.escalation?.phase.status;
        const hidden = state.members.filter(({ mutedUntil }) => mutedUntil !== null);
        if (hidden.length > 0) expect(['acknowledged', 'resolved']).toContain(status);
      });
    }),
  );
});

test('timers that come a little late page the same people for the same minutes', () => {
  const pages = (story: Story, lateMs: number): string[] => {
    const made: string[] = [];
    playOut(
      story,
      ({ effects }) => {
        for (const effect of effects)
          if (effect.kind === 'fire')
            made.push(
              ...effect.recipients.map(
                ({ id }) => `${id} ${effect.round}.${effect.tier} ${Math.floor((effect.scheduledAt - start) / minute)}`,
              ),
            );
      },
      lateMs,
    );
    return made;
  };
  // silences end, and stop the clock of the hard stop, by the real clock
  const loud = stories.map((story) => ({ ...story, silences: [] }));
  fc.assert(
    fc.property(loud, fc.integer({ min: 1, max: 5_000 }), (story, lateMs) => expect(pages(story, lateMs)).toEqual(pages(story, 0))),
  );
});
