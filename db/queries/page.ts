import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { toWireId } from '../../domain/id.ts';
import type { EscalationPart, MessageView } from '../../domain/message.ts';
import { ContactMethodEntity } from '../entities/contact-method.ts';
import type { SecretBox } from '../secrets.ts';
import { renderToken, takeLinkToken } from './link-token.ts';
import { readMessage } from './message.ts';
import type { PageMark } from './run.ts';

interface PagedEscalation {
  status: string;
  policyName: string | null;
  round: number;
  tier: number;
}

/**
 * What an escalation's message says, and to which address it goes. The round and tier are those of its firing, so that every attempt says the
 * same. Run in the organization.
 * @returns address null: the channel's own
 */
export async function readPage(
  em: EntityManager,
  organizationId: string,
  { eventId, mark, publicUrl, secrets }: { eventId: string; mark: PageMark; publicUrl: string; secrets: SecretBox },
): Promise<{ view: MessageView; address: string | null }> {
  const view = await readMessage(em, organizationId, eventId);
  const { rows } = await sql<PagedEscalation>`
    select e.status, p.name as "policyName", coalesce(f.round, e.round) as round, coalesce(f.tier, e.tier) as tier
      from escalation e
        left join escalation_firing f on f.org_id = e.org_id and f.escalation_id = e.id and f.firing = ${mark.firing}
        left join escalation_policy_version p on p.id = e.policy_id and p.version = e.policy_version
      where e.org_id = ${organizationId} and e.id = ${mark.escalationId}
  `.execute(em.getKysely());
  const contact = mark.contactMethodId === null ? null : await em.findOneOrFail(ContactMethodEntity, { id: mark.contactMethodId });
  const [escalation] = rows;
  if (escalation === undefined) throw new Error(`The escalation of a page is gone: ${mark.escalationId}`);
  const { escalationId, firing } = mark;
  const link =
    contact === null || firing === null
      ? undefined
      : await takeLinkToken(em, organizationId, { escalationId, firing, userId: contact.userId }, secrets);
  const acknowledgeUrl = link === undefined ? null : `${publicUrl}/l/${renderToken(link, secrets)}`;
  return { view: { ...view, escalation: { ...partOf(escalation, mark), acknowledgeUrl } }, address: contact?.address ?? null };
}

function partOf(
  { status, policyName, round, tier }: PagedEscalation,
  { escalationId, purpose }: PageMark,
): Omit<EscalationPart, 'acknowledgeUrl'> {
  return {
    id: toWireId('escalation', escalationId),
    policy: policyName ?? '',
    headline: headlines[purpose](tier, round),
    tier,
    round,
    state: status,
  };
}

const headlines: Readonly<Record<PageMark['purpose'], (tier: number, round: number) => string>> = {
  page: (tier, round) => (round === 1 ? `Tier ${tier} is paged` : `Tier ${tier} is paged, round ${round}`),
  fallback: () => 'Nobody has acknowledged: you are told as the last resort',
  reminder: () => 'Your acknowledgement runs out soon',
  escalation_update: () => 'Update',
};
