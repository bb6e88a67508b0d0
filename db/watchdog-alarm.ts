import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import type { AuditDraft } from '../domain/audit/draft.ts';
import { renderEventBody } from '../domain/event-body.ts';
import type { AcceptedEvent } from '../domain/event.ts';
import { newId, toWireId } from '../domain/id.ts';
import { mandatoryRecipients, recipientsOf } from '../domain/recipients.ts';
import { decide } from '../domain/routing.ts';
import { appendAudit } from './audit-log.ts';
import { OrganizationEntity } from './entities/organization.ts';
import { mandatoryMail, routeOf } from './escalation-messages.ts';
import { eventOfTocsin, recordOf, tocsin } from './event-record.ts';
import { insertPages, insertTimeline } from './queries/escalation.ts';
import { type EscalationSubject, findGroups, readGroups, type StoredGroup } from './queries/escalation-group.ts';
import { insertIntake, type IntakeRecord } from './queries/intake.ts';
import type { FactsCache, OrganizationFacts } from './queries/routing-facts.ts';
import {
  type Alarm,
  beginEpisode,
  closeAlarm,
  endEpisode,
  findEpisode,
  insertAlarms,
  type LateEscalation,
  type Lateness,
  lockLate,
  takeAlarms,
} from './queries/watchdog.ts';
import { inOrganization } from './tenant.ts';

interface Deps {
  orm: MikroORM;
  facts: FactsCache;
}

/**
 * Begins an episode unless one is on: an event `watchdog.late` for webhooks and rules, and a notice in the app to those who look after the
 * organization.
 */
export async function beginLateEpisode({ orm, facts }: Deps, organizationId: string, late: readonly Lateness[], at: number): Promise<void> {
  await inOrganization(orm, organizationId, async (em) => {
    if ((await findEpisode(em, organizationId)) !== undefined) return;
    const known = await facts.read(em, organizationId);
    const { userIds, contactIds, fallsBack } = mandatoryRecipients(null, known.escalation);
    const id = newId(at);
    const event = {
      ...eventOfTocsin('watchdog.late', { id, organizationId, at }),
      message: late.map(({ kind, count, oldestMs }) => `${count} × ${kind}, the oldest for ${Math.round(oldestMs / 1_000)} s`).join('; '),
      data: JSON.stringify({ late: late.map(({ kind, count, oldestMs }) => ({ kind, count, oldest_ms: Math.round(oldestMs) })) }),
      audience: userIds,
    };
    const decisions = decide(event, known.routing, { change: 'occurred', muted: null });
    await insertIntake(organizationId, [recordOf({ event, decisions }, tocsin)]).execute(em.getKysely());
    const mails = (fallsBack ? [null] : contactIds).map((contactMethodId) => ({
      ...mandatoryMail(known.escalation, at),
      escalationId: null,
      eventId: id,
      eventType: event.type,
      contactMethodId,
    }));
    if (mails.length > 0) await insertPages(organizationId, mails, at).execute(em.getKysely());
    await beginEpisode(em, organizationId, id, at);
    await appendAudit(em, [
      {
        ...common(organizationId, 'watchdog.alarm'),
        resource: { type: 'event', id },
        correlation: { eventId: id },
        details: { late: late.map(({ kind, count }) => ({ kind, count })) },
      },
    ]);
  });
}

/** Nothing is overdue for the organization any more. */
export async function endLateEpisode({ orm }: Deps, organizationId: string, at: number): Promise<void> {
  await inOrganization(orm, organizationId, async (em) => {
    const eventId = await findEpisode(em, organizationId);
    if (eventId === undefined) return;
    await endEpisode(em, organizationId, at);
    const resource = { type: 'event', id: eventId };
    await appendAudit(em, [{ ...common(organizationId, 'watchdog.clear'), resource, correlation: { eventId }, details: {} }]);
  });
}

/** One message to be sent, by the organization's own channel or webhook. */
export interface AlarmMessage extends Route {
  alarm: Alarm;
  late: LateEscalation;
  /** What the escalation is about. */
  eventId: string;
}

const retryMs = 60_000;
/** Of recipients that are no rows. */
const noId = '00000000-0000-0000-0000-000000000000';

/**
 * Claims the messages about one late escalation: to the fallback of the policy that it runs on, or to the organization's fallback address.
 * Each recipient is told once about one instant; what could not be sent is given again after a minute.
 * @returns none when the escalation has moved on
 */
export async function claimAlarms({ orm, facts }: Deps, late: LateEscalation, at: number): Promise<AlarmMessage[]> {
  const { organizationId, escalationId } = late;
  return inOrganization(orm, organizationId, async (em) => {
    const known = await facts.read(em, organizationId);
    if (!(await lockLate(em, organizationId, late))) return [];
    const [group] = readGroups((await findGroups(organizationId, { escalationId }).execute(em.getKysely())).rows);
    const about = group?.about;
    if (group === undefined || about === null || about === undefined) return [];
    const { settings } = await em.findOneOrFail(OrganizationEntity, { id: organizationId });
    const routes = routesOf(group, known, settings.fallbackEmail, at);
    const nobody = { recipientKind: 'nobody', recipientId: noId } as const;
    const wanted = (routes.length === 0 ? [nobody] : routes).map((route) => ({ ...route, id: newId(at) }));
    const event = routes.some(({ destinationKind }) => destinationKind === 'webhook') ? lateEvent(late, about, at) : null;
    if ((await insertAlarms(em, organizationId, { late, alarms: wanted, eventId: event?.id ?? null, at })) > 0) {
      if (event !== null) await insertIntake(organizationId, [untold(event)]).execute(em.getKysely());
      await record(em, { late, group, alarms: wanted, at });
    }
    const taken = await takeAlarms(em, organizationId, late, { at, nextAt: at + retryMs });
    return taken.flatMap((alarm) => {
      const route = routes.find(
        ({ recipientKind, recipientId }) => recipientKind === alarm.recipientKind && recipientId === alarm.recipientId,
      );
      return route === undefined ? [] : [{ ...route, alarm, late, eventId: about.eventId }];
    });
  });
}

/** What a webhook gets that is somebody's last resort. */
function lateEvent({ organizationId, escalationId, dueAt }: LateEscalation, about: EscalationSubject, at: number): AcceptedEvent {
  const escalation = toWireId('escalation', escalationId);
  const { subject, projectId, tenantId, environment } = about;
  return {
    ...eventOfTocsin('watchdog.late', { id: newId(at), organizationId, at }),
    subject,
    projectId,
    tenantId,
    environment,
    resource: { type: 'escalation', id: escalation },
    data: JSON.stringify({ escalation_id: escalation, event_id: toWireId('event', about.eventId), due_at: new Date(dueAt).toISOString() }),
  };
}

/** Stored for whoever looks it up; the alarm itself is all that is sent of it. */
function untold(event: AcceptedEvent): IntakeRecord {
  return { ...recordOf({ event, decisions: [] }, tocsin), body: renderEventBody(event) };
}

type AlarmRecipient = Pick<Alarm, 'recipientKind' | 'recipientId'>;

interface Route {
  recipientKind: Alarm['recipientKind'];
  recipientId: string;
  /** A channel or webhook of the organization. */
  destinationId: string;
  destinationKind: 'webhook' | 'channel';
  channelType: string;
  /** Instead of the addresses of the channel's settings. */
  address: string | undefined;
}

/** Whom the policy names as the last resort; when that reaches nobody, the address that the organization keeps for it. */
function routesOf(group: StoredGroup, { escalation }: OrganizationFacts, fallbackEmail: string | undefined, at: number): Route[] {
  const snapshot = group.state.escalation?.snapshot;
  const newest = escalation.policies.get(snapshot?.policyId ?? '');
  const pinned = group.policies.find(({ id, version }) => id === snapshot?.policyId && version === snapshot.version) ?? newest;
  const recipients = (pinned?.fallback ?? []).flatMap((target) => recipientsOf(target, at, escalation));
  const routes = recipients.flatMap((recipient): Route[] => {
    const route = routeOf(recipient, escalation);
    return route === undefined ? [] : [{ ...route, recipientKind: recipient.kind, recipientId: recipient.id, address: undefined }];
  });
  const sender = escalation.senders.get('email');
  if (routes.length > 0 || fallbackEmail === undefined || sender === undefined) return uniqueOf(routes);
  const organization = { recipientKind: 'fallback_email', recipientId: noId } as const;
  return [{ ...organization, destinationId: sender, destinationKind: 'channel', channelType: 'email', address: fallbackEmail }];
}

function uniqueOf(routes: readonly Route[]): Route[] {
  return [...new Map(routes.map((route) => [`${route.recipientKind} ${route.recipientId}`, route])).values()];
}

async function record(
  em: EntityManager,
  {
    late,
    group: { state, about },
    alarms,
    at,
  }: { late: LateEscalation; group: StoredGroup; alarms: readonly AlarmRecipient[]; at: number },
): Promise<void> {
  const { organizationId, escalationId, dueAt } = late;
  const { round = 0, tier = 0, firing = 0, phase } = state.escalation ?? {};
  const recipients = alarms.flatMap(({ recipientKind: type, recipientId: id }) => (type === 'nobody' ? [] : [{ type, id }]));
  const [auditEntryId = null] = await appendAudit(em, [
    {
      ...common(organizationId, 'escalation.notify'),
      resource: { type: 'escalation', id: escalationId },
      projectId: about?.projectId ?? undefined,
      correlation: { escalationId, eventId: about?.eventId },
      details: { purpose: 'watchdog', round, tier, dueAt: new Date(dueAt).toISOString(), recipients },
    },
  ]);
  const entry = { escalationId, what: 'watchdog', status: phase?.status ?? null, at, round, tier, firing, key: null } as const;
  await insertTimeline(organizationId, [
    { ...entry, reason: recipients.length === 0 ? 'no_recipients' : null, actor: null, proof: null, auditEntryId },
  ]).execute(em.getKysely());
}

/** How one attempt at a message ended. */
export interface AlarmResult {
  outcome: string;
  statusCode: number | null;
  errorCode: string | null;
  durationMs: number;
  /** Whether trying again is of no use. */
  isFinal: boolean;
}

/** Writes down what became of a message, with its audit entry; one that may still arrive stays to be sent. */
export async function finishAlarm({ orm }: Pick<Deps, 'orm'>, message: AlarmMessage, result: AlarmResult, at: number): Promise<void> {
  const { alarm, late, eventId } = message;
  const { organizationId, escalationId } = late;
  const { isFinal, outcome, ...facts } = result;
  const delivered = outcome === 'delivered';
  await inOrganization(orm, organizationId, async (em) => {
    if (isFinal) await closeAlarm(em, organizationId, alarm.id, delivered ? at : null);
    await appendAudit(em, [
      {
        ...common(organizationId, 'delivery.attempt'),
        status: delivered ? 'success' : 'failure',
        resource: { type: 'delivery', id: alarm.id },
        targets: [{ type: alarm.recipientKind === 'contact' ? 'contact_method' : alarm.recipientKind, id: alarm.recipientId }],
        correlation: { escalationId, eventId },
        details: { path: 'watchdog', attempt: alarm.attempts, outcome, ...facts },
      },
    ]);
  });
}

function common(orgId: string, action: string): Pick<AuditDraft, 'orgId' | 'action' | 'actor'> {
  return { orgId, action, actor: { type: 'system', id: 'system', subsystem: 'watchdog' } };
}
