import { z } from 'zod';
import type { EscalationPolicyColumns, PolicyDefinition } from '../db/entities/escalation-policy.ts';
import { formatDuration } from '../domain/duration.ts';
import type { Target, Tier, Trigger } from '../domain/escalation-policy.ts';
import { categories } from '../domain/event-type.ts';
import { groupByKeys, isGroupByKey } from '../domain/group-key.ts';
import { toWireId } from '../domain/id.ts';
import { severities } from '../domain/severity.ts';
import { duration, presentedDuration } from './duration.ts';
import { eventPattern } from './event-pattern.ts';
import { matcher, presentMatcher, shownMatcher } from './matcher.ts';
import { definedOnly } from './patch.ts';
import { distinct, distinctOf, presentedId, presentedTime, text, wireId } from './schema.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

const whens = ['always', 'open', 'closed'] as const;
const cooldownScopes = ['full', 'until_resolved'] as const;
const followUps = ['in_place', 'all', 'none'] as const;
const minProofs = ['any', 'no_unsigned', 'no_link', 'session'] as const;

/** Least durations, by their places in a body; `TOCSIN_MIN_INTERVAL` lowers them. */
export const leastDurations = {
  'tiers/*/timeout': minuteMs,
  'repeat/every': minuteMs,
  acknowledgementTimeout: minuteMs,
  hardStop: hourMs,
};

const target = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('user'), id: wireId('user') }),
  z.strictObject({ kind: z.literal('schedule'), id: wireId('schedule') }),
  z.strictObject({ kind: z.literal('channel'), id: wireId('channel') }),
  z.strictObject({ kind: z.literal('webhook'), id: wireId('webhook') }),
]) satisfies z.ZodType<Target>;

/** Each at most once; order kept. */
export function targets({ min, max }: { min: number; max: number }) {
  return z
    .array(target)
    .min(min)
    .max(max)
    .transform((all) => all.filter(({ kind, id }, at) => all.findIndex((other) => other.kind === kind && other.id === id) === at));
}

const tier = z
  .strictObject({
    name: text(1, 100).nullable().default(null),
    targets: targets({ min: 1, max: 20 }).meta({ description: 'All are paged at once.' }),
    timeout: duration(dayMs).prefault('PT10M').meta({ description: 'How long its pages may stay unanswered. PT1M to P1D.' }),
    when: z.enum(whens).default('always').meta({ description: 'Only while the calendar is open, or closed; else it is passed over.' }),
    calendarId: wireId('calendar').nullable().default(null).meta({ description: "For `when`. Default: the policy's." }),
  })
  .meta({ id: 'EscalationTierInput' })
  .transform(({ timeout, ...same }): Tier => ({ ...same, timeoutMs: timeout }));

const trigger = z
  .strictObject({
    types: distinct(eventPattern, { max: 50 }).default([]),
    categories: distinctOf(categories).default([]),
    projectIds: distinct(wireId('project'), { max: 100 }).default([]).meta({ description: 'Empty: all projects and none.' }),
    minSeverity: z.enum(severities).default('info'),
    matchers: z.array(matcher).max(20).default([]).meta({ description: 'All must match.' }),
  })
  .refine((all) => !isUnlimited(all), {
    error: 'must narrow something down, or be null: only rules then name the policy',
    params: { code: 'empty_trigger' },
  }) satisfies z.ZodType<Trigger>;

function isUnlimited({ types, categories, projectIds, minSeverity, matchers }: Trigger): boolean {
  return types.length + categories.length + projectIds.length + matchers.length === 0 && minSeverity === 'info';
}

const repeat = z
  .strictObject({
    every: duration(dayMs).meta({ description: 'From the start of one round to that of the next, PT1M to P1D.', example: 'PT30M' }),
    max: z.int().min(0).max(100).nullable().default(5).meta({ description: 'Rounds after the first; null: without end.' }),
  })
  .transform(({ every, max }) => ({ everyMs: every, max }));

const groupKey = z
  .string()
  .max(128)
  .refine(isGroupByKey, { error: `must be one of ${groupByKeys.join(', ')}, or label.<name>`, params: { code: 'unknown_key' } });

/** What can be written. */
export const policyFields = {
  name: text(1, 128).meta({ example: 'Platform critical' }),
  enabled: z.boolean(),
  ownerUserId: wireId('user').nullable().meta({ description: 'Is told when an escalation exhausts it. Default: who creates it.' }),
  trigger: trigger
    .nullable()
    .meta({ description: 'Which events open an escalation by themselves; null: only those that rules send here.' }),
  groupBy: distinct(groupKey, { max: 10 }).meta({
    description: 'Problems with the same values share an escalation; `groupKey` is that of the event.',
    example: ['dedupKey'],
  }),
  groupWait: duration(10 * minuteMs).meta({ description: 'At most PT10M, from the first event to the first page.', example: 'PT0S' }),
  tiers: z.array(tier).min(1).max(10),
  calendarId: wireId('calendar').nullable(),
  defer: z
    .strictObject({ maxSeverity: z.enum(severities) })
    .nullable()
    .meta({ description: 'While the calendar is closed, what is this severe or milder waits until it opens.' }),
  repeat: repeat.nullable().meta({ description: 'Null: one round.' }),
  acknowledgementTimeout: duration(dayMs)
    .nullable()
    .meta({ description: 'What is acknowledged and not resolved by then pages again. PT1M to P1D; null: never.', example: 'PT1H' }),
  acknowledgementReminder: z.boolean().meta({ description: 'Whoever acknowledged is reminded shortly before.' }),
  cooldown: duration(dayMs).meta({ description: 'After an acknowledgement new problems of the group page nobody.', example: 'PT30M' }),
  cooldownScope: z.enum(cooldownScopes).meta({ description: '`full`: a resolve does not end it.' }),
  hardStop: duration(30 * dayMs).meta({ description: 'When it is given up whatever happens. PT1H to P30D.', example: 'P7D' }),
  fallback: targets({ min: 0, max: 5 }).meta({ description: 'Told once when it is exhausted.' }),
  followUp: z.enum(followUps).meta({ description: 'What earlier messages become after an acknowledgement or resolve.' }),
  autoResolve: z.boolean().meta({ description: 'The last problem resolved resolves the escalation.' }),
  minProof: z.enum(minProofs).meta({
    description:
      'The weakest acknowledgement taken: `no_unsigned` refuses unsigned provider calls, `no_link` also links, `session` all but sessions.',
  }),
};

/** A whole policy, as it is created. */
export const policyInput = z
  .strictObject({
    name: policyFields.name,
    enabled: policyFields.enabled.default(true),
    ownerUserId: policyFields.ownerUserId.optional(),
    trigger: policyFields.trigger.prefault(null),
    groupBy: policyFields.groupBy.prefault(['dedupKey']),
    groupWait: policyFields.groupWait.prefault('PT0S'),
    tiers: policyFields.tiers,
    calendarId: policyFields.calendarId.prefault(null),
    defer: policyFields.defer.default(null),
    repeat: policyFields.repeat.prefault(null),
    acknowledgementTimeout: policyFields.acknowledgementTimeout.prefault(null),
    acknowledgementReminder: policyFields.acknowledgementReminder.default(true),
    cooldown: policyFields.cooldown.prefault('PT30M'),
    cooldownScope: policyFields.cooldownScope.default('full'),
    hardStop: policyFields.hardStop.prefault('P7D'),
    fallback: policyFields.fallback.prefault([]),
    followUp: policyFields.followUp.default('in_place'),
    autoResolve: policyFields.autoResolve.default(true),
    minProof: policyFields.minProof.default('any'),
  })
  .meta({ id: 'EscalationPolicyCreate' });

/** A definition as bodies have it: durations under other names, as milliseconds all the same. */
type DefinitionInput = Omit<PolicyDefinition, 'groupWaitMs' | 'acknowledgementTimeoutMs' | 'cooldownMs' | 'hardStopMs'> & {
  groupWait: number;
  acknowledgementTimeout: number | null;
  cooldown: number;
  hardStop: number;
};

/** The definition that a complete body gives. */
export function definitionOf({ groupWait, acknowledgementTimeout, cooldown, hardStop, ...same }: DefinitionInput): PolicyDefinition {
  return { ...same, groupWaitMs: groupWait, acknowledgementTimeoutMs: acknowledgementTimeout, cooldownMs: cooldown, hardStopMs: hardStop };
}

/** The definition as a PATCH leaves it: absent fields stay. */
export function changeDefinition(
  { groupWaitMs, acknowledgementTimeoutMs, cooldownMs, hardStopMs, ...same }: PolicyDefinition,
  change: { readonly [K in keyof DefinitionInput]?: DefinitionInput[K] | undefined },
): PolicyDefinition {
  const current = {
    ...same,
    groupWait: groupWaitMs,
    acknowledgementTimeout: acknowledgementTimeoutMs,
    cooldown: cooldownMs,
    hardStop: hardStopMs,
  };
  return definitionOf({ ...current, ...definedOnly(change) });
}

export const shownTarget = z.strictObject({ kind: z.enum(['user', 'schedule', 'channel', 'webhook']), id: z.string() }).meta({
  id: 'EscalationTarget',
  example: { kind: 'user', id: toWireId('user', '0198c0de-0000-7000-8000-000000000001') },
});

const shownFields = {
  id: presentedId('escalation_policy'),
  name: z.string(),
  enabled: z.boolean(),
  ownerUserId: presentedId('user').nullable(),
  trigger: z
    .strictObject({
      types: z.array(z.string()),
      categories: z.array(z.enum(categories)),
      projectIds: z.array(presentedId('project')),
      minSeverity: z.enum(severities),
      matchers: z.array(shownMatcher),
    })
    .nullable(),
  groupBy: z.array(z.string()),
  groupWait: presentedDuration,
  tiers: z.array(
    z.strictObject({
      name: z.string().nullable(),
      targets: z.array(shownTarget),
      timeout: presentedDuration,
      when: z.enum(whens),
      calendarId: presentedId('calendar').nullable(),
    }),
  ),
  calendarId: presentedId('calendar').nullable(),
  defer: z.strictObject({ maxSeverity: z.enum(severities) }).nullable(),
  repeat: z.strictObject({ every: presentedDuration, max: z.int().nullable() }).nullable(),
  acknowledgementTimeout: presentedDuration.nullable(),
  acknowledgementReminder: z.boolean(),
  cooldown: presentedDuration,
  cooldownScope: z.enum(cooldownScopes),
  hardStop: presentedDuration,
  fallback: z.array(shownTarget),
  followUp: z.enum(followUps),
  autoResolve: z.boolean(),
  minProof: z.enum(minProofs),
  version: z.int(),
  createdAt: presentedTime,
  updatedAt: presentedTime,
};

export const shownPolicy = z.strictObject(shownFields).meta({ id: 'EscalationPolicy' });

export const policyWithWarnings = z
  .strictObject({
    ...shownFields,
    warnings: z
      .array(z.strictObject({ pointer: z.string(), code: z.string(), detail: z.string() }))
      .meta({ description: 'When and why a page would reach nobody, or one person alone, within the next year, as things are now.' }),
  })
  .meta({ id: 'EscalationPolicyWithWarnings' });

/** The allow-list of what leaves the server about a policy, or one of its versions. */
export function presentPolicy(row: EscalationPolicyColumns) {
  const { definition } = row;
  return {
    id: toWireId('escalation_policy', row.id),
    name: row.name,
    enabled: row.enabled,
    ownerUserId: row.ownerUserId ? toWireId('user', row.ownerUserId) : null,
    trigger: definition.trigger && presentTrigger(definition.trigger),
    groupBy: definition.groupBy,
    groupWait: formatDuration(definition.groupWaitMs),
    tiers: definition.tiers.map(presentTier),
    calendarId: definition.calendarId && toWireId('calendar', definition.calendarId),
    defer: definition.defer,
    repeat: definition.repeat && { every: formatDuration(definition.repeat.everyMs), max: definition.repeat.max },
    acknowledgementTimeout: definition.acknowledgementTimeoutMs === null ? null : formatDuration(definition.acknowledgementTimeoutMs),
    acknowledgementReminder: definition.acknowledgementReminder,
    cooldown: formatDuration(definition.cooldownMs),
    cooldownScope: definition.cooldownScope,
    hardStop: formatDuration(definition.hardStopMs),
    fallback: definition.fallback.map(presentTarget),
    followUp: definition.followUp,
    autoResolve: definition.autoResolve,
    minProof: definition.minProof,
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

function presentTrigger({ types, categories, projectIds, minSeverity, matchers }: Trigger) {
  return {
    types,
    categories,
    projectIds: projectIds.map((id) => toWireId('project', id)),
    minSeverity,
    matchers: matchers.map(presentMatcher),
  };
}

function presentTier({ name, targets, timeoutMs, when, calendarId }: Tier) {
  return {
    name,
    targets: targets.map(presentTarget),
    timeout: formatDuration(timeoutMs),
    when,
    calendarId: calendarId && toWireId('calendar', calendarId),
  };
}

/** A target with its id as the API shows it. */
export function presentTarget({ kind, id }: Target) {
  return { kind, id: toWireId(kind, id) };
}
