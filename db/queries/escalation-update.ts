import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import { correctionForms } from '../../domain/channel.ts';
import { describeNews, type EscalationNews } from '../../domain/escalation-news.ts';
import { unownedColumns, type UnownedDelivery } from './unowned.ts';

/** A change that those who were told before learn of. Ids are UUIDs. */
export interface UpdateRecord {
  escalationId: string;
  /** Of the escalation's group: with it an update has one id, however often it is made. */
  version: number;
  eventType: string;
  news: EscalationNews;
  /** People get messages of their own; else only what can be changed in place is. */
  followUp: 'in_place' | 'all' | 'none';
  /** Whose doing it is: they know. */
  actorUserId: string | null;
  /** The channel in which it was done, whose message shows it already. */
  originId: string | null;
  /** What the escalation is about. */
  eventId: string;
  /** The event that tells webhooks; null: there is none. */
  ownEventId: string | null;
}

/** Why an update was not sent. */
type UpdateEnd = 'superseded' | 'original_not_delivered';
const superseded: UpdateEnd = 'superseded';
const inVain: UpdateEnd = 'original_not_delivered';

const formsOf = (wanted: string): string[] => Object.entries(correctionForms).flatMap(([type, form]) => (form === wanted ? [type] : []));

/** Whom a delivery `d` reaches. */
const recipient = (alias: string) => sql.raw(`coalesce(${alias}.contact_method_id, ${alias}.destination_id)`);

/**
 * One message to everybody whom pages of earlier transactions reached, or may still reach, but not to who made the change. To be executed
 * last: a webhook that gets the event anyhow gets nothing twice. An update waits for a page that is under way, and pending ones to the same
 * channel are superseded, so that nobody reads what is no longer so.
 * Its rows are those that are due now.
 * @param pagesOfNow pages that this transaction made: they say what is so already
 */
export function insertUpdates(
  organizationId: string,
  updates: readonly UpdateRecord[],
  { pagesOfNow, at }: { pagesOfNow: readonly string[]; at: number },
): RawBuilder<UnownedDelivery> {
  const column = <T>(value: (one: UpdateRecord) => T): T[] => updates.map(value);
  const now = new Date(at).toISOString();
  const timeOfId = at.toString(16).padStart(12, '0');
  return sql<UnownedDelivery>`
    with change as (
      select * from unnest(
        ${column(({ escalationId }) => escalationId)}::uuid[], ${column(({ version }) => version)}::int[],
        ${column(({ eventType }) => eventType)}::text[], ${column(({ news }) => JSON.stringify(news))}::jsonb[],
        ${column(({ followUp }) => followUp === 'all')}::boolean[], ${column(({ actorUserId }) => actorUserId)}::uuid[],
        ${column(({ originId }) => originId)}::uuid[], ${column(({ eventId }) => eventId)}::uuid[],
        ${column(({ ownEventId }) => ownEventId)}::uuid[]
      ) with ordinality as c (escalation_id, version, event_type, news, people, actor, origin, event_id, own_event_id, ordinal)
    ),
    told as (
      select distinct on (d.escalation_id, ${recipient('d')}, case when d.destination_kind = 'webhook' then c.ordinal end)
          c.*, d.id as original, d.finished_at is null as is_open, d.contact_method_id, d.destination_kind, d.destination_id, d.channel_type
        from change c join delivery d on d.org_id = ${organizationId} and d.escalation_id = c.escalation_id
        where d.firing is not null and (d.state = 'delivered' or d.finished_at is null) and d.id <> all(${pagesOfNow}::uuid[])
        order by d.escalation_id, ${recipient('d')}, case when d.destination_kind = 'webhook' then c.ordinal end,
          c.ordinal desc, is_open desc, d.id desc
    ),
    wanted as (
      select t.* from told t
          left join channel ch on ch.id = t.destination_id
          left join contact_method m on m.org_id = ${organizationId} and m.id = t.contact_method_id
          left join member p on p.org_id = ${organizationId} and p.id = m.user_id
        where case
          when t.destination_kind = 'webhook' then t.own_event_id is not null and not exists (
            select from delivery x where x.org_id = ${organizationId} and x.event_id = t.own_event_id and x.destination_id = t.destination_id)
          when t.destination_id = t.origin then false
          when t.channel_type = any(${formsOf('state')}::text[]) then true
          else t.people
            and (t.channel_type = any(${formsOf('reply')}::text[])
              or t.channel_type = any(${formsOf('if_allowed')}::text[]) and coalesce((ch.settings ->> 'followUp')::boolean, false))
            and (m.id is null
              or m.deleted_at is null and p.status = 'active' and p.removed_at is null and m.user_id is distinct from t.actor)
        end
    ),
    open as materialized (
      select u.id from delivery u
        where u.org_id = ${organizationId} and u.escalation_id in (select escalation_id from change) and u.purpose = 'escalation_update'
          and u.destination_kind = 'channel' and u.finished_at is null
        order by u.id for update
    ),
    superseded as (
      update delivery u set cancel_requested = true, state = case when u.state = 'in_flight' then u.state else 'cancelled' end,
          error_code = case when u.state = 'in_flight' then u.error_code else ${superseded} end, hold_reason = null,
          next_attempt_at = case when u.state = 'in_flight' then u.next_attempt_at end,
          finished_at = case when u.state <> 'in_flight' then ${now}::timestamptz end,
          undelivered_at = case when u.state <> 'in_flight' then ${now}::timestamptz end
        from open where u.org_id = ${organizationId} and u.id = open.id
    ),
    made as (
      insert into delivery (org_id, id, escalation_id, purpose, update_of, news, event_id, event_type, contact_method_id, destination_kind,
          destination_id, channel_type, state, hold_reason, created_at, next_attempt_at)
        select ${organizationId}, (${timeOfId} || '7' || substr(seed, 14, 3) || '8' || substr(seed, 18))::uuid, escalation_id,
            'escalation_update', original, news, case when destination_kind = 'webhook' then own_event_id else event_id end, event_type,
            contact_method_id, destination_kind, destination_id, channel_type, case when is_open then 'held' else 'pending' end,
            case when is_open then 'original_open' end, ${now}::timestamptz, case when not is_open then ${now}::timestamptz end
          from wanted, md5(original::text || ' ' || version || ' ' || event_type) as seed
        on conflict do nothing
        returning *
    )
    select ${unownedColumns} from made d where d.state = 'pending'
  `;
}

/**
 * What people read in the app about these escalations says what is so now. It stays read or unread as it was, and whoever made the change
 * needs no word of it.
 */
export function correctNotices(organizationId: string, updates: readonly UpdateRecord[]): RawBuilder<unknown> {
  const shown = [...new Map(updates.filter(({ followUp }) => followUp !== 'none').map((one) => [one.escalationId, one])).values()];
  const column = <T>(value: (one: UpdateRecord) => T): T[] => shown.map(value);
  const named = '{name}';
  return sql`
    update notification n set type = c.event_type, message = case when c.name is null then c.plain else replace(c.named, ${named}, c.name) end
      from (
        select c.*, coalesce(m.name, a.name, case when c.by_id !~ '^[0-9a-f]{8}-' then c.by_id end) as name
          from unnest(
              ${column(({ escalationId }) => escalationId)}::uuid[], ${column(({ eventType }) => eventType)}::text[],
              ${column(({ news }) => describeNews(news, null))}::text[], ${column(({ news }) => describeNews(news, named))}::text[],
              ${column(({ news }) => (news.kind === 'change' ? (news.by?.id ?? null) : null))}::text[],
              ${column(({ actorUserId }) => actorUserId)}::uuid[]
            ) as c (escalation_id, event_type, plain, named, by_id, actor)
            left join member m on m.org_id = ${organizationId} and m.id::text = c.by_id
            left join service_account a on a.org_id = ${organizationId} and a.id::text = c.by_id
      ) as c
      where n.org_id = ${organizationId} and n.escalation_id = c.escalation_id and n.user_id is distinct from c.actor
  `;
}

/**
 * The updates that waited for one of these pages to end: due now, unless nothing of the escalation ever reached their reader. So are those of
 * a page that was given up and has arrived after all. Executed after the pages' outcomes, in the same transaction.
 */
export function releaseUpdates(organizationId: string, pageIds: readonly string[], at: number): RawBuilder<UnownedDelivery> {
  return release(sql`o.org_id = ${organizationId} and o.id = any(${pageIds}::uuid[])`, at);
}

/** The same for pages that ended otherwise than by an attempt; run as `tocsin_relay`. */
export async function releaseWaitingUpdates(em: EntityManager, limit: number, at: number): Promise<UnownedDelivery[]> {
  const waiting = sql`(u.org_id, u.id) in (
    select w.org_id, w.id from delivery w join delivery p on p.org_id = w.org_id and p.id = w.update_of
      where w.update_of is not null and w.finished_at is null and w.state = 'held' and p.finished_at is not null limit ${limit})`;
  return (await release(waiting, at).execute(em.getKysely())).rows;
}

function release(which: RawBuilder<unknown>, at: number): RawBuilder<UnownedDelivery> {
  const now = new Date(at).toISOString();
  return sql<UnownedDelivery>`
    with released as (
      update delivery u set hold_reason = null, state = case when r.reached then 'pending' else 'cancelled' end,
          next_attempt_at = case when r.reached then ${now}::timestamptz end, error_code = case when not r.reached then ${inVain} end,
          finished_at = case when not r.reached then ${now}::timestamptz end,
          undelivered_at = case when not r.reached then ${now}::timestamptz end
        from (
          select u.org_id, u.id, exists (
              select from delivery d where d.org_id = u.org_id and d.escalation_id = u.escalation_id and d.firing is not null
                and d.state = 'delivered' and ${recipient('d')} = ${recipient('u')}) as reached
            from delivery o join delivery u on u.org_id = o.org_id and u.escalation_id = o.escalation_id and u.update_of = o.id
            where ${which} and o.finished_at is not null
              and (u.state = 'held' or u.state = 'cancelled' and u.error_code = ${inVain} and o.state = 'delivered')
        ) as r
        where u.org_id = r.org_id and u.id = r.id and u.state in ('held', 'cancelled')
        returning u.*
    )
    select ${unownedColumns} from released d where d.state = 'pending'
  `;
}
