import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import type { Calendar } from '../../domain/calendar.ts';
import type { EscalationPolicy } from '../../domain/escalation-policy.ts';
import type { EscalationStatus, GroupState } from '../../domain/escalation-state.ts';
import { openProblemOf, type StandingKey } from './problem.ts';
import type { MatchedEvent } from '../../domain/rule.ts';

/** A group as it is stored, with what a step needs besides and only the database knows. Ids are UUIDs. */
export interface StoredGroup {
  id: string;
  policyId: string;
  groupKey: string;
  state: GroupState;
  /** When it was stepped last. */
  steppedAt: number;
  /** The configuration that the state has pinned and that may be older than the newest. */
  policies: readonly EscalationPolicy[];
  calendars: readonly Calendar[];
  /** What the current escalation is about. */
  about: EscalationSubject | null;
  /** Of members that an escalation might begin with: the first firing ones, and what is held. */
  memberEvents: ReadonlyMap<string, EscalationSubject>;
}

/** The event that stands for an escalation: what its pages tell. */
export interface EscalationSubject extends MatchedEvent {
  eventId: string;
  subject: string;
}

export interface GroupKey {
  policyId: string;
  groupKey: string;
}

/** Groups that are not there yet begin empty; in the order of their keys, so that two transactions with the same ones do not deadlock. */
export function insertGroups(
  organizationId: string,
  groups: ReadonlyArray<GroupKey & { id: string; state: GroupState }>,
  at: number,
): RawBuilder<unknown> {
  const rows = groups.toSorted((a, b) => (a.policyId + a.groupKey < b.policyId + b.groupKey ? -1 : 1));
  return sql`
    insert into escalation_group (org_id, id, policy_id, group_key, state, created_at, stepped_at)
      select ${organizationId}, *, ${new Date(at).toISOString()}::timestamptz, ${new Date(at).toISOString()}::timestamptz from unnest(
        ${rows.map(({ id }) => id)}::uuid[], ${rows.map(({ policyId }) => policyId)}::uuid[], ${rows.map(({ groupKey }) => groupKey)}::text[],
        ${rows.map(({ state }) => JSON.stringify(state))}::jsonb[])
      on conflict (org_id, policy_id, group_key) do nothing
  `;
}

/** So many members decide whether all of a group are silenced; of a larger one somebody is told. */
const looked = 200;

/** Which groups a step is about. */
export interface GroupSelection {
  keys?: readonly GroupKey[];
  /** Those that the open problems with these keys are members in, or are kept from by a silence. */
  problems?: readonly StandingKey[];
  /** Those that these problems are kept from by a silence. */
  heldProblemIds?: readonly string[];
  /** The group of this escalation. */
  escalationId?: string;
}

/**
 * Locks groups until the transaction ends. To be followed, as a statement of its own, by `findGroups`: only a later statement sees what the
 * holder of the lock before wrote.
 */
export function lockGroups(organizationId: string, selection: GroupSelection): RawBuilder<unknown> {
  return sql`select 1 from (
    select g.id from escalation_group g where g.org_id = ${organizationId} and ${isSelected(organizationId, selection)} order by g.policy_id, g.group_key for update
  ) as locked`;
}

/**
 * Holds what the escalation is at until the transaction ends: nobody acknowledges, or is paged by it, meanwhile. Taken before its deliveries are
 * locked. @returns undefined: the organization has no such escalation
 */
export async function holdEscalation(
  em: EntityManager,
  organizationId: string,
  escalationId: string,
): Promise<EscalationStatus | undefined> {
  await lockGroups(organizationId, { escalationId }).execute(em.getKysely());
  const { rows } = await sql<{ status: EscalationStatus }>`
    select status from escalation where org_id = ${organizationId} and id = ${escalationId}`.execute(em.getKysely());
  return rows[0]?.status;
}

interface GroupRow extends Omit<StoredGroup, 'memberEvents' | 'steppedAt'> {
  steppedAt: string;
  members: Array<{ key: string; about: EscalationSubject }> | null;
}

export function findGroups(organizationId: string, selection: GroupSelection): RawBuilder<unknown> {
  const subject = sql`json_build_object('eventId', ev.id, 'subject', ev.subject, 'type', ev.type, 'category', ev.category,
    'severity', ev.severity, 'projectId', ev.project_id, 'tenantId', ev.tenant_id, 'environment', ev.environment, 'source', ev.source,
    'resource', ev.resource, 'dedupKey', ev.dedup_key, 'groupKey', ev.group_key, 'labels', ev.labels)`;
  return sql`
    select g.id, g.policy_id as "policyId", g.group_key as "groupKey", g.state, g.stepped_at as "steppedAt",
        (select ${subject} from escalation e join event ev on ev.org_id = e.org_id and ev.id = e.event_id
          where e.org_id = g.org_id and e.id = (g.state -> 'escalation' ->> 'id')::uuid) as about,
        coalesce((select json_agg(v.definition || jsonb_build_object('id', v.id, 'version', v.version, 'name', v.name, 'enabled', v.enabled,
              'ownerUserId', v.owner_user_id))
          from escalation_policy_version v
          where (v.id = (g.state -> 'escalation' -> 'snapshot' ->> 'policyId')::uuid
              and v.version = (g.state -> 'escalation' -> 'snapshot' ->> 'version')::int)
            or (v.id = g.policy_id and v.version = (g.state -> 'escalation' ->> 'homeVersion')::int)), '[]') as policies,
        coalesce((select json_agg(json_build_object('id', v.id, 'version', v.version, 'name', v.name, 'timeZone', v.time_zone,
              'intervals', v.intervals, 'holidays', v.holidays))
          from jsonb_each_text(case when jsonb_typeof(g.state -> 'escalation') = 'object'
              then g.state -> 'escalation' -> 'snapshot' -> 'calendars' else '{}' end) as pinned (id, version)
            join calendar_version v on v.id = pinned.id::uuid and v.version = pinned.version::int), '[]') as calendars,
        (select json_agg(json_build_object('key', m.key, 'about', ${subject}))
          from (
              (select x ->> 'key' as key, x ->> 'kind' as kind from jsonb_array_elements(g.state -> 'members') with ordinality as a (x, n)
                where (x ->> 'firing')::boolean order by n limit ${looked})
              union all
              (select x ->> 'key', 'problem' from jsonb_array_elements(g.state -> 'held') with ordinality as a (x, n) order by n limit ${looked})
            ) m
            -- One at a time, by their keys: a plan must not choose to go through all events, as it does when asked for less plainly.
            cross join lateral (
              select coalesce((select p.last_event_id from problem p where m.kind = 'problem' and p.id = m.key::uuid), m.key::uuid) as id
              offset 0
            ) as told
            cross join lateral (select ev.* from event ev where ev.org_id = g.org_id and ev.id = told.id offset 0) as ev) as members
      from escalation_group g
      where g.org_id = ${organizationId} and ${isSelected(organizationId, selection)}
  `;
}

export function readGroups(rows: readonly unknown[]): StoredGroup[] {
  return (rows as GroupRow[]).map(({ members, steppedAt, ...row }) => ({
    ...row,
    steppedAt: Date.parse(steppedAt),
    memberEvents: new Map((members ?? []).map(({ key, about }) => [key, about])),
  }));
}

function isSelected(
  organizationId: string,
  { keys = [], problems = [], heldProblemIds = [], escalationId }: GroupSelection,
): RawBuilder<unknown> {
  if (escalationId !== undefined)
    return sql`g.id = (select e.group_id from escalation e where e.org_id = ${organizationId} and e.id = ${escalationId}::uuid)`;
  // Their ids first, each part by its index: a choice between the parts would go through every group of the organization.
  return sql`g.id = any(array(
    select x.id
      from unnest(${keys.map(({ policyId }) => policyId)}::uuid[], ${keys.map(({ groupKey }) => groupKey)}::text[]) as k (policy_id, group_key)
        join escalation_group x on x.org_id = ${organizationId} and x.policy_id = k.policy_id and x.group_key = k.group_key
    union all
    select h.group_id from escalation_held h where h.org_id = ${organizationId} and h.problem_id = any(${heldProblemIds}::uuid[])
    union all
    select concerned.group_id
      from unnest(${problems.map(({ projectId }) => projectId)}::uuid[], ${problems.map(({ family }) => family)}::text[],
          ${problems.map(({ dedupKey }) => dedupKey)}::text[]) as k (project_id, family, dedup_key)
        ${openProblemOf(organizationId)}
        cross join lateral (
          select (select e.group_id from escalation e where e.org_id = m.org_id and e.id = m.escalation_id) as group_id
            from escalation_member m where m.org_id = ${organizationId} and m.key = p.id and m.firing
          union all
          select h.group_id from escalation_held h where h.org_id = ${organizationId} and h.problem_id = p.id
        ) as concerned
  ))`;
}
