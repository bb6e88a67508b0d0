import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import type { GroupState, NoticeReason } from '../../domain/aggregation.ts';
import type { NoticeSubject, NoticeText, ShownMember } from '../../domain/notice.ts';
import type { Severity } from '../../domain/severity.ts';
import { openProblemOf, type StandingKey } from './problem.ts';

/** What a rule bundles: its open group of one group key. Ids are UUIDs. */
export interface StoredNoticeGroup {
  id: string;
  ruleId: string;
  groupKey: string;
  /** Every channel that a member was to go to. */
  channelIds: readonly string[];
  state: GroupState;
  /** Of the plan: it grows when what is due next changes. */
  version: number;
}

/** A group whose workflow has to look again. */
export interface ChangedNoticeGroup {
  organizationId: string;
  groupId: string;
  version: number;
}

export interface NoticeGroupKey {
  ruleId: string;
  groupKey: string;
}

/** Which open groups an intake transaction may change. */
export interface NoticeSelection {
  keys: readonly NoticeGroupKey[];
  /** Those that the open problems with these keys are members of. */
  problems: readonly StandingKey[];
}

export interface NoticeMemberRecord {
  groupId: string;
  key: string;
  about: NoticeSubject;
}

export interface NoticeRecord extends NoticeText {
  id: string;
  groupId: string;
  ruleId: string;
  tick: number;
  at: number;
  reason: NoticeReason;
  firing: readonly ShownMember[];
  resolved: readonly ShownMember[];
}

export interface NoticeDelivery {
  id: string;
  noticeId: string;
  eventId: string;
  eventType: string;
  channelId: string;
  channelType: string;
}

/** There may be no row to lock yet. Comes after the locks of problems and escalation groups, and before that of the rows. */
export function lockNoticeKeys(keys: readonly NoticeGroupKey[]): RawBuilder<unknown> {
  return sql`select lock_keys(${keys.map(({ ruleId, groupKey }) => `notice ${ruleId} ${groupKey}`)}::text[])`;
}

/** To be followed, as a statement of its own, by `findNoticeGroups`: only a later statement sees what the holder of the lock before wrote. */
export function lockNoticeGroups(organizationId: string, selection: NoticeSelection): RawBuilder<unknown> {
  return sql`select 1 from (
    select g.id from notice_group g where g.org_id = ${organizationId} and ${isSelected(organizationId, selection)} order by g.id for update
  ) as locked`;
}

export function findNoticeGroups(organizationId: string, selection: NoticeSelection): RawBuilder<unknown> {
  return sql`select ${columns} from notice_group g where g.org_id = ${organizationId} and ${isSelected(organizationId, selection)}`;
}

const columns = sql`g.id, g.rule_id as "ruleId", g.group_key as "groupKey", g.channel_ids as "channelIds", g.state, g.version`;

/** Locks one group, whose workflow asks. Run in the organization. @returns undefined: it is closed, or there is none */
export async function lockNoticeGroup(
  em: EntityManager,
  organizationId: string,
  groupId: string,
): Promise<(StoredNoticeGroup & { syncedAt: number }) | undefined> {
  const { rows } = await sql<StoredNoticeGroup & { syncedAt: string }>`
    select ${columns}, g.synced_at as "syncedAt" from notice_group g
      where g.org_id = ${organizationId} and g.id = ${groupId} and g.closed_at is null for update
  `.execute(em.getKysely());
  const [row] = rows;
  return row && { ...row, syncedAt: Date.parse(row.syncedAt) };
}

/** Run in the organization. */
export async function findNoticeMembers(em: EntityManager, organizationId: string, groupId: string): Promise<Map<string, NoticeSubject>> {
  const { rows } = await sql<{ key: string; about: NoticeSubject }>`
    select key, about from notice_group_member where org_id = ${organizationId} and group_id = ${groupId}
  `.execute(em.getKysely());
  return new Map(rows.map(({ key, about }) => [key, about]));
}

export interface ProblemEnds {
  /** Of those that have ended. */
  how: ReadonlyMap<string, 'resolved' | 'expired'>;
  /** When the next of the others is over if nobody speaks of it; null: there is no other. */
  nextExpiryAt: number | null;
}

/** What became of problems until `at`; one that was unheard of for `ttlMs` counts as expired. Run in the organization. */
export async function findProblemEnds(
  em: EntityManager,
  problemIds: readonly string[],
  { at, ttlMs }: { at: number; ttlMs: number },
): Promise<ProblemEnds> {
  if (problemIds.length === 0) return { how: new Map(), nextExpiryAt: null };
  const { rows } = await sql<{ id: string; ending: 'resolved' | 'expired' | null; lastAt: string }>`
    select k.id, p.last_at as "lastAt",
        case when p.id is null or p.ended_by = 'expired' or (p.ended_at is null and p.last_at <= ${time(at - ttlMs)}::timestamptz)
          then 'expired' when p.ended_at is not null then 'resolved' end as ending
      from unnest(${[...problemIds]}::uuid[]) as k (id) left join problem p on p.id = k.id
  `.execute(em.getKysely());
  const open = rows.filter(({ ending }) => ending === null).map(({ lastAt }) => Date.parse(lastAt) + ttlMs);
  return {
    how: new Map(rows.flatMap(({ id, ending }) => (ending === null ? [] : [[id, ending] as const]))),
    nextExpiryAt: open.length === 0 ? null : Math.min(...open),
  };
}

/** A workflow has seen the group as it is. Run in the organization. */
export async function markNoticeGroupSeen(em: EntityManager, organizationId: string, groupId: string, syncedAt: number): Promise<void> {
  await sql`update notice_group set seen_version = version, synced_at = greatest(synced_at, ${time(syncedAt)}::timestamptz)
    where org_id = ${organizationId} and id = ${groupId}`.execute(em.getKysely());
}

/** Has every open group compare its members anew. Run in the organization. */
export async function renewNoticeGroups(em: EntityManager, organizationId: string, at: number): Promise<ChangedNoticeGroup[]> {
  const { rows } = await sql<ChangedNoticeGroup>`
    update notice_group set version = version + 1, changed_at = ${time(at)}
      where org_id = ${organizationId} and closed_at is null
      returning org_id as "organizationId", id as "groupId", version
  `.execute(em.getKysely());
  return rows;
}

/**
 * Ends what a rule bundles without another word: it was deleted, or does not bundle any more. Run in the organization.
 * @param groupId of one group alone
 */
export async function closeNoticeGroups(
  em: EntityManager,
  organizationId: string,
  { ruleId, groupId = null, at }: { ruleId: string; groupId?: string | null; at: number },
): Promise<void> {
  await sql`update notice_group set version = version + 1, changed_at = ${time(at)}, closed_at = ${time(at)}, due_at = null
    where org_id = ${organizationId} and id in (
      select id from notice_group where org_id = ${organizationId} and rule_id = ${ruleId} and closed_at is null
          and (${groupId}::uuid is null or id = ${groupId}::uuid)
        order by id for update)`.execute(em.getKysely());
}

function isSelected(organizationId: string, { keys, problems }: NoticeSelection): RawBuilder<unknown> {
  // As with groups of escalations: each part by its index.
  return sql`g.closed_at is null and g.id = any(array(
    select x.id
      from unnest(${keys.map(({ ruleId }) => ruleId)}::uuid[], ${keys.map(({ groupKey }) => groupKey)}::text[]) as k (rule_id, group_key)
        join notice_group x on x.org_id = ${organizationId} and x.rule_id = k.rule_id and x.group_key = k.group_key and x.closed_at is null
    union all
    select m.group_id
      from unnest(${problems.map(({ projectId }) => projectId)}::uuid[], ${problems.map(({ family }) => family)}::text[],
          ${problems.map(({ dedupKey }) => dedupKey)}::text[]) as k (project_id, family, dedup_key)
        ${openProblemOf(organizationId)}
        join notice_group_member m on m.org_id = ${organizationId} and m.key = p.id
  ))`;
}

/** @param groups with the instant at which what is due next is due */
export function saveNoticeGroups(
  organizationId: string,
  groups: ReadonlyArray<StoredNoticeGroup & { dueAt: number | null }>,
  at: number,
): RawBuilder<unknown> {
  const column = <T>(value: (one: (typeof groups)[number]) => T): T[] => groups.map(value);
  return sql`
    insert into notice_group (org_id, id, rule_id, group_key, channel_ids, state, version, due_at, opened_at, closed_at, changed_at,
        synced_at)
      select ${organizationId}, id, rule_id, group_key, string_to_array(channel_ids, ',')::uuid[], state, version, due_at, opened_at,
          case when closed then ${time(at)}::timestamptz end, ${time(at)}::timestamptz, opened_at
        from unnest(
          ${column(({ id }) => id)}::uuid[], ${column(({ ruleId }) => ruleId)}::uuid[], ${column(({ groupKey }) => groupKey)}::text[],
          ${column(({ channelIds }) => channelIds.join(','))}::text[], ${column(({ state }) => JSON.stringify(state))}::jsonb[],
          ${column(({ version }) => version)}::int[], ${column(({ dueAt }) => (dueAt === null ? null : time(dueAt)))}::timestamptz[],
          ${column(({ state }) => time(state.openedAt))}::timestamptz[], ${column(({ state }) => state.closed)}::boolean[]
        ) as g (id, rule_id, group_key, channel_ids, state, version, due_at, opened_at, closed)
      on conflict (org_id, id) do update set channel_ids = excluded.channel_ids, state = excluded.state,
        version = greatest(notice_group.version, excluded.version),
        due_at = excluded.due_at, closed_at = excluded.closed_at, changed_at = excluded.changed_at
  `;
}

/** What a member is about is what its last event said. */
export function saveNoticeMembers(organizationId: string, members: readonly NoticeMemberRecord[]): RawBuilder<unknown> {
  const column = <T>(value: (one: NoticeMemberRecord) => T): T[] => members.map(value);
  return sql`
    insert into notice_group_member (org_id, group_id, key, about)
      select ${organizationId}, * from unnest(${column(({ groupId }) => groupId)}::uuid[], ${column(({ key }) => key)}::uuid[],
        ${column(({ about }) => JSON.stringify(about))}::jsonb[])
      on conflict (org_id, group_id, key) do update set about = excluded.about
  `;
}

/** Forgets those that the group has forgotten. */
export function forgetNoticeMembers(organizationId: string, groupId: string, kept: readonly string[]): RawBuilder<unknown> {
  return sql`delete from notice_group_member
    where org_id = ${organizationId} and group_id = ${groupId} and not key = any(${[...kept]}::uuid[])`;
}

export function insertNotices(organizationId: string, notices: readonly NoticeRecord[]): RawBuilder<unknown> {
  const column = <T>(value: (one: NoticeRecord) => T): T[] => notices.map(value);
  const shown = notices.flatMap(({ id, firing, resolved }) => [...firing, ...resolved].map(({ eventId }) => ({ id, eventId })));
  return sql`
    with shown as (
      insert into notice_event (org_id, event_id, notice_id)
        select distinct ${organizationId}::uuid, * from unnest(
          ${shown.map(({ eventId }) => eventId)}::uuid[], ${shown.map(({ id }) => id)}::uuid[])
    )
    insert into notice (org_id, id, group_id, rule_id, tick, at, reason, subject, message, severity, event_id, firing, resolved)
      select ${organizationId}, * from unnest(
        ${column(({ id }) => id)}::uuid[], ${column(({ groupId }) => groupId)}::uuid[], ${column(({ ruleId }) => ruleId)}::uuid[],
        ${column(({ tick }) => tick)}::int[], ${column(({ at }) => time(at))}::timestamptz[],
        ${column(({ reason }) => `group_${reason}`)}::text[], ${column(({ subject }) => subject)}::text[],
        ${column(({ message }) => message)}::text[], ${column(({ severity }) => severity satisfies Severity)}::text[],
        ${column(({ eventId }) => eventId)}::uuid[], ${column(({ firing }) => JSON.stringify(firing))}::jsonb[],
        ${column(({ resolved }) => JSON.stringify(resolved))}::jsonb[])
  `;
}

export function insertNoticeDeliveries(organizationId: string, deliveries: readonly NoticeDelivery[], at: number): RawBuilder<unknown> {
  const column = <T>(value: (one: NoticeDelivery) => T): T[] => deliveries.map(value);
  return sql`
    insert into delivery (org_id, id, event_id, event_type, destination_kind, destination_id, channel_type, state, created_at,
        next_attempt_at, notice_id)
      select ${organizationId}, id, event_id, event_type, 'channel', channel_id, channel_type, 'pending', ${time(at)}, ${time(at)}, notice_id
        from unnest(
          ${column(({ id }) => id)}::uuid[], ${column(({ eventId }) => eventId)}::uuid[], ${column(({ eventType }) => eventType)}::text[],
          ${column(({ channelId }) => channelId)}::uuid[], ${column(({ channelType }) => channelType)}::text[],
          ${column(({ noticeId }) => noticeId)}::uuid[]
        ) as d (id, event_id, event_type, channel_id, channel_type, notice_id)
  `;
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
