import { proxyLocalActivities } from '@temporalio/workflow';

const { nothing } = proxyLocalActivities<{ nothing(): Promise<void> }>({ startToCloseTimeout: '10s' });

/** The least that a durable workflow with one step costs. */
export async function bare(): Promise<void> {
  await nothing();
}
