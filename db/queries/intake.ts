import { type RawBuilder, sql } from 'kysely';
import type { AcceptedEvent } from '../../domain/event.ts';
import type { Decision } from '../../domain/routing.ts';
import { packBytes } from '../byte-columns.ts';

/** One event with all that its acceptance writes besides its audit entry. */
export interface IntakeRecord {
  event: AcceptedEvent;
  principal: { type: string; id: string };
  /** The rendered webhook body: these bytes are what every delivery of the event sends. Null: no webhook wants it. */
  body: Buffer | null;
  decisions: Array<Decision & { deliveryId: string | null }>;
  deliveries: IntakeDelivery[];
  notifications: Array<{ id: string; userId: string | null }>;
  /** Of an event that is stored already and is decided about once more, at this instant. */
  again?: { at: number; decisionsBefore: number };
}

export interface IntakeDelivery {
  id: string;
  destinationKind: 'webhook' | 'channel';
  destinationId: string;
  channelType: string;
  /** `delivered` for in-app channels, whose notification is written here and now. */
  state: 'pending' | 'delivered';
}

/** The statement that writes events with their decisions, deliveries and notifications, whatever their number. */
export function insertIntake(organizationId: string, records: readonly IntakeRecord[]): RawBuilder<unknown> {
  const fresh = records.filter(({ again }) => again === undefined);
  const event = <T>(value: (record: IntakeRecord) => T): T[] => fresh.map(value);
  const decisions = records.flatMap(({ event: { id }, decisions, again }) =>
    decisions.map((one, n) => ({ ...one, eventId: id, ordinal: (again?.decisionsBefore ?? 0) + n })),
  );
  const decision = <T>(value: (one: (typeof decisions)[number]) => T): T[] => decisions.map(value);
  const deliveries = records.flatMap(({ event: { id, type, acceptedAt }, deliveries, again }) =>
    deliveries.map((one) => ({ ...one, eventId: id, eventType: type, at: time(again?.at ?? acceptedAt) })),
  );
  const delivery = <T>(value: (one: (typeof deliveries)[number]) => T): T[] => deliveries.map(value);
  const notifications = records.flatMap(({ event: about, notifications, again }) =>
    notifications.map((one) => ({ ...one, about, at: time(again?.at ?? about.acceptedAt) })),
  );
  const notification = <T>(value: (one: (typeof notifications)[number]) => T): T[] => notifications.map(value);
  const bodies = packBytes(event(({ body }) => body));
  return sql`
    with events as (
      insert into event (org_id, id, project_id, tenant_id, type, posted_type, category, severity, subject, message, source, environment,
          git_commit_sha, resource, actor, labels, links, data, audience, dedup_key, group_key, occurred_at, accepted_at, principal_type,
          principal_id, body)
        select ${organizationId}, id, project_id, tenant_id, type, posted_type, category, severity, subject, message, source, environment,
            git_commit_sha, resource, actor, labels, links, data, string_to_array(audience, ',')::uuid[], dedup_key, group_key, occurred_at,
            accepted_at, principal_type, principal_id,
            substring(${bodies.bytes}::bytea from body_start for body_length)
          from unnest(
            ${event((r) => r.event.id)}::uuid[], ${event((r) => r.event.projectId)}::uuid[], ${event((r) => r.event.tenantId)}::text[],
            ${event((r) => r.event.type)}::text[], ${event((r) => r.event.postedType)}::text[], ${event((r) => r.event.category)}::text[],
            ${event((r) => r.event.severity)}::text[], ${event((r) => r.event.subject)}::text[], ${event((r) => r.event.message)}::text[],
            ${event((r) => r.event.source)}::text[], ${event((r) => r.event.environment)}::text[], ${event((r) => r.event.gitCommitSha)}::text[],
            ${event((r) => json(r.event.resource))}::jsonb[], ${event((r) => json(r.event.actor))}::jsonb[],
            ${event((r) => json(r.event.labels))}::jsonb[], ${event((r) => json(r.event.links))}::jsonb[], ${event((r) => r.event.data)}::text[],
            ${event((r) => r.event.audience?.join(',') ?? null)}::text[], ${event((r) => r.event.dedupKey)}::text[],
            ${event((r) => r.event.groupKey)}::text[], ${event((r) => time(r.event.occurredAt))}::timestamptz[],
            ${event((r) => time(r.event.acceptedAt))}::timestamptz[], ${event((r) => r.principal.type)}::text[],
            ${event((r) => r.principal.id)}::uuid[], ${bodies.starts}::int[], ${bodies.lengths}::int[]
          ) as e (id, project_id, tenant_id, type, posted_type, category, severity, subject, message, source, environment, git_commit_sha,
            resource, actor, labels, links, data, audience, dedup_key, group_key, occurred_at, accepted_at, principal_type, principal_id,
            body_start, body_length)
    ),
    decisions as (
      insert into decision (org_id, event_id, ordinal, target_kind, target_id, verdict, reason, winner, losers, until, delivery_id)
        select ${organizationId}, * from unnest(
          ${decision((one) => one.eventId)}::uuid[], ${decision((one) => one.ordinal)}::smallint[], ${decision((one) => one.target.kind)}::text[],
          ${decision((one) => one.target.id)}::uuid[], ${decision((one) => one.verdict)}::text[], ${decision((one) => one.reason)}::text[],
          ${decision((one) => one.winner)}::text[], ${decision((one) => JSON.stringify(one.losers))}::jsonb[],
          ${decision((one) => (one.until === null ? null : time(one.until)))}::timestamptz[], ${decision((one) => one.deliveryId)}::uuid[])
    ),
    deliveries as (
      insert into delivery (org_id, id, event_id, event_type, destination_kind, destination_id, channel_type, state, created_at,
          next_attempt_at, finished_at)
        select ${organizationId}, id, event_id, event_type, destination_kind, destination_id, channel_type, state, at,
            case when state = 'pending' then at end, case when state = 'delivered' then at end
          from unnest(
            ${delivery((one) => one.id)}::uuid[], ${delivery((one) => one.eventId)}::uuid[], ${delivery((one) => one.eventType)}::text[],
            ${delivery((one) => one.destinationKind)}::text[], ${delivery((one) => one.destinationId)}::uuid[],
            ${delivery((one) => one.channelType)}::text[], ${delivery((one) => one.state)}::text[], ${delivery((one) => one.at)}::timestamptz[]
          ) as d (id, event_id, event_type, destination_kind, destination_id, channel_type, state, at)
    )
    insert into notification (org_id, id, user_id, event_id, type, feed, severity, project_id, subject, message, created_at)
      select ${organizationId}, * from unnest(
        ${notification((one) => one.id)}::uuid[], ${notification((one) => one.userId)}::uuid[], ${notification((one) => one.about.id)}::uuid[],
        ${notification((one) => one.about.type)}::text[], ${notification((one) => one.about.feed)}::text[],
        ${notification((one) => one.about.severity)}::text[], ${notification((one) => one.about.projectId)}::uuid[],
        ${notification((one) => one.about.subject)}::text[], ${notification((one) => one.about.message)}::text[],
        ${notification((one) => one.at)}::timestamptz[])
  `;
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

function json(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value);
}
