import { createEscalationSteps, type EscalationSteps, type StepAuthor } from '../db/escalation-step.ts';
import type { EscalationSubject, GroupKey, StoredGroup } from '../db/queries/escalation-group.ts';
import type { StandingKey } from '../db/queries/problem.ts';
import type { OrganizationFacts } from '../db/queries/routing-facts.ts';
import type { Outcome } from '../domain/escalation-effect.ts';
import type { AcknowledgementProof } from '../domain/escalation-policy.ts';
import type { GroupState } from '../domain/escalation-state.ts';
import type { AcceptedEvent } from '../domain/event.ts';
import { verdictOf } from '../domain/escalation-verdict.ts';
import { deriveGroupKey } from '../domain/group-key.ts';
import { matchPolicies, type PolicyMatch } from '../domain/policy-match.ts';
import type { Decision, Muting } from '../domain/routing.ts';
import type { MatchedEvent } from '../domain/rule.ts';
import type { Standing } from './intake-standings.ts';
import { standingKeyOf } from './intake-standings.ts';

type Groupable = MatchedEvent & Pick<AcceptedEvent, 'effect' | 'family'>;

/** Which groups the events may change: those of the policies they go to, and those that their problems are members in. */
export function groupsOf(
  events: readonly Groupable[],
  { routing, escalation }: OrganizationFacts,
): { keys: GroupKey[]; problems: StandingKey[] } {
  const keys = new Map<string, GroupKey>();
  const problems: StandingKey[] = [];
  if (escalation.policies.size === 0) return { keys: [], problems };
  for (const event of events) {
    for (const { policy } of matchesOf(event, { routing, escalation })) {
      const key = { policyId: policy.id, groupKey: deriveGroupKey(policy.id, policy.groupBy, event) };
      keys.set(`${key.policyId} ${key.groupKey}`, key);
    }
    const standing = standingKeyOf(event);
    if (standing !== undefined && event.effect !== 'occur') problems.push(standing);
  }
  return { keys: [...keys.values()], problems };
}

function matchesOf(event: Groupable, { routing, escalation }: Pick<OrganizationFacts, 'routing' | 'escalation'>): PolicyMatch[] {
  // What Tocsin says of itself opens nothing.
  if (event.category === 'escalation' || event.effect === 'resolve' || event.effect === 'acknowledge') return [];
  return matchPolicies(event, routing.rules, escalation.policies);
}

/** What the events of one transaction do to the escalations of their organization, in order. */
export interface IntakeEscalations {
  readonly steps: EscalationSteps;
  /** @param by who posted it; null: nobody, it is only explained */
  apply(event: AcceptedEvent, standing: Standing, by: IntakeAuthor | null): EventEscalations;
  /** What the events acknowledged, in order. */
  acknowledged(): readonly Acknowledgement[];
}

/** Who an acknowledgement by event is by, and how that is known. */
export interface IntakeAuthor extends StepAuthor {
  actor: { type: 'user' | 'service_account'; id: string };
  proof: AcknowledgementProof;
}

/** What became of an escalation that an event acknowledges. */
export interface Acknowledgement {
  event: AcceptedEvent;
  by: IntakeAuthor;
  escalationId: string;
  outcome: Outcome;
  /** As the event left it. */
  state: GroupState;
}

/** What an event did to escalations. */
export interface EventEscalations {
  decisions: Decision[];
  muted: Muting | null;
  /** The escalation that it is a member of; of several the first. */
  escalationId: string | null;
}
const none: EventEscalations = { decisions: [], muted: null, escalationId: null };

/** @param groups every stored group that `groupsOf` names, locked */
export function createIntakeEscalations(
  organizationId: string,
  facts: OrganizationFacts,
  groups: readonly StoredGroup[],
  at: number,
): IntakeEscalations {
  const steps = createEscalationSteps({ organizationId, at, configuration: facts.escalation });
  const acknowledged: Acknowledgement[] = [];
  const byKey = new Map(groups.map((group) => [`${group.policyId} ${group.groupKey}`, group]));

  const resolve = (event: AcceptedEvent, key: string): void => {
    for (const group of groups) {
      const { members, held } = steps.stateOf(group);
      if (members.some((member) => member.key === key && member.firing) || held.some((one) => one.key === key))
        steps.step(group, { kind: 'problem_resolved', key }, { about: subjectOf(event), at: event.acceptedAt });
    }
  };

  /** Every escalation that the problem is a member of hears of it, as if each had been acknowledged by a command. */
  const acknowledge = (event: AcceptedEvent, key: string, by: IntakeAuthor): void => {
    for (const group of groups) {
      const { escalation, members } = steps.stateOf(group);
      if (escalation === null || escalation.phase.status === 'resolved') continue;
      if (!members.some((member) => member.kind === 'problem' && member.key === key && member.firing)) continue;
      const escalationId = escalation.id;
      const author = { userId: by.actor.type === 'user' ? by.actor.id : null, proof: by.proof };
      const { outcome, state } = steps.step(
        group,
        { kind: 'command', escalationId, command: { name: 'acknowledge', extend: false }, by: author },
        { about: subjectOf(event), by, at: event.acceptedAt },
      );
      acknowledged.push({ event, by, escalationId, outcome, state });
    }
  };

  return {
    steps,
    acknowledged: () => acknowledged,
    apply(event, { change, problemId, endedId }, by) {
      if (groups.length === 0) return none;
      if (endedId !== null) resolve(event, endedId);
      if (change === 'acknowledged' && problemId !== null && by !== null) acknowledge(event, problemId, by);
      const member =
        change === 'opened' || change === 'raised'
          ? ({ kind: 'problem', key: problemId! } as const)
          : change === 'occurred' || (change === 'resolved' && event.effect === 'occur_and_resolve')
            ? ({ kind: 'occurrence', key: event.id } as const)
            : undefined;
      if (member === undefined) return none;
      let muted: Muting | null = null;
      let escalationId: string | null = null;
      const decisions = matchesOf(event, facts).map(({ policy, winner }): Decision => {
        const group = byKey.get(`${policy.id} ${deriveGroupKey(policy.id, policy.groupBy, event)}`)!;
        const result = steps.step(group, { ...member, severity: event.severity }, { about: subjectOf(event), event, at: event.acceptedAt });
        const verdict = verdictOf(result, member.key);
        if (verdict.reason === 'cooldown' || verdict.reason === 'snoozed') muted ??= verdict.reason;
        if (result.state.members.some(({ key }) => key === member.key)) escalationId ??= result.state.escalation?.id ?? null;
        return { target: { kind: 'escalation_policy', id: policy.id, channelType: null }, ...verdict, winner, losers: [], until: null };
      });
      return { decisions, muted, escalationId };
    },
  };
}

export function subjectOf(event: AcceptedEvent): EscalationSubject {
  const { type, category, severity, projectId, tenantId, environment, source, resource, dedupKey, groupKey, labels } = event;
  return {
    eventId: event.id,
    subject: event.subject,
    type,
    category,
    severity,
    projectId,
    tenantId,
    environment,
    source,
    resource,
    dedupKey,
    groupKey,
    labels,
  };
}
