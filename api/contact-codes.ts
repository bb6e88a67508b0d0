import { timingSafeEqual } from 'node:crypto';
import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { appendAudit } from '../db/audit-log.ts';
import { ContactCodeEntity } from '../db/entities/contact-code.ts';
import type { ContactCodeRow } from '../db/entities/contact-code.ts';
import { ContactMethodEntity } from '../db/entities/contact-method.ts';
import type { ContactMethodRow } from '../db/entities/contact-method.ts';
import { readSenders } from '../db/queries/senders.ts';
import { inOrganization } from '../db/tenant.ts';
import { codeWaitMs, contactRules, hashContactCode, isCodeLive } from '../domain/contact-method.ts';
import { DomainError, validationFailed } from '../domain/errors.ts';
import { newId } from '../domain/id.ts';
import { shownContact } from './contact-fields.ts';
import { contactResource, findContact, showContact } from './contact-lookup.ts';
import { ownTransactionEndpoint } from './endpoint.ts';
import { idParams } from './schema.ts';
import { versionHeaders } from './version.ts';

const { code: codeRules, sending } = contactRules;

/** Until the transaction ends no other one counts or adds what this member has: of two at once only one may find the last place free. */
export async function lockOwner(em: EntityManager, { orgId, userId }: { orgId: string; userId: string }): Promise<void> {
  await em.findOneOrFail(ContactMethodEntity, { orgId, id: userId }, { lockMode: LockMode.PESSIMISTIC_WRITE });
}

/**
 * Notes that a code is to be sent. The worker that sends it makes it: nobody else has it.
 * @returns the row's id, to be given to `testDestination` after the commit
 * @throws DomainError `rate_limited`
 */
export async function requestCode(em: EntityManager, method: ContactMethodRow, now: Date): Promise<string> {
  const mine = { orgId: method.orgId, userId: method.userId };
  await lockOwner(em, mine);
  const since = new Date(now.getTime() - sending.windowMs);
  await em.nativeDelete(ContactCodeEntity, { ...mine, createdAt: { $lte: since } });
  const recent = await em.find(ContactCodeEntity, mine, { fields: ['createdAt'] });
  const waitMs = codeWaitMs(
    recent.map(({ createdAt }) => createdAt.getTime()),
    now.getTime(),
  );
  if (waitMs > 0) {
    const detail = `You can have ${sending.most} codes sent in an hour.`;
    throw new DomainError('rate_limited', detail, { retryAfterSeconds: Math.ceil(waitMs / 1000) });
  }
  const code = em.create(ContactCodeEntity, {
    ...mine,
    id: newId(now.getTime()),
    contactMethodId: method.id,
    tries: 0,
    createdAt: now,
    expiresAt: new Date(now.getTime() + codeRules.lifeMs),
  });
  return code.id;
}

async function findNewestCode(em: EntityManager, method: ContactMethodRow): Promise<ContactCodeRow | undefined> {
  const where = { orgId: method.orgId, contactMethodId: method.id };
  const [code] = await em.find(ContactCodeEntity, where, {
    orderBy: [{ createdAt: 'desc' }, { id: 'desc' }],
    limit: 1,
    lockMode: LockMode.PESSIMISTIC_WRITE,
  });
  return code;
}

function assertUnverified({ verifiedAt }: ContactMethodRow): void {
  if (verifiedAt) throw new DomainError('wrong_state', 'The address is verified.');
}

const sendResult = z
  .strictObject({
    success: z.boolean().meta({ description: 'The message was taken by the next server on its way.' }),
    statusCode: z.int().nullable(),
    errorCode: z.string().nullable(),
    detail: z.string().nullable(),
    durationMs: z.int(),
  })
  .meta({ id: 'ContactCodeSent' });

const sendCode = ownTransactionEndpoint({
  name: 'contact_method.send_code',
  method: 'post',
  path: '/contact-methods/{id}/send-code',
  tag: 'Contact methods',
  summary: 'Send a new verification code now',
  description:
    'Waits until it is sent, through the `senderChannels` of the organization; 409 when there is none. Earlier codes are void. Five an hour at most.',
  permission: 'authenticated',
  params: idParams('contact_method'),
  responses: { 200: { description: 'What came of it.', schema: sendResult } },
  handler: async ({ principal, input, now, deps, trail, auditedAs }) => {
    const { organizationId } = principal;
    const { method, codeId } = await inOrganization(deps.orm, organizationId, async (em) => {
      const method = await findContact(em, principal, input.params.id, LockMode.PESSIMISTIC_WRITE);
      assertUnverified(method);
      const senders = await readSenders(em, organizationId);
      if (!senders.has(method.channelType)) {
        throw new DomainError('wrong_state', `The organization has no active sender of type ${method.channelType}.`);
      }
      return { method, codeId: await requestCode(em, method, now) };
    });
    const { channelType } = method;
    const { success, statusCode, errorCode, detail, durationMs } = await deps.testDestination({
      organizationId,
      kind: 'contact',
      id: codeId,
      channelType,
    });
    const entry = trail.complete(
      {
        status: success ? 'success' : 'failure',
        ...(errorCode === null ? {} : { reason: errorCode }),
        resource: contactResource(method),
        details: { statusCode, durationMs },
      },
      200,
    );
    auditedAs(await inOrganization(deps.orm, organizationId, (em) => appendAudit(em, [entry])));
    return { body: { success, statusCode, errorCode, detail, durationMs } };
  },
});

const verifyContact = ownTransactionEndpoint({
  name: 'contact_method.verify',
  method: 'post',
  path: '/contact-methods/{id}/verify',
  tag: 'Contact methods',
  summary: 'Prove that messages to the address are read',
  description: 'With the newest code, within 10 minutes; 5 wrong ones void it. 409 when no code is valid.',
  permission: 'authenticated',
  params: idParams('contact_method'),
  body: z
    .strictObject({
      code: z
        .string()
        .regex(/^\d{6}$/, 'must be six digits')
        .meta({ example: '271828' }),
    })
    .meta({ id: 'ContactMethodVerify' }),
  responses: { 200: { description: 'The contact method as it is now.', schema: shownContact } },
  handler: async ({ principal, input: { params, body }, now, deps, trail, auditedAs }) => {
    // A wrong code is counted, so it must not roll back: it is told after the commit.
    const outcome = await inOrganization(deps.orm, principal.organizationId, async (em) => {
      const method = await findContact(em, principal, params.id, LockMode.PESSIMISTIC_WRITE);
      assertUnverified(method);
      const code = await findNewestCode(em, method);
      const { codeHash = null } = code ?? {};
      if (
        code === undefined ||
        codeHash === null ||
        !isCodeLive({ ...code, expiresAt: code.expiresAt.getTime(), codeHash }, now.getTime())
      ) {
        throw new DomainError('wrong_state', 'No code is valid now; have one sent.');
      }
      const part = { resource: contactResource(method) };
      if (!timingSafeEqual(codeHash, hashContactCode(code.id, body.code))) {
        code.tries += 1;
        await appendAudit(em, [trail.complete({ ...part, status: 'failure', reason: 'wrong_code' }, 422)]);
        return { triesLeft: codeRules.tries - code.tries };
      }
      const before = await showContact(em, method, now);
      method.verifiedAt = now;
      method.version += 1;
      method.updatedAt = now;
      const after = await showContact(em, method, now);
      return { method, after, entryIds: await appendAudit(em, [trail.complete({ ...part, before, after }, 200)]) };
    });
    if ('triesLeft' in outcome) {
      const detail = `is not the code; ${outcome.triesLeft} more tries`;
      throw validationFailed([{ pointer: '/code', code: 'wrong_code', detail }]);
    }
    auditedAs(outcome.entryIds);
    return { body: outcome.after, headers: versionHeaders(outcome.method) };
  },
});

export const contactCodeEndpoints = [sendCode, verifyContact];
