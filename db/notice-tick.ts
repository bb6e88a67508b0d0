import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { type GroupState, nextTickAt } from '../domain/aggregation.ts';
import type { NoticeSubject } from '../domain/notice.ts';
import { matchesAll } from '../domain/rule.ts';
import { activeSilence, type Silence } from '../domain/silence.ts';
import { appendAudit } from './audit-log.ts';
import { createNoticeSteps, type NoticeSteps } from './notice-step.ts';
import {
  closeNoticeGroups,
  findNoticeMembers,
  findProblemEnds,
  forgetNoticeMembers,
  lockNoticeGroup,
  markNoticeGroupSeen,
} from './queries/notice-group.ts';
import type { FactsCache } from './queries/routing-facts.ts';
import type { UnownedDelivery } from './queries/unowned.ts';
import { inOrganization } from './tenant.ts';

export interface NoticePlan {
  version: number;
  /** Null: nothing is due until something changes. */
  dueAt: number | null;
  /** When a problem will be over of which nobody speaks. */
  lookAgainAt: number | null;
  state: GroupState;
  /** Of its rule, for an operator. */
  ruleName: string;
}

/**
 * Runs the tick of a group that is due at `at`, and says what to wait for. Before, the group's members are compared with what became of
 * their problems and silences: whatever nobody told it, it finds out here.
 * @returns plan null: the group is closed
 */
export async function tickNoticeGroup(
  { orm, facts }: { orm: MikroORM; facts: FactsCache },
  { organizationId, groupId }: { organizationId: string; groupId: string },
  at: number,
): Promise<{ plan: NoticePlan | null; deliveries: UnownedDelivery[] }> {
  return inOrganization(orm, organizationId, async (em) => {
    const group = await lockNoticeGroup(em, organizationId, groupId);
    if (group === undefined) {
      await markNoticeGroupSeen(em, organizationId, groupId, at);
      return { plan: null, deliveries: [] };
    }
    const known = await facts.read(em, organizationId);
    const rule = known.routing.rules.find(({ id }) => id === group.ruleId);
    if (rule === undefined || !rule.enabled || rule.aggregate === null) {
      await closeNoticeGroups(em, organizationId, { ruleId: group.ruleId, groupId, at });
      await markNoticeGroupSeen(em, organizationId, groupId, at);
      return { plan: null, deliveries: [] };
    }
    const abouts = await findNoticeMembers(em, organizationId, groupId);
    const steps = createNoticeSteps({ organizationId, at, routing: known.routing, groups: [group] });
    const nextExpiryAt = await compareMembers(em, steps, {
      groupId,
      abouts,
      at,
      since: group.syncedAt,
      ttlMs: known.problemTtlMs,
      silences: known.routing.silences,
    });
    steps.tick(groupId, at, abouts);
    const state = steps.stateOf(groupId);
    for (const statement of steps.statements()) await statement.execute(em.getKysely());
    const kept = state.members.map(({ id }) => id);
    if (kept.length < abouts.size) await forgetNoticeMembers(organizationId, groupId, kept).execute(em.getKysely());
    await appendAudit(em, steps.audit());
    await markNoticeGroupSeen(em, organizationId, groupId, at);
    const { deliveries, changed } = steps.outcome();
    const version = changed[0]?.version ?? group.version;
    const plan = { version, dueAt: nextTickAt(state), lookAgainAt: nextExpiryAt, state, ruleName: rule.name };
    return { plan: state.closed ? null : plan, deliveries };
  });
}

interface Comparison {
  groupId: string;
  abouts: ReadonlyMap<string, NoticeSubject>;
  at: number;
  /** When it was done last. */
  since: number;
  ttlMs: number;
  silences: readonly Silence[];
}

/** @returns when a problem will be over of which nobody speaks */
async function compareMembers(
  em: EntityManager,
  steps: NoticeSteps,
  { groupId, abouts, at, since, ttlMs, silences }: Comparison,
): Promise<number | null> {
  const firing = steps.stateOf(groupId).members.filter((member) => member.firing);
  const problemIds = firing.filter(({ kind }) => kind === 'problem').map(({ id }) => id);
  const ends = await findProblemEnds(em, problemIds, { at, ttlMs });
  for (const { id, muted } of firing) {
    const how = ends.how.get(id);
    const about = abouts.get(id);
    if (how !== undefined) steps.change(groupId, { kind: how, id }, at);
    if (how !== undefined || about === undefined) continue;
    const isMuted = activeSilence(silences, about, at) !== null;
    // One that began and ended since is told of as if each had been noticed.
    const wasMuted =
      muted ||
      silences.some((silence) => endedBetween(silence, Math.max(since, about.joinedAt), at) && matchesAll(silence.matchers, about));
    if ((isMuted || wasMuted) && !muted) steps.change(groupId, { kind: 'muted', id }, at);
    if (!isMuted && wasMuted) steps.change(groupId, { kind: 'unmuted', id }, at);
  }
  return ends.nextExpiryAt;
}

function endedBetween({ startsAt, endsAt }: Silence, after: number, until: number): boolean {
  return startsAt < endsAt && endsAt > after && endsAt <= until;
}
