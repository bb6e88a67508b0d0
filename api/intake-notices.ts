import { attachMember } from '../db/notice-attach.ts';
import { type BundlingRule, createNoticeSteps, keyOf, type NoticeSteps } from '../db/notice-step.ts';
import type { NoticeSelection, StoredNoticeGroup } from '../db/queries/notice-group.ts';
import type { AcceptedEvent } from '../domain/event.ts';
import { type Decision, isOwn, type RoutingFacts } from '../domain/routing.ts';
import { matchesRule, type MatchedEvent } from '../domain/rule.ts';
import { type Standing, standingKeyOf } from './intake-standings.ts';

type Groupable = MatchedEvent & Pick<AcceptedEvent, 'effect' | 'family'>;

/** Which groups the events may change: those of the rules that bundle them, and those that their problems are members of. */
export function noticeGroupsOf(events: readonly Groupable[], { rules }: Pick<RoutingFacts, 'rules'>): NoticeSelection {
  const bundling = rules.filter((rule): rule is BundlingRule => rule.enabled && rule.aggregate !== null);
  if (bundling.length === 0) return nothing;
  const keys = events
    .filter((event) => !isOwn(event))
    .flatMap((event) => bundling.filter((rule) => matchesRule(rule, event)).map((rule) => keyOf(rule, event)));
  const problems = events.filter(({ effect }) => effect !== 'occur').flatMap((event) => standingKeyOf(event) ?? []);
  return { keys, problems };
}

const nothing: NoticeSelection = { keys: [], problems: [] };

/** What the events of one transaction do to what rules bundle, in order. */
export interface IntakeNotices {
  readonly steps: NoticeSteps;
  /** @returns the decisions, with what becomes of those that are bundled */
  apply(event: AcceptedEvent, standing: Standing, decisions: readonly Decision[]): Decision[];
}

/** @param groups every open group that `noticeGroupsOf` names, locked */
export function createIntakeNotices(
  organizationId: string,
  { routing }: { routing: RoutingFacts },
  groups: readonly StoredNoticeGroup[],
  at: number,
): IntakeNotices {
  const steps = createNoticeSteps({ organizationId, at, routing, groups });
  return {
    steps,
    apply(event, { change, problemId, endedId }, decisions) {
      const how = change === 'resolved' ? 'resolved' : 'expired';
      const endings = endedId === null ? [] : steps.end(endedId, how, event.acceptedAt);
      const bundled = decisions.filter(({ verdict }) => verdict === 'group');
      if (bundled.length === 0) return [...decisions];
      const isEndAlone = change === 'resolved' && event.effect === 'resolve';
      if (isEndAlone) return decisions.map((decision) => (decision.verdict === 'group' ? endOf(decision, endings) : decision));
      const isProblem = change === 'opened' || change === 'raised';
      const member = isProblem ? ({ kind: 'problem', key: problemId! } as const) : ({ kind: 'occurrence', key: event.id } as const);
      return attachMember(steps, routing, { event, member, decisions, at: event.acceptedAt });
    },
  };
}

/** The end of a problem is told by those groups that told of it; where none did, at once. */
function endOf(decision: Decision, endings: ReturnType<NoticeSteps['end']>): Decision {
  const ending = endings.find(({ channelIds }) => channelIds.includes(decision.target.id!));
  if (ending === undefined) return { ...decision, verdict: 'send', reason: 'rule_match' };
  if (ending.beforeNotice) return { ...decision, verdict: 'suppress', reason: 'resolved_before_notice' };
  return ending.until === null ? { ...decision, verdict: 'suppress', reason: 'grouped' } : { ...decision, until: ending.until };
}
