/**
 * The only writer of audit entries. An entry is written in the transaction of what it tells about: both commit, or neither does.
 * Writers take no lock and read no neighbour, so they never wait for one another; the sequencer gives each entry its place afterwards.
 */
import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';
import { isControlAction } from '../domain/audit/actions.ts';
import { type AuditDraft, prepareEntry, type PreparedEntry } from '../domain/audit/entry.ts';
import { encodeEnvelope, unencrypted } from '../domain/audit/envelope.ts';
import { newId } from '../domain/id.ts';
import { packBytes } from './byte-columns.ts';

/**
 * Appends one entry per draft inside the caller's transaction, which MUST have the drafts' organization set (`inOrganization`): one
 * statement for any number of drafts.
 * @returns the entries' ids (UUID), in the order of the drafts
 * @throws AuditEntryError for a draft that breaks a limit of the format; the caller's transaction MUST then roll back
 */
export async function appendAudit(em: EntityManager, drafts: readonly AuditDraft[]): Promise<string[]> {
  if (drafts.length === 0) return [];
  await measureClock(em);
  const { ids, statements } = auditStatements(drafts);
  for (const statement of statements) await statement.execute(em.getKysely());
  return ids;
}

/**
 * What `appendAudit` executes, for a transaction that is sent in one piece (pipeline.ts). The clock is as `measureClock` last found it.
 * @throws AuditEntryError as `appendAudit` does
 */
export function auditStatements(drafts: readonly AuditDraft[]): { ids: string[]; statements: Array<RawBuilder<unknown>> } {
  if (drafts.length === 0) return { ids: [], statements: [] };
  const nowMs = Date.now() + clock.offsetMs;
  const recordedAt = new Date(nowMs).toISOString();
  const entries = drafts.map((draft) => prepareEntry(draft, { id: newId(nowMs), recordedAt }));
  const statements = [insertEntries(entries, recordedAt)];
  const control = entries.filter(({ columns }) => isControlAction(columns.action));
  if (control.length > 0) statements.push(insertControl(control, recordedAt));
  return { ids: entries.map(({ id }) => id), statements };
}

/** Arrays of columns travel as one parameter each: the statement's text is the same for one entry and for a thousand. */
function insertEntries(entries: readonly PreparedEntry[], recordedAt: string): RawBuilder<unknown> {
  const column = <K extends keyof PreparedEntry['columns']>(name: K) => entries.map(({ columns }) => columns[name]);
  const documents = packBytes(entries.map(({ canonical }) => canonical));
  return sql`select audit.append(
    ${recordedAt}::timestamptz, ${entries.map(({ id }) => id)}::uuid[], ${entries.map(({ orgId }) => orgId)}::uuid[],
    ${column('occurredAt')}::timestamptz[], ${column('projectId')}::uuid[], ${column('tenantId')}::text[], ${column('class')}::text[],
    ${column('category')}::text[], ${column('action')}::text[], ${column('verb')}::text[], ${column('status')}::text[],
    ${column('actorType')}::text[], ${column('actorId')}::text[], ${column('resourceType')}::text[], ${column('resourceId')}::text[],
    ${column('resourceName')}::text[], ${column('tool')}::text[], ${column('gitCommitSha')}::text[], ${column('correlationId')}::text[],
    ${column('breakGlassSessionId')}::text[], ${entries.map(({ columns }) => columns.changed && arrayLiteral(columns.changed))}::text[],
    ${documents.bytes}::bytea, ${documents.starts}::int[], ${documents.lengths}::int[],
    ${Buffer.concat(entries.map(({ leafHash }) => leafHash))}::bytea,
    ${entries.map(subjectIds)}::text[], ${entries.map(dataKeyVersions)}::text[], ${entries.map(envelopes)}::text[])`;
}

function insertControl(entries: readonly PreparedEntry[], recordedAt: string): RawBuilder<unknown> {
  return sql`
insert into audit.control (id, org_id, recorded_at, canonical, leaf_hash)
select id, org_id, ${recordedAt}::timestamptz, canonical, leaf_hash from unnest(
  ${entries.map(({ id }) => id)}::uuid[], ${entries.map(({ orgId }) => orgId)}::uuid[],
  ${entries.map(({ canonical }) => canonical)}::bytea[], ${entries.map(({ leafHash }) => leafHash)}::bytea[]
) as c(id, org_id, canonical, leaf_hash)`;
}

// An array of arrays would have to be rectangular; so a row's arrays travel as literals, null when the entry holds nothing private.
function subjectIds({ privateGroups }: PreparedEntry): string | null {
  return privateGroups.length === 0 ? null : arrayLiteral(privateGroups.map(({ subjectId }) => subjectId));
}

function dataKeyVersions({ privateGroups }: PreparedEntry): string | null {
  return privateGroups.length === 0 ? null : `{${privateGroups.map(() => unencrypted).join(',')}}`;
}

function envelopes({ privateGroups }: PreparedEntry): string | null {
  if (privateGroups.length === 0) return null;
  return `{${privateGroups.map(({ disclosures }) => `"\\\\x${encodeEnvelope(disclosures).toString('hex')}"`).join(',')}}`;
}

function arrayLiteral(texts: readonly string[]): string {
  return `{${texts.map((text) => `"${text.replace(/["\\]/g, '\\$&')}"`).join(',')}}`;
}

const clockCheckMs = 60_000;
const clock = { offsetMs: 0, checkedAtMs: Number.NEGATIVE_INFINITY };

/**
 * How far this process's clock is from the database's, so that entries written by several machines carry one time; measured at most once a
 * minute. Only who sends whole transactions needs to call it.
 */
export async function measureClock(em: EntityManager): Promise<void> {
  if (performance.now() - clock.checkedAtMs > clockCheckMs) {
    const sentMs = Date.now();
    const { rows } = await sql<{ ms: string }>`select (extract(epoch from clock_timestamp()) * 1000)::bigint as ms`.execute(em.getKysely());
    // the answer was made somewhere between: its middle errs by half the round trip at most
    clock.offsetMs = Math.round(Number(rows[0]!.ms) - (sentMs + Date.now()) / 2);
    clock.checkedAtMs = performance.now();
  }
}
