import type { EntityManager } from '@mikro-orm/postgresql';
import type { EscalationConfiguration } from '../../domain/recipients.ts';
import type { SimulationFacts } from '../../domain/simulation-plan.ts';
import { ChannelEntity } from '../entities/channel.ts';
import { EscalationPolicyVersionEntity } from '../entities/escalation-policy.ts';
import { MemberEntity } from '../entities/member.ts';
import { OrganizationEntity } from '../entities/organization.ts';
import { WebhookEntity } from '../entities/webhook.ts';
import { readEscalationConfiguration } from './escalation-facts.ts';
import { policyOf } from './policy.ts';
import type { FactsCache } from './routing-facts.ts';

/**
 * What simulations that begin at `startAt` or later find besides their policy: the configuration as it is now, with the overrides and silences
 * of that time. Run in the organization.
 */
export async function readSimulationFacts(
  em: EntityManager,
  facts: FactsCache,
  organizationId: string,
  { startAt, now }: { startAt: number; now: number },
): Promise<Omit<SimulationFacts, 'policy' | 'versions'>> {
  const { routing, escalation, problemTtlMs } = await facts.read(em, organizationId);
  return {
    rules: routing.rules,
    problemTtlMs,
    configuration: startAt >= now ? escalation : await readPast(em, organizationId, escalation, startAt),
  };
}

/** What is kept at hand for production knows of nothing that is over. */
async function readPast(
  em: EntityManager,
  organizationId: string,
  known: EscalationConfiguration,
  startAt: number,
): Promise<EscalationConfiguration> {
  const { settings } = await em.findOneOrFail(OrganizationEntity, { id: organizationId });
  return readEscalationConfiguration(em, known, settings, startAt);
}

/** These versions of a policy, as far as there are such; run in the organization. */
export async function readPolicyVersions(em: EntityManager, id: string, versions: readonly number[]): Promise<SimulationFacts['versions']> {
  if (versions.length === 0) return [];
  const rows = await em.find(EscalationPolicyVersionEntity, { id, version: { $in: [...versions] } });
  return rows.map(policyOf);
}

/** What people call these members, channels and webhooks, deleted ones too. Run in the organization. */
export async function readNames(em: EntityManager, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  if (ids.length === 0) return new Map();
  const chosen = { id: { $in: [...ids] } };
  const fields = ['id', 'name'] as const;
  const rows = [
    ...(await em.find(MemberEntity, chosen, { fields })),
    ...(await em.find(ChannelEntity, chosen, { fields })),
    ...(await em.find(WebhookEntity, chosen, { fields })),
  ];
  return new Map(rows.map(({ id, name }) => [id, name]));
}
