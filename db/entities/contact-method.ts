import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { ContactType } from '../../domain/contact-method.ts';

/** An address of a member on one channel type. */
export const ContactMethodEntity = defineEntity({
  name: 'ContactMethod',
  tableName: 'contact_method',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    userId: p.uuid(),
    channelType: p.text().$type<ContactType>(),
    address: p.text(),
    /** `foldName(address)`; unique among the member's of this type. */
    addressKey: p.text(),
    /** The member's own e-mail address: its id is the member's, the database keeps it, and it is verified by the invitation. */
    login: p.boolean(),
    /** Pages of escalations go here. */
    page: p.boolean(),
    digestIntervalMs: p.integer(),
    /** `HH:MM` in the member's time zone, for a digest a day. */
    dailyAt: p.text(),
    verifiedAt: p.datetime(3).nullable(),
    version: p.integer(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    deletedAt: p.datetime(3).nullable(),
  },
});
export type ContactMethodRow = InferEntity<typeof ContactMethodEntity>;
