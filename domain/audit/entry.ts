/**
 * From what a caller says (draft.ts) to what is stored: the canonical document with its leaf hash, the columns copied from it, and the
 * private values with their salts. The order of the steps is part of the format: redact, truncate, compare, commit.
 */
import { hash } from 'node:crypto';
import { isPersonalType, normalizeAction, readAction } from './actions.ts';
import { canonicalize } from './canonical.ts';
import { commitTo, freshSalt, makeDisclosure } from './commitment.ts';
import { changedNames } from './diff.ts';
import { columnsOf, type DocumentResource, type EntryColumns, type EntryDocument } from './document.ts';
import type { AuditActor, AuditCorrelation, AuditDraft, AuditResource, AuditTool } from './draft.ts';
import { checkChanged, checkCommit, formatOccurredAt, checkUuid, freeText, limits, plainText } from './limits.ts';
import { collectPrivateValues, splitDetails, type PrivateValue } from './private-values.ts';
import { AuditEntryError } from './redact.ts';

export type { AuditActor, AuditDraft } from './draft.ts';

/** The private values of one person (or of the organization's month) in an entry: what is encrypted, and erased, together. */
export interface PrivateGroup {
  /** The person's id, or `org:<yyyymm>` for what concerns nobody in particular. */
  readonly subjectId: string;
  readonly disclosures: readonly string[];
}

export interface PreparedEntry {
  readonly id: string;
  readonly orgId: string;
  readonly recordedAt: string;
  /** RFC 8785 bytes of the document, at most 32,768. These bytes are stored; nothing ever rebuilds them. */
  readonly canonical: Buffer;
  /** SHA-256(0x00 || canonical). */
  readonly leafHash: Buffer;
  readonly columns: EntryColumns;
  readonly privateGroups: readonly PrivateGroup[];
}

export interface EntryIdentity {
  /** UUIDv7 whose time is `recordedAt`. */
  readonly id: string;
  /** RFC 3339 in UTC with milliseconds. */
  readonly recordedAt: string;
  /** Gives the 16-byte salts, one for each private value, in the UTF-16 order of the values' names. Default: fresh random bytes. */
  readonly salt?: () => Uint8Array;
}

/**
 * Pure but for the salts, and cheap: it runs for every mutation and every attempt.
 * @throws AuditEntryError naming the field when the draft breaks a limit of the format
 */
export function prepareEntry(draft: AuditDraft, { id, recordedAt, salt = freshSalt }: EntryIdentity): PreparedEntry {
  const action = normalizeAction(draft.action);
  if (action === undefined) throw new AuditEntryError('action', 'format');
  const meaning = readAction(action);
  const details = splitDetails(draft.details, meaning.clearDetails);
  const { commitments, privateGroups } = commitValues(collectPrivateValues(draft, details.private), salt, recordedAt);

  const document: EntryDocument = {
    action,
    actor: describeActor(draft.actor),
    breakGlass: draft.breakGlass && { sessionId: plainText(draft.breakGlass.sessionId, 'breakGlass.sessionId', 128) },
    category: meaning.category,
    changed: findChanged(draft),
    class: meaning.class,
    commitments,
    correlation: draft.correlation && describeCorrelation(draft.correlation),
    details: details.clear,
    gitCommitSha: draft.gitCommitSha === undefined ? undefined : checkCommit(draft.gitCommitSha),
    http: draft.http && {
      method: plainText(draft.http.method, 'http.method', 16),
      route: plainText(draft.http.route, 'http.route', 256),
      status: draft.http.status,
    },
    id,
    occurredAt: draft.occurredAt === undefined ? recordedAt : formatOccurredAt(draft.occurredAt, recordedAt),
    orgId: checkUuid(draft.orgId, 'orgId'),
    projectId: draft.projectId === undefined ? undefined : checkUuid(draft.projectId, 'projectId'),
    reason: draft.reason === undefined ? undefined : plainText(draft.reason, 'reason', 64),
    recordedAt,
    recording: draft.recording && {
      id: plainText(draft.recording.id, 'recording.id', 128),
      root: plainText(draft.recording.root, 'recording.root', 64),
    },
    resource: draft.resource && describeResource(draft.resource, 'resource'),
    schema: meaning.schema,
    status: draft.status ?? 'success',
    submitter: draft.submitter && { id: plainText(draft.submitter.id, 'submitter.id', 128), type: draft.submitter.type },
    targets: draft.targets && describeTargets(draft.targets),
    tenantId: draft.tenantId === undefined ? undefined : plainText(draft.tenantId, 'tenantId', 128),
    tool: draft.tool ?? toolOf(draft.actor),
    v: 1,
    verb: meaning.verb,
  };
  const { canonical, leafHash } = encodeDocument(document);
  return { id, orgId: document.orgId, recordedAt, canonical, leafHash, columns: columnsOf(document), privateGroups };
}

/** RFC 8785 bytes of a document with their leaf hash. */
function encodeDocument(document: EntryDocument): { canonical: Buffer; leafHash: Buffer } {
  const text = canonicalize(document);
  // one buffer holds 0x00 || canonical: it is hashed whole and stored without its first byte
  const leaf = Buffer.allocUnsafe(Buffer.byteLength(text) + 1);
  if (leaf.length > limits.canonicalBytes + 1) throw new AuditEntryError('entry', 'too_large');
  leaf[0] = 0;
  leaf.write(text, 1, 'utf8');
  return { canonical: leaf.subarray(1), leafHash: hash('sha256', leaf, 'buffer') };
}

function commitValues(
  values: readonly PrivateValue[],
  salt: () => Uint8Array,
  recordedAt: string,
): { commitments: Record<string, string> | undefined; privateGroups: PrivateGroup[] } {
  if (values.length === 0) return { commitments: undefined, privateGroups: [] };
  const commitments: Record<string, string> = {};
  const groups = new Map<string, string[]>();
  for (const { name, subjectId, text } of values) {
    const disclosure = makeDisclosure(salt(), name, text);
    commitments[name] = commitTo(disclosure);
    const subject = subjectId ?? `org:${recordedAt.slice(0, 4)}${recordedAt.slice(5, 7)}`;
    const group = groups.get(subject);
    if (group === undefined) groups.set(subject, [disclosure]);
    else group.push(disclosure);
  }
  return { commitments, privateGroups: Array.from(groups, ([subjectId, disclosures]) => ({ subjectId, disclosures })) };
}

function describeActor(actor: AuditActor): EntryDocument['actor'] {
  const id = plainText(actor.id, 'actor.id', 128);
  // the document can never be erased, so it must not hold an address of a person
  if (id.includes('@')) throw new AuditEntryError('actor.id', 'not_opaque');
  return {
    apiTokenId: optionalText(actor.apiTokenId, 'actor.apiTokenId', 128),
    apiTokenName: optionalText(actor.apiTokenName, 'actor.apiTokenName', 256),
    creatorId: optionalText(actor.creatorId, 'actor.creatorId', 128),
    id,
    onBehalfOf: optionalText(actor.onBehalfOf, 'actor.onBehalfOf', 128),
    subsystem: optionalText(actor.subsystem, 'actor.subsystem', 64),
    type: actor.type,
  };
}

function describeResource({ type, id, name }: AuditResource, field: string): DocumentResource {
  return {
    id: plainText(id, `${field}.id`, 256),
    name: name === undefined || isPersonalType(type) ? undefined : freeText(name, `${field}.name`, 256),
    type: plainText(type, `${field}.type`, 64),
  };
}

function describeTargets(targets: readonly AuditResource[]): DocumentResource[] | undefined {
  if (targets.length > limits.targets) throw new AuditEntryError('targets', 'too_many');
  return targets.length === 0 ? undefined : targets.map((target, i) => describeResource(target, `targets.${i}`));
}

function describeCorrelation(correlation: AuditCorrelation): Record<string, string | undefined> {
  const root = correlation.root ?? correlation.eventId ?? correlation.traceId;
  return {
    deliveryId: optionalText(correlation.deliveryId, 'correlation.deliveryId', 256),
    digestId: optionalText(correlation.digestId, 'correlation.digestId', 256),
    escalationId: optionalText(correlation.escalationId, 'correlation.escalationId', 256),
    eventId: optionalText(correlation.eventId, 'correlation.eventId', 256),
    requestId: optionalText(correlation.requestId, 'correlation.requestId', 256),
    root: optionalText(root, 'correlation.root', 256),
    traceId: optionalText(correlation.traceId, 'correlation.traceId', 256),
    workflowId: optionalText(correlation.workflowId, 'correlation.workflowId', 256),
  };
}

function findChanged({ changed, before, after }: AuditDraft): string[] | undefined {
  if (changed !== undefined) return checkChanged(changed);
  return before === undefined || after === undefined ? undefined : checkChanged(changedNames(before, after));
}

function toolOf({ type }: AuditActor): AuditTool {
  return type === 'system' || type === 'workflow' || type === 'agent' ? type : 'api';
}

function optionalText(text: string | undefined, field: string, maxLength: number): string | undefined {
  return text === undefined ? undefined : plainText(text, field, maxLength);
}
