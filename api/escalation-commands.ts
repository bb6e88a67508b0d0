import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { changeEscalation, type EscalationChange, repeatWhileMembersChange } from '../db/escalation-change.ts';
import type { StepOutcome } from '../db/escalation-step.ts';
import { nameAuditEntry } from '../db/queries/escalation.ts';
import { type EscalationRow, wasPaged } from '../db/queries/escalation-list.ts';
import { leastDuration, formatDuration } from '../domain/duration.ts';
import { DomainError, notFound, validationFailed } from '../domain/errors.ts';
import type { Fault } from '../domain/errors.ts';
import type { Outcome } from '../domain/escalation-effect.ts';
import type { GroupCommand } from '../domain/escalation-input.ts';
import type { AcknowledgementProof } from '../domain/escalation-policy.ts';
import type { AuditPart } from './audit-trail.ts';
import type { Principal } from './authorization.ts';
import { duration, inspectLeast } from './duration.ts';
import { endpoint } from './endpoint.ts';
import type { Endpoint, EndpointDefinition, TransactionContext } from './endpoint.ts';
import { commandAnswer, presentCommandAnswer } from './escalation-fields.ts';
import { targets } from './escalation-policy-fields.ts';
import { noteRefusal, refuse } from './escalation-refusals.ts';
import { readEscalationRow } from './escalations.ts';
import { assertReferences } from './references.ts';
import { idParams, prose, time, wireId } from './schema.ts';

const minuteMs = 60_000;
const maxSnoozeMs = 7 * 86_400_000;
/** Every request is known by its API key. */
const proof: AcknowledgementProof = 'api_key';

const note = prose(1_000).optional().meta({ description: 'Kept in the audit entry.' });

interface CommandDefinition<B extends z.ZodType> {
  /** Also the last part of the path. */
  readonly name: GroupCommand['name'];
  readonly summary: string;
  readonly description?: string;
  readonly body: B;
  readonly inspect?: EndpointDefinition<z.ZodType, z.ZodType, B, TransactionContext>['inspect'];
  /** Throws `validation_failed` for what no schema can know. */
  readonly read: (body: z.output<B>, context: TransactionContext) => GroupCommand | Promise<GroupCommand>;
  /** The change is made and taken back: the answer tells what it would be. */
  readonly isDryRun?: (body: z.output<B>) => boolean;
  /** What the audit entry says besides. */
  readonly details?: (body: z.output<B>) => Readonly<Record<string, unknown>>;
}

/** An endpoint that tells one escalation something: the transaction that answers is the one that excludes every later page. */
function commandEndpoint<B extends z.ZodType>(definition: CommandDefinition<B>): Endpoint {
  const { name, summary, description, body, inspect, read, isDryRun, details } = definition;
  return endpoint({
    name: `escalation.${name}`,
    method: 'post',
    path: `/escalations/{id}/${name}`,
    tag: 'Escalations',
    summary,
    ...(description === undefined ? {} : { description }),
    permission: 'authenticated',
    idempotent: true,
    params: idParams('escalation'),
    body,
    ...(inspect === undefined ? {} : { inspect }),
    responses: { 200: { description: 'Committed: the escalation as it is now.', schema: commandAnswer } },
    handler: async ({ input, ...context }) => {
      const { em, principal, now, deps, audit, afterCommit } = context;
      const { organizationId } = principal;
      const before = await readEscalationRow(em, organizationId, input.params.id);
      await assertMayCommand(em, principal, before);
      const command = await read(input.body, context);
      const change: EscalationChange = {
        organizationId,
        escalationId: before.id,
        at: now.getTime(),
        mayClose: command.name === 'resolve',
        input: () => ({
          kind: 'command',
          escalationId: before.id,
          command,
          by: { userId: principal.type === 'user' ? principal.id : null, proof },
        }),
        by: { actor: { type: principal.type, id: principal.id }, proof },
        ...(command.name === 'rebase' ? { policyVersion: command.version } : {}),
      };
      const dryRun = isDryRun?.(input.body) === true;
      const { outcome, left, after, at } = await (dryRun ? tryOut : repeatInSavepoint)(em, async (inner) => apply(inner, context, change));
      const said = { path: 'rest', proof, ...details?.(input.body), ...(dryRun ? { dryRun } : {}) };
      const part: AuditPart = {
        resource: { type: 'escalation', id: before.id },
        projectId: before.projectId ?? undefined,
        correlation: { eventId: before.eventId, escalationId: before.id },
      };
      if (typeof outcome === 'object') {
        const refused = { code: outcome.refused, command, proof, escalation: after, at, part: { ...part, details: said } };
        // What was only tried out has not happened.
        if (!dryRun) context.recordFailureBy(async () => noteRefusal(context, refused));
        throw refuse(refused);
      }
      if (!dryRun) afterCommit(() => deps.announceSteps(left));
      const answer = presentCommandAnswer(after, outcome === 'noop');
      const { already, ...position } = answer;
      audit({ ...part, details: { ...said, already, result: position } }, async (entryId) => {
        await nameAuditEntry(organizationId, { escalationId: before.id, at, entryId }).execute(em.getKysely());
      });
      return { body: answer };
    },
  });
}

interface Applied {
  outcome: Outcome;
  left: StepOutcome;
  after: EscalationRow;
  /** Of the step, Unix milliseconds. */
  at: number;
}

async function apply(em: EntityManager, { deps }: TransactionContext, change: EscalationChange): Promise<Applied> {
  const changed = await changeEscalation(em, deps.facts, change);
  if (changed === undefined || changed.step === null) throw notFound();
  const after = await readEscalationRow(em, change.organizationId, change.escalationId);
  return { outcome: changed.step.outcome, left: changed.outcome, after, at: changed.at };
}

/** The request's transaction goes on whatever joins the escalation meanwhile: only the change itself is made anew. */
async function repeatInSavepoint<T>(em: EntityManager, work: (em: EntityManager) => Promise<T>): Promise<T> {
  return repeatWhileMembersChange(async () => em.transactional(work));
}

/** Does it and takes it back. @returns what came of it */
async function tryOut<T>(em: EntityManager, work: (em: EntityManager) => Promise<T>): Promise<T> {
  const takeBack = new Error('Only tried out');
  let result: { value: T } | undefined;
  try {
    await repeatInSavepoint(em, async (inner) => {
      result = { value: await work(inner) };
      throw takeBack;
    });
  } catch (error) {
    if (error !== takeBack) throw error;
  }
  return result!.value;
}

/** Whoever was paged may answer, whatever else they may do. Throws `permission_denied`. */
async function assertMayCommand(em: EntityManager, principal: Principal, { id, openedAt }: EscalationRow): Promise<void> {
  if (principal.permissions.has('escalations.acknowledge')) return;
  const { organizationId, type, id: userId } = principal;
  if (type === 'user' && (await wasPaged(em, organizationId, { escalationId: id, openedAt, userId }))) return;
  throw new DomainError('permission_denied', 'This needs the permission escalations.acknowledge, or to have been paged by the escalation.');
}

/** A body of which every member may be left out, and so the whole. */
const emptyBody = z.strictObject({ note }).prefault({});

const acknowledge = commandEndpoint({
  name: 'acknowledge',
  summary: 'Take care of it: no later page is sent',
  description: 'Of one that is acknowledged already, `extend` lets the acknowledgement timeout run from now.',
  body: z
    .strictObject({ note, extend: z.boolean().default(false) })
    .prefault({})
    .meta({ id: 'EscalationAcknowledge' }),
  read: ({ extend }) => ({ name: 'acknowledge', extend }),
  details: ({ note, extend }) => ({ note, extend }),
});

const unacknowledge = commandEndpoint({
  name: 'unacknowledge',
  summary: 'Give it back: it pages anew from tier 1',
  body: emptyBody.meta({ id: 'EscalationUnacknowledge' }),
  read: () => ({ name: 'unacknowledge' }),
  details: ({ note }) => ({ note }),
});

const resolve = commandEndpoint({
  name: 'resolve',
  summary: 'End it, and the problems that no other escalation holds',
  body: emptyBody.meta({ id: 'EscalationResolve' }),
  read: () => ({ name: 'resolve' }),
  details: ({ note }) => ({ note }),
});

const escalate = commandEndpoint({
  name: 'escalate',
  summary: 'Page the next tier now, or a certain one',
  description: 'Refused with `tier_mismatch` when it is no longer where `expected` says, so that two presses advance one tier.',
  body: z
    .strictObject({
      expected: z.strictObject({ round: z.int().min(1), tier: z.int().min(0) }),
      toTier: z.int().min(1).max(10).optional(),
      note,
    })
    .meta({ id: 'EscalationEscalate' }),
  read: ({ expected, toTier }) => ({ name: 'escalate', expected, toTier: toTier ?? null }),
  details: ({ note, expected, toTier }) => ({ note, expected, toTier }),
});

const snooze = commandEndpoint({
  name: 'snooze',
  summary: 'Page nobody until then, then anew from tier 1',
  body: z
    .strictObject({
      until: time.optional(),
      for: duration(maxSnoozeMs).optional().meta({ description: 'PT1M to P7D.', example: 'PT1H' }),
      note,
    })
    .refine((body) => (body.until === undefined) !== (body.for === undefined), {
      error: 'must have either until or for',
      params: { code: 'exactly_one' },
    })
    .meta({ id: 'EscalationSnooze' }),
  inspect: inspectLeast({ for: minuteMs }),
  read: ({ until, for: forMs = 0 }, { now, deps }) => {
    if (until === undefined) return { name: 'snooze', until: now.getTime() + forMs };
    const faults = snoozeFaults(until.getTime() - now.getTime(), leastDuration(minuteMs, deps.minIntervalMs));
    if (faults.length > 0) throw validationFailed(faults);
    return { name: 'snooze', until: until.getTime() };
  },
  details: ({ note, until, for: forMs }) => ({ note, until: until?.toISOString(), for: forMs && formatDuration(forMs) }),
});

function snoozeFaults(ms: number, leastMs: number): Fault[] {
  if (ms < leastMs) return [{ pointer: '/until', code: 'too_small', detail: `must be at least ${formatDuration(leastMs)} from now` }];
  if (ms > maxSnoozeMs) return [{ pointer: '/until', code: 'too_big', detail: `must be at most ${formatDuration(maxSnoozeMs)} from now` }];
  return [];
}

const reassign = commandEndpoint({
  name: 'reassign',
  summary: 'Hand it to another policy, or to certain targets',
  description: 'It pages anew from tier 1. With `targets` it has one tier; its own policy, group and cooldown stay.',
  body: z
    .strictObject({
      policyId: wireId('escalation_policy').optional(),
      targets: targets({ min: 1, max: 20 }).optional(),
      note,
    })
    .refine(({ policyId, targets }) => (policyId === undefined) !== (targets === undefined), {
      error: 'must have either policyId or targets',
      params: { code: 'exactly_one' },
    })
    .meta({ id: 'EscalationReassign' }),
  read: async ({ policyId, targets = [] }, { em, principal }) => {
    await assertReferences(em, principal.organizationId, [
      ...(policyId === undefined ? [] : [{ kind: 'policy' as const, id: policyId, pointer: '/policyId' }]),
      ...targets.map(({ kind, id }, index) => ({ kind, id, pointer: `/targets/${index}/id` })),
    ]);
    return { name: 'reassign', to: policyId === undefined ? { targets } : { policyId } };
  },
  details: ({ note, policyId, targets }) => ({ note, policyId, targets }),
});

const rebase = commandEndpoint({
  name: 'rebase',
  summary: 'Go on at the same place under another version of the policy',
  description: 'What the new version has due by now is due at once. With `dryRun` the answer tells what would be, and nothing changes.',
  body: z
    .strictObject({
      policyVersion: z
        .int()
        .min(1)
        .max(2 ** 31 - 1),
      dryRun: z.boolean().default(false),
      note,
    })
    .meta({ id: 'EscalationRebase' }),
  read: ({ policyVersion }) => ({ name: 'rebase', version: policyVersion }),
  isDryRun: ({ dryRun }) => dryRun,
  details: ({ note, policyVersion }) => ({ note, policyVersion }),
});

export const escalationCommandEndpoints = [acknowledge, unacknowledge, resolve, escalate, snooze, reassign, rebase];
