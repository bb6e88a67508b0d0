/**
 * Carries out what the escalation reducer decides: every way in (intake, commands, callbacks, timers) locks the groups, steps them here and
 * writes what comes of it, all in one transaction. A committed acknowledgement so excludes every later page.
 */
import type { EntityManager } from '@mikro-orm/postgresql';
import type { RawBuilder } from 'kysely';
import type { AuditDraft } from '../domain/audit/draft.ts';
import { limits } from '../domain/audit/limits.ts';
import { stepGroup } from '../domain/escalation.ts';
import type { Effect, EscalationEventType, GroupStep, UpdateChange } from '../domain/escalation-effect.ts';
import type { EscalationFacts, GroupInput, Recipient } from '../domain/escalation-input.ts';
import { describeNews, type EscalationNews } from '../domain/escalation-news.ts';
import type { Target } from '../domain/escalation-policy.ts';
import { emptyGroup, type Escalation, type GroupState } from '../domain/escalation-state.ts';
import { newId } from '../domain/id.ts';
import { type EscalationConfiguration, recipientsOf, usersOf } from '../domain/recipients.ts';
import type { MatchedEvent } from '../domain/rule.ts';
import type { Severity } from '../domain/severity.ts';
import { silencedUntil } from '../domain/silence.ts';
import {
  cancelPages,
  closeProblems,
  type EscalationRecord,
  type FiringRecord,
  insertFirings,
  insertNotices,
  insertPages,
  insertTimeline,
  type HeldRecord,
  type MemberRecord,
  type NoticeRecord,
  type PageRecord,
  retireEscalations,
  saveEscalations,
  saveGroups,
  saveHeld,
  saveMembers,
  type TimelineRecord,
} from './queries/escalation.ts';
import type { EscalationSubject, StoredGroup } from './queries/escalation-group.ts';
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

/** Who made a command; null in the timeline means Tocsin itself. */
export interface StepAuthor {
  actor: { type: 'user' | 'service_account'; id: string };
  proof: string;
  /** UUID of the channel in which it was done, whose message shows it already. */
  originId?: string | undefined;
}

/** The audit entries (UUIDs) that a step's timeline names. */
export interface StepEntries {
  /** One for each draft of `audit`, in order. */
  own: readonly string[];
  /** Of the command to an escalation (UUID); null: there is none, or it is not written yet, see `nameAuditEntry`. */
  ofCommand: (escalationId: string) => string | null;
}

export interface StepOptions {
  /** The event that the input is about. */
  about?: EscalationSubject;
  /** The event itself, for silences; without one the member is not silenced. */
  event?: MatchedEvent;
  by?: StepAuthor;
  /** Default: that of all steps, which MUST be the latest. */
  at?: number;
}

/** What has to be done once the transaction has committed. */
export interface StepOutcome {
  deliveries: UnownedDelivery[];
  /** Escalations whose workflow has to look again. */
  changed: Array<{ organizationId: string; escalationId: string; policyId: string; version: number }>;
}

export interface EscalationSteps {
  /** As the steps so far left it. */
  stateOf(group: StoredGroup): GroupState;
  step(group: StoredGroup, input: GroupInput, options?: StepOptions): GroupStep;
  /** In the order in which they MUST be executed, after the events are inserted. */
  statements(entries: StepEntries): Array<RawBuilder<unknown>>;
  /** To be executed after all of those; its rows are deliveries to start besides the outcome's. */
  updates(): Array<RawBuilder<UnownedDelivery>>;
  ownEvents(): readonly OwnEvent[];
  /** What Tocsin did by itself; a command's own entry is its caller's. */
  audit(): AuditDraft[];
  outcome(): StepOutcome;
}

/** Steps groups of one organization at one instant. The groups MUST be locked, for `close_problems` also the members' problems. */
export function createEscalationSteps({
  organizationId,
  at,
  configuration,
}: {
  organizationId: string;
  at: number;
  configuration: EscalationConfiguration;
}): EscalationSteps {
  const states = new Map<string, GroupState>();
  const stored = new Map<string, GroupState>();
  const about = new Map<string, EscalationSubject>();
  const escalations = new Map<string, EscalationRecord>();
  const members = new Map<string, MemberRecord>();
  const held = new Map<string, HeldRecord>();
  const retired: string[] = [];
  const firings: FiringRecord[] = [];
  const pages: Array<PageRecord & { needs: EscalationEventType }> = [];
  const notices: NoticeRecord[] = [];
  const links: Array<{ escalationId: string; firing: number; userId: string }> = [];
  const cancelled: Array<{ escalationId: string; reason: string }> = [];
  const updates: Array<Omit<UpdateRecord, 'ownEventId'>> = [];
  /** `draft`: which of the drafts tells the same. */
  const timeline: Array<Omit<TimelineRecord, 'auditEntryId'> & { draft: number | null }> = [];
  const closed: string[] = [];
  const own: OwnEvent[] = [];
  const drafts: AuditDraft[] = [];

  const step = (group: StoredGroup, input: GroupInput, options: StepOptions = {}): GroupStep => {
    const before = states.get(group.id) ?? group.state;
    stored.set(group.id, stored.get(group.id) ?? group.state);
    const result = stepGroup(before, input, Math.max(options.at ?? at, group.steppedAt), factsOf(group, options));
    states.set(group.id, result.state);
    if (result.state !== before) record(group, before, result, { input, options });
    for (const effect of result.effects) carryOut(result, effect, { input, options });
    return result;
  };

  const factsOf = (group: StoredGroup, { event }: StepOptions): EscalationFacts => ({
    policy: (id, version) => {
      const newest = configuration.policies.get(id);
      if (version === null || newest?.version === version) return newest;
      return group.policies.find((policy) => policy.id === id && policy.version === version);
    },
    calendar: (id, version) => {
      const newest = configuration.calendars.get(id);
      if (version === null || newest?.version === version) return newest;
      return group.calendars.find((calendar) => calendar.id === id && calendar.version === version);
    },
    recipients: (target) => recipientsOf(target, at, configuration),
    silencedUntil: (key) => {
      const member = event ?? group.memberEvents.get(key);
      return member === undefined ? null : silencedUntil(configuration.silences, member, at);
    },
    newId,
  });

  /** The rows that tell what the state does. */
  const record = (
    group: StoredGroup,
    before: GroupState,
    { state, plan }: GroupStep,
    { input, options }: { input: GroupInput; options: StepOptions },
  ): void => {
    const { escalation } = state;
    for (const { key } of before.held) held.set(`${group.id} ${key}`, { groupId: group.id, problemId: key, isHeld: false });
    for (const { key } of state.held) held.set(`${group.id} ${key}`, { groupId: group.id, problemId: key, isHeld: true });
    if (before.escalation !== null && before.escalation.id !== escalation?.id) retired.push(before.escalation.id);
    if (escalation === null) return;
    if (!about.has(escalation.id)) about.set(escalation.id, subjectOf(group, state, input, options));
    const { eventId, subject, projectId } = about.get(escalation.id)!;
    const { phase } = escalation;
    escalations.set(escalation.id, {
      id: escalation.id,
      groupId: group.id,
      policyId: escalation.snapshot.policyId,
      policyVersion: escalation.snapshot.version,
      projectId,
      eventId,
      subject,
      previousId: escalation.previousId,
      status: phase.status,
      severity: escalation.severity,
      version: state.version,
      round: escalation.round,
      tier: escalation.tier,
      firing: escalation.firing,
      dueAt: plan?.dueAt ?? null,
      why: plan?.why ?? null,
      openedAt: escalation.openedAt,
      acknowledgedAt: phase.status === 'acknowledged' ? phase.since : null,
      acknowledgedBy: acknowledgedBy(before, escalation, options),
      resolvedAt: phase.status === 'resolved' ? phase.since : null,
      resolveReason: phase.status === 'resolved' ? phase.reason : null,
    });
    const known = new Set(before.escalation?.id === escalation.id ? before.members : []);
    for (const member of state.members) {
      if (known.has(member)) continue;
      const isOfInput = 'key' in input && input.key === member.key;
      const event = (isOfInput ? options.about : undefined) ?? group.memberEvents.get(member.key);
      members.set(`${escalation.id} ${member.key}`, { ...member, escalationId: escalation.id, eventId: event?.eventId ?? member.key });
    }
  };

  /** Null: nobody, or whom the row names already. */
  const acknowledgedBy = (before: GroupState, { id, phase }: Escalation, { by }: StepOptions): EscalationRecord['acknowledgedBy'] => {
    if (phase.status !== 'acknowledged') return null;
    const last = before.escalation?.id === id ? before.escalation.phase : undefined;
    const isNew = last?.status !== 'acknowledged' || last.since !== phase.since;
    return isNew ? (by?.actor ?? null) : (escalations.get(id)?.acknowledgedBy ?? null);
  };

  const subjectOf = (group: StoredGroup, state: GroupState, input: GroupInput, options: StepOptions): EscalationSubject => {
    if (group.about !== null && group.state.escalation?.id === state.escalation?.id) return group.about;
    const first = state.members.find(({ firing }) => firing) ?? state.members[0];
    const found =
      ('key' in input && input.key === first?.key ? options.about : undefined) ?? group.memberEvents.get(first?.key ?? '') ?? options.about;
    if (found === undefined) throw new Error(`Nothing is known of what escalation ${state.escalation?.id ?? ''} is about`);
    return found;
  };

  const carryOut = (
    { state }: GroupStep,
    effect: Effect,
    { input, options: { by } }: { input: GroupInput; options: StepOptions },
  ): void => {
    switch (effect.kind) {
      case 'opened':
        drafts.push(draft('escalation.trigger', effect.escalationId, { policyVersion: effect.policy.version, reason: effect.reason }));
        return;
      case 'fire': {
        firings.push({ ...effect, kind: 'tier' });
        const line = timeline.findLast(({ what, escalationId }) => what === 'tier_fired' && escalationId === effect.escalationId);
        if (line !== undefined) line.draft = drafts.length;
        tell(effect, 'page', 'escalation.triggered');
        return;
      }
      case 'fallback':
        firings.push({ ...effect, kind: 'fallback', reason: 'exhausted', scheduledAt: at });
        tell(effect, 'fallback', 'escalation.exhausted');
        return;
      case 'remind':
        remind(effect);
        return;
      case 'cancel_pages':
        cancelled.push({ escalationId: effect.escalationId, reason: effect.reason });
        for (const one of pages) if (one.escalationId === effect.escalationId) one.cancelledBy ??= effect.reason;
        return;
      case 'update': {
        const { escalationId, change, reason, followUp } = effect;
        const { round, tier } = state.escalation!;
        const actorUserId = input.kind === 'command' ? input.by.userId : null;
        const author = actorUserId === null ? (by?.actor ?? null) : ({ type: 'user', id: actorUserId } as const);
        updates.push({
          escalationId,
          version: state.version,
          eventType: eventTypeOf[change],
          news: { kind: 'change', change, reason, by: author, round, tier },
          followUp,
          actorUserId,
          originId: by?.originId ?? null,
          eventId: about.get(escalationId)!.eventId,
        });
        return;
      }
      case 'post': {
        const subject = about.get(effect.escalationId);
        if (subject !== undefined)
          own.push({ id: newId(at), type: effect.eventType, severity: effect.severity, escalationId: effect.escalationId, about: subject });
        return;
      }
      case 'close_problems':
        closed.push(...effect.keys);
        return;
      case 'timeline': {
        const { what, reason } = effect;
        const escalationId = effect.escalationId ?? state.escalation?.id;
        if (escalationId === undefined) return;
        const isOwnEnd = by === undefined && (what === 'exhausted' || what === 'resolved');
        const opening = what === 'opened' ? drafts.findLastIndex(({ resource }) => resource?.id === escalationId) : -1;
        timeline.push({
          ...effect,
          escalationId,
          actor: by?.actor ?? null,
          proof: by?.proof ?? null,
          draft: isOwnEnd ? drafts.length : opening === -1 ? null : opening,
        });
        if (isOwnEnd) drafts.push(draft(what === 'exhausted' ? 'escalation.exhaust' : 'escalation.resolve', escalationId, { reason }));
        return;
      }
    }
  };

  /** To the one who acknowledged, in the app too: that is all there is of somebody without an address. */
  const remind = ({ escalationId, round, tier, userId, timeoutAt, recipients }: Extract<Effect, { kind: 'remind' }>): void => {
    const news: EscalationNews = { kind: 'reminder', timeoutAt, round, tier };
    const needs = 'escalation.acknowledged';
    for (const recipient of recipients) page(escalationId, recipient, { firing: null, purpose: 'reminder', needs, news });
    notify(escalationId, userId, { type: needs, severity: about.get(escalationId)!.severity, message: describeNews(news, null) });
  };

  const notify = (
    escalationId: string,
    userId: string,
    { type, severity, message }: { type: EscalationEventType; severity: Severity; message: string | null },
  ): void => {
    const { eventId, subject, projectId } = about.get(escalationId)!;
    notices.push({ id: newId(at), escalationId, userId, eventId, type, severity, projectId, subject, message });
  };

  const tell = (effect: Extract<Effect, { kind: 'fire' | 'fallback' }>, purpose: 'page' | 'fallback', needs: EscalationEventType): void => {
    const { escalationId, firing, round, tier, targets, recipients } = effect;
    for (const recipient of recipients) page(escalationId, recipient, { firing, purpose, needs });
    const linked = new Set(recipients.flatMap(({ userId }) => (userId === null ? [] : [userId])));
    for (const userId of linked) links.push({ escalationId, firing, userId });
    const userIds = new Set(targets.flatMap((target: Target) => usersOf(target, at, configuration)));
    const { severity } = about.get(escalationId)!;
    for (const userId of userIds) notify(escalationId, userId, { type: needs, severity, message: null });
    const details = {
      firing,
      round,
      tier,
      purpose,
      recipients: recipients.map(({ kind, id, userId }) => ({ type: kind, id, ...(userId === null ? {} : { userId }) })),
      ...(effect.kind === 'fire' ? { reason: effect.reason, scheduledAt: new Date(effect.scheduledAt).toISOString() } : {}),
    };
    drafts.push({ ...draft('escalation.notify', escalationId, details), targets: notified(recipients) });
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
    const { eventId } = about.get(escalationId)!;
    const contactMethodId = recipient.kind === 'contact' ? recipient.id : null;
    const what = { escalationId, firing, purpose, news, cancelledBy: null, eventId, eventType: needs, contactMethodId, needs };
    pages.push({ id: newId(at), ...what, ...route });
  };

  const draft = (action: string, escalationId: string, details: Record<string, unknown>): AuditDraft => ({
    orgId: organizationId,
    action,
    actor: { type: 'system', id: 'system', subsystem: 'escalation' },
    resource: { type: 'escalation', id: escalationId },
    projectId: about.get(escalationId)?.projectId ?? undefined,
    correlation: { escalationId, eventId: about.get(escalationId)?.eventId },
    details,
  });

  const ownEventOf = (wanted: string, about: string): string | null =>
    own.findLast(({ type, escalationId }) => type === wanted && escalationId === about)?.id ?? null;

  /** A webhook gets an event's body; of a page that is the event that says so. */
  const finishedPages = (): PageRecord[] =>
    pages.map((one) => {
      const eventId = ownEventOf(one.needs, one.escalationId);
      return one.destinationKind === 'webhook' && eventId !== null ? { ...one, eventId } : one;
    });
  const finishedUpdates = (): UpdateRecord[] => updates.map((one) => ({ ...one, ownEventId: ownEventOf(one.eventType, one.escalationId) }));

  return {
    stateOf: (group) => states.get(group.id) ?? group.state,
    step,
    ownEvents: () => own,
    audit: () => drafts,
    statements(entries) {
      const entryOf = ({ draft, actor, escalationId }: (typeof timeline)[number]): string | null =>
        draft === null ? (actor === null ? null : entries.ofCommand(escalationId)) : (entries.own[draft] ?? null);
      const lines = timeline.map((line): TimelineRecord => ({ ...line, auditEntryId: entryOf(line) }));
      const changed = [...states].filter(([id, state]) => stored.get(id) !== state).map(([id, state]) => ({ id, state }));
      const when = <T>(rows: readonly T[], statement: (rows: readonly T[]) => RawBuilder<unknown>) =>
        rows.length === 0 ? [] : [statement(rows)];
      const superseded = retired.filter((id) => !escalations.has(id) || escalations.get(id)!.status === 'resolved');
      return [
        ...when(changed, (rows) => saveGroups(organizationId, rows, at)),
        ...when([...escalations.values()], (rows) => saveEscalations(organizationId, rows, at)),
        ...when(superseded, (rows) => retireEscalations(organizationId, rows)),
        ...(held.size === 0 ? [] : saveHeld(organizationId, [...held.values()])),
        ...when([...members.values()], (rows) => saveMembers(organizationId, rows, at)),
        ...when(firings, (rows) => insertFirings(organizationId, rows, at)),
        ...when(cancelled, (rows) => cancelPages(organizationId, rows, at)),
        ...when(finishedPages(), (rows) => insertPages(organizationId, rows, at)),
        ...when(links, (rows) => insertLinkTokens(organizationId, rows, at)),
        ...when(finishedUpdates(), (rows) => correctNotices(organizationId, rows)),
        ...when(notices, (rows) => insertNotices(organizationId, rows, at)),
        ...when(lines, (rows) => insertTimeline(organizationId, rows)),
        ...when(closed, (rows) => closeProblems(organizationId, rows, at)),
      ];
    },
    updates: () =>
      updates.length === 0 ? [] : [insertUpdates(organizationId, finishedUpdates(), { pagesOfNow: pages.map(({ id }) => id), at })],
    outcome: () => ({
      deliveries: finishedPages().flatMap(({ id, destinationKind, destinationId, channelType, eventType, purpose, cancelledBy }) =>
        cancelledBy === null ? [{ id, organizationId, destinationKind, destinationId, channelType, eventType, purpose, runSeq: 0 }] : [],
      ),
      changed: [...escalations.values()].map(({ id, policyId, version }) => ({ organizationId, escalationId: id, policyId, version })),
    }),
  };
}

/** Writes what the steps decided, but for their events and audit entries, which come before. @returns what is to be done after the commit */
export async function writeSteps(em: EntityManager, steps: EscalationSteps, entries: StepEntries): Promise<StepOutcome> {
  for (const statement of steps.statements(entries)) await statement.execute(em.getKysely());
  const { deliveries, changed } = steps.outcome();
  const updates: UnownedDelivery[] = [];
  for (const statement of steps.updates()) updates.push(...(await statement.execute(em.getKysely())).rows);
  return { changed, deliveries: [...deliveries, ...updates] };
}

/** What webhooks are told of a change. */
const eventTypeOf: Readonly<Record<UpdateChange, EscalationEventType>> = {
  acknowledged: 'escalation.acknowledged',
  restarted: 'escalation.triggered',
  resolved: 'escalation.resolved',
  exhausted: 'escalation.exhausted',
};

/** Who was told, in clear, as far as an entry holds them: the details have them all. */
function notified(recipients: readonly Recipient[]): AuditDraft['targets'] {
  const targets = recipients.map(({ kind, id, userId }) => (userId === null ? { type: kind, id } : { type: 'user', id: userId }));
  return [...new Map(targets.map((target) => [`${target.type} ${target.id}`, target])).values()].slice(0, limits.targets);
}

/** A group that nothing happened to yet. */
export function newGroup(
  policyId: string,
  groupKey: string,
  at: number,
): { id: string; policyId: string; groupKey: string; state: GroupState } {
  return { id: newId(at), policyId, groupKey, state: emptyGroup(policyId) };
}

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
