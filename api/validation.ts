import type { z } from 'zod';
import { notFound, validationFailed } from '../domain/errors.ts';
import type { Fault } from '../domain/errors.ts';
import type { EndpointDefinition, Input, RawInput } from './endpoint.ts';

interface Schemas<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> {
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
}

/**
 * Parses the parts of a request together and throws `validation_failed` with the faults of all, `inspected` included. A path parameter
 * that is not even an id is an unknown resource, so it is `not_found` like any other.
 */
export function parseInput<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType>(
  schemas: Schemas<P, Q, B>,
  raw: RawInput,
  inspected: readonly Fault[],
): Input<P, Q, B> {
  const params = parsePart(schemas.params, raw.params, '');
  if (params.faults.length > 0) throw notFound();
  const query = parsePart(schemas.query, raw.query, '/query');
  const body = parsePart(schemas.body, raw.body, '');
  const faults = [...query.faults, ...body.faults, ...inspected];
  if (faults.length > 0) throw validationFailed(faults);
  // Without faults every part holds its schema's output; where there is no schema the type parameter is ZodUndefined.
  return { params: params.value as z.output<P>, query: query.value as z.output<Q>, body: body.value as z.output<B> };
}

/** An `inspect` by rules of the domain, which are asked when what they look at has the form that they know. */
export function inspectWith<T>(form: z.ZodType<T>, faultsOf: (value: T) => readonly Fault[]) {
  return async (body: unknown): Promise<readonly Fault[]> => {
    const read = form.safeParse(body);
    return read.success ? faultsOf(read.data) : [];
  };
}

type Inspect = NonNullable<EndpointDefinition<z.ZodType, z.ZodType, z.ZodType, never>['inspect']>;

/** Several of them, each asked. */
export function inspectAll(...each: readonly Inspect[]): Inspect {
  return async (body, deps, principal) => (await Promise.all(each.map(async (inspect) => inspect(body, deps, principal)))).flat();
}

/** The values at a place of a body: names of members, with `*` for every element. */
export function* valuesAt(
  value: unknown,
  [name, ...rest]: readonly string[],
  pointer: string,
): Generator<{ pointer: string; value: unknown }> {
  if (name === undefined) yield { pointer, value };
  else if (typeof value !== 'object' || value === null) return;
  else
    for (const [key, member] of Object.entries(value)) if (name === '*' || name === key) yield* valuesAt(member, rest, `${pointer}/${key}`);
}

function parsePart(schema: z.ZodType | undefined, raw: unknown, prefix: string): { value: unknown; faults: readonly Fault[] } {
  if (schema === undefined) return { value: undefined, faults: prefix === '/query' ? unknownQuery(raw) : [] };
  const result = schema.safeParse(raw, { reportInput: true });
  if (result.success) return { value: result.data, faults: [] };
  return { value: undefined, faults: result.error.issues.flatMap((issue) => toFaults(issue, prefix)) };
}

function unknownQuery(raw: unknown): Fault[] {
  return Object.keys(raw ?? {}).map((name) => ({
    pointer: `/query/${escapePointer(name)}`,
    code: 'unknown_field',
    detail: 'is not known here',
  }));
}

/** One or more faults of a zod issue. A custom issue names its code in `params.code`. */
export function toFaults(issue: z.core.$ZodIssue, prefix: string): Fault[] {
  const pointer = prefix + issue.path.map((part) => `/${escapePointer(String(part))}`).join('');
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({ pointer: `${pointer}/${escapePointer(key)}`, code: 'unknown_field', detail: 'is not known here' }));
    case 'invalid_type':
      return issue.input === undefined
        ? [{ pointer, code: 'required', detail: 'is required' }]
        : [{ pointer, code: 'invalid_type', detail: `must be ${article(issue.expected)}` }];
    case 'invalid_value':
      if (issue.input === undefined) return [{ pointer, code: 'required', detail: 'is required' }];
      return [{ pointer, code: 'unknown_value', detail: `must be one of ${issue.values.map(String).join(', ')}` }];
    case 'too_small':
      return [
        { pointer, code: 'too_small', detail: `must ${measure(issue.origin, 'least')} ${issue.minimum} ${unit(issue.origin)}`.trim() },
      ];
    case 'too_big':
      return [{ pointer, code: 'too_big', detail: `must ${measure(issue.origin, 'most')} ${issue.maximum} ${unit(issue.origin)}`.trim() }];
    case 'custom': {
      const code: unknown = issue.params?.['code'];
      return [{ pointer, ...(typeof code === 'string' ? { code } : {}), detail: issue.message }];
    }
    case 'invalid_union':
      return unionFaults(issue, pointer);
    case 'invalid_key':
      return issue.issues.map(({ message }) => ({ pointer, code: 'invalid_format', detail: message }));
    case 'invalid_format':
    case 'invalid_element':
    case 'not_multiple_of':
      return [{ pointer, code: 'invalid_format', detail: issue.message }];
  }
}

/** A union says most by the alternative that got furthest: the one with the deepest first fault. */
function unionFaults(issue: z.core.$ZodIssueInvalidUnion, pointer: string): Fault[] {
  if (issue.input === undefined) return [{ pointer, code: 'required', detail: 'is required' }];
  const best = issue.errors.toSorted((left, right) => (right[0]?.path.length ?? 0) - (left[0]?.path.length ?? 0))[0];
  if (best === undefined || best.length === 0) return [{ pointer, code: 'unknown_value', detail: 'is none of the known kinds' }];
  return best.flatMap((inner) => toFaults(inner, pointer));
}

function article(expected: string): string {
  const noun = expected === 'int' ? 'integer' : expected === 'record' ? 'object' : expected;
  return `${/^[aeio]/.test(noun) ? 'an' : 'a'} ${noun}`;
}

function measure(origin: string, bound: 'least' | 'most'): string {
  return origin === 'number' || origin === 'int' || origin === 'date' ? `be at ${bound}` : `have at ${bound}`;
}

function unit(origin: string): string {
  if (origin === 'string') return 'characters';
  return origin === 'array' || origin === 'set' || origin === 'map' || origin === 'object' ? 'elements' : '';
}

function escapePointer(part: string): string {
  return part.replaceAll('~', '~0').replaceAll('/', '~1');
}
