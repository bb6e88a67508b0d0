import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { describeNews, type EscalationNews, stateAfter } from '../../domain/escalation-news.ts';
import type { EscalationStatus } from '../../domain/escalation-state.ts';
import { problemKey } from '../../domain/hash.ts';
import { toWireId } from '../../domain/id.ts';
import type { EscalationPart, MessageView } from '../../domain/message.ts';
import { ContactMethodEntity } from '../entities/contact-method.ts';
import { OrganizationEntity } from '../entities/organization.ts';
import { type SecretBox, SecretUnavailableError } from '../secrets.ts';
import { type LinkTokenRow, renderToken, takeLinkToken } from './link-token.ts';
import { readMessage } from './message.ts';
import type { PageMark } from './run.ts';

interface PagedEscalation {
  policyName: string | null;
  round: number;
  tier: number;
  /** Of the one whose doing the news are. */
  actorName: string | null;
  /** A Slack app answers to what is pressed in this channel. */
  takesPresses: boolean;
}

/** Which message of an escalation is wanted, and where it goes. Ids are UUIDs. */
export interface PageWanted {
  eventId: string;
  mark: PageMark;
  channelId: string;
  publicUrl: string;
  secrets: SecretBox;
}

/**
 * What an escalation's message says, and to which address it goes. The round and tier are those of its firing or of its news, so that every
 * attempt says the same. All messages of one escalation make one thread. Run in the organization.
 * @returns address null: the channel's own
 */
export async function readPage(
  em: EntityManager,
  organizationId: string,
  { eventId, mark, channelId, publicUrl, secrets }: PageWanted,
): Promise<{ view: MessageView; address: string | null }> {
  const { escalationId, firing, news } = mark;
  const view = await readMessage(em, organizationId, eventId);
  const contact = mark.contactMethodId === null ? null : await em.findOneOrFail(ContactMethodEntity, { id: mark.contactMethodId });
  const address = contact?.address ?? (mark.purpose === 'mandatory' ? await readFallbackAddress(em, organizationId) : null);
  if (escalationId === null) return { view, address };
  const actorId = news?.kind === 'change' ? (news.by?.id ?? null) : null;
  const { rows } = await sql<PagedEscalation>`
    select p.name as "policyName", coalesce(f.round, e.round) as round, coalesce(f.tier, e.tier) as tier,
        coalesce((select m.name from member m where m.org_id = e.org_id and m.id::text = ${actorId}),
          (select a.name from service_account a where a.org_id = e.org_id and a.id::text = ${actorId}),
          case when ${actorId}::text !~ '^[0-9a-f]{8}-' then ${actorId}::text end) as "actorName",
        exists (select from integration i where i.org_id = e.org_id and i.type = 'slack' and i.active and i.deleted_at is null
          and coalesce(i.settings ->> 'channelId', ${channelId}) = ${channelId}) as "takesPresses"
      from escalation e
        left join escalation_firing f on f.org_id = e.org_id and f.escalation_id = e.id and f.firing = ${firing}
        left join escalation_policy_version p on p.id = e.policy_id and p.version = e.policy_version
      where e.org_id = ${organizationId} and e.id = ${escalationId}
  `.execute(em.getKysely());
  const [escalation] = rows;
  if (escalation === undefined) throw new Error(`The escalation of a page is gone: ${escalationId}`);
  const link =
    contact === null || firing === null
      ? undefined
      : await takeLinkToken(em, organizationId, { escalationId, firing, userId: contact.userId }, secrets);
  const acknowledgeUrl = link === undefined ? null : renderLink(publicUrl, link, secrets);
  const threadKey = problemKey(organizationId, `esc:${escalationId}`);
  return {
    view: { ...view, threadKey, escalation: { ...partOf(escalation, { ...mark, escalationId }), acknowledgeUrl } },
    address,
  };
}

/** What would reach nobody goes there. */
async function readFallbackAddress(em: EntityManager, organizationId: string): Promise<string | null> {
  const { settings } = await em.findOneOrFail(OrganizationEntity, { id: organizationId });
  return settings.fallbackEmail ?? null;
}

/** Without its key a page goes out without the link rather than not at all. */
function renderLink(publicUrl: string, link: LinkTokenRow, secrets: SecretBox): string | null {
  try {
    return `${publicUrl}/l/${renderToken(link, secrets)}`;
  } catch (error) {
    if (error instanceof SecretUnavailableError) return null;
    throw error;
  }
}

function partOf(
  { policyName, actorName, takesPresses, ...position }: PagedEscalation,
  { escalationId, purpose, updateOf, news }: PageMark & { escalationId: string },
): Omit<EscalationPart, 'acknowledgeUrl'> {
  const { round, tier } = news ?? position;
  return {
    id: toWireId('escalation', escalationId),
    policy: policyName ?? '',
    ...(news === null ? describePage(purpose, { tier, round }) : tellNews(news, actorName)),
    tier,
    round,
    replyTo: updateOf === null ? null : toWireId('delivery', updateOf),
    takesPresses,
  };
}

function tellNews(news: EscalationNews, actorName: string | null): { headline: string; state: EscalationStatus } {
  return { headline: describeNews(news, actorName), state: stateAfter(news) };
}

function describePage(
  purpose: PageMark['purpose'],
  { tier, round }: { tier: number; round: number },
): { headline: string; state: EscalationStatus } {
  if (purpose === 'watchdog')
    return {
      headline: `What should have followed tier ${tier} is late: Tocsin itself may be down, and tells you by another way`,
      state: 'triggered',
    };
  if (purpose === 'mandatory')
    return { headline: 'Nobody has acknowledged: this escalation is over without an answer', state: 'exhausted' };
  if (purpose === 'fallback') return { headline: 'Nobody has acknowledged: you are told as the last resort', state: 'exhausted' };
  return { headline: round === 1 ? `Tier ${tier} is paged` : `Tier ${tier} is paged, round ${round}`, state: 'triggered' };
}
