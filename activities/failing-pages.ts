import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { commitEscalationChange, type EscalationChange } from '../db/escalation-change.ts';
import type { FeedSignal } from '../db/feed-signal.ts';
import { type FailingEscalation, isFiringFailing, markFailingSeen } from '../db/queries/failing-pages.ts';
import type { FactsCache } from '../db/queries/routing-facts.ts';
import type { GroupInput } from '../domain/escalation-input.ts';
import type { GroupState } from '../domain/escalation-state.ts';
import type { Logger } from '../log.ts';
import type { EscalationStarter } from '../temporal/escalation-starter.ts';
import type { RunStarter } from '../temporal/run-starter.ts';

export interface FailingPagesDependencies {
  orm: MikroORM;
  facts: FactsCache;
  starter: Pick<RunStarter, 'offer'>;
  escalations: Pick<EscalationStarter, 'wake'>;
  /** Default: readers find out by themselves, within seconds. */
  feeds?: Pick<FeedSignal, 'changed'>;
  log: Logger;
}

/** Tells escalations that pages of theirs reach nobody soon. Never throws: what cannot be told now stays marked in the pages' rows. */
export type TellFailing = (failing: readonly FailingEscalation[]) => Promise<void>;

/**
 * When every page of an escalation's newest firing is failing, the next tier is paged at once. The pages' outcomes have been committed by
 * then, in transactions of their own, for an escalation is locked before its deliveries: whoever dies in between leaves the pages marked, and
 * the relay tells again.
 */
export function createFailingPages(deps: FailingPagesDependencies): TellFailing {
  async function tell({ organizationId, escalationId }: FailingEscalation): Promise<void> {
    const at = Date.now();
    const change: EscalationChange = {
      organizationId,
      escalationId,
      at,
      mayClose: false,
      input: async (state, em) => inputOf(em, state, { organizationId, escalationId }, at),
    };
    const changed = await commitEscalationChange(deps, change);
    if (changed === undefined) return;
    deps.starter.offer(changed.outcome.deliveries);
    deps.escalations.wake(changed.outcome.changed);
    deps.feeds?.changed(organizationId);
  }

  return async (failing) => {
    const once = new Map(failing.map((one) => [one.escalationId, one]));
    for (const one of once.values()) {
      try {
        await tell(one);
      } catch (error) {
        deps.log.warn('escalation.failing', { ...one, error });
      }
    }
  };
}

async function inputOf(em: EntityManager, { escalation }: GroupState, of: FailingEscalation, at: number): Promise<GroupInput | null> {
  await markFailingSeen(em, of);
  if (escalation?.id !== of.escalationId || escalation.phase.status !== 'triggered') return null;
  const { firing } = escalation;
  return (await isFiringFailing(em, { ...of, firing }, at)) ? { kind: 'firing_failing', escalationId: of.escalationId, firing } : null;
}
