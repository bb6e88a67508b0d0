import type { EscalationPolicy, Trigger } from './escalation-policy.ts';
import { coversProject, matchesAll, type MatchedEvent, matchesEventType, matchesRule, type Rule } from './rule.ts';
import { isAtLeast } from './severity.ts';

/** A policy that an event goes to, and the configuration row that says so. */
export interface PolicyMatch {
  policy: EscalationPolicy;
  /** `<kind>:<id>@<version>`. */
  winner: string;
}

/** The enabled policies that the event goes to, by their own trigger or named by a rule, each once. */
export function matchPolicies(event: MatchedEvent, rules: readonly Rule[], policies: ReadonlyMap<string, EscalationPolicy>): PolicyMatch[] {
  const matches = new Map<string, PolicyMatch>();
  for (const rule of rules) {
    if (!matchesRule(rule, event)) continue;
    const policy = rule.policyId === null ? undefined : policies.get(rule.policyId);
    if (policy?.enabled === true && !matches.has(policy.id)) matches.set(policy.id, { policy, winner: `rule:${rule.id}@${rule.version}` });
    if (rule.stop) break;
  }
  for (const policy of policies.values()) {
    if (!policy.enabled || policy.trigger === null || matches.has(policy.id) || !matchesTrigger(policy.trigger, event)) continue;
    matches.set(policy.id, { policy, winner: `escalation_policy:${policy.id}@${policy.version}` });
  }
  return [...matches.values()];
}

function matchesTrigger(trigger: Trigger, event: MatchedEvent): boolean {
  if (trigger.types.length + trigger.categories.length > 0) {
    const named = trigger.types.some((pattern) => matchesEventType(pattern, event.type)) || trigger.categories.includes(event.category);
    if (!named) return false;
  }
  if (!coversProject(trigger.projectIds, event.projectId) || !isAtLeast(event.severity, trigger.minSeverity)) return false;
  return matchesAll(trigger.matchers, event);
}
