import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import type { EscalationStatus } from '../../domain/escalation-state.ts';
import { newId } from '../../domain/id.ts';
import { isLinkGenuine, type LinkClaim, linkRules, makeLinkToken, type PresentedLink } from '../../domain/link-token.ts';
import type { Severity } from '../../domain/severity.ts';
import type { SecretBox } from '../secrets.ts';

/** To whom a link of a firing goes. Ids are UUIDs. */
export interface LinkTarget {
  escalationId: string;
  firing: number;
  userId: string;
}

/** A link that has been, or can be, put into a message. */
export interface LinkTokenRow extends LinkClaim {
  id: string;
  /** Of the key that signs it. */
  keyId: string;
}

/**
 * Rows for the people whom firings page, in the firings' transaction; a person has one link per firing, on however many addresses.
 * @param at Unix milliseconds; the links live from then on
 */
export function insertLinkTokens(organizationId: string, targets: readonly LinkTarget[], at: number): RawBuilder<unknown> {
  const column = <T>(value: (one: LinkTarget) => T): T[] => targets.map(value);
  return sql`
    insert into link_token (org_id, id, escalation_id, firing, user_id, action, expires_at)
      select ${organizationId}, *, 'acknowledge', ${new Date(at + linkRules.lifeMs).toISOString()}::timestamptz from unnest(
        ${column(() => newId(at))}::uuid[], ${column(({ escalationId }) => escalationId)}::uuid[],
        ${column(({ firing }) => firing)}::int[], ${column(({ userId }) => userId)}::uuid[])
      on conflict do nothing
  `;
}

/**
 * The link for a message to this person. The first message decides which key signs it, so that every later one, whichever key is the first
 * by then, carries the same bytes. Run in the organization.
 * @returns undefined: the firing gave this person none
 */
export async function takeLinkToken(
  em: EntityManager,
  organizationId: string,
  { escalationId, firing, userId }: LinkTarget,
  { keyId }: Pick<SecretBox, 'keyId'>,
): Promise<LinkTokenRow | undefined> {
  const { rows } = await sql<LinkTokenRow>`
    update link_token t set kid = coalesce(kid, ${keyId})
      where org_id = ${organizationId} and escalation_id = ${escalationId} and firing = ${firing} and user_id = ${userId}
        and action = 'acknowledge'
      returning ${tokenColumns}
  `.execute(em.getKysely());
  return rows[0];
}

/**
 * The token that goes into the message: the same text for the same row, always.
 * @throws SecretUnavailableError when this process does not have the row's key
 */
export function renderToken(row: LinkTokenRow, secrets: Pick<SecretBox, 'deriveKey'>): string {
  return makeLinkToken(secrets.deriveKey(linkRules.purpose, row.keyId), row.id, row);
}

/**
 * Whether what is presented is the row's token.
 * @throws SecretUnavailableError when this process does not have the row's key
 */
export function isTokenOf(row: LinkTokenRow, presented: PresentedLink, secrets: Pick<SecretBox, 'deriveKey'>): boolean {
  return isLinkGenuine(secrets.deriveKey(linkRules.purpose, row.keyId), row, presented);
}

/** Whose link this is; needs no organization. @returns a UUID, or null for an unknown link */
export async function findLinkOrganization(em: EntityManager, id: string): Promise<string | null> {
  const { rows } = await sql<{ found: string | null }>`select link_token_organization(${id}) as found`.execute(em.getKysely());
  return rows[0]?.found ?? null;
}

/** A link with what its holder needs to know to decide. Times are Unix milliseconds. */
export interface StoredLink extends LinkTokenRow {
  usedAt: number | null;
  holderName: string;
  holderEmail: string;
  /** A member who left, or was disabled, has no say any more. */
  isHolderActive: boolean;
  organizationName: string;
  policyName: string | null;
  projectId: string | null;
  /** What the escalation is about. */
  eventId: string;
  subject: string;
  severity: Severity;
  status: EscalationStatus;
  acknowledgedAt: number | null;
  /** A name; null: nobody, or not a person or service account that is still there. */
  acknowledgedBy: string | null;
  snoozedUntil: number | null;
  resolvedAt: number | null;
}

/** Run in the organization. @returns undefined: unknown here, or never sent */
export async function readLink(em: EntityManager, organizationId: string, id: string): Promise<StoredLink | undefined> {
  const { rows } = await sql<StoredLink>`
    select ${tokenColumns}, ${instant('t.used_at')} as "usedAt", m.name as "holderName", m.email as "holderEmail",
        m.status = 'active' and m.removed_at is null as "isHolderActive", o.name as "organizationName", p.name as "policyName",
        e.project_id as "projectId", e.event_id as "eventId", e.subject, e.severity, e.status, ${instant('e.acknowledged_at')} as "acknowledgedAt",
        coalesce(am.name, sa.name) as "acknowledgedBy", case when e.why = 'snooze_end' then ${instant('e.due_at')} end as "snoozedUntil",
        ${instant('e.resolved_at')} as "resolvedAt"
      from link_token t
        join organization o on o.id = t.org_id
        join member m on m.org_id = t.org_id and m.id = t.user_id
        join escalation e on e.org_id = t.org_id and e.id = t.escalation_id
        left join escalation_policy_version p on p.id = e.policy_id and p.version = e.policy_version
        left join member am on am.org_id = e.org_id and e.acknowledged_by ->> 'type' = 'user' and am.id::text = e.acknowledged_by ->> 'id'
        left join service_account sa on sa.org_id = e.org_id and e.acknowledged_by ->> 'type' = 'service_account'
          and sa.id::text = e.acknowledged_by ->> 'id'
      where t.org_id = ${organizationId} and t.id = ${id} and t.kid is not null
  `.execute(em.getKysely());
  return rows[0];
}

/** Marks the link used, once, in the transaction of its command. @returns false: it is used already */
export async function useLinkToken(em: EntityManager, organizationId: string, id: string, at: number): Promise<boolean> {
  const { rows } = await sql`update link_token set used_at = ${new Date(at).toISOString()}
    where org_id = ${organizationId} and id = ${id} and used_at is null returning id`.execute(em.getKysely());
  return rows.length > 0;
}

const tokenColumns = sql`t.org_id as "organizationId", t.id, t.escalation_id as "escalationId", t.firing, t.user_id as "userId", t.action,
  t.kid as "keyId", ${instant('t.expires_at')} as "expiresAt"`;

/** Unix milliseconds. */
function instant(column: string): RawBuilder<unknown> {
  return sql`(extract(epoch from ${sql.ref(column)}) * 1000)::float8`;
}
