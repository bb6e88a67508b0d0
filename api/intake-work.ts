import { recordOf, recordOwnEvents } from '../db/event-record.ts';
import type { IntakeRecord } from '../db/queries/intake.ts';
import type { OrganizationFacts } from '../db/queries/routing-facts.ts';
import type { SilencedProblem } from '../db/queries/silence.ts';
import type { AuditDraft } from '../domain/audit/entry.ts';
import type { EventTypes } from '../domain/custom-event-type.ts';
import { DomainError } from '../domain/errors.ts';
import type { AcceptedEvent } from '../domain/event.ts';
import { newId } from '../domain/id.ts';
import type { ProblemChange } from '../domain/problem.ts';
import { decide, type Decision } from '../domain/routing.ts';
import { activeSilence } from '../domain/silence.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { Principal } from './authorization.ts';
import { auditAcknowledgement, authorOf, refusalOf } from './event-acknowledgements.ts';
import type { StoredAnswer } from './idempotency.ts';
import type { IntakeEscalations } from './intake-escalations.ts';
import type { IntakeNotices } from './intake-notices.ts';
import { type IntakeStandings, type Standing } from './intake-standings.ts';

/** What one request posts: one event, or a batch whose members stand or fall alone. */
export interface IntakeRequest {
  principal: Principal;
  now: Date;
  trail: AuditTrail;
  events: readonly PreparedEvent[];
  idempotency?: {
    key: string;
    requestHash: Buffer;
    answer: (outcomes: readonly IntakeOutcome[], entryIds: readonly string[]) => StoredAnswer;
  };
}

/** An event before it has been accepted. */
export type DraftEvent = Omit<AcceptedEvent, 'id' | 'organizationId' | 'acceptedAt'>;

/** Makes an event of what was posted, which depends on the types that the organization has. Throws `DomainError` with every fault. */
export type EventMaker = (types: EventTypes) => DraftEvent;

/** An event that is ready for intake, as long as the types are still those. */
export interface PreparedEvent {
  draft: DraftEvent;
  types: EventTypes;
  make: EventMaker;
}

/** The event as the types have it that are current in intake's transaction. Types hardly ever change in between. */
export function draftOf({ draft, types, make }: PreparedEvent, current: EventTypes): DraftEvent | DomainError {
  if (types === current) return draft;
  try {
    return make(current);
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
}

/** What became of an event: what it did to its problem, and what was decided. */
export interface Routed {
  event: AcceptedEvent;
  change: ProblemChange;
  decisions: Decision[];
  /** What a silence keeps back for now. */
  silenced: SilencedProblem | null;
  /** The escalation that it is a member of; of several the first. */
  escalationId: string | null;
}

export type IntakeOutcome = Routed | { error: DomainError };

export type IntakeResult = { outcomes: IntakeOutcome[]; entryIds: string[] } | { replay: StoredAnswer };

/** What a transaction is about to write, and what it will answer. */
export interface IntakeWork {
  results: IntakeResult[];
  records: IntakeRecord[];
  silenced: SilencedProblem[];
  /** Of the events that escalations make. */
  ownRecords: IntakeRecord[];
  drafts: AuditDraft[];
  scope: IntakeScope;
}

/** What the events of one transaction change besides being stored. */
export interface IntakeScope {
  standings: IntakeStandings;
  escalations: IntakeEscalations;
  notices: IntakeNotices;
}

/** What decisions depend on besides the event and the instant. */
export interface Known {
  organizationId: string;
  facts: OrganizationFacts;
  scope: IntakeScope;
}

/** Decides for every event of these requests; a request whose idempotency key was answered before gets that answer again. */
export function routeAll(known: Known, requests: readonly IntakeRequest[], replays: ReadonlyMap<IntakeRequest, StoredAnswer>): IntakeWork {
  const { organizationId, facts, scope } = known;
  const acknowledgements: AuditDraft[] = [];
  const work: IntakeWork = { results: [], records: [], silenced: [], ownRecords: [], drafts: [], scope };
  for (const request of requests) {
    const replay = replays.get(request);
    if (replay !== undefined) {
      work.results.push({ replay });
      continue;
    }
    const { principal, trail, now } = request;
    const before = scope.escalations.acknowledged().length;
    const outcomes = request.events.map((event) => route(known, event, { at: now, principal }));
    for (const one of scope.escalations.acknowledged().slice(before)) acknowledgements.push(auditAcknowledgement(one, trail));
    work.results.push({ outcomes, entryIds: [] });
    for (const outcome of outcomes) {
      if ('error' in outcome) continue;
      work.records.push(recordOf(outcome, request.principal));
      if (outcome.silenced !== null) work.silenced.push(outcome.silenced);
      work.drafts.push(request.trail.complete(auditPart(outcome), 202));
    }
  }
  const { steps } = scope.escalations;
  const at = Math.max(...requests.map(({ now }) => now.getTime()));
  work.ownRecords = recordOwnEvents(steps.ownEvents(), organizationId, at, facts.routing);
  // After the events' own, which their answers name.
  scope.notices.steps.tickAtOnce(at);
  work.drafts.push(...scope.notices.steps.audit(), ...acknowledgements, ...steps.audit());
  return work;
}

/** One entry per accepted event, in the order of the events. */
export function giveEntryIds(results: readonly IntakeResult[], entryIds: readonly string[]): void {
  let taken = 0;
  for (const result of results) {
    if ('replay' in result) continue;
    const own = result.outcomes.filter((outcome) => !('error' in outcome)).length;
    result.entryIds = entryIds.slice(taken, (taken += own));
  }
}

/** One event through the rules, without any side effect. @param principal who posts it; null: nobody, it is only explained */
export function route(
  { organizationId, facts, scope }: Known,
  prepared: PreparedEvent,
  { at, principal }: { at: Date; principal: Principal | null },
): IntakeOutcome {
  const draft = draftOf(prepared, facts.types);
  if (draft instanceof DomainError) return { error: draft };
  const refusal = principal === null ? undefined : refusalOf(draft, principal);
  if (refusal !== undefined) return { error: refusal };
  if (draft.projectId !== null && !facts.projectIds.has(draft.projectId)) {
    return { error: new DomainError('project_not_found', 'The project is not one of this organization.') };
  }
  const acceptedAt = at.getTime();
  const event: AcceptedEvent = { ...draft, id: newId(acceptedAt), organizationId, acceptedAt };
  const standing = scope.standings.apply(event);
  const { decisions, muted, escalationId } = scope.escalations.apply(event, standing, principal && authorOf(principal));
  const { change } = standing;
  return {
    event,
    change,
    decisions: [...scope.notices.apply(event, standing, decide(event, facts.routing, { change, muted })), ...decisions],
    silenced: findSilenced(event, standing, facts),
    escalationId,
  };
}

/** Only what opens a problem or makes it worse is told when the silence ends: the rest is over by then. */
function findSilenced(event: AcceptedEvent, { change, problemId }: Standing, { routing }: OrganizationFacts): SilencedProblem | null {
  if (problemId === null || (change !== 'opened' && change !== 'raised')) return null;
  const silence = activeSilence(routing.silences, event, event.acceptedAt);
  return silence === null ? null : { problemId, silenceId: silence.id, eventId: event.id };
}

function auditPart({ event, decisions, escalationId }: Routed) {
  const sent = decisions.filter(({ verdict }) => verdict === 'send').length;
  return {
    action: 'event.ingest',
    resource: { type: 'event', id: event.id },
    projectId: event.projectId ?? undefined,
    tenantId: event.tenantId ?? undefined,
    gitCommitSha: event.gitCommitSha ?? undefined,
    correlation: escalationId === null ? { eventId: event.id } : { eventId: event.id, escalationId },
    details: { eventType: event.type, severity: event.severity, sent, suppressed: decisions.length - sent },
  };
}
