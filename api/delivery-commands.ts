import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ChannelEntity } from '../db/entities/channel.ts';
import { DeliveryEntity } from '../db/entities/delivery.ts';
import type { DeliveryRow } from '../db/entities/delivery.ts';
import { EventEntity } from '../db/entities/event.ts';
import { WebhookEntity } from '../db/entities/webhook.ts';
import { holdEscalation } from '../db/queries/escalation-group.ts';
import { isTerminal, nextState } from '../domain/delivery.ts';
import type { RefusedChange } from '../domain/delivery.ts';
import { DomainError, notFound } from '../domain/errors.ts';
import { toWireId } from '../domain/id.ts';
import { mayBegin } from '../domain/message.ts';
import type { AuditPart } from './audit-trail.ts';
import type { ChangedDelivery } from './dependencies.ts';
import { readDestinationNames } from './deliveries.ts';
import { presentDelivery, shownDelivery } from './delivery-fields.ts';
import { endpoint } from './endpoint.ts';
import { idParams } from './schema.ts';

async function lockDelivery(em: EntityManager, organizationId: string, id: string): Promise<DeliveryRow> {
  const row = await em.findOne(DeliveryEntity, { orgId: organizationId, id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  if (row === null) throw notFound();
  return row;
}

async function present(em: EntityManager, row: DeliveryRow) {
  return presentDelivery(row, await readDestinationNames(em, row.orgId, [row]));
}

const refusals: Readonly<Record<RefusedChange, string>> = {
  delivery_in_flight: 'An attempt is under way; try again when it has ended.',
  already_delivered: 'It was delivered; `force` sends it again.',
  wrong_state: 'Not possible in this state.',
};

function refuse(reason: RefusedChange): DomainError {
  return new DomainError(reason, refusals[reason]);
}

/**
 * Throws `wrong_state` when an escalation's message has nothing to say any more: a page that begins after an acknowledgement would break what the
 * acknowledgement promises. The escalation is held from here on, before the delivery is locked, so that none comes in between.
 */
async function assertWanted(em: EntityManager, organizationId: string, deliveryId: string): Promise<void> {
  const row = await em.findOne(DeliveryEntity, { orgId: organizationId, id: deliveryId }, { fields: ['escalationId', 'purpose'] });
  const { escalationId, purpose } = row ?? {};
  if (!escalationId || !purpose) return;
  const status = await holdEscalation(em, organizationId, escalationId);
  if (status !== undefined && !mayBegin(purpose, status))
    throw new DomainError('wrong_state', `Not possible: its escalation is ${status}, and calls nobody any more.`);
}

/** A destination that is off or gone would only cancel the delivery again; an event without its body has nothing to send. */
async function assertSendable(em: EntityManager, row: DeliveryRow): Promise<void> {
  const where = { orgId: row.orgId, id: row.destinationId, active: true, deletedAt: null };
  const active = await (row.destinationKind === 'webhook' ? em.count(WebhookEntity, where) : em.count(ChannelEntity, where));
  if (active === 0) throw new DomainError('destination_inactive', 'Its destination is inactive or deleted.');
  const body = row.destinationKind === 'webhook' ? { body: { $ne: null } } : {};
  const kept = await em.count(EventEntity, { orgId: row.orgId, id: row.eventId, ...body });
  if (kept === 0) throw new DomainError('payload_expired', 'What it would send is no longer kept.');
}

function auditPart(row: DeliveryRow, details?: AuditPart['details']): AuditPart {
  return {
    resource: { type: 'delivery', id: row.id },
    targets: [{ type: row.destinationKind, id: row.destinationId }],
    correlation: { deliveryId: row.id, eventId: row.eventId },
    details,
  };
}

function toChanged(row: DeliveryRow): ChangedDelivery {
  return {
    id: row.id,
    organizationId: row.orgId,
    destinationKind: row.destinationKind,
    destinationId: row.destinationId,
    channelType: row.channelType,
    eventType: row.eventType,
    runSeq: row.runSeq,
    purpose: row.purpose ?? null,
    runId: row.runId ?? null,
  };
}

const retryDelivery = endpoint({
  name: 'delivery.retry',
  method: 'post',
  path: '/deliveries/{id}/retry',
  tag: 'Deliveries',
  summary: 'Send again, from the start of the schedule',
  description: 'Id, body and past attempts stay; attempt numbers go on. A delivered one is sent again only with `force`.',
  permission: 'monitoring.manage',
  idempotent: true,
  params: idParams('delivery'),
  body: z
    .strictObject({ force: z.boolean().default(false) })
    .prefault({})
    .meta({ id: 'DeliveryRetry' }),
  responses: { 202: { description: 'It is due now.', schema: shownDelivery } },
  handler: async ({ em, principal, input: { params, body }, now, audit, afterCommit, deps }) => {
    await assertWanted(em, principal.organizationId, params.id);
    const row = await lockDelivery(em, principal.organizationId, params.id);
    const next = nextState(row.state, { kind: 'retry', force: body.force });
    if ('refused' in next) throw refuse(next.refused);
    await assertSendable(em, row);
    audit(auditPart(row, { from: row.state, force: body.force }));
    if (isTerminal(row.state)) {
      // its run has ended: another one has to be started
      row.cycle += 1;
      row.runId = null;
    }
    // Sent again, it goes to everybody, also to whom a mail has reached already.
    if (row.state === 'delivered') row.providerRef = null;
    row.state = next.to;
    row.schedulePos = 0;
    row.attemptCount = 0;
    row.interruptions = 0;
    row.rateLimits = 0;
    row.trigger = 'manual';
    row.nextAttemptAt = now;
    row.holdReason = null;
    row.cancelRequested = false;
    row.finishedAt = null;
    row.undeliveredAt = null;
    afterCommit(() => deps.wakeDelivery(toChanged(row)));
    return { body: await present(em, row) };
  },
});

const cancelDelivery = endpoint({
  name: 'delivery.cancel',
  method: 'post',
  path: '/deliveries/{id}/cancel',
  tag: 'Deliveries',
  summary: 'Stop trying',
  description: 'An attempt under way finishes first, and if it delivers, that stands.',
  permission: 'monitoring.manage',
  params: idParams('delivery'),
  responses: { 202: { description: 'Cancelled, or about to be.', schema: shownDelivery } },
  handler: async ({ em, principal, input: { params }, now, audit, afterCommit, deps }) => {
    const row = await lockDelivery(em, principal.organizationId, params.id);
    const next = nextState(row.state, { kind: 'cancel' });
    audit(auditPart(row, { from: row.state }));
    if ('to' in next) {
      row.state = next.to;
      row.errorCode = 'cancelled_by_user';
      // Whom it was to page will not come: the relay has the next tier paged if nobody else does.
      if (row.purpose === 'page') row.failingAt ??= now;
      row.finishedAt = now;
      row.undeliveredAt = now;
      row.nextAttemptAt = null;
      row.holdReason = null;
      if (row.runId !== null) afterCommit(() => deps.wakeDelivery(toChanged(row)));
    } else if (next.refused === 'delivery_in_flight') {
      // Its run is in the middle of a step and settles it at the end: a signal would only have Temporal repeat that step.
      row.cancelRequested = true;
    } else {
      throw refuse(next.refused);
    }
    return { body: await present(em, row) };
  },
});

const claimDelivery = endpoint({
  name: 'delivery.claim',
  method: 'post',
  path: '/deliveries/{id}/claim',
  tag: 'Deliveries',
  summary: 'Keep it from being cleaned up',
  permission: 'monitoring.manage',
  params: idParams('delivery'),
  responses: { 200: { description: 'Claimed by the caller.', schema: shownDelivery } },
  handler: async ({ em, principal, input: { params }, audit }) => {
    const row = await lockDelivery(em, principal.organizationId, params.id);
    const claimant = toWireId(principal.type, principal.id);
    if (row.claimedBy !== null && row.claimedBy !== claimant) throw new DomainError('wrong_state', `It is claimed by ${row.claimedBy}.`);
    row.claimedBy = claimant;
    audit(auditPart(row));
    return { body: await present(em, row) };
  },
});

const releaseDelivery = endpoint({
  name: 'delivery.release',
  method: 'delete',
  path: '/deliveries/{id}/claim',
  tag: 'Deliveries',
  summary: 'Give up a claim',
  permission: 'monitoring.manage',
  params: idParams('delivery'),
  responses: { 204: { description: 'Not claimed.' } },
  handler: async ({ em, principal, input: { params }, audit }) => {
    const row = await lockDelivery(em, principal.organizationId, params.id);
    row.claimedBy = null;
    audit(auditPart(row));
    return {};
  },
});

export const deliveryCommandEndpoints = [retryDelivery, cancelDelivery, claimDelivery, releaseDelivery];
