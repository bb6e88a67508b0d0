import { z } from 'zod';
import { DomainError, validationFailed } from '../domain/errors.ts';
import { isJsonObject } from '../domain/foreign-event.ts';
import { toWireId } from '../domain/id.ts';
import { type RawValue, rawElements, rawMember } from '../domain/raw-json.ts';
import type { Decision } from '../domain/routing.ts';
import { cloudEvent, cloudEventBatch, cloudEventMediaTypes, readCloudEvents } from './cloud-events.ts';
import { answerCloudEvents } from './cloud-event-batch.ts';
import { endpoint, ownTransactionEndpoint } from './endpoint.ts';
import {
  acceptedBatch,
  acceptedEvent,
  acceptEvents,
  answerEvents,
  auditDenied,
  explainedDecision,
  keeping,
  keyedBy,
  presentDecision,
  presentOnly,
  presentReference,
  presentStatus,
} from './event-answers.ts';
import { eventMaker, isPrepared, prepareEvent, prepareEvents } from './event-drafts.ts';
import { postedEvent } from './event-schema.ts';
import type { IntakeOutcome } from './intake-work.ts';
import { toProblem } from './problem.ts';
import { time, wireId } from './schema.ts';
import { toFaults } from './validation.ts';

const mebibyte = 1024 * 1024;
const maxBatch = 1_000;

const postEvent = ownTransactionEndpoint({
  name: 'event.ingest',
  method: 'post',
  path: '/events',
  tag: 'Events',
  summary: 'Post an event',
  description:
    '202 means committed: the event, what was decided about it and why, its deliveries and its audit entry. It is delivered from here on ' +
    'whatever crashes. CloudEvents are taken structured, as a batch, or binary: `ce-` headers about a JSON body.',
  permission: 'events.write',
  bodies: {
    'application/json': postedEvent,
    'application/cloudevents+json': cloudEvent,
    'application/cloudevents-batch+json': cloudEventBatch,
  },
  mediaTypes: ['application/json', ...cloudEventMediaTypes],
  bodyLimit: 2 * mebibyte,
  idempotent: true,
  responses: {
    202: { description: 'Accepted; of a batch one result per event, in order', schema: z.union([acceptedEvent, acceptedBatch]) },
  },
  handler: async (context) => {
    const { json, rawBody, now, principal, deps } = context;
    const received = readCloudEvents(context, now);
    if (received?.kind === 'batch') return answerCloudEvents(context, received.events);
    const make = received?.event.make ?? eventMaker(json, { data: dataOf(json, rawBody), now });
    const event = await prepareEvent(deps.intake, principal.organizationId, make);
    const own = received?.event.idempotency;
    const idempotency = keyedBy(context, '/events', presentOnly) ?? (own ? keeping(own, presentOnly) : undefined);
    return answerEvents(context, await acceptEvents(context, [event], idempotency), presentOnly);
  },
});

const postEvents = ownTransactionEndpoint({
  name: 'event.ingest_batch',
  method: 'post',
  path: '/events/batch',
  tag: 'Events',
  summary: 'Post up to 1,000 events, each of which stands or falls alone',
  permission: 'events.write',
  body: z.strictObject({ events: z.array(z.unknown()).min(1).max(maxBatch) }),
  bodyLimit: 16 * mebibyte,
  idempotent: true,
  responses: { 202: { description: 'One result per event, in order', schema: acceptedBatch } },
  handler: async (context) => {
    const { rawBody, now, principal, deps, requestId } = context;
    const texts = rawElements(rawMember(rawBody, 'events')!.text);
    const makers = context.input.body.events.map((event, i) => eventMaker(event, { data: dataOf(event, texts[i]!), now }));
    const prepared = await prepareEvents(deps.intake, principal.organizationId, makers);
    const present = (outcomes: readonly IntakeOutcome[]) => {
      let taken = 0;
      return {
        data: prepared.map((event) => {
          const outcome = event instanceof DomainError ? { error: event } : outcomes[taken++]!;
          if ('error' in outcome) return { error: toProblem(outcome.error, requestId) };
          return { id: toWireId('event', outcome.event.id), status: presentStatus(outcome.change) };
        }),
      };
    };
    const result = await acceptEvents(context, prepared.filter(isPrepared), keyedBy(context, '/events/batch', present));
    if (!('replay' in result)) await auditDenied(context, result.outcomes);
    return answerEvents(context, result, present);
  },
});

const asked = z.looseObject({ at: time.optional(), userId: wireId('user').optional() });

const explainEvent = endpoint({
  name: 'event.explain',
  method: 'post',
  path: '/events/explain',
  tag: 'Events',
  summary: 'What would be decided about an event, and why; nothing is stored or sent',
  permission: 'events.view',
  audited: false,
  bodies: { 'application/json': postedEvent.extend(asked.shape) },
  bodyLimit: 2 * mebibyte,
  responses: { 200: { description: 'The decisions production would take', schema: z.object({ decisions: z.array(explainedDecision) }) } },
  handler: async ({ json, rawBody, now, principal, deps }) => {
    const { at: _at, userId: _userId, ...posted } = isJsonObject(json) ? json : {};
    const make = eventMaker(isJsonObject(json) ? posted : json, { data: dataOf(json, rawBody), now });
    const [event] = await prepareEvents(deps.intake, principal.organizationId, [make]);
    const question = asked.safeParse(isJsonObject(json) ? json : {}, { reportInput: true });
    if (!question.success) {
      const ofEvent = event instanceof DomainError ? (event.faults ?? []) : [];
      throw validationFailed([...ofEvent, ...question.error.issues.flatMap((issue) => toFaults(issue, ''))]);
    }
    if (!isPrepared(event)) throw event!;
    const { at = now, userId } = question.data;
    const outcome = await deps.intake.explain(principal.organizationId, event, at);
    if ('error' in outcome) throw outcome.error;
    const isAsked = ({ target }: Decision): boolean =>
      userId === undefined || target.kind === 'in_app' || (target.kind === 'user' && target.id === userId);
    return {
      body: {
        decisions: outcome.decisions.filter(isAsked).map((decision) => ({
          ...presentDecision(decision),
          winner: decision.winner === null ? null : presentReference(decision.winner),
          losers: decision.losers.map(presentReference),
          sendAt: sendAtOf(decision, outcome.event.acceptedAt),
        })),
      },
    };
  },
});

/** Null: not, or not before something else happens. */
function sendAtOf({ verdict, until }: Decision, acceptedAt: number): string | null {
  const at = verdict === 'send' ? (until ?? acceptedAt) : verdict === 'group' ? until : null;
  return at === null ? null : new Date(at).toISOString();
}

function dataOf(event: unknown, text: string): RawValue | undefined {
  return isJsonObject(event) && event['data'] !== undefined ? rawMember(text, 'data') : undefined;
}

export const eventEndpoints = [postEvent, postEvents, explainEvent];
