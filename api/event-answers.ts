import { z } from 'zod';
import { DomainError } from '../domain/errors.ts';
import { toWireId } from '../domain/id.ts';
import type { ProblemChange } from '../domain/problem.ts';
import type { Decision } from '../domain/routing.ts';
import type { Answer, OwnTransactionContext } from './endpoint.ts';
import { hashRequest, type StoredAnswer } from './idempotency.ts';
import type { IntakeOutcome, IntakeRequest, IntakeResult, PreparedEvent } from './intake-work.ts';
import { presentedId, presentedTime } from './schema.ts';
import { auditHeader } from './serve.ts';

/** What producers are answered. */

export const presentedDecision = z.object({
  target: z.object({
    kind: z.enum(['webhook', 'channel', 'in_app', 'user', 'rule', 'escalation_policy']),
    id: z.string().nullable(),
    channelType: z.string().nullable(),
  }),
  verdict: z.enum(['send', 'group', 'escalate', 'suppress']),
  reason: z.string(),
});
export const explainedDecision = presentedDecision.extend({
  winner: z.string().nullable(),
  losers: z.array(z.string()),
  sendAt: presentedTime.nullable(),
});
export const acceptedEvent = z.object({
  id: presentedId('event'),
  status: z.enum(['accepted', 'duplicate']),
  acceptedAt: presentedTime,
  dedupKey: z.string(),
  decisions: z.array(presentedDecision),
});

export const acceptedBatch = z.object({
  data: z.array(
    z.union([z.object({ id: presentedId('event'), status: z.enum(['accepted', 'duplicate']) }), z.object({ error: z.unknown() })]),
  ),
});

/** Of a request with one event. Throws what it was refused for. */
export function presentOnly([outcome]: readonly IntakeOutcome[]) {
  if (outcome === undefined) throw new Error('A request with one event has no outcome');
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

export function presentDecision({ target, verdict, reason }: Pick<Decision, 'target' | 'verdict' | 'reason'>) {
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

/** Hands events of one request to intake; they are committed together. */
export async function acceptEvents(
  { deps, principal, now, trail }: OwnTransactionContext,
  events: readonly PreparedEvent[],
  idempotency?: IntakeRequest['idempotency'],
): Promise<IntakeResult> {
  return deps.intake.accept({ principal, now, trail, events, ...(idempotency === undefined ? {} : { idempotency }) });
}

/** Of a batch, which is answered with success whatever became of its members: what the caller was not allowed. */
export async function auditDenied(
  { auditRefusal }: OwnTransactionContext,
  outcomes: ReadonlyArray<IntakeOutcome | { error: unknown }>,
): Promise<void> {
  for (const outcome of outcomes) {
    const error = 'error' in outcome ? outcome.error : undefined;
    if (error instanceof DomainError && error.code === 'permission_denied') await auditRefusal(error);
  }
}

/** What a request with the same key is to be answered; undefined without a key. */
export function keyedBy(
  context: OwnTransactionContext,
  path: string,
  present: (outcomes: readonly IntakeOutcome[]) => unknown,
): IntakeRequest['idempotency'] {
  const { idempotencyKey: key, rawBody } = context;
  return key === undefined ? undefined : keeping({ key, requestHash: hashRequest('post', path, rawBody) }, present);
}

export function keeping(
  identity: { key: string; requestHash: Buffer },
  present: (outcomes: readonly IntakeOutcome[]) => unknown,
): NonNullable<IntakeRequest['idempotency']> {
  return {
    ...identity,
    answer: (outcomes, entryIds) => ({
      status: 202,
      headers: { 'Content-Type': 'application/json; charset=utf-8', ...auditHeader(entryIds) },
      body: JSON.stringify(present(outcomes)),
    }),
  };
}

/** The answer to a request, with `present` for its body unless it was answered before. */
export function answerEvents(
  context: OwnTransactionContext,
  result: IntakeResult,
  present: (outcomes: readonly IntakeOutcome[]) => unknown,
): Answer {
  if ('replay' in result) return replay(context, result.replay);
  context.auditedAs(result.entryIds);
  return { body: present(result.outcomes) };
}

/** The first answer again; its entries are those of the first request, and nothing was changed now. */
function replay(context: OwnTransactionContext, { status, headers, body }: StoredAnswer): Answer {
  context.auditedAs([]);
  return { status, headers: { ...headers, 'Idempotency-Replayed': 'true' }, body };
}
