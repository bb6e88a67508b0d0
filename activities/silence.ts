import type { MikroORM } from '@mikro-orm/postgresql';
import type { FeedSignal } from '../db/feed-signal.ts';
import type { FactsCache } from '../db/queries/routing-facts.ts';
import { type SilencePlan, stepSilence } from '../db/silence-step.ts';
import { toWireId } from '../domain/id.ts';
import type { EscalationStarter } from '../temporal/escalation-starter.ts';
import type { GroupStarter } from '../temporal/group-starter.ts';
import type { RunStarter } from '../temporal/run-starter.ts';
import type { SilenceInput, SilenceStep } from '../workflows/messages.ts';

export interface SilenceDependencies {
  orm: MikroORM;
  facts: FactsCache;
  starter: Pick<RunStarter, 'offer'>;
  escalations: Pick<EscalationStarter, 'wake'>;
  groups: Pick<GroupStarter, 'wake'>;
  /** Default: readers find out by themselves, within seconds. */
  feeds?: Pick<FeedSignal, 'changed'>;
}

const summaries: Record<SilencePlan['what'], string> = {
  started: 'it begins',
  ending_soon: 'whoever made it hears that it ends soon',
  ended: 'it ends',
  swept: 'what was accepted as it ended is told too',
};

export function createSilenceActivities({ orm, facts, starter, escalations, groups, feeds }: SilenceDependencies) {
  /** Does what the silence has to do by now, and says what to wait for. May be repeated at any point. */
  async function advanceSilence(input: SilenceInput): Promise<SilenceStep> {
    const announce: Parameters<typeof stepSilence>[0]['announce'] = ({ deliveries, changed, groups: bundled }) => {
      starter.offer(deliveries);
      escalations.wake(changed);
      groups.wake(bundled);
      feeds?.changed(input.organizationId);
    };
    const next = await stepSilence({ orm, facts, announce }, input, Date.now);
    if (next === null) return { kind: 'ended' };
    const dueAt = new Date(next.at).toISOString();
    const summary = summaries[next.what];
    return {
      kind: 'wait',
      ms: next.at - Date.now(),
      dueAt,
      summary,
      details: `Silence ${toWireId('silence', input.silenceId)}; next: ${summary}, at ${dueAt}.`,
    };
  }

  return { advanceSilence };
}
