import type { MikroORM } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { type IntegrityReport, verifyLog } from '../db/queries/audit-integrity.ts';
import { findingCodes } from '../domain/audit/findings.ts';
import { toWireId } from '../domain/id.ts';
import { ownTransactionEndpoint } from './endpoint.ts';
import { presentedId } from './schema.ts';

const hash = z.string();
const finding = z.strictObject({
  code: z.enum(findingCodes),
  index: z.int().optional(),
  from: z.int().optional(),
  to: z.int().optional(),
  entryId: presentedId('audit_entry').optional(),
  expected: hash.optional(),
  got: hash.optional(),
  fields: z.array(z.string()).optional(),
  level: z.int().optional(),
  tile: z.int().optional(),
});

const integrity = z
  .strictObject({
    ok: z.boolean().meta({ description: 'Nothing was found.' }),
    origin: z.string().nullable(),
    epoch: z.int().nullable(),
    assurance: z.enum(['unsigned']).meta({ description: 'No signed head backs this: a log rewritten as a whole would not show.' }),
    treeSize: z.int(),
    rootHash: hash.meta({ description: 'Recomputed from the leaves.' }),
    structure: z.strictObject({ verified: z.int(), rootOk: z.boolean(), chainOk: z.boolean(), tilesOk: z.boolean() }),
    content: z.strictObject({ verified: z.int(), missing: z.int() }),
    disclosures: z.strictObject({ verified: z.int(), mismatch: z.int(), missing: z.int() }),
    columns: z.strictObject({ checked: z.int(), drift: z.int() }),
    pending: z.strictObject({ entries: z.int(), oldestSeconds: z.number() }),
    findings: z.array(finding).meta({ description: 'At most 1,000.' }),
    findingsTotal: z.int(),
  })
  .meta({ id: 'AuditIntegrity' });

const verifyAuditLog = ownTransactionEndpoint({
  name: 'audit_log.integrity',
  method: 'get',
  path: '/audit-logs/integrity',
  tag: 'Audit',
  summary: 'Walk the whole log and check that nothing was changed',
  description: 'Always a fresh walk over every entry. Each finding names what was altered, and where.',
  permission: 'audit_logs.view',
  responses: { 200: { description: 'What was found.', schema: integrity } },
  handler: async ({ principal, deps }) => ({ body: present(await walkOnce(deps.orm, principal.organizationId)) }),
});

function present(report: IntegrityReport) {
  return {
    ...report,
    assurance: 'unsigned' as const,
    findings: report.findings.map(({ entryId, ...rest }) =>
      entryId === undefined ? rest : { ...rest, entryId: toWireId('audit_entry', entryId) },
    ),
  };
}

interface Walks {
  readonly running: Promise<IntegrityReport>;
  next?: Promise<IntegrityReport>;
}
const walks = new WeakMap<MikroORM, Map<string, Walks>>();

/**
 * At most one walk of an organization at a time. Whoever asks meanwhile gets the next one: it begins after they asked, so it sees what
 * they mean to check, and any number of callers cost two walks.
 */
function walkOnce(orm: MikroORM, organizationId: string): Promise<IntegrityReport> {
  const ofProcess = walks.get(orm) ?? new Map<string, Walks>();
  walks.set(orm, ofProcess);
  const current = ofProcess.get(organizationId);
  if (current !== undefined) {
    current.next ??= current.running.then(
      () => walkOnce(orm, organizationId),
      () => walkOnce(orm, organizationId),
    );
    return current.next;
  }
  const running = verifyLog(orm, organizationId).finally(() => ofProcess.delete(organizationId));
  ofProcess.set(organizationId, { running });
  return running;
}

export const auditIntegrityEndpoints = [verifyAuditLog];
