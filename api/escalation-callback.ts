import type { EntityManager } from '@mikro-orm/postgresql';
import { type ChangedEscalationState, changeEscalation, type EscalationChange, repeatWhileMembersChange } from '../db/escalation-change.ts';
import { inOrganization } from '../db/tenant.ts';
import type { Dependencies } from './dependencies.ts';

/**
 * Changes an escalation for somebody who came without an API key. What `also` writes is committed with the change or not at all; then whoever
 * has to know is told.
 * @returns undefined when the organization has no such escalation
 */
export async function commitChange(
  { orm, facts, announceSteps }: Pick<Dependencies, 'orm' | 'facts' | 'announceSteps'>,
  change: EscalationChange,
  also: (em: EntityManager, changed: ChangedEscalationState) => Promise<void>,
): Promise<ChangedEscalationState | undefined> {
  const changed = await repeatWhileMembersChange(async () =>
    inOrganization(orm, change.organizationId, async (em) => {
      const result = await changeEscalation(em, facts, change);
      if (result !== undefined) await also(em, result);
      return result;
    }),
  );
  if (changed !== undefined) announceSteps(changed.outcome);
  return changed;
}
