import { z } from 'zod';
import type { ActorColumn, EscalationMemberRow, EscalationRow, FiringRow, PageRow, TimelineRow } from '../db/queries/escalation-list.ts';
import { deliveryStates } from '../domain/delivery.ts';
import type { EscalationStatus } from '../domain/escalation-state.ts';
import { toWireId } from '../domain/id.ts';
import { severities } from '../domain/severity.ts';
import { workflowIds } from '../workflows/messages.ts';
import { presentTarget, shownTarget } from './escalation-policy-fields.ts';
import { presentedId, presentedTime } from './schema.ts';

export const escalationStates = [
  'triggered',
  'acknowledged',
  'snoozed',
  'exhausted',
  'resolved',
] as const satisfies readonly EscalationStatus[];

const attachments = ['opened', 'grouped', 'cooldown', 'snoozed'] as const;

const actor = z
  .strictObject({ type: z.string(), id: z.string() })
  .meta({ description: 'An id that is none of ours is what the sender of a Temporal signal claimed.' });

const position = {
  round: z.int().meta({ description: 'From 1.' }),
  tier: z.int().meta({ description: 'The last one that fired in this round, from 1; 0: none yet.' }),
};

const summaryFields = {
  id: presentedId('escalation'),
  state: z.enum(escalationStates),
  version: z.int().meta({ description: 'Grows with every change.' }),
  severity: z.enum(severities),
  subject: z.string(),
  policy: z.strictObject({
    id: presentedId('escalation_policy'),
    version: z.int().meta({ description: 'The one it runs on, whatever was edited since.' }),
    name: z.string().nullable(),
  }),
  projectId: presentedId('project').nullable(),
  ...position,
  dueAt: presentedTime.nullable().meta({ description: 'When something happens by itself.' }),
  why: z.string().nullable().meta({ description: 'What is due then.' }),
  openedAt: presentedTime,
  acknowledgedAt: presentedTime.nullable().meta({ description: 'While it is acknowledged.' }),
  acknowledgedBy: actor.nullable(),
  resolvedAt: presentedTime.nullable(),
  resolveReason: z.enum(['members_resolved', 'manual', 'expired']).nullable(),
  previousId: presentedId('escalation').nullable().meta({ description: 'The one whose cooldown hid what this one began with.' }),
  workflowId: z.string().meta({ description: 'Where operators find it in Temporal.' }),
};

export const shownEscalation = z.strictObject(summaryFields).meta({ id: 'Escalation' });

const memberFields = {
  eventId: presentedId('event').meta({ description: 'The event that brought it.' }),
  type: z.string().nullable(),
  subject: z.string().nullable(),
  severity: z.enum(severities),
  firing: z.boolean().meta({ description: 'Something is still wrong.' }),
  attachedAt: presentedTime,
  count: z.int().meta({ description: 'How often the problem was reported.' }),
};

const member = z
  .strictObject({
    ...memberFields,
    attached: z.enum(attachments).meta({ description: 'How it came: it opened the escalation, or joined it without a page of its own.' }),
  })
  .meta({ id: 'EscalationEvent' });

export const suppressedMember = z
  .strictObject({ ...memberFields, reason: z.enum(attachments).exclude(['opened']) })
  .meta({ id: 'SuppressedEvent' });

const page = z.strictObject({
  deliveryId: presentedId('delivery'),
  recipient: z.strictObject({
    kind: z.enum(['contact', 'channel', 'webhook']),
    id: z.string(),
    userId: presentedId('user').nullable().meta({ description: 'Whose contact method it is.' }),
  }),
  channelType: z.string(),
  state: z.enum(deliveryStates),
  errorCode: z.string().nullable(),
  finishedAt: presentedTime.nullable(),
});

const firing = z
  .strictObject({
    number: z.int().meta({ description: 'From 1, never reset.' }),
    kind: z.enum(['tier', 'fallback']),
    ...position,
    reason: z.string(),
    targets: z.array(shownTarget),
    scheduledAt: presentedTime,
    firedAt: presentedTime,
    failingAt: presentedTime.nullable().meta({ description: 'When it was clear that it reaches nobody soon.' }),
    pages: z.array(page),
  })
  .meta({ id: 'EscalationFiring' });

export const escalationDetail = z
  .strictObject({
    ...summaryFields,
    eventCount: z.int(),
    events: z.array(member).meta({ description: 'The first 100, in the order in which they began.' }),
    firings: z.array(firing).meta({ description: 'The latest 100, oldest first.' }),
  })
  .meta({ id: 'EscalationDetail' });

export const timelineEntry = z
  .strictObject({
    seq: z.int().meta({ description: 'Grows within the escalation, with gaps.' }),
    at: presentedTime,
    kind: z.string(),
    state: z.enum(escalationStates).nullable().meta({ description: 'Afterwards.' }),
    round: z.int(),
    tier: z.int(),
    firing: z.int().meta({ description: 'Firings so far.' }),
    reason: z.string().nullable(),
    eventId: presentedId('event').nullable().meta({ description: 'Of the problem that it is about.' }),
    actor: actor.nullable().meta({ description: 'Null: Tocsin itself.' }),
    proof: z.string().nullable().meta({ description: 'How the actor was known.' }),
    deliveryId: presentedId('delivery').nullable().meta({ description: 'Of the message that it is about.' }),
    auditIndex: z
      .int()
      .nullable()
      .meta({ description: 'Place in the audit log of the entry that tells the same. Null: there is none, or it has no place yet.' }),
  })
  .meta({ id: 'EscalationTimelineEntry' });

/** What a command answers: committed, whatever becomes of this process. */
export const commandAnswer = z
  .strictObject({
    state: z.enum(escalationStates),
    version: z.int(),
    ...position,
    dueAt: presentedTime.nullable(),
    already: z.boolean().meta({ description: 'It was so before: nothing changed.' }),
  })
  .meta({ id: 'EscalationCommandAnswer' });

export function presentEscalation(row: EscalationRow) {
  return {
    id: toWireId('escalation', row.id),
    state: row.status,
    version: row.version,
    severity: row.severity,
    subject: row.subject,
    policy: { id: toWireId('escalation_policy', row.policyId), version: row.policyVersion, name: row.policyName },
    projectId: row.projectId && toWireId('project', row.projectId),
    round: row.round,
    tier: row.tier,
    dueAt: presentTime(row.dueAt),
    why: row.why,
    openedAt: presentTime(row.openedAt),
    acknowledgedAt: presentTime(row.acknowledgedAt),
    acknowledgedBy: row.acknowledgedBy && presentActor(row.acknowledgedBy),
    resolvedAt: presentTime(row.resolvedAt),
    resolveReason: row.resolveReason,
    previousId: row.previousId && toWireId('escalation', row.previousId),
    workflowId: workflowIds.escalation(row.id),
  };
}

export function presentMember({ attached, ...row }: EscalationMemberRow) {
  return { ...presentMemberFields(row), attached };
}

export function presentSuppressed({ attached, ...row }: EscalationMemberRow) {
  return { ...presentMemberFields(row), reason: attached };
}

function presentMemberFields({ eventId, type, subject, severity, firing, attachedAt, count }: Omit<EscalationMemberRow, 'attached'>) {
  return { eventId: toWireId('event', eventId), type, subject, severity, firing, attachedAt: presentTime(attachedAt), count };
}

export function presentFiring({ firing, kind, round, tier, reason, targets, scheduledAt, firedAt, failingAt, pages }: FiringRow) {
  return {
    number: firing,
    kind,
    round,
    tier,
    reason,
    targets: targets.map(presentTarget),
    scheduledAt: presentTime(scheduledAt),
    firedAt: presentTime(firedAt),
    failingAt: presentTime(failingAt),
    pages: pages.map(presentPage),
  };
}

function presentPage({ deliveryId, recipientKind: kind, recipientId, userId, channelType, state, errorCode, finishedAt }: PageRow) {
  return {
    deliveryId: toWireId('delivery', deliveryId),
    recipient: {
      kind,
      id: toWireId(kind === 'contact' ? 'contact_method' : kind, recipientId),
      userId: userId && toWireId('user', userId),
    },
    channelType,
    state,
    errorCode,
    finishedAt: presentTime(finishedAt),
  };
}

export function presentTimelineEntry(row: TimelineRow) {
  const { seq, at, kind, status, round, tier, firing, reason, eventId, actor: by, proof, deliveryId, auditIndex } = row;
  return {
    seq: Number(seq),
    at: presentTime(at),
    kind,
    state: status,
    round,
    tier,
    firing,
    reason,
    eventId: eventId && toWireId('event', eventId),
    actor: by && presentActor(by),
    proof,
    deliveryId: deliveryId && toWireId('delivery', deliveryId),
    auditIndex: auditIndex === null ? null : Number(auditIndex),
  };
}

export function presentCommandAnswer({ status, version, round, tier, dueAt }: EscalationRow, already: boolean) {
  return { state: status, version, round, tier, dueAt: presentTime(dueAt), already };
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function presentActor({ type, id }: ActorColumn) {
  const isOurs = (type === 'user' || type === 'service_account') && uuid.test(id);
  return { type, id: isOurs ? toWireId(type, id) : id };
}

/** Times of raw queries come as PostgreSQL writes them. */
function presentTime(text: string): string;
function presentTime(text: string | null): string | null;
function presentTime(text: string | null): string | null {
  return text === null ? null : new Date(text).toISOString();
}
