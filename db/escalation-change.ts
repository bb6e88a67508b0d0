import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import type { AuditDraft } from '../domain/audit/draft.ts';
import type { GroupStep } from '../domain/escalation-effect.ts';
import type { GroupInput } from '../domain/escalation-input.ts';
import type { GroupState } from '../domain/escalation-state.ts';
import { appendAudit } from './audit-log.ts';
import { EscalationPolicyVersionEntity } from './entities/escalation-policy.ts';
import { createEscalationSteps, type StepAuthor, type StepOutcome, writeSteps } from './escalation-step.ts';
import { recordOwnEvents, unownedOf } from './event-record.ts';
import { findGroups, lockGroups, readGroups, type StoredGroup } from './queries/escalation-group.ts';
import { insertIntake } from './queries/intake.ts';
import { policyOf } from './queries/policy.ts';
import { lockStandings, type StandingKey } from './queries/problem.ts';
import type { FactsCache } from './queries/routing-facts.ts';
import { findEnded } from './queries/silence.ts';
import { inOrganization } from './tenant.ts';

export interface EscalationChange {
  organizationId: string;
  escalationId: string;
  /** Unix milliseconds, by this process's clock. */
  at: number;
  /** Decided with the group locked. Null: nothing is to be done. */
  input: (state: GroupState, em: EntityManager) => GroupInput | null | Promise<GroupInput | null>;
  by?: StepAuthor;
  /** Whether the input may end problems: their locks are taken first then. */
  mayClose: boolean;
  /** Also at hand for the step: this version of the policy that the escalation runs on, if there is one. */
  policyVersion?: number;
  /** Written with the change, whatever comes of it; the first entry is the one that its timeline names. */
  audit?: (step: GroupStep) => AuditDraft[];
}

export interface ChangedEscalationState {
  /** Null: nothing was to be done. */
  step: GroupStep | null;
  state: GroupState;
  /** When the step was made, Unix milliseconds. */
  at: number;
  /** To be done once the transaction has committed. */
  outcome: StepOutcome;
}

/** A member was added while its problem's lock was not held: the transaction, or the savepoint around the change, MUST be made anew. */
export class MembersChangedError extends Error {}

/** While events flood the group, each try may meet a new member. */
const maxTries = 20;

/** Makes anew what members joined under. `work` is a whole transaction, or a savepoint: both give back the locks they took. */
export async function repeatWhileMembersChange<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof MembersChangedError) || tries === maxTries) throw error;
    }
  }
}

/**
 * Steps the group of one escalation inside the caller's transaction, and writes what comes of it.
 * @returns undefined when the organization has no such escalation
 * @throws MembersChangedError
 */
export async function changeEscalation(
  em: EntityManager,
  facts: FactsCache,
  change: EscalationChange,
): Promise<ChangedEscalationState | undefined> {
  const { organizationId, escalationId, at } = change;
  const known = await facts.read(em, organizationId);
  const locked = change.mayClose ? await lockMembers(em, organizationId, escalationId) : undefined;
  await lockGroups(organizationId, { escalationId }).execute(em.getKysely());
  const { rows } = await findGroups(organizationId, { escalationId }).execute(em.getKysely());
  const [stored] = readGroups(rows);
  if (stored === undefined) return undefined;
  const group = change.policyVersion === undefined ? stored : await withPolicyVersion(em, stored, change.policyVersion);
  if (locked !== undefined && group.state.members.some(({ kind, firing, key }) => kind === 'problem' && firing && !locked.has(key)))
    throw new MembersChangedError('Another problem has joined the escalation');
  const input = await change.input(group.state, em);
  if (input === null) return { step: null, state: group.state, at, outcome: { deliveries: [], changed: [] } };

  const now = Math.max(at, group.steppedAt);
  const steps = createEscalationSteps({ organizationId, at: now, configuration: known.escalation });
  const due = group.state.held.flatMap(({ key, until }) => (until <= now ? [key] : []));
  // What a silence kept back may have ended unheard: nobody closes a problem that merely is not heard of any more.
  const ended = due.length === 0 ? [] : await findEnded(em, due, now - known.problemTtlMs);
  for (const key of ended) steps.step(group, { kind: 'problem_resolved', key });
  const step = steps.step(
    group,
    ended.length === 0 ? input : advance(input, { from: group.state, to: steps.stateOf(group) }),
    change.by === undefined ? {} : { by: change.by },
  );
  if (locked === undefined && step.effects.some(({ kind }) => kind === 'close_problems'))
    throw new Error(`A change of escalation ${escalationId} ends problems whose locks it does not hold`);
  const records = recordOwnEvents(steps.ownEvents(), organizationId, now, known.routing);
  if (records.length > 0) await insertIntake(organizationId, records).execute(em.getKysely());
  const ofCommand = (change.audit?.(step) ?? []).map((draft) => aboutEscalation(draft, group));
  const entryIds = await appendAudit(em, [...ofCommand, ...steps.audit()]);
  const { deliveries, changed } = await writeSteps(em, steps, {
    own: entryIds.slice(ofCommand.length),
    ofCommand: () => (ofCommand.length === 0 ? null : entryIds[0]!),
  });
  return {
    step,
    state: step.state,
    at: now,
    outcome: { changed, deliveries: [...deliveries, ...records.flatMap((record) => unownedOf(organizationId, record))] },
  };
}

/** The entry of a command whose giver knows the escalation alone: with the event and project that it is about. */
function aboutEscalation(draft: AuditDraft, { about }: StoredGroup): AuditDraft {
  if (about === null) return draft;
  return {
    ...draft,
    projectId: draft.projectId ?? about.projectId ?? undefined,
    correlation: { eventId: about.eventId, ...draft.correlation },
  };
}

/** What was due before those steps is due after them, under the version that they came to. */
function advance(input: GroupInput, { from, to }: { from: GroupState; to: GroupState }): GroupInput {
  return input.kind === 'due' && input.version === from.version ? { kind: 'due', version: to.version } : input;
}

async function withPolicyVersion(em: EntityManager, group: StoredGroup, version: number): Promise<StoredGroup> {
  const id = group.state.escalation?.snapshot.policyId;
  const row = id === undefined ? null : await em.findOne(EscalationPolicyVersionEntity, { id, version });
  return row === null ? group : { ...group, policies: [...group.policies, policyOf(row)] };
}

/**
 * A change in a transaction of its own. What `also` does commits with it, or what it throws takes both back.
 * @returns as `changeEscalation` does; what its outcome asks for is the caller's to do
 */
export async function commitEscalationChange(
  { orm, facts }: { orm: MikroORM; facts: FactsCache },
  change: EscalationChange,
  also?: (em: EntityManager, changed: ChangedEscalationState) => Promise<void>,
): Promise<ChangedEscalationState | undefined> {
  return repeatWhileMembersChange(async () =>
    inOrganization(orm, change.organizationId, async (em) => {
      const changed = await changeEscalation(em, facts, change);
      if (changed !== undefined) await also?.(em, changed);
      return changed;
    }),
  );
}

/** Locks the problems that the escalation holds. @returns their ids */
async function lockMembers(em: EntityManager, organizationId: string, escalationId: string): Promise<Set<string>> {
  const { rows } = await sql<StandingKey & { id: string }>`
    select p.id, p.project_id as "projectId", p.family, '' as type, p.dedup_key as "dedupKey"
      from escalation_member m join problem p on p.org_id = m.org_id and p.id = m.key
      where m.org_id = ${organizationId} and m.escalation_id = ${escalationId} and m.firing
  `.execute(em.getKysely());
  if (rows.length > 0) await lockStandings(rows).execute(em.getKysely());
  return new Set(rows.map(({ id }) => id));
}
