import { z } from 'zod';
import { auditCategories, auditClasses, normalizeAction } from '../domain/audit/actions.ts';
import { actorTypes, auditStatuses, auditTools } from '../domain/audit/draft.ts';
import type { AuditFilter } from '../domain/audit/filter.ts';
import { limits } from '../domain/audit/limits.ts';
import { parseWireId } from '../domain/id.ts';
import { listOf, text, time, wireId } from './schema.ts';

/** Query parameters that select audit entries. Several values of one parameter are alternatives. */

const dayMs = 86_400_000;
const presetsMs = { '24h': dayMs, '7d': 7 * dayMs, '30d': 30 * dayMs, '90d': 90 * dayMs } as const;
const presets = Object.keys(presetsMs) as [keyof typeof presetsMs, ...Array<keyof typeof presetsMs>];

/** An id as we show it becomes the UUID that documents hold; any other text is what a producer wrote. */
const anyId = text(1, 256).transform((value) => parseWireId(value)?.uuid ?? value);

const action = text(1, 128).transform((value, context) => {
  const wildcard = /[.:]\*$/.test(value);
  const noun = value.slice(0, -2).replaceAll(':', '.');
  if (wildcard && /^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*){0,2}$/.test(noun)) return `${noun}.*`;
  const exact = normalizeAction(value);
  if (exact !== undefined) return exact;
  context.addIssue({ code: 'custom', message: 'must be noun.verb or noun.*' });
  return z.NEVER;
});

const resource = text(1, 321).transform((value) => {
  const at = value.indexOf(':');
  if (at === -1) return { type: value };
  const id = value.slice(at + 1);
  return { type: value.slice(0, at), id: parseWireId(id)?.uuid ?? id };
});

export const auditFilterQuery = {
  start: time.optional().meta({ description: 'Not before this time of occurrence. Default: 30 days ago.' }),
  from: time.optional().meta({ description: 'As `start`.' }),
  end: time.optional().meta({ description: 'Before this time of occurrence.' }),
  to: time.optional().meta({ description: 'As `end`.' }),
  preset: z.enum(presets).optional().meta({ description: 'The time up to now, instead of `start`.' }),
  last: z.enum(presets).optional().meta({ description: 'As `preset`.' }),
  action: listOf(action).optional().meta({ description: '`webhook.create`, or all of a noun: `webhook.*`.' }),
  eventType: listOf(text(1, 64)).optional().meta({ description: 'Last word of the action.' }),
  category: listOf(z.enum(auditCategories)).optional(),
  class: listOf(z.enum(auditClasses)).optional(),
  actor: listOf(anyId).optional().meta({ description: 'Who did it, by id; `system` for the system itself.' }),
  actorId: listOf(anyId).optional().meta({ description: 'As `actor`.' }),
  actorType: listOf(z.enum(actorTypes)).optional(),
  status: listOf(z.enum([...auditStatuses, 'failed']))
    .optional()
    .meta({ description: '`failed` is `failure`.' }),
  resource: listOf(resource).optional().meta({ description: 'A type, or one thing of it: `webhook:whk_…`.' }),
  resourceType: listOf(text(1, 64)).optional(),
  resourceId: listOf(anyId).optional(),
  projectId: listOf(wireId('project')).optional(),
  tenantId: listOf(text(1, 128)).optional(),
  gitCommitSha: listOf(text(7, 64).transform((sha) => sha.toLowerCase())).optional(),
  correlationId: listOf(anyId).optional().meta({ description: 'The event with which a chain of entries began.' }),
  tool: listOf(z.enum(auditTools)).optional(),
  breakGlass: z.enum(['true', 'false']).optional(),
};

export type AuditFilterQuery = z.output<z.ZodObject<typeof auditFilterQuery>>;

export function toAuditFilter(query: AuditFilterQuery, now: Date): AuditFilter {
  const spanMs = presetsMs[query.preset ?? query.last ?? '30d'];
  return {
    from: query.start ?? query.from ?? new Date(now.getTime() - spanMs),
    // what a producer dates a little ahead is not hidden
    to: query.end ?? query.to ?? new Date(now.getTime() + limits.occurredAfterMs),
    actions: query.action,
    verbs: query.eventType,
    categories: query.category,
    classes: query.class,
    actorIds: query.actor ?? query.actorId,
    actorTypes: query.actorType,
    statuses: query.status?.map((status) => (status === 'failed' ? 'failure' : status)),
    resources: query.resource,
    resourceTypes: query.resourceType,
    resourceIds: query.resourceId,
    projectIds: query.projectId,
    tenantIds: query.tenantId,
    gitCommitShas: query.gitCommitSha,
    correlationIds: query.correlationId,
    tools: query.tool,
    breakGlass: query.breakGlass === undefined ? undefined : query.breakGlass === 'true',
  };
}
