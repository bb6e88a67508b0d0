import type { EntityManager } from '@mikro-orm/postgresql';
import type { PolicyDefinition } from '../db/entities/escalation-policy.ts';
import { readCoverageFacts } from '../db/queries/coverage-facts.ts';
import { usersOf } from '../db/queries/schedule.ts';
import { coverageOf } from '../domain/coverage.ts';
import type { Coverage, CoverageCause, CoverageFacts, CoverageGap, CoverageReason } from '../domain/coverage.ts';
import { whyUnreachable } from '../domain/coverage-targets.ts';
import type { Target, Tier } from '../domain/escalation-policy.ts';
import { toWireId } from '../domain/id.ts';
import { runInSlices } from './pace.ts';

export interface Warning {
  readonly pointer: string;
  readonly code: string;
  readonly detail: string;
}

export interface PolicyCoverage {
  readonly coverage: Coverage;
  readonly facts: CoverageFacts;
  /** Nobody within the time that was looked at, the fallback included. */
  readonly reachesNobody: boolean;
}

const weekMs = 7 * 86_400_000;
/** How far a saved policy is looked at. */
const warnedWeeks = 52;

type Covered = Pick<PolicyDefinition, 'tiers' | 'calendarId' | 'fallback'>;

/** A span of time that is looked at. */
interface Looking {
  from: number;
  weeks?: number;
}

/** Whom a policy would reach in the `weeks` from `from`, as things are configured now; run in the organization. */
export async function coverPolicy(em: EntityManager, organizationId: string, policy: Covered, looking: Looking): Promise<PolicyCoverage> {
  return evaluatePolicy(policy, await readFacts(em, organizationId, policy, looking), looking);
}

/** What `evaluatePolicy` needs to know; run in the organization. */
export async function readFacts(em: EntityManager, organizationId: string, policy: Covered, looking: Looking): Promise<CoverageFacts> {
  const { from, weeks = warnedWeeks } = looking;
  return readCoverageFacts(em, organizationId, policy, { from, to: from + weeks * weekMs });
}

/** The part of `coverPolicy` that takes its time, in slices: for whoever need not hold a transaction meanwhile. */
export async function evaluatePolicy(
  policy: Covered,
  facts: CoverageFacts,
  { from, weeks = warnedWeeks }: Looking,
): Promise<PolicyCoverage> {
  const coverage = await runInSlices(coverageOf(policy, facts, from, weeks));
  const reachesNobody = coverage.reachesNobody && (await coverTiers([policy.fallback], facts, { from, weeks })).reachesNobody;
  return { coverage, facts, reachesNobody };
}

/** The coverage of these targets at all hours, a tier for each list. */
async function coverTiers(
  lists: ReadonlyArray<readonly Target[]>,
  facts: CoverageFacts,
  { from, weeks }: Required<Looking>,
): Promise<Coverage> {
  const tiers = lists.map((targets): Tier => ({ name: null, targets, timeoutMs: 0, when: 'always', calendarId: null }));
  return runInSlices(coverageOf({ tiers, calendarId: null }, facts, from, weeks));
}

/** What whoever saved the policy should know. Hours in which a tier is not meant to fire are no news. */
export async function warningsOf(
  policy: Covered & Pick<PolicyDefinition, 'acknowledgementTimeoutMs'>,
  { coverage, facts }: PolicyCoverage,
): Promise<Warning[]> {
  const warnings = await unreachableTargets(policy, facts, coverage.from);
  for (const [index, gaps] of coverage.tiers.entries()) {
    const unmeant = gaps.filter(({ because }) => because.some(({ reason }) => reason !== 'outside_hours'));
    warnings.push(...gapWarnings(unmeant, coverage, { pointer: `/tiers/${index}`, code: 'tier_gap', noun: 'this tier' }));
  }
  warnings.push(...gapWarnings(coverage.overall, coverage, { pointer: '/tiers', code: 'gap', noun: 'any tier' }));
  const [alone] = coverage.alone;
  if (alone !== undefined) {
    const detail = `${rangeText(alone)} all tiers together reach ${toWireId('user', alone.userId)} and nobody else`;
    warnings.push({ pointer: '/tiers', code: 'one_person', detail: detail + andMore(coverage.alone) });
  }
  if (policy.acknowledgementTimeoutMs === null) {
    const detail = 'what is acknowledged and then forgotten pages nobody again';
    warnings.push({ pointer: '/acknowledgementTimeout', code: 'no_acknowledgement_timeout', detail });
  }
  return warnings;
}

function gapWarnings(
  gaps: readonly CoverageGap[],
  { from, to }: Coverage,
  { pointer, code, noun }: { pointer: string; code: string; noun: string },
): Warning[] {
  const [first] = gaps;
  if (first === undefined) return [];
  const whole = gaps.reduce((sum, { start, end }) => sum + end - start, 0) === to - from;
  const detail = whole ? `nobody is reached by ${noun}` : `nobody is reached by ${noun} ${rangeText(first)}${andMore(gaps)}`;
  return [{ pointer, code, detail }];
}

const reasonTexts: Readonly<Record<Exclude<CoverageReason, 'gap' | 'outside_hours'>, string>> = {
  inactive_user: 'is not an active member',
  no_page_method: 'has no verified address for pages of a type that the organization has a sender for',
  inactive_channel: 'is inactive, or shows messages in the app only',
  inactive_webhook: 'is inactive',
  unknown_target: 'does not exist any more',
};

/** Each target that cannot be reached, also beside others that can, and each person of a schedule who cannot be when on call. */
async function unreachableTargets({ tiers, fallback }: Covered, facts: CoverageFacts, from: number): Promise<Warning[]> {
  const places = [
    ...tiers.flatMap(({ targets }, tier) => targets.map((target, index) => ({ target, pointer: `/tiers/${tier}/targets/${index}` }))),
    ...fallback.map((target, index) => ({ target, pointer: `/fallback/${index}` })),
  ];
  const targets = new Map(places.filter(({ target }) => mayFail(target, facts)).map(({ target }) => [keyOf(target), target]));
  const { tiers: alone } = await coverTiers(
    [...targets.values()].map((target) => [target]),
    facts,
    { from, weeks: warnedWeeks },
  );
  const gaps = new Map([...targets.keys()].map((key, index) => [key, alone[index]!]));
  return places.flatMap(({ target, pointer }) => {
    const told = new Map<string, Warning>();
    for (const { reason, userId } of (gaps.get(keyOf(target)) ?? []).flatMap(({ because }): readonly CoverageCause[] => because)) {
      if (reason === 'gap' || reason === 'outside_hours') continue;
      const subject = userId === null ? toWireId(target.kind, target.id) : toWireId('user', userId);
      told.set(subject, { pointer, code: reason, detail: `${subject} ${reasonTexts[reason]}` });
    }
    return [...told.values()];
  });
}

/** Nothing but a gap can be wrong with a schedule of people who can all be reached: it need not be gone through. */
function mayFail({ kind, id }: Target, { schedules, users }: CoverageFacts): boolean {
  const planned = kind === 'schedule' ? schedules.get(id) : undefined;
  return planned === undefined || usersOf(planned).some((userId) => whyUnreachable(users.get(userId)) !== null);
}

function keyOf({ kind, id }: Target): string {
  return `${kind} ${id}`;
}

function rangeText({ start, end }: { start: number; end: number }): string {
  return `from ${new Date(start).toISOString()} to ${new Date(end).toISOString()}`;
}

function andMore({ length }: { length: number }): string {
  return length === 1 ? '' : `, and ${length - 1} more times within the next year`;
}
