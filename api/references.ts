import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { CalendarEntity } from '../db/entities/calendar.ts';
import { ChannelEntity } from '../db/entities/channel.ts';
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

// Held against deletion until this transaction ends, in the order of their ids: whoever deletes one looks for what names it, and must find us.
const held = { fields: ['id'], orderBy: { id: 'asc' }, lockMode: LockMode.PESSIMISTIC_READ } as const;

const lookups = {
  user: { noun: 'member', find: (em: EntityManager, wanted: Wanted) => em.find(MemberEntity, { ...wanted, removedAt: null }, held) },
  schedule: {
    noun: 'schedule',
    find: (em: EntityManager, wanted: Wanted) => em.find(ScheduleEntity, { ...wanted, deletedAt: null }, held),
  },
  channel: { noun: 'channel', find: (em: EntityManager, wanted: Wanted) => em.find(ChannelEntity, { ...wanted, deletedAt: null }, held) },
  webhook: { noun: 'webhook', find: (em: EntityManager, wanted: Wanted) => em.find(WebhookEntity, { ...wanted, deletedAt: null }, held) },
  calendar: {
    noun: 'calendar',
    find: (em: EntityManager, wanted: Wanted) => em.find(CalendarEntity, { ...wanted, deletedAt: null }, held),
  },
  policy: {
    noun: 'escalation policy',
    find: (em: EntityManager, wanted: Wanted) => em.find(EscalationPolicyEntity, { ...wanted, deletedAt: null }, held),
  },
} as const;
export type ReferenceKind = keyof typeof lookups;

/** A fault for each reference to what the organization does not have: unknown, deleted and another organization's are the same. */
export async function findBrokenReferences(
  em: EntityManager,
  organizationId: string,
  references: readonly Reference[],
): Promise<readonly Fault[]> {
  const broken = new Set(references);
  for (const kind of Object.keys(lookups) as ReferenceKind[]) {
    const asked = references.filter((reference) => reference.kind === kind);
    if (asked.length === 0) continue;
    const ids = [...new Set(asked.map(({ id }) => id))];
    const found = new Set((await lookups[kind].find(em, { orgId: organizationId, id: { $in: ids } })).map(({ id }) => id));
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
