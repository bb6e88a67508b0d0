import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ContactMethodEntity } from '../db/entities/contact-method.ts';
import { ProjectEntity } from '../db/entities/project.ts';
import { inOrganization } from '../db/tenant.ts';
import { zoneFaults } from '../domain/calendar.ts';
import type { EventTypes } from '../domain/custom-event-type.ts';
import { DomainError, type Fault } from '../domain/errors.ts';
import { categories } from '../domain/event-type.ts';
import { fromWireId } from '../domain/id.ts';
import { preferenceKey, type PreferenceLayer } from '../domain/preference.ts';
import { quietHoursFaults } from '../domain/quiet-hours.ts';
import type { Principal } from './authorization.ts';
import type { Dependencies } from './dependencies.ts';
import { inspectPatterns } from './event-pattern.ts';
import { preferenceBodies, quietHours, readSelector, readWay } from './preference-fields.ts';

/** What of a rule has its form: the rest has faults of its own. */
const looseRule = z.object({
  type: z.string().optional().catch(undefined),
  category: z.enum(categories).optional().catch(undefined),
  all: z.literal(true).optional().catch(undefined),
  projectId: z.string().nullish().catch(undefined),
  channel: z.string().optional().catch(undefined),
  mode: z.string().optional().catch(undefined),
});

const looseBody = z.object({
  rules: z.array(z.unknown()).catch([]),
  timeZone: z.string().optional().catch(undefined),
  quietHours: quietHours.nullish().catch(undefined),
});

interface LooseRule extends z.output<typeof looseRule> {
  readonly pointer: string;
  /** How many things it says it is about. */
  readonly selectors: number;
}

/** Throws `permission_denied` unless the caller is a person: others have nothing to prefer. */
export function assertPerson({ type }: Principal): void {
  if (type !== 'user') throw new DomainError('permission_denied', 'Only members have preferences.');
}

/**
 * An `inspect` for the preferences of an owner of this kind: everything that is wrong with them beyond their form. When nothing is wrong but
 * projects, it throws what every other request gets that names such a project.
 */
export function inspectPreferences(kind: PreferenceLayer) {
  return async (body: unknown, deps: Dependencies, principal: Principal): Promise<readonly Fault[]> => {
    if (kind === 'user') assertPerson(principal);
    const read = looseBody.safeParse(body);
    if (!read.success) return [];
    const rules = read.data.rules.flatMap(readRule).slice(0, 1_000);
    const { organizationId } = principal;
    const unknownTypes = await inspectPatterns('rules/*/type')(body, deps, principal);
    const types = await deps.intake.types(organizationId);
    const { contacts, projects } = await inOrganization(deps.orm, organizationId, async (em) => ({
      contacts: await contactFaults(em, kind === 'user' ? principal : null, rules),
      projects: await projectFaults(em, organizationId, rules),
    }));
    const faults = [
      ...rules.flatMap(selectorFaults),
      ...unknownTypes,
      ...rules.flatMap(digestFaults),
      ...overlapFaults(rules, types),
      ...contacts,
      ...(kind === 'user' ? timeFaults(read.data) : []),
    ];
    if (projects.length > 0 && faults.length === 0 && preferenceBodies[kind].safeParse(body).success)
      throw new DomainError('project_not_found', 'project not found in active organization', { faults: projects });
    return [...faults, ...projects];
  };
}

function readRule(raw: unknown, index: number): LooseRule[] {
  const read = looseRule.safeParse(raw);
  if (!read.success) return [];
  const given = Object.entries(raw ?? {}).filter(([name, value]) => value !== undefined && ['type', 'category', 'all'].includes(name));
  return [{ ...read.data, pointer: `/rules/${index}`, selectors: given.length }];
}

function selectorFaults({ pointer, selectors }: LooseRule): Fault[] {
  return selectors === 1 ? [] : [{ pointer, code: 'selector', detail: 'must have one of type, category and all' }];
}

function digestFaults({ pointer, channel, mode }: LooseRule): Fault[] {
  if (channel !== 'in_app' || mode !== 'digest') return [];
  return [{ pointer: `${pointer}/mode`, code: 'no_digest', detail: 'must be instant or off: the app has no digests' }];
}

/** Told at the later of two. */
function overlapFaults(rules: readonly LooseRule[], types: EventTypes): Fault[] {
  const seen = new Map<string, string>();
  return rules.flatMap((rule) => {
    const selector = rule.selectors === 1 ? readSelector(rule, types) : undefined;
    const way = rule.channel === undefined ? undefined : readWay(rule.channel);
    const projectId = typeof rule.projectId === 'string' ? fromWireId('project', rule.projectId) : null;
    if (selector === undefined || way === undefined || projectId === undefined) return [];
    const key = preferenceKey({ projectId, selector, way });
    const first = seen.get(key);
    if (first === undefined) seen.set(key, rule.pointer);
    if (first === undefined) return [];
    return [{ pointer: rule.pointer, code: 'overlapping', detail: `is about the same as ${first}, by the same channel` }];
  });
}

/** @param person null: defaults, which are about nobody's addresses */
async function contactFaults(em: EntityManager, person: Principal | null, rules: readonly LooseRule[]): Promise<Fault[]> {
  const named = rules.flatMap(({ pointer, channel }) => {
    const id = channel === undefined ? undefined : fromWireId('contact_method', channel);
    return id === undefined ? [] : [{ pointer: `${pointer}/channel`, id }];
  });
  if (named.length === 0) return [];
  const own = person && { orgId: person.organizationId, userId: person.id, deletedAt: null };
  const rows = own === null ? [] : await em.find(ContactMethodEntity, { ...own, id: { $in: named.map(({ id }) => id) } });
  return named.flatMap(({ pointer, id }) => {
    const row = rows.find((each) => each.id === id);
    if (row === undefined) {
      const whose = person === null ? 'must be a channel type or any: it is not for one person' : 'is none of your contact methods';
      return [{ pointer, code: 'unknown_contact_method', detail: whose }];
    }
    return row.verifiedAt ? [] : [{ pointer, code: 'contact_unverified', detail: 'is not verified yet' }];
  });
}

async function projectFaults(em: EntityManager, organizationId: string, rules: readonly LooseRule[]): Promise<Fault[]> {
  const named = rules.flatMap(({ pointer, projectId }) => {
    const id = typeof projectId === 'string' ? fromWireId('project', projectId) : undefined;
    return id === undefined ? [] : [{ pointer: `${pointer}/projectId`, id }];
  });
  if (named.length === 0) return [];
  const wanted = { orgId: organizationId, id: { $in: named.map(({ id }) => id) }, deletedAt: null };
  const found = new Set((await em.find(ProjectEntity, wanted, { fields: ['id'] })).map(({ id }) => id));
  return named.flatMap(({ pointer, id }) =>
    found.has(id) ? [] : [{ pointer, code: 'project_not_found', detail: 'project not found in active organization' }],
  );
}

function timeFaults({ timeZone = 'UTC', quietHours: quiet }: z.output<typeof looseBody>): Fault[] {
  const zone = zoneFaults(timeZone);
  if (!quiet) return zone;
  // what else is wrong with the hours is so in any zone
  return [...zone, ...quietHoursFaults(quiet, zone.length === 0 ? timeZone : 'UTC', Date.now(), '/quietHours')];
}
