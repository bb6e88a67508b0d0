import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { z } from 'zod';
import { ChannelEntity } from '../db/entities/channel.ts';
import { DecisionEntity, type DecisionRow } from '../db/entities/decision.ts';
import { DeliveryEntity, type DeliveryRow } from '../db/entities/delivery.ts';
import { EventEntity, type EventRow } from '../db/entities/event.ts';
import { listEscalationsOfEvent } from '../db/queries/escalation-list.ts';
import { listNoticesOfEvent } from '../db/queries/notice.ts';
import { notFound } from '../domain/errors.ts';
import { categories } from '../domain/event-type.ts';
import { toWireId } from '../domain/id.ts';
import { severities } from '../domain/severity.ts';
import { endpoint } from './endpoint.ts';
import { presentEscalation, shownEscalation } from './escalation-fields.ts';
import { presentReference, presentTarget } from './event-answers.ts';
import { openPageById, pageOf, pageQuery, within } from './paging.ts';
import { idParams, presentedId, presentedTime, text, time, wireId } from './schema.ts';

const summary = z
  .strictObject({
    id: presentedId('event'),
    type: z.string(),
    category: z.enum(categories),
    severity: z.enum(severities),
    subject: z.string(),
    source: z.string(),
    projectId: z.string().nullable(),
    tenantId: z.string().nullable(),
    environment: z.string().nullable(),
    occurredAt: presentedTime,
    acceptedAt: presentedTime,
  })
  .meta({ id: 'EventSummary' });

const deliveryOfEvent = z.object({ id: presentedId('delivery'), status: z.string(), destinationId: z.string(), attemptCount: z.int() });

const detail = summary
  .extend({
    postedType: z.string(),
    message: z.string().nullable(),
    gitCommitSha: z.string().nullable(),
    resource: z.unknown(),
    actor: z.unknown(),
    labels: z.record(z.string(), z.string()),
    links: z.array(z.unknown()),
    data: z.unknown(),
    audience: z.object({ userIds: z.array(z.string()) }).nullable(),
    dedupKey: z.string(),
    groupKey: z.string().nullable(),
    postedBy: z.object({ type: z.string(), id: z.string() }),
    decisions: z.array(
      z.object({
        target: z.object({ kind: z.string(), id: z.string().nullable(), channelType: z.string().nullable() }),
        verdict: z.string(),
        reason: z.string(),
        winner: z.string().nullable(),
        losers: z.array(z.string()),
        deliveryId: z.string().nullable(),
      }),
    ),
    deliveries: z.array(deliveryOfEvent),
    notices: z
      .array(
        z.object({
          ruleId: presentedId('rule'),
          at: presentedTime,
          reason: z.string(),
          subject: z.string(),
          deliveries: z.array(deliveryOfEvent),
        }),
      )
      .meta({ description: 'Those of rules that bundle what they send, which tell of it and of others.' }),
    escalation: shownEscalation.nullable().meta({ description: 'The newest of `escalations`.' }),
    escalations: z.array(shownEscalation).meta({ description: 'Those that it belongs to, newest first.' }),
    auditEntries: z.array(z.object({ id: presentedId('audit_entry'), action: z.string(), status: z.string(), recordedAt: presentedTime })),
  })
  .meta({ id: 'Event' });

/** Entries shown with an event; the audit list has them all. */
const maxAuditEntries = 100;
const maxEscalations = 20;
const maxNotices = 50;

const listEvents = endpoint({
  name: 'event.list',
  method: 'get',
  path: '/events',
  tag: 'Events',
  summary: 'List events, newest first',
  permission: 'events.view',
  query: z.strictObject({
    ...pageQuery,
    type: text(1, 100).optional(),
    category: z.enum(categories).optional(),
    severity: z.enum(severities).optional(),
    projectId: wireId('project').optional(),
    from: time.optional(),
    to: time.optional(),
  }),
  responses: { 200: { description: 'A page of events.', schema: pageOf(summary) } },
  handler: async ({ em, principal, input: { query }, ...context }) => {
    const page = openPageById({ ...context, principal }, query, 'event.list');
    const { type, category, severity, projectId } = query;
    const rows = await em.find(
      EventEntity,
      {
        orgId: principal.organizationId,
        ...(type === undefined ? {} : { type }),
        ...(category === undefined ? {} : { category }),
        ...(severity === undefined ? {} : { severity }),
        ...(projectId === undefined ? {} : { projectId }),
        ...within('acceptedAt', query),
        ...page.where,
      },
      page.options,
    );
    return { body: page.present(rows, presentSummary) };
  },
});

const readEvent = endpoint({
  name: 'event.view',
  method: 'get',
  path: '/events/{id}',
  tag: 'Events',
  summary: 'An event with its whole trace',
  description:
    'What was decided about it and why, what became of its deliveries, the escalations that it belongs to, and its audit entries.',
  permission: 'events.view',
  params: idParams('event'),
  responses: { 200: { description: 'The event.', schema: detail } },
  handler: async ({ em, principal: { organizationId }, input: { params } }) => {
    const row = await em.findOne(EventEntity, { orgId: organizationId, id: params.id });
    if (row === null) throw notFound();
    const decisions = await em.find(DecisionEntity, { orgId: organizationId, eventId: row.id }, { orderBy: { ordinal: 'asc' } });
    const deliveryIds = decisions.flatMap(({ deliveryId }) => deliveryId ?? []);
    const deliveries = await em.find(DeliveryEntity, { orgId: organizationId, id: { $in: deliveryIds } }, { orderBy: { id: 'asc' } });
    const channelIds = decisions.flatMap(({ targetKind, targetId }) => (targetKind === 'channel' && targetId ? targetId : []));
    const channels = await em.find(ChannelEntity, { orgId: organizationId, id: { $in: channelIds } }, { fields: ['id', 'type'] });
    const escalations = (await listEscalationsOfEvent(em, organizationId, { eventId: row.id, limit: maxEscalations })).map(
      presentEscalation,
    );
    const channelTypes = new Map(channels.map(({ id, type }) => [id, type]));
    return {
      body: {
        ...presentSummary(row),
        postedType: row.postedType,
        message: row.message ?? null,
        gitCommitSha: row.gitCommitSha ?? null,
        resource: row.resource ?? null,
        actor: row.actor ?? null,
        labels: row.labels,
        links: row.links,
        data: row.data === null || row.data === undefined ? null : (JSON.parse(row.data) as unknown),
        audience: row.audience ? { userIds: row.audience.map((id) => toWireId('user', id)) } : null,
        dedupKey: row.dedupKey,
        groupKey: row.groupKey ?? null,
        postedBy: { type: row.principalType, id: toWireId(row.principalType === 'user' ? 'user' : 'service_account', row.principalId) },
        decisions: decisions.map((decision) => presentDecisionRow(decision, channelTypes)),
        deliveries: deliveries.map(presentDeliveryOfEvent),
        notices: await findNotices(em, organizationId, row.id),
        escalation: escalations[0] ?? null,
        escalations,
        auditEntries: await findAuditEntries(em, organizationId, row.id),
      },
    };
  },
});

export const eventListEndpoints = [listEvents, readEvent];

function presentSummary(row: EventRow) {
  return {
    id: toWireId('event', row.id),
    type: row.type,
    category: row.category as (typeof categories)[number],
    severity: row.severity as (typeof severities)[number],
    subject: row.subject,
    source: row.source,
    projectId: row.projectId ? toWireId('project', row.projectId) : null,
    tenantId: row.tenantId ?? null,
    environment: row.environment ?? null,
    occurredAt: row.occurredAt.toISOString(),
    acceptedAt: row.acceptedAt.toISOString(),
  };
}

function presentDeliveryOfEvent({ id, state, destinationKind, destinationId, attemptCount }: DeliveryRow) {
  return { id: toWireId('delivery', id), status: state, destinationId: toWireId(destinationKind, destinationId), attemptCount };
}

async function findNotices(em: EntityManager, organizationId: string, eventId: string) {
  const notices = await listNoticesOfEvent(em, organizationId, eventId, maxNotices);
  const noticeIds = notices.map(({ id }) => id);
  const sent =
    noticeIds.length === 0
      ? []
      : await em.find(DeliveryEntity, { orgId: organizationId, noticeId: { $in: noticeIds } }, { orderBy: { id: 'asc' } });
  return notices.map(({ id, ruleId, at, reason, subject }) => ({
    ruleId: toWireId('rule', ruleId),
    at: new Date(at).toISOString(),
    reason,
    subject,
    deliveries: sent.filter(({ noticeId }) => noticeId === id).map(presentDeliveryOfEvent),
  }));
}

function presentDecisionRow(decision: DecisionRow, channelTypes: ReadonlyMap<string, string>) {
  const { targetKind: kind, targetId, verdict, reason, winner, losers, deliveryId } = decision;
  const channelType = channelTypeOf(decision, channelTypes);
  return {
    target: { kind, id: presentTarget({ kind, id: targetId ?? null, channelType }), channelType },
    verdict,
    reason,
    winner: winner ? presentReference(winner) : null,
    losers: losers.map(presentReference),
    deliveryId: deliveryId ? toWireId('delivery', deliveryId) : null,
  };
}

/** As it was when the event was routed: a channel's type never changes, and of a deleted channel routing knew none. */
function channelTypeOf({ targetKind, targetId, reason }: DecisionRow, channelTypes: ReadonlyMap<string, string>): string | null {
  if (targetKind === 'webhook') return 'webhook';
  if (targetKind === 'in_app' || targetKind === 'user') return 'in_app';
  return targetId && reason !== 'destination_deleted' ? (channelTypes.get(targetId) ?? null) : null;
}

async function findAuditEntries(em: EntityManager, organizationId: string, eventId: string) {
  const { rows } = await sql<{ id: string; action: string; status: string; recordedAt: string }>`
    select id, action, status, recorded_at as "recordedAt" from audit.entry
      where org_id = ${organizationId} and correlation_id = ${eventId}
      order by recorded_at, id limit ${maxAuditEntries}
  `.execute(em.getKysely());
  return rows.map(({ id, action, status, recordedAt }) => ({
    id: toWireId('audit_entry', id),
    action,
    status,
    recordedAt: new Date(recordedAt).toISOString(),
  }));
}
