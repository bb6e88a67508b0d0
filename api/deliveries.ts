import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { AttemptEntity } from '../db/entities/attempt.ts';
import { ChannelEntity } from '../db/entities/channel.ts';
import { DeliveryEntity } from '../db/entities/delivery.ts';
import type { DeliveryRow } from '../db/entities/delivery.ts';
import { WebhookEntity } from '../db/entities/webhook.ts';
import { deliveryStates, isTerminal, type DeliveryState } from '../domain/delivery.ts';
import { notFound } from '../domain/errors.ts';
import { fromWireId } from '../domain/id.ts';
import { deliveryWithAttempts, presentAttempt, presentDelivery, shownDelivery } from './delivery-fields.ts';
import { endpoint } from './endpoint.ts';
import type { TransactionContext } from './endpoint.ts';
import { openPageById, pageOf, pageQuery, within } from './paging.ts';
import { idParams, listOf, text, time } from './schema.ts';
import { findWebhook } from './webhooks.ts';

const destinationId = z
  .string()
  .transform((text, context) => {
    const uuid = fromWireId('webhook', text) ?? fromWireId('channel', text);
    if (uuid !== undefined) return uuid;
    context.addIssue({ code: 'custom', message: 'is not the id of a webhook or channel', params: { code: 'invalid_id' } });
    return z.NEVER;
  })
  .meta({ description: 'A webhook or channel.' });

const deliveryFilters = z.strictObject({
  ...pageQuery,
  status: listOf(z.enum(deliveryStates)).optional(),
  eventType: listOf(text(1, 100)).optional(),
  from: time.optional().meta({ description: 'Made at this time or later.' }),
  to: time.optional().meta({ description: 'Made before this time.' }),
});

/** Names of the destinations of these deliveries, by UUID. */
export async function readDestinationNames(
  em: EntityManager,
  organizationId: string,
  rows: readonly DeliveryRow[],
): Promise<Map<string, string>> {
  const idsOf = (kind: DeliveryRow['destinationKind']) => [
    ...new Set(rows.filter((row) => row.destinationKind === kind).map((row) => row.destinationId)),
  ];
  const where = (ids: string[]) => ({ orgId: organizationId, id: { $in: ids }, deletedAt: null });
  const webhooks = await em.find(WebhookEntity, where(idsOf('webhook')), { fields: ['id', 'name'] });
  const channels = await em.find(ChannelEntity, where(idsOf('channel')), { fields: ['id', 'name'] });
  return new Map([...webhooks, ...channels].map(({ id, name }) => [id, name]));
}

/** Few are open and few end undelivered: naming that lets their small indexes find them among millions. */
function whereStatus(states: readonly DeliveryState[]) {
  const state = { state: { $in: [...states] } };
  if (states.every((one) => one === 'failed' || one === 'cancelled')) return { ...state, undeliveredAt: { $ne: null } };
  if (!states.some(isTerminal)) return { ...state, finishedAt: null };
  return state;
}

type ListContext = Pick<TransactionContext, 'em' | 'principal' | 'deps'>;

async function listPage({ em, principal, deps }: ListContext, query: z.output<typeof deliveryFilters>, destination: string | undefined) {
  const { organizationId } = principal;
  const page = openPageById({ principal, deps }, query, `delivery.list ${destination ?? ''}`);
  const rows = await em.find(
    DeliveryEntity,
    {
      orgId: organizationId,
      ...(destination === undefined ? {} : { destinationId: destination }),
      ...(query.status === undefined ? {} : whereStatus(query.status)),
      ...(query.eventType === undefined ? {} : { eventType: { $in: query.eventType } }),
      ...within('createdAt', query),
      ...page.where,
    },
    page.options,
  );
  const names = await readDestinationNames(em, organizationId, rows);
  return { body: page.present(rows, (row) => presentDelivery(row, names)) };
}

const listDeliveries = endpoint({
  name: 'delivery.list',
  method: 'get',
  path: '/deliveries',
  tag: 'Deliveries',
  summary: 'List deliveries, newest first',
  permission: 'monitoring.view',
  query: deliveryFilters.extend({ destination: destinationId.optional() }),
  responses: { 200: { description: 'A page of deliveries.', schema: pageOf(shownDelivery) } },
  handler: async ({ input, ...context }) => {
    const { destination, ...query } = input.query;
    return listPage(context, query, destination);
  },
});

const listWebhookDeliveries = endpoint({
  name: 'webhook.deliveries',
  method: 'get',
  path: '/webhooks/{id}/deliveries',
  tag: 'Webhooks',
  summary: 'List the deliveries of a webhook, newest first',
  permission: 'monitoring.view',
  params: idParams('webhook'),
  query: deliveryFilters,
  responses: { 200: { description: 'A page of deliveries.', schema: pageOf(shownDelivery) } },
  handler: async ({ input, ...context }) => {
    const webhook = await findWebhook(context.em, context.principal.organizationId, input.params.id);
    return listPage(context, input.query, webhook.id);
  },
});

const readDelivery = endpoint({
  name: 'delivery.view',
  method: 'get',
  path: '/deliveries/{id}',
  tag: 'Deliveries',
  summary: 'Read a delivery with its attempts',
  permission: 'monitoring.view',
  params: idParams('delivery'),
  responses: { 200: { description: 'The delivery.', schema: deliveryWithAttempts } },
  handler: async ({ em, principal, input }) => {
    const { organizationId } = principal;
    const row = await em.findOne(DeliveryEntity, { orgId: organizationId, id: input.params.id });
    if (row === null) throw notFound();
    const attempts = await em.find(AttemptEntity, { orgId: organizationId, deliveryId: row.id }, { orderBy: { number: 'asc' } });
    const names = await readDestinationNames(em, organizationId, [row]);
    return { body: { ...presentDelivery(row, names), attempts: attempts.map(presentAttempt) } };
  },
});

export const deliveryEndpoints = [listDeliveries, listWebhookDeliveries, readDelivery];
