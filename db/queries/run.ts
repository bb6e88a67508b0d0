import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import { unownedColumns, type UnownedDelivery } from './unowned.ts';
import { parseRunId } from '../../domain/run.ts';
import type { EscalationNews } from '../../domain/escalation-news.ts';
import type { MessagePurpose } from '../../domain/message.ts';
import type { DeliveryErrorCode, DeliveryState, Outcome } from '../../domain/delivery.ts';

export interface BeginRun {
  runId: string;
  destinationId: string;
  lane: 'fast' | 'slow';
}

/** One open delivery of a run, as `begin` found or left it. Times are Unix milliseconds. */
export interface RunMember {
  runId: string;
  deliveryId: string;
  eventId: string;
  eventType: string;
  /** As it was before. */
  state: DeliveryState;
  nextAttemptAt: number | null;
  cancelRequested: boolean;
  /** True: this call made the attempt below and set the delivery in_flight. */
  begun: boolean;
  attempt: number;
  cycle: number;
  trigger: string;
  schedulePos: number;
  attemptCount: number;
  interruptions: number;
  rateLimits: number;
  createdAt: number;
  providerRef: Record<string, unknown> | null;
  /** Of an escalation's message. */
  page: RunPage | null;
  /** Of what a rule bundles: its delivery tells this notice instead of an event. */
  noticeId: string | null;
  /** The rendered webhook body, of begun members of webhooks. */
  body: Buffer | null;
}

/** Which message of which escalation a delivery is. Ids are UUIDs. */
export interface PageMark {
  /** Null: of none, but to a person all the same. */
  escalationId: string | null;
  /** Null: of no firing. */
  firing: number | null;
  purpose: MessagePurpose;
  /** Null: to a channel or webhook as such. */
  contactMethodId: string | null;
  /** The page that an update is about. */
  updateOf: string | null;
  /** What it tells, where that is not that somebody is paged. */
  news: EscalationNews | null;
}

/** With what its audit entries name besides. */
export interface RunPage extends PageMark {
  /** Whose contact method it is. */
  userId: string | null;
  /** What the escalation is about: of a webhook's page that is not the event that it gets. */
  openingEventId: string | null;
}

/** The mark of a delivery, as JSON; null: it is neither an escalation's nor a person's. */
function pageMark(delivery: 'd' | 'm'): RawBuilder<unknown> {
  const column = (name: string) => sql.ref(`${delivery}.${name}`);
  return sql`case when ${column('purpose')} is not null then json_build_object('escalationId', ${column('escalation_id')},
    'firing', ${column('firing')}, 'purpose', ${column('purpose')}, 'contactMethodId', ${column('contact_method_id')},
    'updateOf', ${column('update_of')}, 'news', ${column('news')},
    'userId', (select c.user_id from contact_method c where c.id = ${column('contact_method_id')}),
    'openingEventId', (select x.event_id from escalation x where x.org_id = ${column('org_id')} and x.id = ${column('escalation_id')})) end`;
}

/** What a destination is at the moment of `begin`; null: the row is gone. */
export interface DestinationMark {
  id: string;
  version: number;
  active: boolean;
  deleted: boolean;
}

export interface BegunRow extends Omit<RunMember, 'nextAttemptAt' | 'createdAt'> {
  nextAttemptAt: string | null;
  createdAt: string;
  destination: DestinationMark | null;
}

/**
 * Begins what is due in some runs of one organization: attempts are inserted, their deliveries set in_flight, all in one statement. No
 * request MUST leave without it. A row that another statement changes meanwhile is not begun: the update re-reads it and its state decides.
 * Its rows, read by `readBegun`, are every open member of the runs, begun or not.
 */
export function beginRuns(
  organizationId: string,
  runs: readonly BeginRun[],
  at: { now: number; timeoutMs: number; workerId: string },
): RawBuilder<BegunRow> {
  const keys = runs.map(({ runId }) => parseRunId(runId));
  const now = new Date(at.now).toISOString();
  return sql<BegunRow>`
    with run as (
      select * from unnest(
        ${runs.map(({ runId }) => runId)}::text[], ${keys.map(({ deliveryId }) => deliveryId)}::uuid[], ${keys.map(({ runSeq }) => runSeq)}::int[],
        ${runs.map(({ destinationId }) => destinationId)}::uuid[], ${runs.map(({ lane }) => lane)}::text[]
      ) as r (run_id, delivery_id, run_seq, destination_id, lane)
    ),
    destination as (
      select w.id, w.version, w.active, w.deleted_at is not null as deleted from webhook w where w.id in (select destination_id from run)
      union all
      select c.id, c.version, c.active, c.deleted_at is not null from channel c where c.id in (select destination_id from run)
    ),
    member as (
      select r.run_id as of_run, r.lane, d.*
        from run r join delivery d on d.org_id = ${organizationId} and d.run_id = r.run_id and d.finished_at is null
      union all
      -- a single starts without having been claimed: this statement claims it
      select r.run_id, r.lane, d.*
        from run r join delivery d on d.org_id = ${organizationId} and d.id = r.delivery_id
          and d.run_id is null and d.run_seq = r.run_seq - 1 and d.finished_at is null
    ),
    -- Whoever cancels the pages of an escalation locks them in this order.
    held as (
      select count(*) as pages from (
        select 1 from delivery d where d.org_id = ${organizationId} and d.id in (select id from member where escalation_id is not null)
          order by d.id for update) as page
    ),
    begun as (
      update delivery d
        set state = 'in_flight', run_id = m.of_run, run_seq = case when d.run_id is null then d.run_seq + 1 else d.run_seq end,
          attempt_count = d.attempt_count + 1, total_attempts = d.total_attempts + 1, hold_reason = null
        from member m join destination t on t.id = m.destination_id and t.active and not t.deleted
        where d.org_id = ${organizationId} and d.id = m.id and (d.run_id is null or d.run_id = m.of_run) and d.finished_at is null
          and d.state in ('pending', 'retrying', 'held') and d.next_attempt_at <= ${now} and not d.cancel_requested
          and (select pages >= 0 from held)
        returning d.id, d.total_attempts, d.cycle, d.trigger, m.lane, d.event_id, d.attempt_count, m.channel_type
    ),
    inserted as (
      insert into attempt (org_id, delivery_id, number, cycle, trigger, lane, worker_id, started_at, deadline_at)
        select ${organizationId}, id, total_attempts, cycle, trigger, lane, ${at.workerId}, ${now}, now() + make_interval(secs => ${at.timeoutMs / 1_000}) from begun
    )
    select m.of_run as "runId", m.id as "deliveryId", m.event_id as "eventId", m.event_type as "eventType", m.state,
        m.next_attempt_at as "nextAttemptAt", m.cancel_requested as "cancelRequested", b.id is not null as begun,
        coalesce(b.total_attempts, m.total_attempts) as attempt, m.cycle, m.trigger, m.schedule_pos as "schedulePos",
        coalesce(b.attempt_count, m.attempt_count) as "attemptCount", m.interruptions, m.rate_limits as "rateLimits", m.created_at as "createdAt", m.provider_ref as "providerRef",
        ${pageMark('m')} as page, m.notice_id as "noticeId",
        case when b.channel_type = 'webhook' and m.destination_kind = 'webhook' then e.body end as body,
        case when t.id is not null then json_build_object('id', t.id, 'version', t.version, 'active', t.active, 'deleted', t.deleted) end as destination
      from member m
        left join begun b on b.id = m.id
        left join destination t on t.id = m.destination_id
        left join event e on e.org_id = ${organizationId} and e.id = b.event_id
  `;
}

export function readBegun(rows: readonly BegunRow[]): Array<RunMember & { destination: DestinationMark | null }> {
  return rows.map((row) => ({
    ...row,
    createdAt: Date.parse(row.createdAt),
    nextAttemptAt: row.nextAttemptAt === null ? null : Date.parse(row.nextAttemptAt),
  }));
}

/** What became of one attempt: the attempt's row and the delivery's next state. Times are Unix milliseconds. */
export interface FinishedAttempt {
  deliveryId: string;
  attempt: number;
  finishedAt: number;
  durationMs: number;
  timings: Record<string, number> | null;
  outcome: Outcome | 'not_sent';
  errorCode: DeliveryErrorCode | null;
  errorDetail: string | null;
  statusCode: number | null;
  remoteAddress: string | null;
  tlsVersion: string | null;
  requestHeaders: Record<string, string> | null;
  requestSha256: Buffer | null;
  requestBytes: number | null;
  responseHeaders: Record<string, string> | null;
  responseBody: string | null;
  responseEncoding: string | null;
  responseTruncated: boolean;
  retryAfterMs: number | null;
  nextDelayMs: number | null;
  scheduleConsumed: boolean;
  possibleDuplicate: boolean;
  /** Replaces the stored one; null keeps it. */
  providerRef: Readonly<Record<string, unknown>> | null;
  next: {
    state: DeliveryState;
    schedulePos: number;
    attemptCount: number;
    interruptions: number;
    rateLimits: number;
    nextAttemptAt: number | null;
  };
  /** It is a page, and will not reach anybody soon. */
  failing: boolean;
}

/**
 * Records what has answered, in one statement. An attempt that was closed meanwhile (its worker was taken for dead) is left as it is, but a
 * delivery that reached its destination ends `delivered` whatever was thought of it.
 */
export function finishAttempts(organizationId: string, finished: readonly FinishedAttempt[]): RawBuilder<FinishedDelivery> {
  // Rows are locked in this order, by everybody.
  const inOrder = finished.toSorted((a, b) => (a.deliveryId < b.deliveryId ? -1 : 1));
  const column = <T>(value: (one: FinishedAttempt) => T): T[] => inOrder.map(value);
  const time = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
  const json = (value: unknown): string | null => (value === null ? null : JSON.stringify(value));
  return sql<FinishedDelivery>`
    with done as (
      select * from unnest(
        ${column((one) => one.deliveryId)}::uuid[], ${column((one) => one.attempt)}::int[], ${column((one) => time(one.finishedAt))}::timestamptz[],
        ${column((one) => one.durationMs)}::int[], ${column((one) => json(one.timings))}::jsonb[], ${column((one) => one.outcome)}::text[],
        ${column((one) => one.errorCode)}::text[], ${column((one) => one.errorDetail)}::text[], ${column((one) => one.statusCode)}::int[],
        ${column((one) => one.remoteAddress)}::text[], ${column((one) => one.tlsVersion)}::text[], ${column((one) => json(one.requestHeaders))}::jsonb[],
        ${column((one) => one.requestSha256)}::bytea[], ${column((one) => one.requestBytes)}::int[], ${column((one) => json(one.responseHeaders))}::jsonb[],
        ${column((one) => one.responseBody)}::text[], ${column((one) => one.responseEncoding)}::text[], ${column((one) => one.responseTruncated)}::boolean[],
        ${column((one) => one.retryAfterMs)}::int[], ${column((one) => one.nextDelayMs)}::int[], ${column((one) => one.scheduleConsumed)}::boolean[],
        ${column((one) => one.possibleDuplicate)}::boolean[], ${column((one) => one.next.state)}::text[], ${column((one) => one.next.schedulePos)}::int[],
        ${column((one) => one.next.attemptCount)}::int[], ${column((one) => one.next.interruptions)}::int[], ${column((one) => one.next.rateLimits)}::int[],
        ${column((one) => time(one.next.nextAttemptAt))}::timestamptz[], ${column((one) => json(one.providerRef))}::jsonb[],
        ${column((one) => one.failing)}::boolean[]
      ) as f (delivery_id, number, finished_at, duration_ms, timings, outcome, error_code, error_detail, status_code, remote_address, tls_version,
        request_headers, request_sha256, request_bytes, response_headers, response_body, response_encoding, response_truncated, retry_after_ms,
        next_delay_ms, schedule_consumed, possible_duplicate, next_state, next_schedule_pos, next_attempt_count, next_interruptions,
        next_rate_limits, next_attempt_at, provider_ref, failing)
    ),
    recorded as (
      update attempt a set finished_at = f.finished_at, duration_ms = f.duration_ms, timings = f.timings, outcome = f.outcome,
          error_code = f.error_code, error_detail = f.error_detail, status_code = f.status_code, remote_address = f.remote_address,
          tls_version = f.tls_version, request_headers = f.request_headers, request_sha256 = f.request_sha256, request_bytes = f.request_bytes,
          response_headers = f.response_headers, response_body = f.response_body, response_encoding = f.response_encoding,
          response_truncated = f.response_truncated, retry_after_ms = f.retry_after_ms, next_delay_ms = f.next_delay_ms,
          schedule_consumed = f.schedule_consumed, possible_duplicate = f.possible_duplicate
        from done f where a.org_id = ${organizationId} and a.delivery_id = f.delivery_id and a.number = f.number and a.finished_at is null
    ),
    -- Whoever cancels the pages of an escalation locks them in this order; the join below takes them in any.
    held as (
      select count(*) as pages from (
        select 1 from delivery d
          where d.org_id = ${organizationId} and d.id = any(${column((one) => one.deliveryId)}::uuid[]) and d.escalation_id is not null
          order by d.id for update) as page
    )
    update delivery d set state = case when f.next_state = 'retrying' and d.cancel_requested then 'cancelled' else f.next_state end, schedule_pos = f.next_schedule_pos, attempt_count = f.next_attempt_count,
        interruptions = f.next_interruptions, rate_limits = f.next_rate_limits, next_attempt_at = case when not d.cancel_requested then f.next_attempt_at end,
        status_code = f.status_code, error_code = f.error_code, trigger = 'schedule', provider_ref = coalesce(f.provider_ref, d.provider_ref),
        failing_at = coalesce(d.failing_at, case when f.failing or d.purpose = 'page' and d.cancel_requested and f.next_state <> 'delivered' then f.finished_at end),
        finished_at = case when f.next_state in ('delivered', 'failed', 'cancelled') or d.cancel_requested then f.finished_at end,
        undelivered_at = case when f.next_state in ('failed', 'cancelled') or d.cancel_requested and f.next_state <> 'delivered' then f.finished_at end
      from done f
      where d.org_id = ${organizationId} and d.id = f.delivery_id and (select pages >= 0 from held)
        and ((d.state = 'in_flight' and d.total_attempts = f.number) or (f.next_state = 'delivered' and d.state <> 'delivered'))
      returning d.id, d.state
  `;
}

/** The state that a delivery took; a delivery without one was not this attempt's to decide. */
export interface FinishedDelivery {
  id: string;
  state: DeliveryState;
}

/** The open deliveries of a run. */
export async function findRunMembers(em: EntityManager, organizationId: string, runId: string): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`select id from delivery
    where org_id = ${organizationId} and run_id = ${runId} and finished_at is null`.execute(em.getKysely());
  return rows.map(({ id }) => id);
}

/** A delivery whose last attempt nobody will finish. */
export interface UnfinishedDelivery {
  deliveryId: string;
  eventId: string;
  eventType: string;
  runId: string;
  destination: { kind: 'webhook' | 'channel'; id: string };
  channelType: string;
  attempt: number;
  attemptCount: number;
  schedulePos: number;
  interruptions: number;
  rateLimits: number;
  cancelRequested: boolean;
  createdAt: number;
  startedAt: number;
  page: RunPage | null;
}

/** Locks and reads the deliveries of these attempts, as far as they are still unfinished and nobody else is closing them. */
export async function findUnfinished(
  em: EntityManager,
  organizationId: string,
  attempts: ReadonlyArray<{ deliveryId: string; number: number }>,
): Promise<UnfinishedDelivery[]> {
  const { rows } = await sql<Omit<UnfinishedDelivery, 'createdAt' | 'startedAt'> & { createdAt: string; startedAt: string }>`
    select d.id as "deliveryId", d.event_id as "eventId", d.event_type as "eventType", coalesce(d.run_id, d.id || '.1') as "runId",
        json_build_object('kind', d.destination_kind, 'id', d.destination_id) as destination, d.channel_type as "channelType",
        a.number as attempt, d.attempt_count as "attemptCount", d.schedule_pos as "schedulePos", d.interruptions, d.rate_limits as "rateLimits",
        d.cancel_requested as "cancelRequested", d.created_at as "createdAt", a.started_at as "startedAt", ${pageMark('d')} as page
      from unnest(${attempts.map(({ deliveryId }) => deliveryId)}::uuid[], ${attempts.map(({ number }) => number)}::int[]) as u (delivery_id, number)
        join attempt a on a.org_id = ${organizationId} and a.delivery_id = u.delivery_id and a.number = u.number and a.finished_at is null
        join delivery d on d.org_id = ${organizationId} and d.id = u.delivery_id
      for update of d skip locked
  `.execute(em.getKysely());
  return rows.map((row) => ({ ...row, createdAt: Date.parse(row.createdAt), startedAt: Date.parse(row.startedAt) }));
}

/** Takes deliveries from their run: the next one to start them makes a new one. */
export async function releaseFromRun(em: EntityManager, organizationId: string, ids: readonly string[]): Promise<UnownedDelivery[]> {
  const { rows } = await sql<UnownedDelivery>`
    update delivery d set run_id = null where d.org_id = ${organizationId} and d.id = any(${ids}::uuid[]) and d.finished_at is null
      returning ${unownedColumns}
  `.execute(em.getKysely());
  return rows;
}
