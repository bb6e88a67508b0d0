import { z } from 'zod';
import type { AuditEntryCompanion, AuditEntryRow } from '../db/queries/audit-entries.ts';
import { auditCategories, auditClasses } from '../domain/audit/actions.ts';
import type { JsonValue } from '../domain/audit/canonical.ts';
import { commitTo, readDisclosure } from '../domain/audit/commitment.ts';
import type { DocumentResource, EntryDocument } from '../domain/audit/document.ts';
import { actorTypes, auditStatuses, auditTools } from '../domain/audit/draft.ts';
import { decodeEnvelope } from '../domain/audit/envelope.ts';
import { idTimeMs, toWireId, type IdKind } from '../domain/id.ts';
import { presentedId, presentedTime } from './schema.ts';

/** How entries look on the wire. Documents hold UUIDs; here ids of our own things take their wire form, ids of others stay text. */

const text = z.string().nullable();
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const resource = z.object({ type: z.string(), id: z.string(), name: z.unknown() });

export const auditEntry = z
  .strictObject({
    id: presentedId('audit_entry'),
    occurredAt: presentedTime,
    recordedAt: presentedTime,
    action: z.string(),
    verb: z.string(),
    category: z.enum(auditCategories),
    class: z.enum(auditClasses),
    status: z.enum(auditStatuses),
    actor: z.strictObject({ type: z.enum(actorTypes), id: z.string(), email: z.unknown(), name: z.unknown() }),
    resource: resource.nullable(),
    projectId: text,
    tenantId: text,
    tool: z.enum(auditTools),
    gitCommitSha: text,
    correlationId: text,
    breakGlassSessionId: text,
    changed: z.array(z.string()),
    index: z.int().nullable().meta({ description: 'Place in the log; null until sequenced.' }),
  })
  .meta({ id: 'AuditEntry' });

export const auditEntryDetail = auditEntry
  .extend({
    schema: z.string(),
    organizationId: presentedId('organization'),
    reason: text,
    actor: z.looseObject({ type: z.enum(actorTypes), id: z.string() }),
    submitter: z.unknown(),
    targets: z.array(resource),
    http: z.unknown(),
    request: z.unknown(),
    response: z.unknown(),
    ip: z.unknown(),
    userAgent: z.unknown(),
    correlation: z.record(z.string(), z.string()),
    breakGlass: z.unknown(),
    recording: z.unknown(),
    details: z.record(z.string(), z.unknown()),
    before: z.unknown(),
    after: z.unknown(),
    diff: z.unknown(),
    commitments: z.record(z.string(), z.string()),
    disclosures: z.array(z.string()).meta({ description: 'base64url(JCS([salt, name, value])); SHA-256 of each is its commitment.' }),
    canonical: z.string().meta({ description: 'The document whose UTF-8 bytes are hashed: leafHash = SHA-256(0x00 || bytes).' }),
    epoch: z.int().nullable(),
    leafHash: hash,
    chainHash: hash.nullable(),
    prevChainHash: hash.nullable(),
    sequencedAt: presentedTime.nullable(),
  })
  .meta({ id: 'AuditEntryDetail' });

const kindOfType: Readonly<Record<string, IdKind>> = {
  organization: 'organization',
  project: 'project',
  user: 'user',
  member: 'user',
  service_account: 'service_account',
  api_key: 'api_key',
  event: 'event',
  rule: 'rule',
  silence: 'silence',
  calendar: 'calendar',
  schedule: 'schedule',
  override: 'override',
  escalation_policy: 'escalation_policy',
  policy_test: 'policy_test',
  escalation: 'escalation',
  contact_method: 'contact_method',
  // they have no id but their owner's
  preference: 'user',
  integration: 'integration',
  webhook: 'webhook',
  channel: 'channel',
  delivery: 'delivery',
  notification: 'notification',
};
const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The wire form of an id of this type of thing, if it is one of ours. */
function presentIdOf(type: string, id: string): string {
  const kind = Object.hasOwn(kindOfType, type) ? kindOfType[type] : undefined;
  return kind !== undefined && uuid.test(id) ? toWireId(kind, id) : id;
}

function presentResource<T extends { type: string; id: string }>(thing: T): T {
  return { ...thing, id: presentIdOf(thing.type, thing.id) };
}

/** Private values by name, only those that match what the document committed to. */
function disclosedValues(companion: AuditEntryCompanion | undefined, commitments?: EntryDocument['commitments']) {
  const values = new Map<string, JsonValue>();
  const disclosures = (companion?.envelopes ?? []).flatMap((envelope) => decodeEnvelope(envelope) ?? []);
  for (const disclosure of disclosures) {
    const read = readDisclosure(disclosure);
    if (read === undefined) continue;
    if (commitments === undefined || commitments[read.name] === commitTo(disclosure)) values.set(read.name, read.value);
  }
  return { values, disclosures };
}

/** A row of the list. Its private values are not checked against the document, which lists do not read. */
export function presentAuditEntry(row: AuditEntryRow, companion: AuditEntryCompanion | undefined) {
  const { values } = disclosedValues(companion);
  return {
    ...presentColumns(row, companion),
    actor: {
      type: row.actor_type,
      id: presentIdOf(row.actor_type, row.actor_id),
      email: values.get('actor.email') ?? null,
      name: values.get('actor.name') ?? null,
    },
    resource:
      row.resource_type === null || row.resource_id === null
        ? null
        : presentResource({ type: row.resource_type, id: row.resource_id, name: row.resource_name ?? values.get('resource.name') ?? null }),
  };
}

function presentColumns(row: AuditEntryRow, companion: AuditEntryCompanion | undefined) {
  return {
    id: toWireId('audit_entry', row.id),
    occurredAt: row.occurred_at,
    recordedAt: new Date(idTimeMs(row.id)).toISOString(),
    action: row.action,
    verb: row.verb,
    category: row.category,
    class: row.class,
    status: row.status,
    projectId: row.project_id === null ? null : toWireId('project', row.project_id),
    tenantId: row.tenant_id,
    tool: row.tool,
    gitCommitSha: row.git_commit_sha,
    // the root of a correlation is an event, or a producer's own text
    correlationId: row.correlation_id === null ? null : presentIdOf('event', row.correlation_id),
    breakGlassSessionId: row.break_glass_session_id,
    changed: row.changed ?? [],
    index: companion === undefined || companion.idx === null ? null : Number(companion.idx),
  };
}

export interface AuditPlace {
  readonly epoch: number;
  readonly previousChainHash: Buffer;
}

/** Everything about one entry, from its hashed document; columns only where the document has nothing of the kind. */
export function presentAuditEntryDetail(
  row: AuditEntryRow & { canonical: Buffer; leaf_hash: Buffer },
  companion: AuditEntryCompanion | undefined,
  place: AuditPlace | undefined,
) {
  const canonical = row.canonical.toString('utf8');
  const document = JSON.parse(canonical) as EntryDocument;
  const { values, disclosures } = disclosedValues(companion, document.commitments ?? {});
  const value = (name: string): JsonValue => values.get(name) ?? null;
  const { actor } = document;
  return {
    ...presentColumns(row, companion),
    schema: document.schema,
    organizationId: toWireId('organization', document.orgId),
    reason: document.reason ?? null,
    actor: {
      ...actor,
      id: presentIdOf(actor.type, actor.id),
      ...(actor.creatorId === undefined ? {} : { creatorId: presentIdOf('user', actor.creatorId) }),
      ...(actor.apiTokenId === undefined ? {} : { apiTokenId: presentIdOf('api_key', actor.apiTokenId) }),
      email: value('actor.email'),
      name: value('actor.name'),
    },
    submitter:
      document.submitter === undefined ? null : { ...document.submitter, id: presentIdOf(document.submitter.type, document.submitter.id) },
    resource: document.resource === undefined ? null : presentNamed(document.resource, values.get('resource.name')),
    targets: (document.targets ?? []).map((target, i) => presentNamed(target, values.get(`targets.${i}.name`))),
    http: document.http ?? null,
    request: value('request'),
    response: value('response'),
    ip: value('ip'),
    userAgent: value('userAgent'),
    correlation: presentCorrelation(document.correlation ?? {}),
    breakGlass: document.breakGlass === undefined ? null : { ...document.breakGlass, justification: value('breakGlass.justification') },
    recording: document.recording ?? null,
    details: { ...(values.get('details') as object | undefined), ...document.details },
    before: value('before'),
    after: value('after'),
    diff: value('diff'),
    commitments: document.commitments ?? {},
    disclosures,
    canonical,
    epoch: place?.epoch ?? null,
    leafHash: row.leaf_hash.toString('hex'),
    chainHash: companion?.chain_hash?.toString('hex') ?? null,
    prevChainHash: place?.previousChainHash.toString('hex') ?? null,
    sequencedAt: companion?.sequenced_at ?? null,
  };
}

function presentNamed(named: DocumentResource, privateName: JsonValue | undefined) {
  return { ...presentResource(named), name: named.name ?? privateName ?? null };
}

function presentCorrelation(correlation: NonNullable<EntryDocument['correlation']>): Record<string, string> {
  const types: Readonly<Record<string, string>> = { root: 'event', eventId: 'event', deliveryId: 'delivery', escalationId: 'escalation' };
  return Object.fromEntries(Object.entries(correlation).map(([name, id]) => [name, presentIdOf(types[name] ?? '', id ?? '')]));
}
