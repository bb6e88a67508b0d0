import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { appendAudit, auditStatements } from '../db/audit-log.ts';
import { databaseFacts, isUnreachable } from '../db/failure.ts';
import { pipelineInOrganization } from '../db/pipeline.ts';
import { insertIntake, type IntakeDelivery, type IntakeRecord } from '../db/queries/intake.ts';
import { areFactsStale, assertFacts, createFactsCache, type OrganizationFacts } from '../db/queries/routing-facts.ts';
import type { SecretBox } from '../db/secrets.ts';
import { inOrganization } from '../db/tenant.ts';
import { renderEventBody } from '../channels/webhook.ts';
import type { AuditDraft } from '../domain/audit/entry.ts';
import { DomainError } from '../domain/errors.ts';
import type { AcceptedEvent } from '../domain/event.ts';
import { groupCommit } from '../domain/group-commit.ts';
import { newId } from '../domain/id.ts';
import { decide, type Decision } from '../domain/routing.ts';
import type { UnownedDelivery } from '../db/queries/unowned.ts';
import type { RunStarter } from '../temporal/run-starter.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { Principal } from './authorization.ts';
import { areKeysTaken, claimIdempotencyKey, storeAnswer, takeIdempotencyKeys, type StoredAnswer } from './idempotency.ts';

/** What one request posts: one event, or a batch whose members stand or fall alone. */
export interface IntakeRequest {
  principal: Principal;
  now: Date;
  trail: AuditTrail;
  /** All but what intake itself decides; made with `draftEvent`. */
  events: readonly DraftEvent[];
  idempotency?: {
    key: string;
    requestHash: Buffer;
    answer: (outcomes: readonly IntakeOutcome[], entryIds: readonly string[]) => StoredAnswer;
  };
}

/** An event before it has been accepted. */
export type DraftEvent = Omit<AcceptedEvent, 'id' | 'organizationId' | 'acceptedAt'>;

export type IntakeOutcome = { event: AcceptedEvent; decisions: Decision[] } | { error: DomainError };

export type IntakeResult = { outcomes: IntakeOutcome[]; entryIds: string[] } | { replay: StoredAnswer };

export interface Intake {
  /** Resolves when everything is committed: an accepted event is never lost from then on, whatever crashes. */
  accept(request: IntakeRequest): Promise<IntakeResult>;
  /** The same routing without any side effect. */
  explain(organizationId: string, event: DraftEvent, at: Date): Promise<IntakeOutcome>;
}

export interface IntakeOptions {
  orm: MikroORM;
  secrets: SecretBox;
  starter: Pick<RunStarter, 'offer'>;
}

/** Events of one transaction, and transactions of one organization under way at once (measured: two keep the database busy). */
const maxGroupEvents = 100;
const maxTransactions = 1;
/** How often a transaction is made anew because the configuration changed under it. */
const maxTries = 5;

/**
 * The transaction behind `POST /events`: event, decisions, deliveries, in-app notifications and audit entries, committed before anyone is
 * told. Requests of one organization that arrive while a transaction commits share the next one.
 */
export function createIntake({ orm, secrets, starter }: IntakeOptions): Intake {
  const facts = createFactsCache();
  const groups = new Map<string, (request: IntakeRequest) => Promise<Settled>>();

  const groupOf = (organizationId: string) => {
    let group = groups.get(organizationId);
    if (group === undefined) {
      group = groupCommit({
        maxSize: maxGroupEvents,
        weigh: ({ events }: IntakeRequest) => events.length,
        inFlight: maxTransactions,
        run: async (requests) => commitEach(organizationId, requests),
      });
      groups.set(organizationId, group);
    }
    return group;
  };

  /** One fault must not fail the others of its group: what fails together is tried alone, and so is the repetition of a key. */
  const commitEach = async (organizationId: string, requests: IntakeRequest[]): Promise<Settled[]> => {
    const alone = async (request: IntakeRequest): Promise<Settled> => {
      try {
        return { result: (await commit(organizationId, [request]))[0]! };
      } catch (error) {
        return { error };
      }
    };
    const settled = new Map<IntakeRequest, Settled>();
    const together = firstOfEachKey(requests);
    if (together.length > 1) {
      try {
        const results = await commit(organizationId, together);
        together.forEach((request, i) => settled.set(request, { result: results[i]! }));
      } catch (error) {
        // Alone they would only wait for the database one after the other. Otherwise each finds its own fault below.
        if (isUnreachable(databaseFacts(error))) return requests.map(() => ({ error }));
      }
    }
    for (const request of requests) if (!settled.has(request)) settled.set(request, await alone(request));
    return requests.map((request) => settled.get(request)!);
  };

  const commit = async (organizationId: string, requests: IntakeRequest[]): Promise<IntakeResult[]> => {
    const work =
      (await commitInOnePiece(organizationId, requests)) ??
      (await inOrganization(orm, organizationId, async (em) => commitKeyed(em, organizationId, requests)));
    starter.offer(work.records.flatMap((record) => unownedOf(organizationId, record)));
    return work.results;
  };

  /**
   * With the facts at hand the whole transaction is known beforehand, answers included. Should the facts be stale, it fails as a whole and is
   * made anew. @returns undefined when an idempotency key is taken: then the transaction has to ask first
   */
  const commitInOnePiece = async (organizationId: string, requests: readonly IntakeRequest[]): Promise<Work | undefined> => {
    for (let tries = 1; ; tries += 1) {
      const current = tries === 1 ? facts.recall(organizationId) : undefined;
      const known = current ?? (await inOrganization(orm, organizationId, async (em) => facts.read(em, organizationId)));
      const work = routeAll(organizationId, requests, new Map(), known);
      const audit = auditStatements(work.drafts);
      giveEntryIds(work.results, audit.ids);
      if (work.records.length === 0 && requests.every(({ idempotency }) => idempotency === undefined)) return work;
      const keys = takeKeys(requests, work.results);
      const events = work.records.length === 0 ? [] : [insertIntake(organizationId, work.records)];
      try {
        await pipelineInOrganization(orm, organizationId, [assertFacts(known), ...keys, ...events, ...audit.statements]);
        return work;
      } catch (error) {
        if (areKeysTaken(error)) return undefined;
        if (!areFactsStale(error) || tries === maxTries) throw error;
      }
    }
  };

  const takeKeys = (requests: readonly IntakeRequest[], results: readonly IntakeResult[]) => {
    const keyed = requests.flatMap(({ principal, now, idempotency }, i) => {
      const result = results[i]!;
      if (idempotency === undefined || 'replay' in result) return [];
      const { key, requestHash, answer } = idempotency;
      return [{ principal, key, requestHash, now, answer: answer(result.outcomes, result.entryIds) }];
    });
    return keyed.length === 0 ? [] : [takeIdempotencyKeys(secrets, keyed)];
  };

  /** Idempotency keys are asked for first, and their answers kept, in the same transaction. */
  const commitKeyed = async (em: EntityManager, organizationId: string, requests: readonly IntakeRequest[]): Promise<Work> => {
    const replays = await claimKeys(em, requests);
    const work = routeAll(organizationId, requests, replays, await facts.read(em, organizationId));
    if (work.records.length > 0) await insertIntake(organizationId, work.records).execute(em.getKysely());
    giveEntryIds(work.results, await appendAudit(em, work.drafts));
    for (const [i, request] of requests.entries()) await store(em, request, work.results[i]!);
    return work;
  };

  /** In the order of the keys, so that two transactions with the same keys wait for each other instead of deadlocking. */
  const claimKeys = async (em: EntityManager, requests: readonly IntakeRequest[]): Promise<Map<IntakeRequest, StoredAnswer>> => {
    const replays = new Map<IntakeRequest, StoredAnswer>();
    const keyed = requests.filter(({ idempotency }) => idempotency !== undefined).toSorted((a, b) => (keyOf(a)! < keyOf(b)! ? -1 : 1));
    for (const request of keyed) {
      const { principal, idempotency, now } = request;
      const { key, requestHash } = idempotency!;
      const stored = await claimIdempotencyKey(em, secrets, { principal, key, requestHash, now });
      if (stored !== undefined) replays.set(request, stored);
    }
    return replays;
  };

  const store = async (em: EntityManager, { principal, idempotency }: IntakeRequest, result: IntakeResult): Promise<void> => {
    if (idempotency === undefined || 'replay' in result) return;
    await storeAnswer(em, secrets, { principal, key: idempotency.key, answer: idempotency.answer(result.outcomes, result.entryIds) });
  };

  return {
    accept: async (request) => {
      const settled = await groupOf(request.principal.organizationId)(request);
      if ('error' in settled) throw settled.error;
      return settled.result;
    },
    explain: async (organizationId, draft, at) =>
      inOrganization(orm, organizationId, async (em) => route(organizationId, draft, at, await facts.read(em, organizationId))),
  };
}

type Settled = { result: IntakeResult } | { error: unknown };

function keyOf({ principal, idempotency }: IntakeRequest): string | undefined {
  return idempotency === undefined ? undefined : `${principal.id} ${idempotency.key}`;
}

/** A second request with the same key must see the first one committed. */
function firstOfEachKey(requests: readonly IntakeRequest[]): IntakeRequest[] {
  const seen = new Set<string>();
  return requests.filter((request) => {
    const key = keyOf(request);
    if (key === undefined) return true;
    const isFirst = !seen.has(key);
    seen.add(key);
    return isFirst;
  });
}

/** What a transaction is about to write, and what it will answer. */
interface Work {
  results: IntakeResult[];
  records: IntakeRecord[];
  drafts: AuditDraft[];
}

function routeAll(
  organizationId: string,
  requests: readonly IntakeRequest[],
  replays: ReadonlyMap<IntakeRequest, StoredAnswer>,
  facts: OrganizationFacts,
): Work {
  const work: Work = { results: [], records: [], drafts: [] };
  for (const request of requests) {
    const replay = replays.get(request);
    if (replay !== undefined) {
      work.results.push({ replay });
      continue;
    }
    const outcomes = request.events.map((draft) => route(organizationId, draft, request.now, facts));
    work.results.push({ outcomes, entryIds: [] });
    for (const outcome of outcomes) {
      if ('error' in outcome) continue;
      work.records.push(recordOf(outcome, request.principal));
      work.drafts.push(request.trail.complete(auditPart(outcome), 202));
    }
  }
  return work;
}

/** One entry per accepted event, in the order of the events. */
function giveEntryIds(results: readonly IntakeResult[], entryIds: readonly string[]): void {
  let taken = 0;
  for (const result of results) {
    if ('replay' in result) continue;
    const own = result.outcomes.filter((outcome) => !('error' in outcome)).length;
    result.entryIds = entryIds.slice(taken, (taken += own));
  }
}

function unownedOf(organizationId: string, { event, deliveries }: IntakeRecord): UnownedDelivery[] {
  return deliveries
    .filter(({ state }) => state === 'pending')
    .map(({ id, destinationKind, destinationId, channelType }) => ({
      id,
      organizationId,
      destinationKind,
      destinationId,
      channelType,
      eventType: event.type,
      runSeq: 0,
    }));
}

function route(organizationId: string, draft: DraftEvent, at: Date, facts: OrganizationFacts): IntakeOutcome {
  if (draft.projectId !== null && !facts.projectIds.has(draft.projectId)) {
    return { error: new DomainError('project_not_found', 'The project is not one of this organization.') };
  }
  const acceptedAt = at.getTime();
  const event: AcceptedEvent = { ...draft, id: newId(acceptedAt), organizationId, acceptedAt };
  return { event, decisions: decide(event, facts.routing) };
}

function recordOf({ event, decisions }: { event: AcceptedEvent; decisions: Decision[] }, principal: Principal): IntakeRecord {
  const deliveries: IntakeDelivery[] = [];
  const notifications: IntakeRecord['notifications'] = [];
  const recorded = decisions.map((decision) => {
    const { target, verdict } = decision;
    let deliveryId: string | null = null;
    if (verdict === 'send' && (target.kind === 'webhook' || target.kind === 'channel')) {
      deliveryId = newId(event.acceptedAt);
      const channelType = target.channelType!;
      deliveries.push({
        id: deliveryId,
        destinationKind: target.kind,
        destinationId: target.id!,
        channelType,
        // An in-app channel's message is the notification written with the event.
        state: channelType === 'in_app' ? 'delivered' : 'pending',
      });
    } else if (verdict === 'send') {
      notifications.push({ id: newId(event.acceptedAt), userId: target.kind === 'user' ? target.id : null });
    }
    return { ...decision, deliveryId };
  });
  return {
    event,
    principal: { type: principal.type, id: principal.id },
    body: deliveries.some(({ destinationKind }) => destinationKind === 'webhook') ? renderEventBody(event) : null,
    decisions: recorded,
    deliveries,
    notifications,
  };
}

function auditPart({ event, decisions }: { event: AcceptedEvent; decisions: Decision[] }) {
  const sent = decisions.filter(({ verdict }) => verdict === 'send').length;
  return {
    action: 'event.ingest',
    resource: { type: 'event', id: event.id },
    projectId: event.projectId ?? undefined,
    tenantId: event.tenantId ?? undefined,
    gitCommitSha: event.gitCommitSha ?? undefined,
    correlation: { eventId: event.id },
    details: { eventType: event.type, severity: event.severity, sent, suppressed: decisions.length - sent },
  };
}
