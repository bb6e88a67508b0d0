import { z } from 'zod';
import { fromWireId, toWireId } from '../domain/id.ts';
import { matcherKeys } from '../domain/rule.ts';
import type { Matcher } from '../domain/rule.ts';
import { prose } from './schema.ts';

/** `label.<name>`. */
const labelKey = /^label\.[A-Za-z0-9_.\-/]{1,64}$/;

const matcherKey = z
  .string()
  .max(128)
  .refine((key) => (matcherKeys as readonly string[]).includes(key) || labelKey.test(key), {
    error: `must be one of ${matcherKeys.join(', ')}, or label.<name>`,
    params: { code: 'unknown_key' },
  });

const matcherText = prose(256);

/** A matcher in an answer. */
export const shownMatcher = z
  .discriminatedUnion('op', [
    z.strictObject({ key: matcherKey, op: z.enum(['=', '!=', 'glob']), value: matcherText }),
    z.strictObject({ key: matcherKey, op: z.enum(['in', 'not_in']), value: z.array(matcherText).min(1).max(100) }),
    z.strictObject({ key: matcherKey, op: z.literal('exists'), value: z.boolean() }),
  ])
  .meta({ id: 'Matcher', example: { key: 'environment', op: '=', value: 'production' } }) satisfies z.ZodType<Matcher>;

/** A matcher on the wire, which becomes the stored one: a project is an id there and a UUID where matchers are asked. */
export const matcher = shownMatcher.transform((each: Matcher, context) => {
  const refuse = (field: keyof Matcher, code: string, message: string) => {
    context.addIssue({ code: 'custom', path: [field], message, params: { code } });
    return z.NEVER;
  };
  if (each.key !== 'projectId') return each;
  if (each.op === 'glob') return refuse('op', 'unknown_value', 'a project is matched by its id: use =, !=, in, not_in or exists');
  const texts = typeof each.value === 'boolean' ? [] : [each.value].flat();
  if (texts.some((text) => text !== '' && fromWireId('project', text) === undefined)) {
    return refuse('value', 'invalid_id', 'is not the id of a project');
  }
  return mapProjects(each, (id) => fromWireId('project', id) ?? id);
});

/** A stored matcher as the API shows it. */
export function presentMatcher(each: Matcher): Matcher {
  return mapProjects(each, (id) => toWireId('project', id));
}

function mapProjects(each: Matcher, map: (id: string) => string): Matcher {
  if (each.key !== 'projectId' || typeof each.value === 'boolean' || each.op === 'glob') return each;
  const convert = (text: string) => (text === '' ? '' : map(text));
  return { ...each, value: Array.isArray(each.value) ? each.value.map(convert) : convert(each.value) };
}
