import type { AcceptedEvent } from '../domain/event.ts';
import type { Decision, RoutingFacts } from '../domain/routing.ts';
import { type BundlingRule, keyOf, type NoticeSteps } from './notice-step.ts';
import type { NoticeGroupKey } from './queries/notice-group.ts';

/** From what routing decided about an event to the groups that it joins. */

interface Bundled {
  event: AcceptedEvent;
  member: { key: string; kind: 'problem' | 'occurrence' };
  decisions: readonly Decision[];
  /** When it joins; that the event is accepted now, or that a silence lets go of its problem. */
  at: number;
}

/** Makes it a member of the groups of the rules that bundle it. @returns the decisions, those of bundled channels with the instant of the notice */
export function attachMember(
  steps: NoticeSteps,
  routing: Pick<RoutingFacts, 'rules'>,
  { event, member, decisions, at }: Bundled,
): Decision[] {
  const bundled = decisions.flatMap((decision) => {
    const rule = bundlingRule(decision, routing);
    return rule === undefined ? [] : [{ rule, channelId: decision.target.id! }];
  });
  const until = new Map<BundlingRule, number | null>();
  for (const rule of new Set(bundled.map((one) => one.rule))) {
    const channelIds = bundled.filter((one) => one.rule === rule).map(({ channelId }) => channelId);
    until.set(rule, steps.fire(rule, event, { ...member, channelIds, at }));
  }
  return decisions.map((decision) => {
    const rule = bundlingRule(decision, routing);
    return rule === undefined ? decision : { ...decision, until: until.get(rule) ?? null };
  });
}

/** The groups that `attachMember` would change. */
export function noticeKeysOf(event: AcceptedEvent, decisions: readonly Decision[], routing: Pick<RoutingFacts, 'rules'>): NoticeGroupKey[] {
  return decisions.flatMap((decision) => {
    const rule = bundlingRule(decision, routing);
    return rule === undefined ? [] : [keyOf(rule, event)];
  });
}

function bundlingRule({ verdict, winner }: Decision, { rules }: Pick<RoutingFacts, 'rules'>): BundlingRule | undefined {
  if (verdict !== 'group') return undefined;
  return rules.find((rule): rule is BundlingRule => winner === `rule:${rule.id}@${rule.version}` && rule.aggregate !== null);
}
