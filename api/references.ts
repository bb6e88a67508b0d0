import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { CalendarEntity } from '../db/entities/calendar.ts';
import { ChannelEntity } from '../db/entities/channel.ts';
import { ContactMethodEntity } from '../db/entities/contact-method.ts';
import { EscalationPolicyEntity } from '../db/entities/escalation-policy.ts';
import { MemberEntity } from '../db/entities/member.ts';
import { ScheduleEntity } from '../db/entities/schedule.ts';
import { WebhookEntity } from '../db/entities/webhook.ts';
import { validationFailed } from '../domain/errors.ts';
import type { Fault } from '../domain/errors.ts';

/** A place in a request body that names something else. The id is a UUID. */
export interface Reference {
  readonly kind: ReferenceKind;
  readonly id: string;
  readonly pointer: string;
}

interface Wanted {
  orgId: string;
  id: { $in: string[] };
}

/** `hold`: against deletion until the transaction ends. Whoever deletes one looks for what names it, and must find us. */
interface Looking {
  readonly hold: boolean;
}

// In the order of their ids, so that two transactions with the same ones do not deadlock.
const only = ({ hold }: Looking) =>
  ({ fields: ['id'], orderBy: { id: 'asc' }, lockMode: hold ? LockMode.PESSIMISTIC_READ : LockMode.NONE }) as const;

const lookups = {
  user: {
    noun: 'member',
    find: (em: EntityManager, wanted: Wanted, how: Looking) => em.find(MemberEntity, { ...wanted, removedAt: null }, only(how)),
  },
  schedule: {
    noun: 'schedule',
    find: (em: EntityManager, wanted: Wanted, how: Looking) => em.find(ScheduleEntity, { ...wanted, deletedAt: null }, only(how)),
  },
  channel: {
    noun: 'channel',
    find: (em: EntityManager, wanted: Wanted, how: Looking) => em.find(ChannelEntity, { ...wanted, deletedAt: null }, only(how)),
  },
  webhook: {
    noun: 'webhook',
    find: (em: EntityManager, wanted: Wanted, how: Looking) => em.find(WebhookEntity, { ...wanted, deletedAt: null }, only(how)),
  },
  calendar: {
    noun: 'calendar',
    find: (em: EntityManager, wanted: Wanted, how: Looking) => em.find(CalendarEntity, { ...wanted, deletedAt: null }, only(how)),
  },
  contact_method: {
    noun: 'contact method',
    find: (em: EntityManager, wanted: Wanted, how: Looking) => em.find(ContactMethodEntity, { ...wanted, deletedAt: null }, only(how)),
  },
  policy: {
    noun: 'escalation policy',
    find: (em: EntityManager, wanted: Wanted, how: Looking) => em.find(EscalationPolicyEntity, { ...wanted, deletedAt: null }, only(how)),
  },
} as const;
export type ReferenceKind = keyof typeof lookups;

/** A fault for each reference to what the organization does not have: unknown, deleted and another organization's are the same. */
export async function findBrokenReferences(
  em: EntityManager,
  organizationId: string,
  references: readonly Reference[],
  how: Looking = { hold: true },
): Promise<readonly Fault[]> {
  const broken = new Set(references);
  for (const kind of Object.keys(lookups) as ReferenceKind[]) {
    const asked = references.filter((reference) => reference.kind === kind);
    if (asked.length === 0) continue;
    const ids = [...new Set(asked.map(({ id }) => id))];
    const found = new Set((await lookups[kind].find(em, { orgId: organizationId, id: { $in: ids } }, how)).map(({ id }) => id));
    for (const reference of asked) if (found.has(reference.id)) broken.delete(reference);
  }
  return [...broken].map(({ kind, pointer }) => ({
    pointer,
    code: `unknown_${kind}`,
    detail: `is no ${lookups[kind].noun} of this organization`,
  }));
}

/** Throws one `validation_failed` with all broken references and the faults found before. */
export async function assertReferences(
  em: EntityManager,
  organizationId: string,
  references: readonly Reference[],
  faults: readonly Fault[] = [],
): Promise<void> {
  const all = [...faults, ...(await findBrokenReferences(em, organizationId, references))];
  if (all.length > 0) throw validationFailed(all);
}
