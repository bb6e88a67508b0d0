/**
 * Carries out what the escalation reducer decides: every way in (intake, commands, callbacks, timers) locks the groups, steps them here and
 * writes what comes of it, all in one transaction. A committed acknowledgement so excludes every later page.
 */
import type { EntityManager } from '@mikro-orm/postgresql';
import type { RawBuilder } from 'kysely';
import type { AuditDraft } from '../domain/audit/draft.ts';
import { limits } from '../domain/audit/limits.ts';
import { stepGroup } from '../domain/escalation.ts';
import type { Effect, GroupStep } from '../domain/escalation-effect.ts';
import type { EscalationFacts, GroupInput, Recipient } from '../domain/escalation-input.ts';
import { emptyGroup, type Escalation, type GroupState } from '../domain/escalation-state.ts';
import { newId } from '../domain/id.ts';
import { type EscalationConfiguration, recipientsOf } from '../domain/recipients.ts';
import type { MatchedEvent } from '../domain/rule.ts';
import { silencedUntil } from '../domain/silence.ts';
import { createEscalationMessages, type OwnEvent } from './escalation-messages.ts';
import {
  closeProblems,
  type EscalationRecord,
  type HeldRecord,
  insertTimeline,
  type MemberRecord,
  releaseMembers,
  retireEscalations,
  saveEscalations,
  saveGroups,
  saveHeld,
  saveMembers,
  type TimelineRecord,
} from './queries/escalation.ts';
import type { EscalationSubject, StoredGroup } from './queries/escalation-group.ts';
import type { UnownedDelivery } from './queries/unowned.ts';

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
  const messages = createEscalationMessages({ organizationId, at, configuration, aboutOf: (escalationId) => about.get(escalationId)! });
  /** `draft`: which of the drafts tells the same. */
  const timeline: Array<Omit<TimelineRecord, 'auditEntryId'> & { draft: number | null }> = [];
  const closed: string[] = [];
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
        const line = timeline.findLast(({ what, escalationId }) => what === 'tier_fired' && escalationId === effect.escalationId);
        if (line !== undefined) line.draft = drafts.length;
        messages.fire(effect);
        drafts.push(draftNotify(effect));
        return;
      }
      case 'fallback':
        messages.fire(effect);
        drafts.push(draftNotify(effect));
        return;
      case 'remind':
        messages.remind(effect);
        return;
      case 'cancel_pages':
        messages.cancel(effect);
        return;
      case 'update':
        messages.update(effect, state, { userId: input.kind === 'command' ? input.by.userId : null, by });
        return;
      case 'post':
        messages.post(effect, configuration.policies.get(state.policyId)?.ownerUserId ?? null);
        return;
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

  const draftNotify = (effect: Extract<Effect, { kind: 'fire' | 'fallback' }>): AuditDraft => {
    const { kind, escalationId, firing, round, tier, recipients } = effect;
    const details = {
      firing,
      round,
      tier,
      purpose: kind === 'fire' ? 'page' : 'fallback',
      recipients: recipients.map(({ kind, id, userId }) => ({ type: kind, id, ...(userId === null ? {} : { userId }) })),
      ...(effect.kind === 'fire' ? { reason: effect.reason, scheduledAt: new Date(effect.scheduledAt).toISOString() } : {}),
    };
    return { ...draft('escalation.notify', escalationId, details), targets: notified(recipients) };
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

  return {
    stateOf: (group) => states.get(group.id) ?? group.state,
    step,
    ownEvents: () => messages.ownEvents(),
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
        ...when(retired, (rows) => releaseMembers(organizationId, rows)),
        ...messages.statements(),
        ...when(lines, (rows) => insertTimeline(organizationId, rows)),
        ...when(closed, (rows) => closeProblems(organizationId, rows, at)),
      ];
    },
    updates: () => messages.updates(),
    outcome: () => ({
      deliveries: messages.deliveries(),
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
