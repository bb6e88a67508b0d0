import { z } from 'zod';
import { errorCodes } from '../domain/errors.ts';
import type { ErrorCode } from '../domain/errors.ts';
import { basePath, type Endpoint } from './endpoint.ts';
import { idempotencyHours } from './idempotency.ts';
import { problems } from './problem.ts';

/** A JSON value of the description; its shape is OpenAPI 3.1's business, not ours. */
export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

/** The OpenAPI 3.1 description of the API, made from the very schemas that validate. */
export function describeApi(endpoints: readonly Endpoint[]): JsonObject {
  const schemas: JsonObject = {};
  const paths: Record<string, JsonObject> = {};
  for (const endpoint of endpoints) {
    (paths[endpoint.path] ??= {})[endpoint.method] = describeOperation(endpoint, schemas);
  }
  schemas['Problem'] = convert(problemSchema, 'output', schemas);
  return {
    openapi: '3.1.0',
    info: {
      title: 'Tocsin',
      version: '2',
      description: 'Notifications, durable deliveries and a tamper-evident audit log.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: basePath }],
    security: [{ bearer: [] }],
    tags: [...new Set(endpoints.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', description: 'An API key: `tsn_…`.' } },
      schemas: Object.fromEntries(Object.entries(schemas).toSorted(([left], [right]) => (left < right ? -1 : 1))),
      responses: describeProblems(),
    },
  };
}

const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.enum(errorCodes).meta({ description: 'Stable; programs act on this.' }),
    detail: z.string(),
    instance: z.string().meta({ description: 'The request id.' }),
    errors: z.array(z.object({ pointer: z.string(), code: z.string().optional(), detail: z.string() })).optional(),
  })
  .meta({ description: 'RFC 9457 problem. `errors` lists every violation at once.' });

function describeOperation(endpoint: Endpoint, schemas: JsonObject): JsonObject {
  const { permission } = endpoint;
  const responses: JsonObject = {};
  for (const [status, { description, schema, mediaType = 'application/json' }] of Object.entries(endpoint.responses)) {
    responses[status] = {
      description,
      ...(endpoint.audited
        ? { headers: { 'Tocsin-Audit-Id': { description: 'Ids of the audit entries.', schema: { type: 'string' } } } }
        : {}),
      ...(schema === undefined && mediaType === 'application/json'
        ? {}
        : { content: { [mediaType]: schema === undefined ? {} : { schema: convert(schema, 'output', schemas) } } }),
    };
  }
  for (const status of possibleFailures(endpoint)) responses[status] = { $ref: `#/components/responses/Problem${status}` };
  return {
    operationId: endpoint.name,
    tags: [endpoint.tag],
    summary: endpoint.summary,
    ...(endpoint.description === undefined ? {} : { description: endpoint.description }),
    'x-permission': permission,
    parameters: describeParameters(endpoint, schemas),
    ...describeBody(endpoint, schemas),
    responses,
  };
}

function describeBody({ body, bodies, mediaTypes = ['application/json'] }: Endpoint, schemas: JsonObject): JsonObject {
  const byMediaType = bodies ?? (body === undefined ? {} : Object.fromEntries(mediaTypes.map((mediaType) => [mediaType, body])));
  const content = Object.entries(byMediaType).map(([mediaType, each]) => [mediaType, { schema: convert(each, 'input', schemas) }] as const);
  if (content.length === 0) return {};
  const required = !Object.values(byMediaType).some((each) => each.safeParse(undefined).success);
  return { requestBody: { required, content: Object.fromEntries(content) } };
}

function describeParameters(endpoint: Endpoint, schemas: JsonObject): Json[] {
  const parameters: Json[] = [];
  for (const [schema, place] of [
    [endpoint.params, 'path'],
    [endpoint.query, 'query'],
  ] as const) {
    if (!(schema instanceof z.ZodObject)) continue;
    for (const [name, part] of Object.entries<z.ZodType>(schema.shape)) {
      const { description, example, ...rest } = asObject(convert(part, 'input', schemas));
      parameters.push({
        name,
        in: place,
        required: place === 'path' || !part.safeParse(undefined).success,
        ...(description === undefined ? {} : { description }),
        ...(example === undefined ? {} : { example }),
        schema: rest,
      });
    }
  }
  if (endpoint.idempotent === true) {
    parameters.push(
      headerParameter(
        'Idempotency-Key',
        `Repeating a request with the same key within ${idempotencyHours} hours gets the first answer again.`,
      ),
    );
  }
  if (endpoint.conditional === true)
    parameters.push(headerParameter('If-Match', 'The version that the caller has read; 412 when it is no longer the current one.'));
  return parameters;
}

function headerParameter(name: string, description: string): JsonObject {
  return { name, in: 'header', required: false, description, schema: { type: 'string' } };
}

function possibleFailures({ permission, params, query, method, conditional, ...endpoint }: Endpoint): number[] {
  const body = endpoint.body ?? endpoint.bodies;
  return [
    400,
    401,
    ...(permission === 'authenticated' ? [] : [403]),
    ...(params === undefined ? [] : [404]),
    ...(method === 'get' ? [] : [409]),
    ...(conditional === true ? [412] : []),
    ...(body === undefined ? [] : [413, 415]),
    ...(body === undefined && query === undefined ? [] : [422]),
    500,
    503,
  ];
}

/** One shared response per status, listing the codes that it may carry. */
function describeProblems(): JsonObject {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of errorCodes) byStatus.set(problems[code].status, [...(byStatus.get(problems[code].status) ?? []), code]);
  const responses = [...byStatus]
    .toSorted(([left], [right]) => left - right)
    .map(([status, codes]) => [
      `Problem${status}`,
      {
        description: `Codes: ${codes.map((code) => `\`${code}\``).join(', ')}.`,
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    ]);
  return Object.fromEntries(responses) as JsonObject;
}

/** JSON Schema of a zod schema. Named ones (`meta({ id })`) move to `schemas` and are referred to. */
function convert(schema: z.ZodType, io: 'input' | 'output', schemas: JsonObject): Json {
  const {
    $schema: _,
    $defs = {},
    ...rest
  } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      // A format says it better than the expression that checks it.
      if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
    },
  });
  for (const [name, definition] of Object.entries($defs)) {
    const described = moveReferences(definition);
    const { id: _id, ...content } = asObject(described);
    if (schemas[name] !== undefined && JSON.stringify(schemas[name]) !== JSON.stringify(content)) {
      throw new Error(`Two different schemas are called ${name}.`);
    }
    schemas[name] = content;
  }
  return moveReferences(rest);
}

function moveReferences(value: unknown): Json {
  return JSON.parse(JSON.stringify(value).replaceAll('"#/$defs/', '"#/components/schemas/')) as Json;
}

function asObject(value: Json): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new Error('A JSON object was expected.');
}
