import type { Fault } from './errors.ts';
import { type MatchedEvent, type Matcher, matchesAll } from './rule.ts';

export const silenceRules = { matchers: { min: 1, max: 10 }, maxMs: 30 * 86_400_000, commentLength: 1_000 } as const;

/** How long before its end its creator is reminded. */
export const silenceReminderMs = 15 * 60_000;

/** One version of a silence. Instants are Unix milliseconds, ids UUIDs. */
export interface Silence {
  id: string;
  version: number;
  /** All must match. */
  matchers: readonly Matcher[];
  /** Mute in [startsAt, endsAt). */
  startsAt: number;
  endsAt: number;
  comment: string;
  /** A user or service account. */
  createdBy: string;
}

type Checked = 'matchers' | 'startsAt' | 'endsAt' | 'comment';

/**
 * Every fault of a silence that is saved at `at`, besides those of single matchers. A start in the past is fine, an end there is not.
 * @param silence what is missing of it has faults of its own, and is not looked at
 */
export function silenceFaults({ matchers, startsAt, endsAt, comment }: { [K in Checked]?: Silence[K] | undefined }, at: number): Fault[] {
  const faults: Fault[] = [];
  const { min, max } = silenceRules.matchers;
  if (matchers !== undefined && (matchers.length < min || matchers.length > max)) {
    const code = matchers.length < min ? 'too_small' : 'too_big';
    faults.push({ pointer: '/matchers', code, detail: `must have ${min} to ${max} elements` });
  }
  if (endsAt !== undefined) faults.push(...endFaults(endsAt, startsAt, at));
  if (comment?.trim() === '') faults.push({ pointer: '/comment', code: 'required', detail: 'must say why' });
  else if (comment !== undefined && comment.length > silenceRules.commentLength)
    faults.push({ pointer: '/comment', code: 'too_big', detail: `must have at most ${silenceRules.commentLength} characters` });
  return faults;
}

function endFaults(endsAt: number, startsAt: number | undefined, at: number): Fault[] {
  const fault = (detail: string): Fault[] => [{ pointer: '/endsAt', code: 'out_of_range', detail }];
  if (startsAt !== undefined && endsAt <= startsAt) return fault('must be after startsAt');
  if (startsAt !== undefined && endsAt - startsAt > silenceRules.maxMs) return fault('must be at most 30 days after startsAt');
  return endsAt <= at ? fault('must not have passed') : [];
}

/** The silence that mutes the event at `at`; of several the one that lasts longest, then the one with the least id. */
export function activeSilence(silences: readonly Silence[], event: MatchedEvent, at: number): Silence | null {
  let longest: Silence | null = null;
  for (const silence of silences) {
    if (at < silence.startsAt || at >= silence.endsAt) continue;
    const wins =
      longest === null || silence.endsAt > longest.endsAt || (silence.endsAt === longest.endsAt && compare(silence.id, longest.id) < 0);
    if (wins && matchesAll(silence.matchers, event)) longest = silence;
  }
  return longest;
}

/**
 * The first instant from `at` on at which no silence mutes the event: where one ends in another, the other goes on. Null when nothing mutes
 * it at `at`.
 */
export function silencedUntil(silences: readonly Silence[], event: MatchedEvent, at: number): number | null {
  const matching = silences.filter(({ matchers }) => matchesAll(matchers, event));
  let until = at;
  for (;;) {
    const next = matching.reduce((end, silence) => (silence.startsAt <= until ? Math.max(end, silence.endsAt) : end), until);
    if (next === until) return until === at ? null : until;
    until = next;
  }
}

/** No intake is under way for longer: what it accepted while the silence lasted is stored by then. */
const intakeMs = 30_000;

export interface SilenceStep {
  at: number;
  what: 'started' | 'ending_soon' | 'ended' | 'swept';
}

/** What happens to a silence by itself, in order: its creator is told of the first two, at the last two what it muted is told. */
export function silenceSteps({ startsAt, endsAt }: Pick<Silence, 'startsAt' | 'endsAt'>): SilenceStep[] {
  const reminderAt = endsAt - silenceReminderMs;
  return [
    { at: startsAt, what: 'started' },
    // One that is shorter than this ends soon from its start: that notice says it all.
    ...(reminderAt > startsAt ? [{ at: reminderAt, what: 'ending_soon' } as const] : []),
    ...endOf(endsAt),
  ];
}

/** At its end what it muted is told; and once more a little later, for what was accepted before the end and is stored after it. */
export function endOf(at: number): SilenceStep[] {
  return [
    { at, what: 'ended' },
    { at: at + intakeMs, what: 'swept' },
  ];
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
