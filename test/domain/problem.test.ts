import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Effect } from '../../domain/event-type.ts';
import {
  applyToProblem,
  changeReasons,
  isProblemOpen,
  occurrenceWindowMs,
  problemTtlRules,
  type ProblemChange,
  type ProblemEvent,
  type Standing,
} from '../../domain/problem.ts';
import { severities, type Severity } from '../../domain/severity.ts';

const minute = 60_000;
const ttl = problemTtlRules.defaultMs;
const ten = Date.parse('2026-10-01T10:00:00Z');
const nothing: Standing = { problem: null, occurrence: null };

const event = (effect: Effect, acceptedAt: number, severity: Severity = 'high', hasExplicitDedupKey = true): ProblemEvent => ({
  effect,
  severity,
  acceptedAt,
  hasExplicitDedupKey,
});

/** Each event in turn on what the one before left. */
function replay(events: readonly ProblemEvent[], problemTtlMs = ttl) {
  let standing = nothing;
  const changes: ProblemChange[] = [];
  for (const each of events) {
    const { change, problem, occurrence } = applyToProblem(standing, each, { problemTtlMs });
    standing = { problem, occurrence };
    changes.push(change);
  }
  return { ...standing, changes };
}

describe('a problem', () => {
  test('is told when it opens and when it gets worse, and counts what repeats it', () => {
    const { changes, problem } = replay([event('open', ten), event('open', ten + minute), event('open', ten + 2 * minute, 'critical')]);
    expect(changes).toEqual(['opened', 'duplicate', 'raised']);
    expect(problem).toEqual({ openedAt: ten, lastAt: ten + 2 * minute, count: 3, highestSeverity: 'critical' });
  });

  test('is raised above the worst so far only', () => {
    const at = (severity: Severity) => event('open', ten, severity);
    expect(replay([at('medium'), at('high'), at('low'), at('high'), at('critical'), at('critical')]).changes).toEqual([
      'opened',
      'raised',
      'duplicate',
      'duplicate',
      'raised',
      'duplicate',
    ]);
  });

  test('opens anew after it was resolved', () => {
    const { changes, problem } = replay([event('open', ten), event('resolve', ten + 1), event('resolve', ten + 2), event('open', ten + 3)]);
    expect(changes).toEqual(['opened', 'resolved', 'no_open_problem', 'opened']);
    expect(problem).toEqual({ openedAt: ten + 3, lastAt: ten + 3, count: 1, highestSeverity: 'high' });
  });

  test('expires a whole life after the last event that was heard of it, and not a millisecond earlier', () => {
    const last = ten + 23 * 60 * minute;
    expect(replay([event('open', ten), event('open', last), event('open', last + ttl - 1)]).changes).toEqual([
      'opened',
      'duplicate',
      'duplicate',
    ]);
    expect(replay([event('open', ten), event('open', last), event('open', last + ttl)]).changes).toEqual(['opened', 'duplicate', 'opened']);
    const { problem } = replay([event('open', ten), event('open', last)]);
    expect([isProblemOpen(problem!, last + ttl - 1, ttl), isProblemOpen(problem!, last + ttl, ttl)]).toEqual([true, false]);
  });

  test('says that it expired, whatever finds it so', () => {
    const { problem } = replay([event('open', ten)]);
    const late = ten + ttl;
    for (const effect of ['open', 'resolve', 'occur', 'occur_and_resolve', 'acknowledge'] as const) {
      expect(applyToProblem({ problem, occurrence: null }, event(effect, late), { problemTtlMs: ttl }).ended).toBe('expired');
      const before = applyToProblem({ problem, occurrence: null }, event(effect, late - 1), { problemTtlMs: ttl });
      expect(before.ended).toBe(effect === 'resolve' || effect === 'occur_and_resolve' ? 'resolved' : null);
    }
    expect(replay([event('open', ten), event('resolve', late)]).changes[1]).toBe('no_open_problem');
    expect(replay([event('open', ten), event('occur_and_resolve', late)]).changes[1]).toBe('occurred');
  });

  test('lives no shorter for an event that a process with a slower clock accepted', () => {
    const { changes, problem } = replay([event('open', ten), event('open', ten - minute)]);
    expect(changes).toEqual(['opened', 'duplicate']);
    expect(problem).toMatchObject({ lastAt: ten, count: 2 });
  });

  test('is left alone by acknowledgements and by what merely occurs', () => {
    const { problem } = replay([event('open', ten)]);
    expect(replay([event('open', ten), event('acknowledge', ten + 1), event('occur', ten + 2)])).toMatchObject({
      changes: ['opened', 'acknowledged', 'occurred'],
      problem,
    });
  });
});

describe('an occurrence', () => {
  test('with its own dedup key mutes equal ones in the ten minutes from it, and no longer', () => {
    const { changes, occurrence } = replay([
      event('occur', ten),
      event('occur', ten + 5 * minute),
      event('occur', ten + occurrenceWindowMs - 1),
      event('occur', ten + occurrenceWindowMs),
      event('occur', ten + occurrenceWindowMs + 1),
    ]);
    expect(changes).toEqual(['occurred', 'occurrence_duplicate', 'occurrence_duplicate', 'occurred', 'occurrence_duplicate']);
    expect(occurrence).toEqual({ firstAt: ten + occurrenceWindowMs, count: 2 });
  });

  test('without one is told each time and leaves nothing to store', () => {
    const derived = event('occur', ten, 'info', false);
    expect(replay([derived, derived])).toEqual({ changes: ['occurred', 'occurred'], problem: null, occurrence: null });
  });

  test('that resolves too goes on as an occurrence when no problem is open', () => {
    expect(replay([event('occur_and_resolve', ten), event('occur_and_resolve', ten + minute)]).changes).toEqual([
      'occurred',
      'occurrence_duplicate',
    ]);
  });

  test('that resolves a problem is told, also when a moment ago one was; and being told it mutes the next', () => {
    const { changes, occurrence } = replay([
      event('occur_and_resolve', ten),
      event('open', ten + minute),
      event('occur_and_resolve', ten + 2 * minute),
      event('occur_and_resolve', ten + 11 * minute),
      event('occur_and_resolve', ten + 12 * minute),
    ]);
    expect(changes).toEqual(['occurred', 'opened', 'resolved', 'occurrence_duplicate', 'occurred']);
    expect(occurrence).toEqual({ firstAt: ten + 12 * minute, count: 1 });
  });
});

test('repetitions and a resolve of nothing suppress, a raise is the reason of what is sent, and nothing else has a reason', () => {
  expect(Object.fromEntries(Object.entries(changeReasons).filter(([, reason]) => reason !== null))).toEqual({
    duplicate: 'deduplicated',
    occurrence_duplicate: 'deduplicated',
    no_open_problem: 'no_open_problem',
    raised: 'severity_raised',
  });
});

test('however events come, each is told exactly when no equal or worse one was told since the problem opened', () => {
  const step = fc.record({
    effect: fc.constantFrom<Effect>('open', 'resolve'),
    severity: fc.constantFrom(...severities),
    afterMs: fc.constantFrom(0, 1, minute, ttl - 1, ttl, 2 * ttl),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let at = ten;
      const events = steps.map(({ effect, severity, afterMs }) => event(effect, (at += afterMs), severity));
      const { changes } = replay(events);
      events.forEach((each, i) => {
        // everything since the last resolve or the last silence of a whole life
        let from = i;
        while (from > 0 && events[from - 1]!.effect === 'open' && events[from]!.acceptedAt - events[from - 1]!.acceptedAt < ttl) from -= 1;
        const earlier = events.slice(from, i).map(({ severity }) => severities.indexOf(severity));
        const rank = severities.indexOf(each.severity);
        const opening = earlier.length === 0 ? 'opened' : rank < Math.min(...earlier) ? 'raised' : 'duplicate';
        const ending = earlier.length === 0 ? 'no_open_problem' : 'resolved';
        expect(changes[i]).toBe(each.effect === 'open' ? opening : ending);
      });
    }),
  );
});
