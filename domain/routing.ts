import type { AcceptedEvent } from './event.ts';
import { changeReasons, type ProblemChange } from './problem.ts';
import { activeSilence, type Silence } from './silence.ts';
import { coversProject, matchesEventType, matchesRule, type Rule } from './rule.ts';

export interface RoutedWebhook {
  id: string;
  version: number;
  active: boolean;
  eventTypes: readonly string[];
  /** Empty: every project and none. */
  projectIds: readonly string[];
}

export interface RoutedChannel {
  id: string;
  version: number;
  type: string;
  active: boolean;
}

/** Everything that a decision depends on besides the event and the instant. Lists are in no particular order but `rules`. */
export interface RoutingFacts {
  webhooks: readonly RoutedWebhook[];
  channels: ReadonlyMap<string, RoutedChannel>;
  /** In the order in which they are asked: position, then id. */
  rules: readonly Rule[];
  activeMemberIds: ReadonlySet<string>;
  silences: readonly Silence[];
}

/** Why the group of a policy that the event goes to is quiet now. */
export type Muting = 'cooldown' | 'snoozed';

/** What is known of an event besides itself: what it did to its problem, and what its escalations are at. */
export interface EventStanding {
  change: ProblemChange;
  muted: Muting | null;
}

/** What `decide` gives. */
export type RoutingReason =
  | 'subscribed'
  | 'rule_match'
  | 'builtin_default'
  | 'severity_raised'
  | 'unmuted'
  | 'deduplicated'
  | 'no_open_problem'
  | 'silenced'
  | 'cooldown'
  | 'snoozed'
  | 'destination_inactive'
  | 'destination_deleted'
  | 'no_channels'
  | 'own_operations'
  | 'user_inactive'
  | 'group_wait';

/** What an escalation policy gives, besides those that it shares. */
export type PolicyReason = 'policy_match' | 'grouped';

/** What a rule's group gives for the end of a problem. */
export type GroupReason = 'resolved_before_notice' | 'grouped';

export type DecisionReason = RoutingReason | PolicyReason | GroupReason;

export interface Decision {
  target: {
    /** `in_app` without id: every member for whom nothing else decides; `rule`: a rule that matched and has no channel. */
    kind: 'webhook' | 'channel' | 'in_app' | 'user' | 'rule' | 'escalation_policy';
    id: string | null;
    channelType: string | null;
  };
  /** `group`: a notice of its rule will tell of it, with others. */
  verdict: 'send' | 'group' | 'escalate' | 'suppress';
  reason: DecisionReason;
  /** `<kind>:<id>@<version>` of the configuration row that decided; null: built in. */
  winner: string | null;
  /** Rows that matched too and did not decide. */
  losers: string[];
  /** Unix milliseconds until which sending waits. */
  until: number | null;
}

/**
 * Who is told of `event`, how, and why. Pure: production and `POST /events/explain` call it with the same facts and get the same answer.
 * Webhooks get every accepted event of their types, repetitions too; channels are chosen by rules; people get it in the app unless something else decides.
 */
export function decide(event: AcceptedEvent, facts: RoutingFacts, standing: EventStanding): Decision[] {
  const silence = standing.change === 'resolved' ? null : activeSilence(facts.silences, event, event.acceptedAt);
  const told = [...decideChannels(event, facts), ...decidePeople(event, facts)].map((decision) =>
    applyStanding(decision, standing, silence),
  );
  return [...decideWebhooks(event, facts), ...told];
}

/**
 * The same for a problem that a silence kept back until `at`, and that is still open: those whom the silence kept it from are told, unless
 * another silence mutes it by now. Webhooks had it when it came.
 */
export function decideUnmuted(event: AcceptedEvent, facts: RoutingFacts, { at, muted }: { at: number; muted: Muting | null }): Decision[] {
  const silence = activeSilence(facts.silences, event, at);
  return [...decideChannels(event, facts), ...decidePeople(event, facts)].map((decision) => {
    const told = applyStanding(decision, { change: 'opened', muted }, silence);
    return told.verdict === 'send' ? { ...told, reason: 'unmuted' } : told;
  });
}

/**
 * What outranks rules and defaults, in this order: a repetition tells nobody anything; a silence; a cooldown or snooze, but in the app. The
 * resolve of a problem that people know of is told in any case, and a worsening is told as one.
 */
function applyStanding(decision: Decision, { change, muted }: EventStanding, silence: Silence | null): Decision {
  if (decision.verdict === 'suppress') return decision;
  const reason = changeReasons[change];
  if (reason !== null && reason !== 'severity_raised') return { ...decision, verdict: 'suppress', reason };
  if (silence !== null)
    return {
      ...decision,
      verdict: 'suppress',
      reason: 'silenced',
      winner: `silence:${silence.id}@${silence.version}`,
      losers: losersOf(decision),
    };
  if (muted !== null && change !== 'resolved' && decision.target.channelType !== 'in_app')
    return { ...decision, verdict: 'suppress', reason: muted };
  return reason === null || decision.verdict === 'group' ? decision : { ...decision, reason };
}

function losersOf({ winner, losers }: Decision): string[] {
  return winner === null ? losers : [winner, ...losers];
}

function decideWebhooks(event: AcceptedEvent, { webhooks }: RoutingFacts): Decision[] {
  const decisions: Decision[] = [];
  for (const webhook of webhooks) {
    if (!webhook.eventTypes.some((pattern) => matchesEventType(pattern, event.type))) continue;
    if (!coversProject(webhook.projectIds, event.projectId)) continue;
    decisions.push({
      target: { kind: 'webhook', id: webhook.id, channelType: 'webhook' },
      ...destinationVerdict(event, webhook, 'subscribed'),
      winner: `webhook:${webhook.id}@${webhook.version}`,
      losers: [],
      until: null,
    });
  }
  return decisions;
}

function decideChannels(event: AcceptedEvent, { rules, channels }: RoutingFacts): Decision[] {
  const decisions: Decision[] = [];
  const chosen = new Map<string, Decision>();
  for (const rule of rules) {
    if (!matchesRule(rule, event)) continue;
    const winner = `rule:${rule.id}@${rule.version}`;
    if (rule.channelIds.length === 0) {
      decisions.push({
        target: { kind: 'rule', id: rule.id, channelType: null },
        verdict: 'suppress',
        reason: 'no_channels',
        winner,
        losers: [],
        until: null,
      });
    }
    for (const channelId of rule.channelIds) {
      const earlier = chosen.get(channelId);
      if (earlier !== undefined) {
        earlier.losers.push(winner);
        continue;
      }
      const channel = channels.get(channelId);
      const decision: Decision = {
        target: { kind: 'channel', id: channelId, channelType: channel?.type ?? null },
        ...(channel === undefined
          ? ({ verdict: 'suppress', reason: 'destination_deleted' } as const)
          : channelVerdict(event, channel, rule)),
        winner,
        losers: [],
        until: null,
      };
      chosen.set(channelId, decision);
      decisions.push(decision);
    }
    if (rule.stop) break;
  }
  return decisions;
}

/** What is told in the app is bundled there by its reader, and what Tocsin says of itself is told at once. */
function channelVerdict(event: AcceptedEvent, channel: RoutedChannel, { aggregate }: Rule): Pick<Decision, 'verdict' | 'reason'> {
  const single = destinationVerdict(event, channel, 'rule_match');
  const isBundled = aggregate !== null && single.verdict === 'send' && channel.type !== 'in_app' && !isOwn(event);
  return isBundled ? { verdict: 'group', reason: 'group_wait' } : single;
}

/** An event about a destination (`webhook.failing`) is never sent to that destination: it would feed on itself. */
function destinationVerdict(
  event: AcceptedEvent,
  destination: { id: string; active: boolean },
  reason: DecisionReason,
): Pick<Decision, 'verdict' | 'reason'> {
  if (event.category === 'operations' && event.resource?.id === destination.id) return { verdict: 'suppress', reason: 'own_operations' };
  return destination.active ? { verdict: 'send', reason } : { verdict: 'suppress', reason: 'destination_inactive' };
}

/** Whether rules that bundle what they send bundle this. */
export function isOwn({ category }: Pick<AcceptedEvent, 'category'>): boolean {
  return category === 'escalation' || category === 'operations';
}

function decidePeople(event: AcceptedEvent, { activeMemberIds }: RoutingFacts): Decision[] {
  const builtIn = { winner: null, losers: [], until: null };
  if (event.audience === null) {
    return [{ target: { kind: 'in_app', id: null, channelType: 'in_app' }, verdict: 'send', reason: 'builtin_default', ...builtIn }];
  }
  return event.audience.map((id) => ({
    target: { kind: 'user', id, channelType: 'in_app' },
    ...(activeMemberIds.has(id)
      ? ({ verdict: 'send', reason: 'builtin_default' } as const)
      : ({ verdict: 'suppress', reason: 'user_inactive' } as const)),
    ...builtIn,
  }));
}
