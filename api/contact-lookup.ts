import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { ContactCodeEntity } from '../db/entities/contact-code.ts';
import { ContactMethodEntity } from '../db/entities/contact-method.ts';
import type { ContactMethodRow } from '../db/entities/contact-method.ts';
import { readSenders } from '../db/queries/senders.ts';
import { notFound } from '../domain/errors.ts';
import type { AuditPart } from './audit-trail.ts';
import type { Principal } from './authorization.ts';
import { presentContact } from './contact-fields.ts';
import type { ContactFacts } from './contact-fields.ts';

/** One of the caller's own; those of others are unknown. Throws `not_found`. */
export async function findContact(
  em: EntityManager,
  principal: Principal,
  id: string,
  lockMode: LockMode = LockMode.NONE,
): Promise<ContactMethodRow> {
  const row = await em.findOne(ContactMethodEntity, { ...ownedBy(principal), id }, { lockMode });
  if (row === null) throw notFound();
  return row;
}

/** The contact methods of the caller. */
export function ownedBy({ organizationId, id }: Principal) {
  return { orgId: organizationId, userId: id, deletedAt: null };
}

/** A contact method speaks of its owner: what an entry tells of it belongs to them. */
export function contactResource({ id, userId, address }: ContactMethodRow): NonNullable<AuditPart['resource']> {
  return { type: 'contact_method', id, name: address, subjectId: userId };
}

/** What the presenter must know besides the rows. */
export async function readContactFacts(
  em: EntityManager,
  organizationId: string,
  rows: readonly ContactMethodRow[],
  now: Date,
): Promise<ContactFacts> {
  const ids = rows.filter(({ verifiedAt }) => !verifiedAt).map(({ id }) => id);
  const codes =
    ids.length === 0
      ? []
      : await em.find(ContactCodeEntity, { orgId: organizationId, contactMethodId: { $in: ids } }, { orderBy: { createdAt: 'asc' } });
  return { codes: new Map(codes.map((code) => [code.contactMethodId, code])), senders: await readSenders(em, organizationId), now };
}

/** A contact method as the API shows it. */
export async function showContact(em: EntityManager, row: ContactMethodRow, now: Date) {
  return presentContact(row, await readContactFacts(em, row.orgId, [row], now));
}
