import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { type AuditEntryRow, findAuditEntry, findCompanions, findPreviousChain, listAuditEntries } from '../db/queries/audit-entries.ts';
import { canonicalize, type JsonValue } from '../domain/audit/canonical.ts';
import { chainSeed } from '../domain/audit/chain.ts';
import { notFound, validationFailed } from '../domain/errors.ts';
import { sha256Hex } from '../domain/hash.ts';
import { auditEntry, auditEntryDetail, presentAuditEntry, presentAuditEntryDetail } from './audit-entry.ts';
import { auditFilterQuery, toAuditFilter } from './audit-filter.ts';
import { auditIntegrityEndpoints } from './audit-integrity.ts';
import { endpoint } from './endpoint.ts';
import { openPage, pageOf, pageQuery } from './paging.ts';
import { idParams } from './schema.ts';

const offsetMax = 10_000;
const searchMaxMs = 5_000;
/** SQLSTATE of a statement that was stopped by its timeout. */
const queryCanceled = '57014';
const cursorKey = z.tuple([z.string(), z.string()]);

const listAuditLogs = endpoint({
  name: 'audit_log.list',
  method: 'get',
  path: '/audit-logs',
  tag: 'Audit',
  summary: 'List audit entries, newest first',
  description: 'Without a time range: the last 30 days. A cursor belongs to the filter that it came with.',
  permission: 'audit_logs.view',
  query: z.strictObject({
    ...auditFilterQuery,
    ...pageQuery,
    offset: z.coerce
      .number()
      .int()
      .min(0)
      .optional()
      .meta({ description: `At most ${offsetMax}; a cursor goes further and faster.` }),
  }),
  responses: { 200: { description: 'A page of entries.', schema: pageOf(auditEntry) } },
  handler: async ({ em, principal, input: { query }, now, deps }) => {
    const { cursor, limit, offset, ...filterQuery } = query;
    if (offset !== undefined && (cursor !== undefined || offset > offsetMax)) {
      const detail = cursor === undefined ? `must not be above ${offsetMax}; page with cursor instead` : 'cannot be combined with cursor';
      throw validationFailed([{ pointer: '/query/offset', code: 'use_cursor', detail }]);
    }
    const page = openPage({ principal, deps }, { cursor, limit }, { list: `audit_log.list ${hashFilter(filterQuery)}`, key: cursorKey });
    const rows = await withinTime(em, () =>
      listAuditEntries(em, principal.organizationId, toAuditFilter(filterQuery, now), {
        after: page.after && { occurredAt: page.after[0], id: page.after[1] },
        offset,
        limit: page.take,
      }),
    );
    const present = await presenterOf(em, principal.organizationId, rows);
    return { body: page.present(rows, (row) => [row.occurred_at, row.id] as [string, string], present) };
  },
});

const recentAuditLogs = endpoint({
  name: 'audit_log.recent',
  method: 'get',
  path: '/audit-logs/recent',
  tag: 'Audit',
  summary: 'The newest entries of the last 30 days',
  permission: 'audit_logs.view',
  query: z.strictObject({ limit: z.coerce.number().int().min(1).max(50).default(10) }),
  responses: { 200: { description: 'The newest entries.', schema: z.strictObject({ data: z.array(auditEntry) }) } },
  handler: async ({ em, principal, input: { query }, now }) => {
    const rows = await listAuditEntries(em, principal.organizationId, toAuditFilter({}, now), { limit: query.limit });
    const present = await presenterOf(em, principal.organizationId, rows);
    return { body: { data: rows.map(present) } };
  },
});

const readAuditLog = endpoint({
  name: 'audit_log.view',
  method: 'get',
  path: '/audit-logs/{id}',
  tag: 'Audit',
  summary: 'Everything about one entry',
  description: 'What was hashed, the private values that it commits to, and its place in the log. Hashes are lower-case hexadecimal.',
  permission: 'audit_logs.view',
  params: idParams('audit_entry'),
  responses: { 200: { description: 'The entry.', schema: auditEntryDetail } },
  handler: async ({ em, principal, input: { params } }) => {
    const row = await findAuditEntry(em, principal.organizationId, params.id);
    if (row === undefined) throw notFound();
    const companions = await findCompanions(em, principal.organizationId, [row.id]);
    const previous = await findPreviousChain(em, principal.organizationId, row.id);
    const place = previous && { epoch: previous.epoch, previousChainHash: previous.chainHash ?? chainSeed(previous.origin) };
    return { body: presentAuditEntryDetail(row, companions.get(row.id), place) };
  },
});

/** A filter that matches little in a long time reads all of it; past the limit the caller is told to narrow the range. */
async function withinTime<T>(em: EntityManager, search: () => Promise<T>): Promise<T> {
  await em.execute(`select set_config('statement_timeout', ?, true)`, [`${searchMaxMs}`]);
  try {
    return await search();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === queryCanceled) {
      throw validationFailed([{ pointer: '/query/start', code: 'too_broad', detail: 'the search took too long: narrow the time range' }]);
    }
    throw error;
  }
}

async function presenterOf(em: EntityManager, organizationId: string, rows: readonly AuditEntryRow[]) {
  const companions = await findCompanions(
    em,
    organizationId,
    rows.map(({ id }) => id),
  );
  return (row: AuditEntryRow) => presentAuditEntry(row, companions.get(row.id));
}

/** The same filter, however its parameters were ordered, gives the same text. */
function hashFilter(query: object): string {
  const plain = JSON.parse(JSON.stringify(query)) as JsonValue;
  return sha256Hex(canonicalize(plain));
}

// the fixed paths first: an id would match them too
export const auditLogEndpoints = [listAuditLogs, recentAuditLogs, ...auditIntegrityEndpoints, readAuditLog];
