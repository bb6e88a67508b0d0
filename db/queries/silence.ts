import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import type { SilenceStep } from '../../domain/silence.ts';

/** A problem of which a silence keeps back an event. Ids are UUIDs. */
export interface SilencedProblem {
  problemId: string;
  silenceId: string;
  eventId: string;
}

/** The last event of a problem is the one that is told of: it says how bad it is. */
export function saveSilenced(organizationId: string, silenced: readonly SilencedProblem[]): RawBuilder<unknown> {
  const rows = [...new Map(silenced.map((one) => [one.problemId, one])).values()];
  return sql`
    insert into silenced_problem (org_id, problem_id, silence_id, event_id)
      select ${organizationId}, * from unnest(${rows.map(({ problemId }) => problemId)}::uuid[],
        ${rows.map(({ silenceId }) => silenceId)}::uuid[], ${rows.map(({ eventId }) => eventId)}::uuid[])
      on conflict (org_id, problem_id) do update set silence_id = excluded.silence_id, event_id = excluded.event_id
  `;
}

/** What a silence kept back, some of it: a problem with the key that it is locked by. */
export interface SilencedRow extends SilencedProblem {
  projectId: string | null;
  family: string;
  dedupKey: string;
}

/** Run in the organization. */
export async function findSilenced(em: EntityManager, organizationId: string, silenceId: string, limit: number): Promise<SilencedRow[]> {
  const { rows } = await sql<SilencedRow>`
    select s.problem_id as "problemId", s.silence_id as "silenceId", s.event_id as "eventId", p.project_id as "projectId", p.family,
        p.dedup_key as "dedupKey"
      from silenced_problem s join problem p on p.id = s.problem_id
      where s.org_id = ${organizationId} and s.silence_id = ${silenceId} order by s.problem_id limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

export interface TakenProblem {
  problemId: string;
  eventId: string;
  /** Of its event so far. */
  decisions: number;
  isOpen: boolean;
}

/** Takes problems off what the silence keeps back, as they are now; those that another transaction took are left out. Their locks MUST be held. */
export async function takeSilenced(
  em: EntityManager,
  organizationId: string,
  { silenceId, problemIds, openSince }: { silenceId: string; problemIds: readonly string[]; openSince: number },
): Promise<TakenProblem[]> {
  const { rows } = await sql<TakenProblem>`
    delete from silenced_problem s using problem p
      where s.org_id = ${organizationId} and s.silence_id = ${silenceId} and s.problem_id = any(${problemIds}::uuid[]) and p.id = s.problem_id
      returning s.problem_id as "problemId", s.event_id as "eventId",
        p.ended_at is null and p.last_at > ${new Date(openSince).toISOString()}::timestamptz as "isOpen",
        (select coalesce(max(d.ordinal) + 1, 0) from decision d where d.org_id = s.org_id and d.event_id = s.event_id)::int as decisions
  `.execute(em.getKysely());
  return rows;
}

/** Which of the problems have ended, or been unheard of for so long that they count as ended. Run in the organization. */
export async function findEnded(em: EntityManager, problemIds: readonly string[], openSince: number): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select id from problem where id = any(${problemIds}::uuid[])
      and (ended_at is not null or last_at <= ${new Date(openSince).toISOString()}::timestamptz)
  `.execute(em.getKysely());
  return rows.map(({ id }) => id);
}

export type SilenceAct = SilenceStep['what'];

/** Locks what a silence does by itself. @returns what it has done; undefined: it was never set. Run in the organization. */
export async function lockSilenceClock(em: EntityManager, organizationId: string, silenceId: string): Promise<SilenceAct[] | undefined> {
  const { rows } = await sql<{ done: SilenceAct[] }>`select done from silence_clock
    where org_id = ${organizationId} and silence_id = ${silenceId} for update`.execute(em.getKysely());
  return rows[0]?.done;
}

/** @param dueAt of what it does next; null: nothing is left */
export async function setSilenceClock(
  em: EntityManager,
  organizationId: string,
  silenceId: string,
  { done, dueAt }: { done: readonly SilenceAct[]; dueAt: number | null },
): Promise<void> {
  const due = dueAt === null ? null : new Date(dueAt).toISOString();
  await sql`insert into silence_clock (org_id, silence_id, done, due_at) values (${organizationId}, ${silenceId}, ${[...done]}::text[], ${due})
    on conflict (org_id, silence_id) do update set done = excluded.done, due_at = excluded.due_at`.execute(em.getKysely());
}

/** Escalations whose next step a change of silences may bring about sooner, some of them, after this one. Run in the organization. */
export async function findWaiting(em: EntityManager, organizationId: string, after: string | null, limit: number): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select id from escalation where org_id = ${organizationId} and why in ('deferred_silence', 'silence_end', 'cooldown_end')
        and (${after}::uuid is null or id > ${after}::uuid)
      order by id limit ${limit}
  `.execute(em.getKysely());
  return rows.map(({ id }) => id);
}

/** Tells a person about a silence, in the app. */
export async function insertSilenceNotice(
  em: EntityManager,
  organizationId: string,
  notice: { id: string; userId: string; type: 'silence.started' | 'silence.ending_soon'; subject: string; message: string; at: number },
): Promise<void> {
  await sql`
    insert into notification (org_id, id, user_id, type, feed, severity, subject, message, created_at)
      values (${organizationId}, ${notice.id}, ${notice.userId}, ${notice.type}, 'system', 'info', ${notice.subject}, ${notice.message},
        ${new Date(notice.at).toISOString()})
  `.execute(em.getKysely());
}
