import type { EntityManager } from '@mikro-orm/postgresql';
import { type ContactType, contactTypes } from '../../domain/contact-method.ts';
import { ChannelEntity } from '../entities/channel.ts';
import { OrganizationEntity } from '../entities/organization.ts';

/** The channels (UUIDs) through which people are reached, by type: only those that are active. Run in the organization. */
export async function readSenders(em: EntityManager, organizationId: string): Promise<ReadonlyMap<ContactType, string>> {
  const { settings } = await em.findOneOrFail(OrganizationEntity, { id: organizationId });
  const { senderChannels = {} } = settings;
  const ids = Object.values(senderChannels);
  if (ids.length === 0) return new Map();
  const rows = await em.find(ChannelEntity, { id: { $in: ids }, active: true, deletedAt: null }, { fields: ['id'] });
  const active = new Set(rows.map(({ id }) => id));
  return new Map(
    contactTypes.flatMap((type) => {
      const id = senderChannels[type];
      return id !== undefined && active.has(id) ? [[type, id] as const] : [];
    }),
  );
}
