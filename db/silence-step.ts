import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { newId } from '../domain/id.ts';
import type { AcceptedEvent } from '../domain/event.ts';
import { type Decision, decideUnmuted, type Muting } from '../domain/routing.ts';
import { activeSilence, endOf, silenceSteps } from '../domain/silence.ts';
import { appendAudit } from './audit-log.ts';
import { EventEntity } from './entities/event.ts';
import { MemberEntity } from './entities/member.ts';
import { SilenceEntity, type SilenceRow } from './entities/silence.ts';
import { commitEscalationChange } from './escalation-change.ts';
import { createEscalationSteps, type EscalationSteps, type StepOutcome, writeSteps } from './escalation-step.ts';
import { recordOf, recordOwnEvents, tocsin, unownedOf } from './event-record.ts';
import { attachMember, noticeKeysOf } from './notice-attach.ts';
import { createNoticeSteps, type NoticeSteps } from './notice-step.ts';
import {
  type ChangedNoticeGroup,
  findNoticeGroups,
  lockNoticeGroups,
  lockNoticeKeys,
  renewNoticeGroups,
  type StoredNoticeGroup,
} from './queries/notice-group.ts';
import { findGroups, lockGroups, readGroups, type StoredGroup } from './queries/escalation-group.ts';
import { insertIntake, type IntakeRecord } from './queries/intake.ts';
import { acceptedEventOf } from './queries/message.ts';
import { lockStandings } from './queries/problem.ts';
import type { FactsCache, OrganizationFacts } from './queries/routing-facts.ts';
import {
  findEnded,
  findSilenced,
  findWaiting,
  insertSilenceNotice,
  lockSilenceClock,
  saveSilenced,
  setSilenceClock,
  type SilenceAct,
  takeSilenced,
} from './queries/silence.ts';
import { inOrganization } from './tenant.ts';

interface SilenceName {
  organizationId: string;
  silenceId: string;
}

interface Deps {
  orm: MikroORM;
  facts: FactsCache;
  /** Told of what a transaction left to do, once it has committed. */
  announce: (left: SilenceOutcome) => void;
}

/** What is left to do, and the groups of notices whose workflow has to look again. */
export interface SilenceOutcome extends StepOutcome {
  groups: ChangedNoticeGroup[];
}

/** What a silence does next by itself. Null: nothing any more, or there is no such silence. */
export interface SilencePlan {
  at: number;
  what: SilenceAct;
}

/** Problems of one transaction: each may page. */
const maxProblems = 50;

/** Sets the clock of a silence that was made or changed. Run in the organization, in the transaction of the change. */
export async function planSilence(em: EntityManager, row: SilenceRow): Promise<void> {
  const done = (await lockSilenceClock(em, row.orgId, row.id)) ?? [];
  await setSilenceClock(em, row.orgId, row.id, { done, dueAt: nextOf(row, done)?.at ?? null });
}

/**
 * Does what the silence has to do by itself until now, and says what comes next. Each act commits by itself, so a process that is killed in
 * between leaves the rest to whoever asks next.
 */
export async function stepSilence(deps: Deps, name: SilenceName, now: () => number): Promise<SilencePlan | null> {
  for (;;) {
    const next = await readPlan(deps, name);
    if (next === null || next.at > now()) return next;
    if (next.what === 'ended' || next.what === 'swept') await endSilence(deps, name, now);
    await complete(deps, name, next.what, now());
  }
}

async function readPlan({ orm }: Deps, { organizationId, silenceId }: SilenceName): Promise<SilencePlan | null> {
  return inOrganization(orm, organizationId, async (em) => {
    const row = await em.findOne(SilenceEntity, { orgId: organizationId, id: silenceId });
    const done = await lockSilenceClock(em, organizationId, silenceId);
    return row === null || done === undefined ? null : nextOf(row, done);
  });
}

function nextOf(row: SilenceRow, done: readonly SilenceAct[]): SilencePlan | null {
  const { startsAt, endsAt, cancelledAt } = row;
  const steps = cancelledAt ? endOf(cancelledAt.getTime()) : silenceSteps({ startsAt: startsAt.getTime(), endsAt: endsAt.getTime() });
  return steps.find(({ what }) => !done.includes(what)) ?? null;
}

/** Notes that it is done; whoever made the silence hears of its beginning, and of its end while something can be done about it. */
async function complete({ orm }: Deps, { organizationId, silenceId }: SilenceName, what: SilenceAct, at: number): Promise<void> {
  await inOrganization(orm, organizationId, async (em) => {
    const done = await lockSilenceClock(em, organizationId, silenceId);
    const row = await em.findOne(SilenceEntity, { orgId: organizationId, id: silenceId });
    if (done === undefined || done.includes(what) || row === null) return;
    // It may have been made longer while it ended.
    if (what === 'ended' && row.endsAt.getTime() > at && !row.cancelledAt) return;
    const all = [...done, what];
    await setSilenceClock(em, organizationId, silenceId, { done: all, dueAt: nextOf(row, all)?.at ?? null });
    if (what === 'ended' || what === 'swept' || row.cancelledAt || row.creatorType !== 'user' || row.endsAt.getTime() <= at) return;
    const creator = await em.findOne(MemberEntity, { orgId: organizationId, id: row.creatorId });
    if (creator === null || creator.status !== 'active') return;
    await insertSilenceNotice(em, organizationId, {
      id: newId(at),
      userId: creator.id,
      type: `silence.${what}` as const,
      subject: `${what === 'started' ? 'A silence of yours has begun' : 'A silence of yours ends soon'}: ${row.comment}`.slice(0, 256),
      message: `It mutes until ${row.endsAt.toISOString()}.`,
      at,
    });
  });
}

/** Tells what the silence kept back and is still so, once; then lets go on what waited for its end. */
async function endSilence(deps: Deps, name: SilenceName, now: () => number): Promise<void> {
  while ((await releaseSome(deps, name, now())) > 0);
  const { orm, facts } = deps;
  const { organizationId } = name;
  // Notices left out what it muted; their groups find out what that was.
  const groups = await inOrganization(orm, organizationId, async (em) => renewNoticeGroups(em, organizationId, now()));
  deps.announce({ deliveries: [], changed: [], groups });
  for (let after: string | null = null; ;) {
    const waiting: string[] = await inOrganization(orm, organizationId, async (em) => findWaiting(em, organizationId, after, 100));
    for (const escalationId of waiting) {
      const changed = await commitEscalationChange(
        { orm, facts },
        { organizationId, escalationId, at: now(), mayClose: false, input: () => ({ kind: 'silences_changed' }) },
      );
      if (changed !== undefined) deps.announce({ ...changed.outcome, groups: [] });
    }
    after = waiting.at(-1) ?? null;
    if (after === null) return;
  }
}

/** @returns how many problems it looked at */
async function releaseSome(deps: Deps, { organizationId, silenceId }: SilenceName, at: number): Promise<number> {
  const { orm, facts, announce } = deps;
  const released = await inOrganization(orm, organizationId, async (em) => {
    const known = await facts.read(em, organizationId);
    const rows = await findSilenced(em, organizationId, silenceId, maxProblems);
    if (rows.length === 0) return undefined;
    await lockStandings(rows.map(({ projectId, family, dedupKey }) => ({ projectId, family, dedupKey, type: '' }))).execute(em.getKysely());
    const problemIds = rows.map(({ problemId }) => problemId);
    const taken = await takeSilenced(em, organizationId, { silenceId, problemIds, openSince: at - known.problemTtlMs });
    const left = await release(em, { organizationId, known, at }, taken);
    return { left, looked: rows.length };
  });
  if (released === undefined) return 0;
  announce(released.left);
  return released.looked;
}

interface Release {
  organizationId: string;
  known: OrganizationFacts;
  at: number;
}

async function release(
  em: EntityManager,
  { organizationId, known, at }: Release,
  taken: Awaited<ReturnType<typeof takeSilenced>>,
): Promise<SilenceOutcome> {
  const open = taken.filter(({ isOpen }) => isOpen);
  const events = await em.find(EventEntity, { orgId: organizationId, id: open.map(({ eventId }) => eventId) });
  const eventOf = new Map(events.map((row) => [row.id, acceptedEventOf(row)]));

  const heldProblemIds = taken.map(({ problemId }) => problemId);
  await lockGroups(organizationId, { heldProblemIds }).execute(em.getKysely());
  const groups = readGroups((await findGroups(organizationId, { heldProblemIds }).execute(em.getKysely())).rows);
  const now = Math.max(at, ...groups.map(({ steppedAt }) => steppedAt));
  const steps = createEscalationSteps({ organizationId, at: now, configuration: known.escalation });
  const held = groups.flatMap(({ state }) => state.held.map(({ key }) => key));
  const ended = new Set(await findEnded(em, held, now - known.problemTtlMs));
  for (const group of groups) {
    for (const { key } of group.state.held) if (ended.has(key)) steps.step(group, { kind: 'problem_resolved', key });
    steps.step(group, { kind: 'silences_changed' });
  }

  const records: IntakeRecord[] = [];
  const unmuted: Array<Unmuted & { decisionsBefore: number }> = [];
  for (const { problemId, eventId, decisions } of open) {
    const event = eventOf.get(eventId);
    // Retention may have taken it.
    if (event === undefined) continue;
    const other = activeSilence(known.routing.silences, event, now);
    if (other !== null) {
      await saveSilenced(organizationId, [{ problemId, silenceId: other.id, eventId }]).execute(em.getKysely());
      continue;
    }
    const decided = decideUnmuted(event, known.routing, { at: now, muted: mutingOf(steps, groups, problemId) });
    unmuted.push({ event, problemId, decisions: decided, decisionsBefore: decisions });
  }
  const notices = await bundle(em, { organizationId, known, at: now }, unmuted);
  for (const { event, decisions, decisionsBefore } of unmuted) {
    const record = recordOf({ event, decisions }, tocsin);
    // Ids say when items were made: one with the event's time would come far down the feed, below what its reader marked as read.
    const notifications = record.notifications.map((one) => ({ ...one, id: newId(now) }));
    records.push({ ...record, notifications, again: { at: now, decisionsBefore } });
  }
  const own = recordOwnEvents(steps.ownEvents(), organizationId, now, known.routing);
  if (records.length + own.length > 0) await insertIntake(organizationId, [...records, ...own]).execute(em.getKysely());
  const drafts = [...records.map((record) => auditOf(organizationId, record)), ...steps.audit()];
  const entryIds = await appendAudit(em, [...drafts, ...notices.audit()]);
  const { deliveries, changed } = await writeSteps(em, steps, {
    own: entryIds.slice(records.length, drafts.length),
    ofCommand: () => null,
  });
  for (const statement of notices.statements()) await statement.execute(em.getKysely());
  const left = notices.outcome();
  return {
    changed,
    groups: left.changed,
    deliveries: [...deliveries, ...left.deliveries, ...[...records, ...own].flatMap((record) => unownedOf(organizationId, record))],
  };
}

interface Unmuted {
  event: AcceptedEvent;
  problemId: string;
  decisions: Decision[];
}

/** What rules bundle joins its groups, whose locks come last. Completes the decisions. */
async function bundle(em: EntityManager, { organizationId, known, at }: Release, unmuted: Unmuted[]): Promise<NoticeSteps> {
  const { routing } = known;
  const keys = unmuted.flatMap(({ event, decisions }) => noticeKeysOf(event, decisions, routing));
  const selection = { keys, problems: [] };
  if (keys.length > 0) {
    await lockNoticeKeys(keys).execute(em.getKysely());
    await lockNoticeGroups(organizationId, selection).execute(em.getKysely());
  }
  const { rows } = keys.length === 0 ? { rows: [] } : await findNoticeGroups(organizationId, selection).execute(em.getKysely());
  const steps = createNoticeSteps({ organizationId, at, routing, groups: rows as StoredNoticeGroup[] });
  for (const one of unmuted) one.decisions = attachMember(steps, routing, { ...one, at, member: { key: one.problemId, kind: 'problem' } });
  steps.tickAtOnce(at);
  return steps;
}

/** A cooldown or a snooze that the problem came into hides it for longer. */
function mutingOf(steps: EscalationSteps, groups: readonly StoredGroup[], problemId: string): Muting | null {
  for (const group of groups) {
    const { members, escalation } = steps.stateOf(group);
    const member = members.find(({ key, firing }) => key === problemId && firing);
    if (member === undefined) continue;
    if (member.mutedUntil !== null) return 'cooldown';
    if (escalation?.phase.status === 'snoozed') return 'snoozed';
  }
  return null;
}

function auditOf(organizationId: string, { event, decisions }: IntakeRecord) {
  const sent = decisions.filter(({ verdict }) => verdict === 'send').length;
  return {
    orgId: organizationId,
    action: 'event.unmute',
    actor: { type: 'system', id: 'system', subsystem: 'silence' } as const,
    resource: { type: 'event', id: event.id },
    projectId: event.projectId ?? undefined,
    correlation: { eventId: event.id },
    details: { eventType: event.type, severity: event.severity, sent, suppressed: decisions.length - sent },
  };
}
