import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import type { RawBuilder } from 'kysely';
import { appendAudit, auditStatements } from '../db/audit-log.ts';
import type { StepEntries } from '../db/escalation-step.ts';
import { databaseFacts, isUnreachable } from '../db/failure.ts';
import { pipelineInOrganization, pipelineInTwo } from '../db/pipeline.ts';
import { unownedOf } from '../db/event-record.ts';
import { insertIntake } from '../db/queries/intake.ts';
import { saveOccurrences, saveProblems } from '../db/queries/problem.ts';
import { saveSilenced } from '../db/queries/silence.ts';
import { areFactsStale, assertFacts, createFactsCache } from '../db/queries/routing-facts.ts';
import type { SecretBox } from '../db/secrets.ts';
import { inOrganization } from '../db/tenant.ts';
import type { EventTypes } from '../domain/custom-event-type.ts';
import { DomainError } from '../domain/errors.ts';
import { groupCommit } from '../domain/group-commit.ts';
import { decisionsTotal, eventsTotal, intakeGroupSize } from '../metrics.ts';
import type { EscalationStarter } from '../temporal/escalation-starter.ts';
import type { FeedSignal } from '../db/feed-signal.ts';
import type { GroupStarter } from '../temporal/group-starter.ts';
import type { RunStarter } from '../temporal/run-starter.ts';
import { areKeysTaken, claimIdempotencyKey, storeAnswer, takeIdempotencyKeys, type StoredAnswer } from './idempotency.ts';
import {
  type DraftEvent,
  draftOf,
  giveEntryIds,
  type IntakeOutcome,
  type IntakeRequest,
  type IntakeResult,
  type IntakeWork,
  type PreparedEvent,
  route,
  routeAll,
} from './intake-work.ts';
import { planScope } from './intake-scope.ts';

export interface Intake {
  /** Resolves when everything is committed: an accepted event is never lost from then on, whatever crashes. */
  accept(request: IntakeRequest): Promise<IntakeResult>;
  /** The same routing without any side effect. */
  explain(organizationId: string, event: PreparedEvent, at: Date): Promise<IntakeOutcome>;
  /** The event types that the organization is known to have. */
  types(organizationId: string): Promise<EventTypes>;
  /** Those that it has now; the same object as before when nothing has changed. */
  currentTypes(organizationId: string): Promise<EventTypes>;
}

export interface IntakeOptions {
  orm: MikroORM;
  secrets: SecretBox;
  starter: Pick<RunStarter, 'offer'>;
  escalations: Pick<EscalationStarter, 'wake'>;
  groups: Pick<GroupStarter, 'wake'>;
  /** Default: readers find out by themselves, within seconds. */
  feeds?: Pick<FeedSignal, 'changed'>;
}

/** Events of one transaction, and transactions of one organization under way at once: with one, what arrives meanwhile makes a larger group. */
const maxGroupEvents = 100;
const maxTransactions = 1;
/** How often a transaction is made anew because the configuration changed under it. */
const maxTries = 5;

/**
 * The transaction behind `POST /events`: event, decisions, deliveries, in-app notifications and audit entries, committed before anyone is
 * told. Requests of one organization that arrive while a transaction commits share the next one.
 */
export function createIntake({ orm, secrets, starter, escalations, groups, feeds }: IntakeOptions): Intake {
  const facts = createFactsCache();
  const gathering = new Map<string, (request: IntakeRequest) => Promise<Settled>>();

  const groupOf = (organizationId: string) => {
    let group = gathering.get(organizationId);
    if (group === undefined) {
      group = groupCommit({
        maxSize: maxGroupEvents,
        weigh: ({ events }: IntakeRequest) => events.length,
        inFlight: maxTransactions,
        run: async (requests) => commitEach(organizationId, requests),
      });
      gathering.set(organizationId, group);
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
    const { deliveries, changed } = work.scope.escalations.steps.outcome();
    const notices = work.scope.notices.steps.outcome();
    starter.offer([
      ...deliveries,
      ...notices.deliveries,
      ...[...work.records, ...work.ownRecords].flatMap((record) => unownedOf(organizationId, record)),
    ]);
    escalations.wake(changed);
    groups.wake(notices.changed);
    if (changed.length > 0 || work.records.some(({ notifications }) => notifications.length > 0)) feeds?.changed(organizationId);
    count(work);
    return work.results;
  };

  /**
   * With the facts at hand the whole transaction is known beforehand, answers included. Should the facts be stale, it fails as a whole and is
   * made anew. @returns undefined when an idempotency key is taken: then the transaction has to ask first
   */
  const commitInOnePiece = async (organizationId: string, requests: readonly IntakeRequest[]): Promise<IntakeWork | undefined> => {
    for (let tries = 1; ; tries += 1) {
      const current = tries === 1 ? facts.recall(organizationId) : undefined;
      const known = current ?? (await readFacts(organizationId));
      const plan = planScope(organizationId, known, eventsOf(requests, known.types), { at: latestOf(requests), lock: true });
      const prepare = (rows: readonly unknown[][]) => {
        const work = routeAll({ organizationId, facts: known, scope: plan.read(rows) }, requests, new Map());
        const audit = auditStatements(work.drafts);
        giveEntryIds(work.results, audit.ids);
        return {
          result: work,
          statements: [...takeKeys(requests, work.results), ...writeStatements(organizationId, work, audit.ids), ...audit.statements],
        };
      };
      try {
        if (plan.statements.length > 0)
          return await pipelineInTwo(orm, organizationId, [assertFacts(known), ...plan.statements], ([, ...rows]) => prepare(rows));
        const { result, statements } = prepare([]);
        if (statements.length > 0) await pipelineInOrganization(orm, organizationId, [assertFacts(known), ...statements]);
        return result;
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
  const commitKeyed = async (em: EntityManager, organizationId: string, requests: readonly IntakeRequest[]): Promise<IntakeWork> => {
    const replays = await claimKeys(em, requests);
    const known = await facts.read(em, organizationId);
    const fresh = requests.filter((request) => !replays.has(request));
    const plan = planScope(organizationId, known, eventsOf(fresh, known.types), { at: latestOf(requests), lock: true });
    const scope = plan.read(await execute(em, plan.statements));
    const work = routeAll({ organizationId, facts: known, scope }, requests, replays);
    const entryIds = await appendAudit(em, work.drafts);
    for (const statement of writeStatements(organizationId, work, entryIds)) await statement.execute(em.getKysely());
    giveEntryIds(work.results, entryIds);
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

  const readFacts = async (organizationId: string) => inOrganization(orm, organizationId, async (em) => facts.read(em, organizationId));

  return {
    accept: async (request) => {
      const settled = await groupOf(request.principal.organizationId)(request);
      if ('error' in settled) throw settled.error;
      return settled.result;
    },
    explain: async (organizationId, event, at) =>
      inOrganization(orm, organizationId, async (em) => {
        const known = await facts.read(em, organizationId);
        const plan = planScope(organizationId, known, eventsOf([{ events: [event] }], known.types), { at: at.getTime(), lock: false });
        return route({ organizationId, facts: known, scope: plan.read(await execute(em, plan.statements)) }, event, {
          at,
          principal: null,
        });
      }),
    types: async (organizationId) => (facts.recall(organizationId) ?? (await readFacts(organizationId))).types,
    currentTypes: async (organizationId) => (await readFacts(organizationId)).types,
  };
}

type Settled = { result: IntakeResult } | { error: unknown };

function keyOf({ principal, idempotency }: IntakeRequest): string | undefined {
  return idempotency === undefined ? undefined : `${principal.id} ${idempotency.key}`;
}

/** Those that the types have; what becomes of the others `route` says. */
const eventsOf = (requests: ReadonlyArray<Pick<IntakeRequest, 'events'>>, types: EventTypes): DraftEvent[] =>
  requests.flatMap(({ events }) =>
    events.flatMap((event) => {
      const draft = draftOf(event, types);
      return draft instanceof DomainError ? [] : [draft];
    }),
  );

const latestOf = (requests: readonly IntakeRequest[]): number => Math.max(...requests.map(({ now }) => now.getTime()));

async function execute(em: EntityManager, statements: ReadonlyArray<RawBuilder<unknown>>): Promise<unknown[][]> {
  const rows: unknown[][] = [];
  for (const statement of statements) rows.push((await statement.execute(em.getKysely())).rows);
  return rows;
}

/**
 * Events come before what refers to them. What it tells people who were paged before is left to the relay to start: it is not urgent.
 * @param entryIds of the work's drafts: the last are those of acknowledgements and of the steps
 */
function writeStatements(
  organizationId: string,
  { records, silenced, ownRecords, drafts, scope }: IntakeWork,
  entryIds: readonly string[],
): Array<RawBuilder<unknown>> {
  const { steps } = scope.escalations;
  const acknowledged = scope.escalations.acknowledged().map(({ escalationId }) => escalationId);
  const ownFrom = drafts.length - steps.audit().length;
  const entries: StepEntries = {
    own: entryIds.slice(ownFrom),
    ofCommand: (escalationId) =>
      acknowledged.includes(escalationId) ? entryIds[ownFrom - acknowledged.length + acknowledged.indexOf(escalationId)]! : null,
  };
  const { problems, occurrences } = scope.standings.changed();
  const events = [...records, ...ownRecords];
  return [
    ...(events.length === 0 ? [] : [insertIntake(organizationId, events)]),
    ...(problems.length === 0 ? [] : [saveProblems(organizationId, problems)]),
    ...(silenced.length === 0 ? [] : [saveSilenced(organizationId, silenced)]),
    ...(occurrences.length === 0 ? [] : [saveOccurrences(organizationId, occurrences)]),
    ...steps.statements(entries),
    ...steps.updates(),
    ...scope.notices.steps.statements(),
  ];
}

function count({ results, records }: IntakeWork): void {
  for (const result of results) {
    if ('replay' in result) eventsTotal.inc({ outcome: 'replayed' });
    else for (const outcome of result.outcomes) eventsTotal.inc({ outcome: 'error' in outcome ? 'refused' : 'accepted' });
  }
  if (records.length > 0) intakeGroupSize.observe(records.length);
  for (const { decisions } of records) for (const { verdict, reason } of decisions) decisionsTotal.inc({ verdict, reason });
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
