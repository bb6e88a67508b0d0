import { randomInt } from 'node:crypto';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { ContactCodeEntity } from '../db/entities/contact-code.ts';
import { ContactMethodEntity } from '../db/entities/contact-method.ts';
import { OrganizationEntity } from '../db/entities/organization.ts';
import { readSenders } from '../db/queries/senders.ts';
import { inOrganization } from '../db/tenant.ts';
import { contactRules, hashContactCode } from '../domain/contact-method.ts';
import { type MessageView, viewCodeMessage } from '../domain/message.ts';
import type { Destination, Destinations } from './destination.ts';

/** UUIDs. */
export interface ContactCodePlace {
  organizationId: string;
  codeId: string;
}

/**
 * Makes the code of a row, stores its hash and says what to send where. The code is in this message and nowhere else: it must reach no log,
 * no row and no history.
 * @throws when the row or its address is gone, or there is no sender any more: whoever waits asks for another code
 */
export async function makeContactCode(
  { orm, destinations }: { orm: MikroORM; destinations: Destinations },
  { organizationId, codeId }: ContactCodePlace,
  messageId: string,
): Promise<{ destination: Destination; view: MessageView }> {
  const { digits, lifeMs } = contactRules.code;
  const code = String(randomInt(10 ** digits)).padStart(digits, '0');
  const { address, senderId, organization } = await inOrganization(orm, organizationId, async (em) => {
    const { codeRow, method } = await findCode(em, codeId);
    codeRow.codeHash = hashContactCode(codeId, code);
    const senderId = (await readSenders(em, organizationId)).get(method.channelType);
    if (senderId === undefined) throw new Error(`No sender for contact methods of type ${method.channelType}`);
    return { address: method.address, senderId, organization: await em.findOneOrFail(OrganizationEntity, { id: organizationId }) };
  });
  return {
    destination: await destinations.read(organizationId, senderId, address),
    view: viewCodeMessage({
      id: messageId,
      nowMs: Date.now(),
      code,
      lifeMinutes: lifeMs / 60_000,
      organization: { id: organizationId, name: organization.name },
    }),
  };
}

/** What did not go out is no code: the address shows that it needs another. */
export async function voidContactCode(orm: MikroORM, { organizationId, codeId }: ContactCodePlace): Promise<void> {
  await inOrganization(orm, organizationId, async (em) => {
    const { codeRow } = await findCode(em, codeId);
    codeRow.codeHash = null;
    codeRow.expiresAt = codeRow.createdAt;
  });
}

async function findCode(em: EntityManager, codeId: string) {
  const codeRow = await em.findOneOrFail(ContactCodeEntity, { id: codeId });
  const method = await em.findOneOrFail(ContactMethodEntity, { id: codeRow.contactMethodId, deletedAt: null });
  return { codeRow, method };
}
