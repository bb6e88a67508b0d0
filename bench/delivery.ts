import { Client as TemporalClient, Connection } from '@temporalio/client';
import type { Driver, Instance } from './instance.ts';
import { measureTrees, type ProcessFigures } from './processes.ts';
import type { PublishOrder } from './publisher.ts';

export interface DeliveryFigures {
  accepted: number;
  refused: number;
  acceptedPerSecond: number;
  acceptP50Ms: number;
  acceptP99Ms: number;
  /** All of them, counted from the first post to the last arrival. */
  deliveredPerSecond: number;
  /** From post to arrival. */
  endToEndP50Ms: number;
  endToEndP99Ms: number;
  /** CPU seconds per 1,000 deliveries, by process. */
  cpuPer1000: Record<string, number>;
  residentMiB: Record<string, number>;
  /** Workflows, and events in their histories, per delivery. */
  workflowsPerDelivery: number;
  historyEventsPerDelivery: number;
}

const drainMs = 120_000;

/** Posts as ordered, waits until everything has arrived, and tells what it took. */
export async function measureDelivery(
  instance: Instance,
  driver: Driver,
  order: Omit<PublishOrder, 'url' | 'apiKey'>,
  endpoints: number,
): Promise<DeliveryFigures> {
  const before = await driver.received();
  const processesBefore = measure(instance);
  const startedAt = performance.timeOrigin + performance.now();
  const published = await driver.publish({ ...order, url: instance.apiUrl, apiKey: instance.apiKey });
  const expected = before.count + published.accepted * endpoints;
  let after = await driver.received();
  const ages = [after];
  for (const deadline = Date.now() + drainMs; after.count < expected; ages.push(after)) {
    if (Date.now() > deadline)
      throw new Error(
        `${expected - after.count} of ${published.accepted * endpoints} deliveries did not arrive within ${drainMs / 1_000} s.`,
      );
    await new Promise((resolve) => setTimeout(resolve, 100));
    after = await driver.received();
  }
  // What follows an arrival (records, audit, the sequencer) belongs to its cost.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const processesAfter = measure(instance);
  const delivered = published.accepted * endpoints;
  const main = ages.reduce((a, b) => (b.p50Ms > 0 && a.p50Ms === 0 ? b : a));
  return {
    accepted: published.accepted,
    refused: published.refused,
    acceptedPerSecond: published.accepted / published.seconds,
    acceptP50Ms: published.p50Ms,
    acceptP99Ms: published.p99Ms,
    deliveredPerSecond: delivered / ((after.lastAt - startedAt) / 1_000),
    endToEndP50Ms: main.p50Ms,
    endToEndP99Ms: main.p99Ms,
    cpuPer1000: each(processesAfter, (name, { cpuSeconds }) => ((cpuSeconds - processesBefore[name]!.cpuSeconds) / delivered) * 1_000),
    residentMiB: each(processesAfter, (_name, { residentBytes }) => residentBytes / 2 ** 20),
    ...(await countHistory(instance, new Date(startedAt), delivered)),
  };
}

function measure({ pids }: Instance): Record<string, ProcessFigures> {
  return measureTrees({ tocsin: pids['worker']!, temporal: pids['temporal']!, postgres: pids['postgres']! }) ?? {};
}

function each(figures: Record<string, ProcessFigures>, value: (name: string, figures: ProcessFigures) => number): Record<string, number> {
  return Object.fromEntries(Object.entries(figures).map(([name, one]) => [name, value(name, one)]));
}

/** From the server's own list of what it ran. */
async function countHistory({ temporalAddress, temporalNamespace: namespace }: Instance, since: Date, delivered: number) {
  const connection = await Connection.connect({ address: temporalAddress });
  try {
    const client = new TemporalClient({ connection, namespace });
    let workflows = 0;
    let events = 0;
    const query = `WorkflowType = 'deliver' AND StartTime >= '${since.toISOString()}' AND ExecutionStatus = 'Completed'`;
    for await (const { historyLength } of client.workflow.list({ query, pageSize: 1_000 })) {
      workflows += 1;
      events += historyLength ?? 0;
    }
    return { workflowsPerDelivery: workflows / delivered, historyEventsPerDelivery: events / delivered };
  } finally {
    await connection.close();
  }
}
