import { createDeliveryActivities } from './delivery.ts';
import type { DeliveryDependencies } from './dependencies.ts';
import { createEscalationActivities, type EscalationDependencies } from './escalation.ts';
import { createDestinationTestActivities } from './destination-test.ts';
import { createNotificationGroupActivities, type NotificationGroupDependencies } from './notification-group.ts';
import { createSilenceActivities, type SilenceDependencies } from './silence.ts';
import { createRetentionActivities, type RetentionDependencies } from './retention.ts';

export type ActivityDependencies = DeliveryDependencies &
  RetentionDependencies &
  EscalationDependencies &
  SilenceDependencies &
  NotificationGroupDependencies;

/** Everything that workflows can have done. */
export function createActivities(deps: ActivityDependencies) {
  return {
    ...createDeliveryActivities(deps),
    ...createEscalationActivities(deps),
    ...createSilenceActivities(deps),
    ...createNotificationGroupActivities(deps),
    ...createDestinationTestActivities(deps),
    ...createRetentionActivities(deps),
  };
}

export type Activities = ReturnType<typeof createActivities>;
