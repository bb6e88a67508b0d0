import { z } from 'zod';
import type { RuleRow } from '../db/entities/rule.ts';
import { validationFailed } from '../domain/errors.ts';
import { categories } from '../domain/event-type.ts';
import { fromWireId, toWireId } from '../domain/id.ts';
import { matcherKeys, matcherOperators } from '../domain/rule.ts';
import type { Matcher } from '../domain/rule.ts';
import { severities } from '../domain/severity.ts';
import type { Severity } from '../domain/severity.ts';
import { eventPattern } from './event-pattern.ts';
import { distinct, distinctOf, presentedId, presentedTime, prose, resourceName, wireId } from './schema.ts';

const matcherKey = z
  .string()
  .max(128)
  .refine((key) => (matcherKeys as readonly string[]).includes(key) || /^label\.[A-Za-z0-9_.\-/]{1,64}$/.test(key), {
    error: `must be one of ${matcherKeys.join(', ')}, or label.<name>`,
    params: { code: 'unknown_key' },
  });

const matcherText = prose(256);

const matcher = z
  .discriminatedUnion('op', [
    z.strictObject({ key: matcherKey, op: z.enum(['=', '!=', 'glob']), value: matcherText }),
    z.strictObject({ key: matcherKey, op: z.enum(['in', 'not_in']), value: z.array(matcherText).min(1).max(100) }),
    z.strictObject({ key: matcherKey, op: z.literal('exists'), value: z.boolean() }),
  ])
  .meta({ id: 'Matcher', example: { key: 'environment', op: '=', value: 'production' } }) satisfies z.ZodType<Matcher>;

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
    matchers: z.array(matcher),
    channelIds: z.array(presentedId('channel')),
    stop: z.boolean(),
    warnings: z.array(z.string()).meta({ description: '`no_channels`: nothing leaves Tocsin by this rule.' }),
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
    // a project is an id on the wire and a UUID where rules are asked
    matchers: row.matchers.map((each) => mapProjects(each, (id) => toWireId('project', id))),
    channelIds: row.channelIds.map((id) => toWireId('channel', id)),
    stop: row.stop,
    warnings: row.channelIds.length === 0 ? ['no_channels'] : [],
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

function mapProjects(each: Matcher, map: (id: string) => string): Matcher {
  if (each.key !== 'projectId' || typeof each.value === 'boolean' || each.op === 'glob') return each;
  const convert = (text: string) => (text === '' ? '' : map(text));
  return { ...each, value: Array.isArray(each.value) ? each.value.map(convert) : convert(each.value) };
}

/** Matchers as they are stored; throws where a project is no id, or a pattern that no id can match. */
export function readMatchers(matchers: readonly Matcher[]): Matcher[] {
  return matchers.map((each, index) => {
    if (each.key === 'projectId' && each.op === 'glob') {
      const detail = 'a project is matched by its id: use =, !=, in, not_in or exists';
      throw validationFailed([{ pointer: `/matchers/${index}/op`, code: 'unknown_value', detail }]);
    }
    return mapProjects(each, (text) => {
      const uuid = fromWireId('project', text);
      if (uuid !== undefined) return uuid;
      throw validationFailed([{ pointer: `/matchers/${index}/value`, code: 'invalid_id', detail: 'is not the id of a project' }]);
    });
  });
}
