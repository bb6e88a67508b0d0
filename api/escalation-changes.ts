import type { MikroORM } from '@mikro-orm/postgresql';
import { commitEscalationChange } from '../db/escalation-change.ts';
import type { FeedSignal } from '../db/feed-signal.ts';
import { createFactsCache } from '../db/queries/routing-facts.ts';
import type { EscalationStarter } from '../temporal/escalation-starter.ts';
import type { RunStarter } from '../temporal/run-starter.ts';
import type { Dependencies } from './dependencies.ts';

/** How requests change escalations, and who is told of it. */
export function createEscalationChanges({
  orm,
  starter,
  escalations,
  feeds,
}: {
  orm: MikroORM;
  starter: Pick<RunStarter, 'offer'>;
  escalations: Pick<EscalationStarter, 'wake'>;
  feeds: Pick<FeedSignal, 'changed'>;
}): Pick<Dependencies, 'facts' | 'announceSteps' | 'changeEscalation'> {
  const facts = createFactsCache();
  const announceSteps: Dependencies['announceSteps'] = ({ deliveries, changed }) => {
    starter.offer(deliveries);
    escalations.wake(changed);
    for (const { organizationId } of changed) feeds.changed(organizationId);
  };
  return {
    facts,
    announceSteps,
    async changeEscalation(change, also) {
      const changed = await commitEscalationChange({ orm, facts }, change, also);
      if (changed !== undefined) announceSteps(changed.outcome);
      return changed;
    },
  };
}
