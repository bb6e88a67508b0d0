import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { insertTicket } from '../db/queries/stream-ticket.ts';
import { DomainError } from '../domain/errors.ts';
import { credentialOf } from './authentication.ts';
import { endpoint } from './endpoint.ts';
import { presentedTime } from './schema.ts';

const ticketMs = 30_000;

const createTicket = endpoint({
  name: 'stream_ticket.create',
  method: 'post',
  path: '/stream/tickets',
  tag: 'Notifications',
  summary: 'Get a ticket for one connection to the stream',
  description:
    'For browsers, which cannot send a header when they open a WebSocket: `GET /stream?ticket=…`, subprotocol `tocsin.v1`, within 30 seconds, once.',
  permission: 'authenticated',
  responses: { 201: { description: 'The ticket.', schema: z.strictObject({ ticket: z.string(), expiresAt: presentedTime }) } },
  handler: async ({ em, principal, headers, now, audit }) => {
    const { authorization } = headers;
    const keyHash = typeof authorization === 'string' ? credentialOf(authorization) : undefined;
    if (keyHash === undefined) throw new DomainError('unauthenticated', 'A ticket is given for an API key.');
    const ticket = `tst_${randomBytes(32).toString('base64url')}`;
    const expiresAt = new Date(now.getTime() + ticketMs);
    await insertTicket(em, principal.organizationId, { ticket, keyHash, expiresAt });
    audit({ resource: { type: 'api_key', id: principal.apiKey.id, name: principal.apiKey.name } });
    return { body: { ticket, expiresAt: expiresAt.toISOString() } };
  },
});

export const streamTicketEndpoints = [createTicket];
