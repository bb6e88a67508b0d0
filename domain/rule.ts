import type { Aggregate } from './aggregation.ts';
import type { AcceptedEvent } from './event.ts';
import type { Category } from './event-type.ts';
import { isAtLeast, type Severity } from './severity.ts';

export const matcherOperators = ['=', '!=', 'in', 'not_in', 'glob', 'exists'] as const;

/** `value` is a list for `in` and `not_in`, a boolean for `exists`, else a text. A missing key reads as the empty text. */
export interface Matcher {
  key: string;
  op: (typeof matcherOperators)[number];
  value: string | string[] | boolean;
}

/** Keys that matchers may name, besides `label.<name>`. */
export const matcherKeys = [
  'type',
  'category',
  'severity',
  'projectId',
  'tenantId',
  'environment',
  'source',
  'resource.type',
  'resource.id',
  'dedupKey',
  'groupKey',
] as const;

/** What of an event matchers look at, and grouping too. */
export type MatchedEvent = Pick<
  AcceptedEvent,
  'type' | 'category' | 'severity' | 'projectId' | 'tenantId' | 'environment' | 'source' | 'resource' | 'dedupKey' | 'groupKey' | 'labels'
>;

export interface Rule {
  id: string;
  version: number;
  name: string;
  enabled: boolean;
  position: number;
  /** Canonical names, `alert.*` or `*`; with `categories` also empty: every event. */
  types: readonly string[];
  categories: readonly Category[];
  /** Empty: every project and none. */
  projectIds: readonly string[];
  minSeverity: Severity | null;
  matchers: readonly Matcher[];
  channelIds: readonly string[];
  /** The escalation policy that its events go to. */
  policyId: string | null;
  /** How what it sends is bundled; null: each event by itself. */
  aggregate: Aggregate | null;
  /** Later rules are not asked. */
  stop: boolean;
}

/** Whether the rule applies to the event: it is enabled, and every kind of condition that it has holds. */
export function matchesRule(rule: Rule, event: MatchedEvent): boolean {
  if (!rule.enabled) return false;
  if (rule.types.length + rule.categories.length > 0) {
    const named = rule.types.some((pattern) => matchesEventType(pattern, event.type)) || rule.categories.includes(event.category);
    if (!named) return false;
  }
  if (!coversProject(rule.projectIds, event.projectId)) return false;
  if (rule.minSeverity !== null && !isAtLeast(event.severity, rule.minSeverity)) return false;
  return matchesAll(rule.matchers, event);
}

export function matchesAll(matchers: readonly Matcher[], event: MatchedEvent): boolean {
  return matchers.every((matcher) => matches(matcher, event));
}

/** Whether a choice of projects takes in `projectId` (null: none); an empty choice is of every project and none. */
export function coversProject(projectIds: readonly string[], projectId: string | null): boolean {
  return projectIds.length === 0 || (projectId !== null && projectIds.includes(projectId));
}

/** `pattern` is an exact name, `<words>.*` (any type that begins with the words) or `*`. */
export function matchesEventType(pattern: string, type: string): boolean {
  if (pattern === '*') return true;
  return pattern.endsWith('.*') ? type.startsWith(pattern.slice(0, -1)) : pattern === type;
}

function matches({ key, op, value }: Matcher, event: MatchedEvent): boolean {
  const actual = valueOf(key, event);
  switch (op) {
    case '=':
      return actual === value;
    case '!=':
      return actual !== value;
    case 'in':
      return Array.isArray(value) && value.includes(actual);
    case 'not_in':
      return Array.isArray(value) && !value.includes(actual);
    case 'glob':
      return typeof value === 'string' && matchesGlob(value, actual);
    case 'exists':
      return (actual !== '') === value;
  }
}

/** The text that a matcher's key stands for; empty when the event has none. */
export function valueOf(key: string, event: MatchedEvent): string {
  if (key.startsWith('label.')) {
    const name = key.slice('label.'.length);
    return Object.hasOwn(event.labels, name) ? event.labels[name]! : '';
  }
  switch (key) {
    case 'type':
      return event.type;
    case 'category':
      return event.category;
    case 'severity':
      return event.severity;
    case 'projectId':
      return event.projectId ?? '';
    case 'tenantId':
      return event.tenantId ?? '';
    case 'environment':
      return event.environment ?? '';
    case 'source':
      return event.source;
    case 'resource.type':
      return event.resource?.type ?? '';
    case 'resource.id':
      return event.resource?.id ?? '';
    case 'dedupKey':
      return event.dedupKey;
    case 'groupKey':
      return event.groupKey ?? '';
    default:
      return '';
  }
}

/**
 * `*` any run of characters, `?` one. Greedy with one remembered star, so that no pattern is slow (a translation to a regular expression
 * backtracks without bound).
 */
export function matchesGlob(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (p < pattern.length && (pattern[p] === '?' || (pattern[p] === text[t] && pattern[p] !== '*'))) {
      p += 1;
      t += 1;
    } else if (pattern[p] === '*') {
      star = p;
      resume = t;
      p += 1;
    } else if (star >= 0) {
      resume += 1;
      p = star + 1;
      t = resume;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}
