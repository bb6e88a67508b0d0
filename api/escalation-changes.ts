import type { MikroORM } from '@mikro-orm/postgresql';
import { commitEscalationChange } from '../db/escalation-change.ts';
import { createFactsCache } from '../db/queries/routing-facts.ts';
import type { EscalationStarter } from '../temporal/escalation-starter.ts';
import type { RunStarter } from '../temporal/run-starter.ts';
import type { Dependencies } from './dependencies.ts';

/** How requests change escalations, and who is told of it. */
export function createEscalationChanges({
  orm,
  starter,
  escalations,
}: {
  orm: MikroORM;
  starter: Pick<RunStarter, 'offer'>;
  escalations: Pick<EscalationStarter, 'wake'>;
}): Pick<Dependencies, 'facts' | 'announceSteps' | 'changeEscalation'> {
  const facts = createFactsCache();
  const announceSteps: Dependencies['announceSteps'] = ({ deliveries, changed }) => {
    starter.offer(deliveries);
    escalations.wake(changed);
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
