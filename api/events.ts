import { z } from 'zod';
import { rawElements, rawMember } from '../domain/raw-json.ts';
import { sha256Hex } from '../domain/hash.ts';
import { DomainError, validationFailed, type Fault } from '../domain/errors.ts';
import { findEventType } from '../domain/event-type.ts';
import { toWireId } from '../domain/id.ts';
import type { ProblemChange } from '../domain/problem.ts';
import type { Decision } from '../domain/routing.ts';
import { endpoint, ownTransactionEndpoint, type OwnTransactionContext } from './endpoint.ts';
import { isTooFarAhead, postedEvent, type PostedEvent } from './event-schema.ts';
import { hashRequest, type StoredAnswer } from './idempotency.ts';
import type { DraftEvent, IntakeOutcome } from './intake-work.ts';
import { toProblem } from './problem.ts';
import { auditHeader } from './serve.ts';
import { presentedId, presentedTime, time, wireId } from './schema.ts';
import { toFaults } from './validation.ts';

const mebibyte = 1024 * 1024;
const maxDataBytes = 256 * 1024;
const maxDataDepth = 32;
const maxBatch = 1_000;

const presentedDecision = z.object({
  target: z.object({
    kind: z.enum(['webhook', 'channel', 'in_app', 'user', 'rule', 'escalation_policy']),
    id: z.string().nullable(),
    channelType: z.string().nullable(),
  }),
  verdict: z.enum(['send', 'escalate', 'suppress']),
  reason: z.string(),
});
const explainedDecision = presentedDecision.extend({
  winner: z.string().nullable(),
  losers: z.array(z.string()),
  sendAt: presentedTime.nullable(),
});
const accepted = z.object({
  id: presentedId('event'),
  status: z.enum(['accepted', 'duplicate']),
  acceptedAt: presentedTime,
  dedupKey: z.string(),
  decisions: z.array(presentedDecision),
});

export const postEvent = ownTransactionEndpoint({
  name: 'event.ingest',
  method: 'post',
  path: '/events',
  tag: 'Events',
  summary: 'Post an event',
  description:
    '202 means committed: the event, what was decided about it and why, its deliveries and its audit entry. It is delivered from here on whatever crashes.',
  permission: 'events.write',
  body: postedEvent,
  bodyLimit: 2 * mebibyte,
  idempotent: true,
  responses: { 202: { description: 'Accepted', schema: accepted } },
  handler: async (context) => {
    const draft = draftEvent(context.input.body, context.rawBody, context.now);
    const result = await context.deps.intake.accept({
      principal: context.principal,
      now: context.now,
      trail: context.trail,
      events: [draft],
      ...keyed(context, '/events', ([outcome]) => presentOutcome(outcome!)),
    });
    if ('replay' in result) return replayed(context, result.replay);
    const [outcome] = result.outcomes;
    context.auditedAs(result.entryIds);
    return { body: presentOutcome(outcome!) };
  },
});

export const postEvents = ownTransactionEndpoint({
  name: 'event.ingest_batch',
  method: 'post',
  path: '/events/batch',
  tag: 'Events',
  summary: 'Post up to 1,000 events, each of which stands or falls alone',
  permission: 'events.write',
  body: z.strictObject({ events: z.array(z.unknown()).min(1).max(maxBatch) }),
  bodyLimit: 16 * mebibyte,
  idempotent: true,
  responses: {
    202: {
      description: 'One result per event, in order',
      schema: z.object({
        data: z.array(
          z.union([z.object({ id: presentedId('event'), status: z.enum(['accepted', 'duplicate']) }), z.object({ error: z.unknown() })]),
        ),
      }),
    },
  },
  handler: async (context) => {
    const { events } = context.input.body;
    const texts = rawElements(rawMember(context.rawBody, 'events')!.text);
    const drafts = events.map((event, i) => tryDraft(event, texts[i]!, context.now));
    const valid = drafts.filter((draft): draft is DraftEvent => !(draft instanceof DomainError));
    const present = (outcomes: readonly IntakeOutcome[]) => {
      let taken = 0;
      return {
        data: drafts.map((draft) => {
          const outcome = draft instanceof DomainError ? { error: draft } : outcomes[taken++]!;
          if ('error' in outcome) return { error: toProblem(outcome.error, context.requestId) };
          return { id: toWireId('event', outcome.event.id), status: presentStatus(outcome.change) };
        }),
      };
    };
    const result = await context.deps.intake.accept({
      principal: context.principal,
      now: context.now,
      trail: context.trail,
      events: valid,
      ...keyed(context, '/events/batch', present),
    });
    if ('replay' in result) return replayed(context, result.replay);
    context.auditedAs(result.entryIds);
    return { body: present(result.outcomes) };
  },
});

export const explainEvent = endpoint({
  name: 'event.explain',
  method: 'post',
  path: '/events/explain',
  tag: 'Events',
  summary: 'What would be decided about an event, and why; nothing is stored or sent',
  permission: 'events.view',
  audited: false,
  body: postedEvent.extend({ at: time.optional(), userId: wireId('user').optional() }),
  bodyLimit: 2 * mebibyte,
  responses: { 200: { description: 'The decisions production would take', schema: z.object({ decisions: z.array(explainedDecision) }) } },
  handler: async ({ input: { body }, rawBody, now, principal, deps }) => {
    const { at, userId, ...posted } = body;
    const outcome = await deps.intake.explain(principal.organizationId, draftEvent(posted, rawBody, now), at ?? now);
    if ('error' in outcome) throw outcome.error;
    const isAsked = ({ target }: Decision): boolean =>
      userId === undefined || target.kind === 'in_app' || (target.kind === 'user' && target.id === userId);
    return {
      body: {
        decisions: outcome.decisions.filter(isAsked).map((decision) => ({
          ...presentDecision(decision),
          winner: decision.winner === null ? null : presentReference(decision.winner),
          losers: decision.losers.map(presentReference),
          sendAt: decision.verdict === 'send' ? new Date(decision.until ?? outcome.event.acceptedAt).toISOString() : null,
        })),
      },
    };
  },
});

/** Everything of an event but what its acceptance decides. Throws the faults that need the raw text or the clock. */
export function draftEvent(posted: PostedEvent, rawText: string, now: Date): DraftEvent {
  const data = posted.data === undefined ? undefined : rawMember(rawText, 'data');
  if (data !== undefined && Buffer.byteLength(data.text) > maxDataBytes) {
    throw new DomainError('payload_too_large', 'data has more than 262144 bytes.');
  }
  const faults: Fault[] = [];
  if (isTooFarAhead(posted, now))
    faults.push({ pointer: '/occurredAt', code: 'out_of_range', detail: 'must not be more than 5 minutes ahead' });
  if (data !== undefined && data.depth > maxDataDepth)
    faults.push({ pointer: '/data', code: 'too_deep', detail: 'must not be nested more than 32 deep' });
  if (faults.length > 0) throw validationFailed(faults);
  const type = findEventType(posted.type.spelling)!;
  const { resource, projectId = null } = posted;
  const subject = posted.subject ?? `${type.description}${resource === undefined ? '' : `: ${resource.name ?? resource.id}`}`.slice(0, 256);
  return {
    type: type.type,
    postedType: posted.type.spelling,
    category: type.category,
    feed: type.feed,
    effect: type.effect,
    family: type.family,
    severity: posted.severity ?? type.defaultSeverity,
    subject,
    message: posted.message ?? null,
    source: posted.source ?? 'api',
    projectId,
    tenantId: posted.tenantId ?? null,
    environment: posted.environment ?? null,
    gitCommitSha: posted.gitCommitSha ?? null,
    resource: resource ?? null,
    actor: posted.actor ?? null,
    labels: posted.labels ?? {},
    links: posted.links ?? [],
    data: data?.text ?? null,
    audience: posted.audience?.userIds ?? null,
    dedupKey:
      posted.dedupKey ??
      deriveDedupKey(resource === undefined ? [type.type, projectId, subject] : [type.family, projectId, resource.type, resource.id]),
    groupKey: posted.groupKey ?? null,
    occurredAt: (posted.occurredAt ?? now).getTime(),
  };
}

/** Same problem, when the producer does not say: by resource, else by what it is called. A list of texts is its own canonical JSON. */
function deriveDedupKey(parts: ReadonlyArray<string | null>): string {
  return `auto:${sha256Hex(JSON.stringify(parts))}`;
}

function tryDraft(event: unknown, rawText: string, now: Date): DraftEvent | DomainError {
  const parsed = postedEvent.safeParse(event, { reportInput: true });
  if (!parsed.success) return validationFailed(parsed.error.issues.flatMap((issue) => toFaults(issue, '')));
  try {
    return draftEvent(parsed.data, rawText, now);
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
}

function presentOutcome(outcome: IntakeOutcome) {
  if ('error' in outcome) throw outcome.error;
  const { event, decisions } = outcome;
  return {
    id: toWireId('event', event.id),
    status: presentStatus(outcome.change),
    acceptedAt: new Date(event.acceptedAt).toISOString(),
    dedupKey: event.dedupKey,
    decisions: decisions.map(presentDecision),
  };
}

/** A duplicate was stored, and counted for its problem, but told nobody except webhooks. */
export function presentStatus(change: ProblemChange): 'accepted' | 'duplicate' {
  return change === 'duplicate' || change === 'occurrence_duplicate' ? 'duplicate' : 'accepted';
}

function presentDecision({ target, verdict, reason }: Pick<Decision, 'target' | 'verdict' | 'reason'>) {
  return { target: { kind: target.kind, id: presentTarget(target), channelType: target.channelType }, verdict, reason };
}

export function presentTarget({ kind, id }: Decision['target']): string | null {
  return id === null || kind === 'in_app' ? null : toWireId(kind, id);
}

type ReferenceKind = 'webhook' | 'rule' | 'channel' | 'escalation_policy' | 'silence';

/** `rule:<uuid>@3` with the id as it is on the wire. */
export function presentReference(reference: string): string {
  const [, kind, uuid, version] = /^(webhook|rule|channel|escalation_policy|silence):(.+)@(\d+)$/.exec(reference) ?? [];
  if (kind === undefined || uuid === undefined) return reference;
  return `${kind}:${toWireId(kind as ReferenceKind, uuid)}@${version}`;
}

function keyed(context: OwnTransactionContext, path: string, present: (outcomes: readonly IntakeOutcome[]) => unknown) {
  const { idempotencyKey: key } = context;
  if (key === undefined) return {};
  return {
    idempotency: {
      key,
      requestHash: hashRequest('post', path, context.rawBody),
      answer: (outcomes: readonly IntakeOutcome[], entryIds: readonly string[]) => ({
        status: 202,
        headers: { 'Content-Type': 'application/json; charset=utf-8', ...auditHeader(entryIds) },
        body: JSON.stringify(present(outcomes)),
      }),
    },
  };
}

/** The first answer again; its entries are those of the first request, and nothing was changed now. */
function replayed(context: OwnTransactionContext, { status, headers, body }: StoredAnswer) {
  context.auditedAs([]);
  return { status, headers: { ...headers, 'Idempotency-Replayed': 'true' }, body };
}

export const eventEndpoints = [postEvent, postEvents, explainEvent];
