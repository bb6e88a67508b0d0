import { z } from 'zod';
import type { RuleRow } from '../db/entities/rule.ts';
import { categories } from '../domain/event-type.ts';
import { toWireId } from '../domain/id.ts';
import { matcherOperators } from '../domain/rule.ts';
import { severities } from '../domain/severity.ts';
import type { Severity } from '../domain/severity.ts';
import { eventPattern } from './event-pattern.ts';
import { matcher, presentMatcher, shownMatcher } from './matcher.ts';
import { distinct, distinctOf, presentedId, presentedTime, resourceName, wireId } from './schema.ts';

/** The last place in the order of rules. */
export const maxPosition = 1_000_000;

/** What can be written. */
export const ruleFields = {
  name: resourceName,
  enabled: z.boolean(),
  position: z.int().min(0).max(maxPosition).meta({ description: 'Rules are asked in this order.' }),
  types: distinct(eventPattern, { max: 100 }).meta({ description: 'With `categories` also empty: every event.' }),
  categories: distinctOf(categories),
  projectIds: distinct(wireId('project'), { max: 100 }).meta({ description: 'Empty: all projects and none.' }),
  minSeverity: z.enum(severities),
  matchers: z
    .array(matcher)
    .max(20)
    .meta({ description: `All must match. Operators: ${matcherOperators.join(' ')}.` }),
  channelIds: distinct(wireId('channel'), { max: 50 }).meta({ description: 'All of them get the event.' }),
  policyId: wireId('escalation_policy').meta({
    description: 'The escalation policy that gets the event, besides those whose trigger matches.',
  }),
  stop: z.boolean().meta({ description: 'Later rules are not asked.' }),
};

export const shownRule = z
  .strictObject({
    id: presentedId('rule'),
    name: z.string(),
    enabled: z.boolean(),
    position: z.int(),
    types: z.array(z.string()),
    categories: z.array(z.string()),
    projectIds: z.array(presentedId('project')),
    minSeverity: z.enum(severities).nullable(),
    matchers: z.array(shownMatcher),
    channelIds: z.array(presentedId('channel')),
    policyId: presentedId('escalation_policy').nullable(),
    stop: z.boolean(),
    warnings: z
      .array(z.string())
      .meta({ description: '`no_channels`: it names no channel and no policy, so nothing leaves Tocsin by this rule.' }),
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'Rule' });

/** The allow-list of what leaves the server about a rule. */
export function presentRule(row: RuleRow) {
  return {
    id: toWireId('rule', row.id),
    name: row.name,
    enabled: row.enabled,
    position: row.position,
    types: row.types,
    categories: row.categories,
    projectIds: row.projectIds.map((id) => toWireId('project', id)),
    minSeverity: (row.minSeverity ?? null) as Severity | null,
    matchers: row.matchers.map(presentMatcher),
    channelIds: row.channelIds.map((id) => toWireId('channel', id)),
    policyId: row.policyId ? toWireId('escalation_policy', row.policyId) : null,
    stop: row.stop,
    warnings: row.channelIds.length === 0 && !row.policyId ? ['no_channels'] : [],
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}
