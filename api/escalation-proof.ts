import { z } from 'zod';
import { findEscalationEntries, type FoundEntry, type ProvenHead, readHead, readInclusionPaths } from '../db/queries/audit-proof.ts';
import { readInOrganization } from '../db/tenant.ts';
import { sha256Hex } from '../domain/hash.ts';
import { toWireId } from '../domain/id.ts';
import { ownTransactionEndpoint } from './endpoint.ts';
import { readEscalationRow } from './escalations.ts';
import { idParams, presentedId, presentedTime } from './schema.ts';

const format = 'tocsin-escalation-proof/1';
/** An escalation that pages many people for days has more; its beginning is what proofs are asked for. */
const mostEntries = 2_000;
const hash = z.string().regex(/^[0-9a-f]{64}$/);

const proof = z
  .strictObject({
    format: z.literal(format),
    escalation: z.strictObject({ id: presentedId('escalation'), uuid: z.uuid() }),
    exportedAt: presentedTime,
    checkpoint: z
      .strictObject({
        origin: z.string(),
        epoch: z.int(),
        size: z.int(),
        rootHash: hash,
        assurance: z.enum(['unsigned']).meta({ description: 'No signature backs this head: compare it with one that was kept elsewhere.' }),
      })
      .nullable()
      .meta({ description: 'The head of the log that all paths lead to; null: nothing was sequenced yet.' }),
    entries: z
      .array(
        z.strictObject({
          index: z.int(),
          canonical: z.string().meta({ description: 'The document whose UTF-8 bytes are hashed: leaf = SHA-256(0x00 || bytes).' }),
          disclosures: z.array(z.string()).meta({ description: 'The private values; SHA-256 of each is a commitment of the document.' }),
          path: z.array(hash).meta({ description: 'RFC 6962 inclusion proof, from the leaf upward.' }),
        }),
      )
      .meta({ description: 'In the order in which they were recorded.' }),
    pending: z
      .array(z.strictObject({ id: presentedId('audit_entry'), action: z.string() }))
      .meta({ description: 'Committed, but without a place in the log yet: ask again in a second.' }),
    complete: z.boolean().meta({ description: `False: there are more than ${mostEntries} entries, or some are pending.` }),
    digest: hash.meta({ description: 'SHA-256 of the JSON text of everything before it.' }),
  })
  .meta({ id: 'EscalationProof' });

const readProof = ownTransactionEndpoint({
  name: 'escalation.proof',
  method: 'get',
  path: '/escalations/{id}/proof',
  tag: 'Escalations',
  summary: 'Who was paged and who answered, verifiable without this server',
  description:
    'The audit entries of an escalation, each with the path that proves it to be in the log. Save the answer as it is: `node bin/tocsin-verify.mjs escalation FILE` checks it, prints what it proves and fails on any altered byte.',
  permission: 'audit_logs.view',
  params: idParams('escalation'),
  responses: { 200: { description: 'The proof.', schema: proof } },
  handler: async ({ principal: { organizationId }, input: { params }, now, deps }) => {
    const found = await readInOrganization(deps.orm, organizationId, async (em) => {
      const { id: escalationId, eventId } = await readEscalationRow(em, organizationId, params.id);
      const entries = await findEscalationEntries(em, organizationId, { escalationId, eventId, limit: mostEntries + 1 });
      const head = await readHead(em, organizationId);
      const shown = entries.slice(0, mostEntries);
      const proven = shown.filter((entry) => isProven(entry, head));
      const paths =
        head === undefined
          ? []
          : await readInclusionPaths(
              em,
              head,
              proven.map(({ index }) => index!),
            );
      return { head, shown, proven, paths, isCut: entries.length > mostEntries };
    });
    return { body: present(params.id, { ...found, now }) };
  },
});

/** Whether the entry is in the tree of this head: an earlier epoch's has a head of its own. */
function isProven({ treeId, index }: FoundEntry, head: ProvenHead | undefined): boolean {
  return head !== undefined && treeId === head.treeId && index !== null && index < head.size;
}

interface Found {
  head: ProvenHead | undefined;
  shown: readonly FoundEntry[];
  proven: readonly FoundEntry[];
  paths: ReadonlyArray<readonly Buffer[]>;
  isCut: boolean;
  now: Date;
}

function present(id: string, { head, shown, proven, paths, isCut, now }: Found) {
  const pending = shown.filter((entry) => !proven.includes(entry));
  const content = {
    format,
    escalation: { id: toWireId('escalation', id), uuid: id },
    exportedAt: now.toISOString(),
    checkpoint:
      head === undefined
        ? null
        : { origin: head.origin, epoch: head.epoch, size: head.size, rootHash: head.rootHash.toString('hex'), assurance: 'unsigned' },
    entries: proven.map(({ index, canonical, disclosures }, at) => ({
      index: index!,
      canonical: canonical.toString('utf8'),
      disclosures: [...disclosures],
      path: paths[at]!.map((node) => node.toString('hex')),
    })),
    pending: pending.map((entry) => ({ id: toWireId('audit_entry', entry.id), action: entry.action })),
    complete: !isCut && pending.length === 0,
  };
  // What is sent is this very text with the digest added to it.
  return { ...content, digest: sha256Hex(JSON.stringify(content)) };
}

export const escalationProofEndpoints = [readProof];
