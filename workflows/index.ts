/** The bundle's entry: every workflow that a worker of the main queue runs. */
export { deliver } from './delivery.ts';
export { escalation } from './escalation.ts';
export { destinationTest } from './destination-test.ts';
export { notificationGroup } from './notification-group.ts';
export { silence } from './silence.ts';
export { sweepDeliveries } from './retention.ts';
