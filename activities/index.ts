import { createDeliveryActivities } from './delivery.ts';
import type { DeliveryDependencies } from './dependencies.ts';
import { createEscalationActivities, type EscalationDependencies } from './escalation.ts';
import { createDestinationTestActivities } from './destination-test.ts';
import { createRetentionActivities, type RetentionDependencies } from './retention.ts';

export type ActivityDependencies = DeliveryDependencies & RetentionDependencies & EscalationDependencies;

/** Everything that workflows can have done. */
export function createActivities(deps: ActivityDependencies) {
  return {
    ...createDeliveryActivities(deps),
    ...createEscalationActivities(deps),
    ...createDestinationTestActivities(deps),
    ...createRetentionActivities(deps),
  };
}

export type Activities = ReturnType<typeof createActivities>;
