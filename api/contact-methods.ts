import { LockMode } from '@mikro-orm/core';
import { z } from 'zod';
import { ContactMethodEntity } from '../db/entities/contact-method.ts';
import { readSenders } from '../db/queries/senders.ts';
import { contactRules } from '../domain/contact-method.ts';
import { DomainError } from '../domain/errors.ts';
import { newId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import { lockOwner, requestCode } from './contact-codes.ts';
import { contactFields as fields, presentContact, shownContact } from './contact-fields.ts';
import { contactResource, findContact, ownedBy, readContactFacts, showContact } from './contact-lookup.ts';
import { endpoint } from './endpoint.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { definedOnly } from './patch.ts';
import { idParams } from './schema.ts';
import { assertVersion, versionHeaders } from './version.ts';

const listContacts = endpoint({
  name: 'contact_method.list',
  method: 'get',
  path: '/contact-methods',
  tag: 'Contact methods',
  summary: "The caller's contact methods, newest first",
  description: "The last one is the member's own e-mail address.",
  permission: 'authenticated',
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of contact methods.', schema: pageOf(shownContact) } },
  handler: async ({ em, input, now, ...context }) => {
    const page = openPageById(context, input.query, 'contact_method.list');
    const rows = await em.find(ContactMethodEntity, { ...ownedBy(context.principal), ...page.where }, page.options);
    const facts = await readContactFacts(em, context.principal.organizationId, rows, now);
    return { body: page.present(rows, (row) => presentContact(row, facts)) };
  },
});

const createContact = endpoint({
  name: 'contact_method.create',
  method: 'post',
  path: '/contact-methods',
  tag: 'Contact methods',
  summary: 'Add an address of the caller',
  description:
    "A code is sent to it at once, through the organization's `senderChannels`. Nothing else goes there until the code has come back by `/verify`.",
  permission: 'authenticated',
  idempotent: true,
  body: z
    .strictObject({
      channelType: fields.channelType,
      address: fields.address,
      page: fields.page.default(false),
      digestInterval: fields.digestInterval.prefault('PT15M'),
      dailyAt: fields.dailyAt.default(contactRules.dailyAt),
    })
    .meta({ id: 'ContactMethodCreate' }),
  responses: { 201: { description: 'The contact method.', schema: shownContact } },
  handler: async ({ em, principal, input: { body }, now, audit, afterCommit, deps }) => {
    const { organizationId } = principal;
    if (principal.type !== 'user') throw new DomainError('permission_denied', 'Only members have contact methods.');
    await lockOwner(em, { orgId: organizationId, userId: principal.id });
    if ((await em.count(ContactMethodEntity, ownedBy(principal))) >= contactRules.perMember) {
      throw new DomainError('wrong_state', `A member has ${contactRules.perMember} contact methods at most.`);
    }
    const { digestInterval, ...plain } = body;
    const row = em.create(ContactMethodEntity, {
      ...plain,
      id: newId(now.getTime()),
      orgId: organizationId,
      userId: principal.id,
      addressKey: foldName(body.address),
      login: false,
      digestIntervalMs: digestInterval,
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    // a taken address is told as such, before anything is sent to it
    await em.flush();
    if ((await readSenders(em, organizationId)).has(row.channelType)) {
      const codeId = await requestCode(em, row, now);
      await em.flush();
      afterCommit(() => deps.testDestination({ organizationId, kind: 'contact', id: codeId, channelType: row.channelType }));
    }
    const after = await showContact(em, row, now);
    audit({ resource: contactResource(row), after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const readContact = endpoint({
  name: 'contact_method.view',
  method: 'get',
  path: '/contact-methods/{id}',
  tag: 'Contact methods',
  summary: 'Read a contact method of the caller',
  permission: 'authenticated',
  params: idParams('contact_method'),
  responses: { 200: { description: 'The contact method.', schema: shownContact } },
  handler: async ({ em, principal, input, now }) => {
    const row = await findContact(em, principal, input.params.id);
    return { body: await showContact(em, row, now), headers: versionHeaders(row) };
  },
});

const updateContact = endpoint({
  name: 'contact_method.update',
  method: 'patch',
  path: '/contact-methods/{id}',
  tag: 'Contact methods',
  summary: 'Change what goes to an address of the caller',
  description: 'Type and address cannot change: add another one.',
  permission: 'authenticated',
  conditional: true,
  params: idParams('contact_method'),
  body: z
    .strictObject({
      page: fields.page.optional(),
      digestInterval: fields.digestInterval.optional(),
      dailyAt: fields.dailyAt.optional(),
    })
    .meta({ id: 'ContactMethodPatch' }),
  responses: { 200: { description: 'The contact method as it is now.', schema: shownContact } },
  handler: async ({ em, principal, input: { params, body }, ifMatch, now, audit }) => {
    const row = await findContact(em, principal, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    const before = await showContact(em, row, now);
    const { digestInterval, ...plain } = body;
    em.assign(row, definedOnly({ ...plain, digestIntervalMs: digestInterval }));
    row.version += 1;
    row.updatedAt = now;
    const after = await showContact(em, row, now);
    audit({ resource: contactResource(row), before, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const deleteContact = endpoint({
  name: 'contact_method.delete',
  method: 'delete',
  path: '/contact-methods/{id}',
  tag: 'Contact methods',
  summary: 'Delete a contact method of the caller',
  description: "409 for the member's own e-mail address; `page: false` keeps pages from it.",
  permission: 'authenticated',
  conditional: true,
  params: idParams('contact_method'),
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal, input: { params }, ifMatch, now, audit }) => {
    const row = await findContact(em, principal, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    if (row.login) throw new DomainError('wrong_state', 'Your own e-mail address stays.');
    audit({ resource: contactResource(row), before: await showContact(em, row, now) });
    row.deletedAt = now;
    return {};
  },
});

export const contactMethodEndpoints = [listContacts, createContact, readContact, updateContact, deleteContact];
