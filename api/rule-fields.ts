import { z } from 'zod';
import type { RuleRow } from '../db/entities/rule.ts';
import { type Aggregate, aggregateRules, defaultAggregate } from '../domain/aggregation.ts';
import { formatDuration } from '../domain/duration.ts';
import { categories } from '../domain/event-type.ts';
import { groupByKeys, isGroupByKey } from '../domain/group-key.ts';
import { toWireId } from '../domain/id.ts';
import { matcherOperators } from '../domain/rule.ts';
import { severities } from '../domain/severity.ts';
import type { Severity } from '../domain/severity.ts';
import { duration, presentedDuration } from './duration.ts';
import { eventPattern } from './event-pattern.ts';
import { matcher, presentMatcher, shownMatcher } from './matcher.ts';
import { distinct, distinctOf, presentedId, presentedTime, resourceName, wireId } from './schema.ts';

/** The last place in the order of rules. */
export const maxPosition = 1_000_000;

const groupKey = z
  .string()
  .max(128)
  .refine(isGroupByKey, { error: `must be one of ${groupByKeys.join(', ')}, or label.<name>`, params: { code: 'unknown_key' } });

const aggregate = z
  .strictObject({
    groupBy: distinct(groupKey, { max: 10 })
      .default([...defaultAggregate.groupBy])
      .meta({ description: 'Events with the same values share a group.' }),
    wait: duration(aggregateRules.waitMs.max)
      .prefault(formatDuration(defaultAggregate.waitMs))
      .meta({ description: 'From the first event of a group to its first notice, at most PT10M.', example: 'PT30S' }),
    interval: duration(aggregateRules.intervalMs.max)
      .prefault(formatDuration(defaultAggregate.intervalMs))
      .meta({ description: 'Between notices, PT1M to P1D.', example: 'PT5M' }),
    repeat: duration(aggregateRules.repeatMs.max)
      .nullable()
      .prefault(formatDuration(defaultAggregate.repeatMs!))
      .meta({ description: 'Problems of which nothing is new are told again after this; null: never.', example: 'PT4H' }),
    sendResolved: z.boolean().default(defaultAggregate.sendResolved),
  })
  .meta({ id: 'AggregateInput' })
  .transform(({ wait, interval, repeat, ...same }): Aggregate => ({ ...same, waitMs: wait, intervalMs: interval, repeatMs: repeat }))
  .refine(({ repeatMs, intervalMs }) => repeatMs === null || repeatMs >= intervalMs, {
    path: ['repeat'],
    error: 'must be at least the interval',
    params: { code: 'too_small' },
  });

/** What lasts a minute or more, unless the operator lowers it. */
export const leastRuleDurations = { 'aggregate/interval': 60_000 } as const;

const shownAggregate = z
  .strictObject({
    groupBy: z.array(z.string()),
    wait: presentedDuration,
    interval: presentedDuration,
    repeat: presentedDuration.nullable(),
    sendResolved: z.boolean(),
  })
  .meta({ id: 'Aggregate' });

function presentAggregate({ groupBy, waitMs, intervalMs, repeatMs, sendResolved }: Aggregate): z.output<typeof shownAggregate> {
  return {
    groupBy: [...groupBy],
    wait: formatDuration(waitMs),
    interval: formatDuration(intervalMs),
    repeat: repeatMs === null ? null : formatDuration(repeatMs),
    sendResolved,
  };
}

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
  aggregate: aggregate.nullable().meta({
    description:
      'Bundles what goes to its channels into notices; null: each event by itself. Groups that are open keep what they began with.',
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
    aggregate: shownAggregate.nullable(),
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
    aggregate: row.aggregate ? presentAggregate(row.aggregate) : null,
    stop: row.stop,
    warnings: row.channelIds.length === 0 && !row.policyId ? ['no_channels'] : [],
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}
