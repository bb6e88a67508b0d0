import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import { type EventTypes, eventTypesOf } from '../../domain/custom-event-type.ts';
import type { Category } from '../../domain/event-type.ts';
import { problemTtlRules } from '../../domain/problem.ts';
import type { PreferenceFacts } from '../../domain/preference-set.ts';
import type { EscalationConfiguration } from '../../domain/recipients.ts';
import type { RoutingFacts } from '../../domain/routing.ts';
import type { Severity } from '../../domain/severity.ts';
import { ChannelEntity } from '../entities/channel.ts';
import { MemberEntity } from '../entities/member.ts';
import { OrganizationEntity } from '../entities/organization.ts';
import { ProjectEntity } from '../entities/project.ts';
import { RuleEntity } from '../entities/rule.ts';
import { WebhookEntity } from '../entities/webhook.ts';
import { customEventTypeOf, findCustomEventTypes } from './custom-event-types.ts';
import { readEscalationConfiguration } from './escalation-facts.ts';
import { readPreferenceFacts } from './preference-facts.ts';

/** What intake needs to know of an organization, with the version of the configuration it was read at. */
export interface OrganizationFacts {
  version: string;
  routing: RoutingFacts;
  projectIds: ReadonlySet<string>;
  /** How long a problem of which nothing is heard stays open. */
  problemTtlMs: number;
  escalation: EscalationConfiguration;
  /** What events may be of. */
  types: EventTypes;
  /** How people want to hear of what goes to them. */
  preferences: PreferenceFacts;
}

/** What changes whenever something else than preferences does. */
type FactsBesides = Omit<OrganizationFacts, 'version' | 'preferences'>;

interface Version {
  version: string;
  /** Of everything but preferences. */
  others: string;
}

interface Cached {
  facts: OrganizationFacts;
  others: string;
}

const maxCached = 1_000;
const changed = 'TR001';

export interface FactsCache {
  /** The facts as they are in the caller's transaction: a committed change decides every event accepted after it, in every process. */
  read(em: EntityManager, organizationId: string): Promise<OrganizationFacts>;
  /** What was last read, without asking; whoever uses it MUST commit together with `assertFacts`. */
  recall(organizationId: string): OrganizationFacts | undefined;
}

/** The facts of organizations, kept per process and compared by version. When only preferences have changed, nothing else is read anew. */
export function createFactsCache(): FactsCache {
  const known = new Map<string, Cached>();
  return {
    recall: (organizationId) => known.get(organizationId)?.facts,
    async read(em, organizationId) {
      const { version, others } = await readVersion(em);
      const cached = known.get(organizationId);
      if (cached?.facts.version === version) return cached.facts;
      const preferences = await readPreferenceFacts(em, organizationId, cached?.facts);
      const besides = cached?.others === others ? cached.facts : await readFacts(em, organizationId);
      const facts = { ...besides, version, preferences };
      if (known.size >= maxCached) known.delete(known.keys().next().value!);
      known.set(organizationId, { facts, others });
      return facts;
    },
  };
}

/** Fails the transaction when the facts are not current any more; `areFactsStale` knows its error. */
export function assertFacts({ version }: OrganizationFacts): RawBuilder<unknown> {
  return sql`select assert_routing_version(${version}::bigint)`;
}

export function areFactsStale(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === changed;
}

async function readVersion(em: EntityManager): Promise<Version> {
  const query = sql<Version>`select version::text, (version - of_preferences)::text as others from routing_version`;
  const { rows } = await query.execute(em.getKysely());
  return rows[0] ?? { version: '0', others: '0' };
}

// Read after the version: a change committed in between makes the facts newer than their label, and the next read replaces them.
async function readFacts(em: EntityManager, organizationId: string): Promise<FactsBesides> {
  const webhooks = await em.find(WebhookEntity, { deletedAt: null }, { fields: ['id', 'version', 'active', 'eventTypes', 'projectIds'] });
  const channels = await em.find(ChannelEntity, { deletedAt: null }, { fields: ['id', 'version', 'type', 'active'] });
  const rules = await em.find(RuleEntity, { deletedAt: null }, { orderBy: { position: 'asc', id: 'asc' } });
  const members = await em.find(MemberEntity, { status: 'active' }, { fields: ['id', 'role'], orderBy: { id: 'asc' } });
  const projects = await em.find(ProjectEntity, { deletedAt: null }, { fields: ['id'] });
  const types = await findCustomEventTypes(em, organizationId);
  const { settings } = await em.findOneOrFail(OrganizationEntity, { id: organizationId });
  const activeUserIds = new Set(members.map(({ id }) => id));
  const destinations = {
    activeUserIds,
    adminIds: members.filter(({ role }) => role === 'owner' || role === 'admin').map(({ id }) => id),
    activeChannels: new Map(channels.filter(({ active }) => active).map(({ id, type }) => [id, type])),
    activeWebhookIds: new Set(webhooks.filter(({ active }) => active).map(({ id }) => id)),
  };
  const escalation = await readEscalationConfiguration(em, destinations, settings, Date.now());
  return {
    routing: {
      webhooks: webhooks.map(({ id, version, active, eventTypes, projectIds }) => ({ id, version, active, eventTypes, projectIds })),
      channels: new Map(channels.map(({ id, version, type, active }) => [id, { id, version, type, active }])),
      rules: rules.map((rule) => ({
        id: rule.id,
        version: rule.version,
        name: rule.name,
        enabled: rule.enabled,
        position: rule.position,
        types: rule.types,
        categories: rule.categories as Category[],
        projectIds: rule.projectIds,
        minSeverity: rule.minSeverity as Severity | null,
        matchers: rule.matchers,
        channelIds: rule.channelIds,
        policyId: rule.policyId ?? null,
        aggregate: rule.aggregate ?? null,
        stop: rule.stop,
      })),
      activeMemberIds: activeUserIds,
      silences: escalation.silences,
    },
    projectIds: new Set(projects.map(({ id }) => id)),
    problemTtlMs: settings.problemTtlMs ?? problemTtlRules.defaultMs,
    escalation,
    types: eventTypesOf(types.map(customEventTypeOf), { foreign: settings.foreignTypes, acceptsUnknown: settings.acceptUnknownTypes }),
  };
}
