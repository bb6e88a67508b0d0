import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** A code by which an address is verified; kept for as long as it counts against the limit of codes in an hour. */
export const ContactCodeEntity = defineEntity({
  name: 'ContactCode',
  tableName: 'contact_code',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    contactMethodId: p.uuid(),
    userId: p.uuid(),
    /** `hashContactCode`; null until a worker has made the code. */
    codeHash: p.blob().nullable(),
    /** How often a wrong one was given. */
    tries: p.integer(),
    createdAt: p.datetime(3),
    expiresAt: p.datetime(3),
  },
});
export type ContactCodeRow = InferEntity<typeof ContactCodeEntity>;
