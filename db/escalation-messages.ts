import type { RawBuilder } from 'kysely';
import type { Effect, EscalationEventType, UpdateChange } from '../domain/escalation-effect.ts';
import type { Recipient } from '../domain/escalation-input.ts';
import { describeNews, type EscalationNews } from '../domain/escalation-news.ts';
import type { GroupState } from '../domain/escalation-state.ts';
import { newId } from '../domain/id.ts';
import { type EscalationConfiguration, mandatoryRecipients, usersOf } from '../domain/recipients.ts';
import type { Severity } from '../domain/severity.ts';
import type { StepAuthor } from './escalation-step.ts';
import {
  cancelPages,
  type FiringRecord,
  insertFirings,
  insertNotices,
  insertPages,
  type NoticeRecord,
  type PageRecord,
} from './queries/escalation.ts';
import type { EscalationSubject } from './queries/escalation-group.ts';
import { correctNotices, insertUpdates, type UpdateRecord } from './queries/escalation-update.ts';
import { insertLinkTokens } from './queries/link-token.ts';
import type { UnownedDelivery } from './queries/unowned.ts';

/** An event of Tocsin's own that a step makes. */
export interface OwnEvent {
  id: string;
  type: EscalationEventType;
  severity: Severity;
  escalationId: string;
  about: EscalationSubject;
}

type EffectOf<Kind extends Effect['kind']> = Extract<Effect, { kind: Kind }>;

/** Whom the steps of one transaction tell what, and whom no more. */
export interface EscalationMessages {
  fire(effect: EffectOf<'fire' | 'fallback'>): void;
  remind(effect: EffectOf<'remind'>): void;
  cancel(effect: EffectOf<'cancel_pages'>): void;
  /** `state` is that after the change; `userId` is who made it, where that is a member. */
  update(effect: EffectOf<'update'>, state: GroupState, author: { userId: string | null; by: StepAuthor | undefined }): void;
  /** `ownerUserId`: of the policy. */
  post(effect: EffectOf<'post'>, ownerUserId: string | null): void;
  ownEvents(): readonly OwnEvent[];
  /** In the order in which they MUST be executed, after the escalations and the events are written. */
  statements(): Array<RawBuilder<unknown>>;
  /** As `EscalationSteps` has them. */
  updates(): Array<RawBuilder<UnownedDelivery>>;
  /** What `statements` makes due now. */
  deliveries(): UnownedDelivery[];
}

interface MessagesOptions {
  organizationId: string;
  at: number;
  configuration: EscalationConfiguration;
  aboutOf: (escalationId: string) => EscalationSubject;
}

/** Collects messages of one organization at one instant. */
export function createEscalationMessages({ organizationId, at, configuration, aboutOf }: MessagesOptions): EscalationMessages {
  const firings: FiringRecord[] = [];
  const pages: Array<PageRecord & { needs: EscalationEventType }> = [];
  const notices: NoticeRecord[] = [];
  const links: Array<{ escalationId: string; firing: number; userId: string }> = [];
  const cancelled: Array<{ escalationId: string; reason: string }> = [];
  const updates: Array<Omit<UpdateRecord, 'ownEventId'>> = [];
  const own: OwnEvent[] = [];

  const fire = (effect: EffectOf<'fire' | 'fallback'>): void => {
    const { kind, escalationId, firing, targets, recipients } = effect;
    const [purpose, needs] =
      kind === 'fire' ? (['page', 'escalation.triggered'] as const) : (['fallback', 'escalation.exhausted'] as const);
    firings.push(kind === 'fire' ? { ...effect, kind: 'tier' } : { ...effect, kind, reason: 'exhausted', scheduledAt: at });
    for (const recipient of recipients) page(escalationId, recipient, { firing, purpose, needs });
    const linked = new Set(recipients.flatMap(({ userId }) => (userId === null ? [] : [userId])));
    for (const userId of linked) links.push({ escalationId, firing, userId });
    const userIds = new Set(targets.flatMap((target) => usersOf(target, at, configuration)));
    const { severity } = aboutOf(escalationId);
    for (const userId of userIds) notify(escalationId, userId, { type: needs, severity, message: null });
    // A channel in the app is everybody's.
    if (targets.some(({ kind, id }) => kind === 'channel' && configuration.activeChannels.get(id) === 'in_app'))
      notify(escalationId, null, { type: needs, severity, message: null });
  };

  /** To the one who acknowledged, in the app too: that is all there is of somebody without an address. */
  const remind = ({ escalationId, round, tier, userId, timeoutAt, recipients }: EffectOf<'remind'>): void => {
    const news: EscalationNews = { kind: 'reminder', timeoutAt, round, tier };
    const needs = 'escalation.acknowledged';
    for (const recipient of recipients) page(escalationId, recipient, { firing: null, purpose: 'reminder', needs, news });
    notify(escalationId, userId, { type: needs, severity: aboutOf(escalationId).severity, message: describeNews(news, null) });
  };

  /** Nobody can switch off hearing that nobody answered: who looks after the organization, and the policy's owner. */
  const tellAnyway = (escalationId: string, severity: Severity, ownerUserId: string | null): void => {
    const { userIds, contactIds, fallsBack } = mandatoryRecipients(ownerUserId, configuration);
    const needs = 'escalation.exhausted';
    const noticed = new Set(notices.filter((one) => one.escalationId === escalationId && one.type === needs).map(({ userId }) => userId));
    for (const userId of userIds) if (!noticed.has(userId)) notify(escalationId, userId, { type: needs, severity, message: null });
    const told = new Set(pages.filter((one) => one.escalationId === escalationId).map(({ contactMethodId }) => contactMethodId));
    const { eventId } = aboutOf(escalationId);
    for (const contactMethodId of fallsBack ? [null] : contactIds) {
      if (contactMethodId !== null && told.has(contactMethodId)) continue;
      pages.push({ ...mandatoryMail(configuration, at), escalationId, eventId, eventType: needs, contactMethodId, needs });
    }
  };

  const notify = (
    escalationId: string,
    userId: string | null,
    { type, severity, message }: { type: EscalationEventType; severity: Severity; message: string | null },
  ): void => {
    const { eventId, subject, projectId } = aboutOf(escalationId);
    notices.push({ id: newId(at), escalationId, userId, eventId, type, severity, projectId, subject, message });
  };

  const page = (
    escalationId: string,
    recipient: Recipient,
    {
      firing,
      purpose,
      needs,
      news = null,
    }: { firing: number | null; purpose: PageRecord['purpose']; needs: EscalationEventType; news?: EscalationNews | null },
  ): void => {
    const route = routeOf(recipient, configuration);
    if (route === undefined) return;
    const { eventId } = aboutOf(escalationId);
    const contactMethodId = recipient.kind === 'contact' ? recipient.id : null;
    const what = { escalationId, firing, purpose, news, cancelledBy: null, eventId, eventType: needs, contactMethodId, needs };
    pages.push({ id: newId(at), ...what, ...route });
  };

  const update: EscalationMessages['update'] = ({ escalationId, change, reason, followUp }, { escalation, version }, { userId, by }) => {
    const { round, tier } = escalation!;
    const author = userId === null ? (by?.actor ?? null) : ({ type: 'user', id: userId } as const);
    updates.push({
      escalationId,
      version,
      eventType: eventTypeOf[change],
      news: { kind: 'change', change, reason, by: author, round, tier },
      followUp,
      actorUserId: userId,
      originId: by?.originId ?? null,
      eventId: aboutOf(escalationId).eventId,
    });
  };

  const ownEventOf = (wanted: string, about: string): string | null =>
    own.findLast(({ type, escalationId }) => type === wanted && escalationId === about)?.id ?? null;

  /** A webhook gets an event's body; of a page that is the event that says so. */
  const finishedPages = (): PageRecord[] =>
    pages.map((one) => {
      const eventId = one.escalationId === null ? null : ownEventOf(one.needs, one.escalationId);
      return one.destinationKind === 'webhook' && eventId !== null ? { ...one, eventId } : one;
    });
  const finishedUpdates = (): UpdateRecord[] => updates.map((one) => ({ ...one, ownEventId: ownEventOf(one.eventType, one.escalationId) }));

  return {
    fire,
    remind,
    update,
    cancel({ escalationId, reason }) {
      cancelled.push({ escalationId, reason });
      for (const one of pages) if (one.escalationId === escalationId) one.cancelledBy ??= reason;
    },
    post({ escalationId, eventType: type, severity }, ownerUserId) {
      own.push({ id: newId(at), type, severity, escalationId, about: aboutOf(escalationId) });
      if (type === 'escalation.exhausted') tellAnyway(escalationId, severity, ownerUserId);
    },
    ownEvents: () => own,
    statements() {
      const when = <T>(rows: readonly T[], statement: (rows: readonly T[]) => RawBuilder<unknown>) =>
        rows.length === 0 ? [] : [statement(rows)];
      return [
        ...when(firings, (rows) => insertFirings(organizationId, rows, at)),
        ...when(cancelled, (rows) => cancelPages(organizationId, rows, at)),
        ...when(finishedPages(), (rows) => insertPages(organizationId, rows, at)),
        ...when(links, (rows) => insertLinkTokens(organizationId, rows, at)),
        ...when(finishedUpdates(), (rows) => correctNotices(organizationId, rows)),
        ...when(notices, (rows) => insertNotices(organizationId, rows, at)),
      ];
    },
    updates: () =>
      updates.length === 0 ? [] : [insertUpdates(organizationId, finishedUpdates(), { pagesOfNow: pages.map(({ id }) => id), at })],
    deliveries: () =>
      finishedPages().flatMap(({ id, destinationKind, destinationId, channelType, eventType, purpose, cancelledBy }) =>
        cancelledBy === null ? [{ id, organizationId, destinationKind, destinationId, channelType, eventType, purpose, runSeq: 0 }] : [],
      ),
  };
}

/** What webhooks are told of a change. */
const eventTypeOf: Readonly<Record<UpdateChange, EscalationEventType>> = {
  acknowledged: 'escalation.acknowledged',
  restarted: 'escalation.triggered',
  resolved: 'escalation.resolved',
  exhausted: 'escalation.exhausted',
};

/** Through which destination a recipient is reached. */
export function routeOf(
  { kind, id, userId }: Recipient,
  { pageMethods, senders, activeChannels }: EscalationConfiguration,
): Pick<PageRecord, 'destinationKind' | 'destinationId' | 'channelType'> | undefined {
  switch (kind) {
    case 'webhook':
      return { destinationKind: 'webhook', destinationId: id, channelType: 'webhook' };
    case 'channel': {
      const channelType = activeChannels.get(id);
      return channelType === undefined ? undefined : { destinationKind: 'channel', destinationId: id, channelType };
    }
    case 'contact': {
      const channelType = pageMethods.get(userId ?? '')?.find((method) => method.id === id)?.channelType;
      const destinationId = channelType === undefined ? undefined : senders.get(channelType);
      return channelType === undefined || destinationId === undefined
        ? undefined
        : { destinationKind: 'channel', destinationId, channelType };
    }
  }
}

/** A mail that nobody can switch off, to be addressed; there MUST be a sender of mails. */
export function mandatoryMail(
  { senders }: EscalationConfiguration,
  at: number,
): Omit<PageRecord, 'escalationId' | 'eventId' | 'eventType' | 'contactMethodId'> {
  return {
    id: newId(at),
    firing: null,
    purpose: 'mandatory',
    news: null,
    cancelledBy: null,
    destinationKind: 'channel',
    destinationId: senders.get('email')!,
    channelType: 'email',
  };
}
