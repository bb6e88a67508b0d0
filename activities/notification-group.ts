import type { MikroORM } from '@mikro-orm/postgresql';
import { type NoticePlan, tickNoticeGroup } from '../db/notice-tick.ts';
import type { FactsCache } from '../db/queries/routing-facts.ts';
import type { RunStarter } from '../temporal/run-starter.ts';
import type { NotificationGroupInput, NotificationGroupStep } from '../workflows/messages.ts';

export interface NotificationGroupDependencies {
  orm: MikroORM;
  facts: FactsCache;
  starter: Pick<RunStarter, 'offer'>;
}

export function createNotificationGroupActivities({ orm, facts, starter }: NotificationGroupDependencies) {
  /** Runs the tick that is due, if one is, and says what to wait for. May be repeated at any point: a tick that has run does not run again. */
  async function stepNotificationGroup(input: NotificationGroupInput): Promise<NotificationGroupStep> {
    const { plan, deliveries } = await tickNoticeGroup({ orm, facts }, input, Date.now());
    starter.offer(deliveries);
    return plan === null ? { kind: 'ended' } : { kind: 'wait', ...describe(plan) };
  }

  return { stepNotificationGroup };
}

function describe({ version, dueAt, lookAgainAt, state, ruleName }: NoticePlan) {
  const wakeAt = [dueAt, lookAgainAt].filter((at) => at !== null);
  const firing = state.members.filter((member) => member.firing).length;
  const last = state.lastNoticeAt === null ? 'none yet' : new Date(state.lastNoticeAt).toISOString();
  const due = dueAt === null ? null : new Date(dueAt).toISOString();
  return {
    version,
    dueAt: due,
    ms: wakeAt.length === 0 ? null : Math.min(...wakeAt) - Date.now(),
    summary: state.lastNoticeAt === null ? 'first notice' : 'next notice',
    details: `Rule **${ruleName}**: ${firing} firing, last notice ${last}; next tick ${due ?? 'when something changes'}.`,
  };
}
