import { type RawBuilder, sql } from 'kysely';
import type { Occurrence, Problem, Standing } from '../../domain/problem.ts';
import type { Severity } from '../../domain/severity.ts';

/** What an event's standing is looked up by. */
export interface StandingKey {
  projectId: string | null;
  family: string;
  type: string;
  dedupKey: string;
}

/** An open problem with its row. Ids are UUIDs. */
export interface StoredProblem extends Problem {
  id: string;
  projectId: string | null;
  family: string;
  dedupKey: string;
  firstEventId: string;
  lastEventId: string;
}

export interface StoredStanding extends Standing {
  problem: StoredProblem | null;
}

/** A problem as it is from now on. */
export interface ProblemRecord extends StoredProblem {
  ended: { at: number; by: 'resolved' | 'expired' | 'command' } | null;
}

export interface OccurrenceRecord extends Occurrence {
  projectId: string | null;
  type: string;
  dedupKey: string;
}

export function problemText({ projectId, family, dedupKey }: Omit<StandingKey, 'type'>): string {
  return `problem ${projectId ?? ''} ${family} ${dedupKey}`;
}

export function occurrenceText({ projectId, type, dedupKey }: Omit<StandingKey, 'family'>): string {
  return `occurrence ${projectId ?? ''} ${type} ${dedupKey}`;
}

/** Until the transaction ends nobody else changes these problems and occurrences. The statement that reads them MUST follow. */
export function lockStandings(keys: readonly StandingKey[]): RawBuilder<unknown> {
  const texts = new Set(keys.flatMap((key) => [problemText(key), occurrenceText(key)]));
  return sql`select lock_keys(${[...texts]}::text[])`;
}

/** Joins each key `k` (project_id, family, dedup_key) with its open problem `p`, looked up by the key: no plan may go through all problems. */
export function openProblemOf(organizationId: string): RawBuilder<unknown> {
  return sql`cross join lateral (
    select * from problem p
      where p.org_id = ${organizationId} and p.family = k.family and p.dedup_key = k.dedup_key
        and p.project_id is not distinct from k.project_id and p.ended_at is null
      offset 0
  ) as p`;
}

interface ProblemRow extends Omit<StoredProblem, 'openedAt' | 'lastAt' | 'count'> {
  openedAt: string;
  lastAt: string;
  count: string;
}

export function findProblems(organizationId: string, keys: readonly StandingKey[]): RawBuilder<ProblemRow> {
  return sql`
    select p.id, p.project_id as "projectId", p.family, p.dedup_key as "dedupKey", p.highest_severity as "highestSeverity", p.count,
        p.opened_at as "openedAt", p.last_at as "lastAt", p.first_event_id as "firstEventId", p.last_event_id as "lastEventId"
      from (select distinct * from unnest(
          ${keys.map(({ projectId }) => projectId)}::uuid[], ${keys.map(({ family }) => family)}::text[],
          ${keys.map(({ dedupKey }) => dedupKey)}::text[]
        ) as k (project_id, family, dedup_key)) as k
        ${openProblemOf(organizationId)}
  `;
}

interface OccurrenceRow extends Omit<OccurrenceRecord, 'firstAt' | 'count'> {
  firstAt: string;
  count: string;
}

export function findOccurrences(organizationId: string, keys: readonly StandingKey[]): RawBuilder<OccurrenceRow> {
  return sql`
    select o.project_id as "projectId", o.type, o.dedup_key as "dedupKey", o.first_at as "firstAt", o.count
      from (select distinct * from unnest(
          ${keys.map(({ projectId }) => projectId)}::uuid[], ${keys.map(({ type }) => type)}::text[],
          ${keys.map(({ dedupKey }) => dedupKey)}::text[]
        ) as k (project_id, type, dedup_key)) as k
        cross join lateral (
          select * from occurrence o
            where o.org_id = ${organizationId} and o.type = k.type and o.dedup_key = k.dedup_key and o.project_id is not distinct from k.project_id
            offset 0
        ) as o
  `;
}

/** The rows of the two statements above, by `problemText` and `occurrenceText`. */
export function readStandings(rows: { problems: readonly unknown[]; occurrences: readonly unknown[] }): Standings {
  const problems = (rows.problems as ProblemRow[]).map((row): [string, StoredProblem] => [
    problemText(row),
    { ...row, count: Number(row.count), openedAt: Date.parse(row.openedAt), lastAt: Date.parse(row.lastAt) },
  ]);
  const occurrences = (rows.occurrences as OccurrenceRow[]).map((row): [string, Occurrence] => [
    occurrenceText(row),
    { firstAt: Date.parse(row.firstAt), count: Number(row.count) },
  ]);
  return { problems: new Map(problems), occurrences: new Map(occurrences) };
}

export interface Standings {
  problems: Map<string, StoredProblem>;
  occurrences: Map<string, Occurrence>;
}

/** Writes problems, those that ended first: another with the same key may have been opened since. */
export function saveProblems(organizationId: string, problems: readonly ProblemRecord[]): RawBuilder<unknown> {
  const rows = problems.toSorted((a, b) => Number(a.ended === null) - Number(b.ended === null));
  const column = <T>(value: (one: ProblemRecord) => T): T[] => rows.map(value);
  return sql`
    insert into problem (org_id, id, project_id, family, dedup_key, highest_severity, count, opened_at, last_at, first_event_id,
        last_event_id, ended_at, ended_by)
      select ${organizationId}, * from unnest(
        ${column(({ id }) => id)}::uuid[], ${column(({ projectId }) => projectId)}::uuid[], ${column(({ family }) => family)}::text[],
        ${column(({ dedupKey }) => dedupKey)}::text[], ${column(({ highestSeverity }) => highestSeverity satisfies Severity)}::text[],
        ${column(({ count }) => count)}::bigint[], ${column(({ openedAt }) => time(openedAt))}::timestamptz[],
        ${column(({ lastAt }) => time(lastAt))}::timestamptz[], ${column(({ firstEventId }) => firstEventId)}::uuid[],
        ${column(({ lastEventId }) => lastEventId)}::uuid[],
        ${column(({ ended }) => (ended === null ? null : time(ended.at)))}::timestamptz[], ${column(({ ended }) => ended?.by ?? null)}::text[])
      on conflict (id) do update set highest_severity = excluded.highest_severity, count = excluded.count, last_at = excluded.last_at,
        last_event_id = excluded.last_event_id, ended_at = excluded.ended_at, ended_by = excluded.ended_by
  `;
}

export function saveOccurrences(organizationId: string, occurrences: readonly OccurrenceRecord[]): RawBuilder<unknown> {
  const column = <T>(value: (one: OccurrenceRecord) => T): T[] => occurrences.map(value);
  return sql`
    insert into occurrence (org_id, project_id, type, dedup_key, first_at, count)
      select ${organizationId}, * from unnest(
        ${column(({ projectId }) => projectId)}::uuid[], ${column(({ type }) => type)}::text[], ${column(({ dedupKey }) => dedupKey)}::text[],
        ${column(({ firstAt }) => time(firstAt))}::timestamptz[], ${column(({ count }) => count)}::bigint[])
      on conflict (org_id, type, dedup_key, project_id) do update set first_at = excluded.first_at, count = excluded.count
  `;
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
