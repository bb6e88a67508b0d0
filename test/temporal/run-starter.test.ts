import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startInstance, waitFor, type Instance } from '../scenarios/instance.ts';
import { withTemporal } from '../support/servers.ts';

const describeWithTemporal = await withTemporal();

describeWithTemporal('with one delivery per run', () => {
  let tocsin: Instance;
  beforeAll(async () => {
    tocsin = await startInstance({ TOCSIN_DELIVERY_RUN_MAX: '1' });
  });
  afterAll(() => tocsin.stop());

  test('every delivery is a workflow of its own, also when many come at once', async () => {
    const hook = await tocsin.hook({ types: ['job.completed'] });
    const events = Array.from({ length: 40 }, (_, i) => ({ type: 'job.completed', dedupKey: `${i}` }));
    await tocsin.call('POST', '/events/batch', { events });
    const deliveries = await waitFor(
      async () => (await tocsin.get(`/webhooks/${hook.id}/deliveries?limit=100`))['data'],
      (all) => all.length === 40 && all.every(({ status }: { status: string }) => status === 'delivered'),
      { what: 'the deliveries' },
    );
    expect(new Set(deliveries.map(({ workflowId }: { workflowId: string }) => workflowId)).size).toBe(40);
    expect(tocsin.receiver.arrivalsAt(hook.path)).toHaveLength(40);
    expect(tocsin.worker.starter.load()).toEqual({ waiting: 0, starting: 0 });
  });

  test('an event for several destinations has a workflow for each', async () => {
    const hooks = await Promise.all([1, 2, 3].map(async () => tocsin.hook({ types: ['job.failed'] })));
    const event = await tocsin.post({ type: 'job.failed' });
    const { deliveries } = await waitFor(
      () => tocsin.get(`/events/${event['id']}`),
      (trace) => trace['deliveries'].every(({ status }: { status: string }) => status === 'delivered'),
      { what: 'the deliveries' },
    );
    expect(deliveries).toHaveLength(3);
    for (const { path } of hooks) expect(tocsin.receiver.arrivalsAt(path)).toHaveLength(1);
  });

  test('what was never offered is started by the relay', async () => {
    const hook = await tocsin.hook({ types: ['host.offline'] });
    const { starter } = tocsin.worker;
    const offer = starter.offer.bind(starter);
    starter.offer = () => {};
    const event = await tocsin.post({ type: 'host.offline' });
    starter.offer = offer;
    expect(await tocsin.delivery(event)).toMatchObject({ status: 'delivered', totalAttempts: 1 });
    expect(tocsin.receiver.arrivalsAt(hook.path)).toHaveLength(1);
  });

  test('offering the same delivery again sends it once', async () => {
    const hook = await tocsin.hook({ types: ['host.online'] });
    const { starter } = tocsin.worker;
    const offer = starter.offer.bind(starter);
    starter.offer = (deliveries) => {
      for (let i = 0; i < 5; i += 1) offer(deliveries);
    };
    const event = await tocsin.post({ type: 'host.online' });
    starter.offer = offer;
    expect(await tocsin.delivery(event)).toMatchObject({ status: 'delivered', totalAttempts: 1 });
    await waitFor(
      async () => starter.load(),
      ({ starting }) => starting === 0,
      { what: 'the starter' },
    );
    expect(tocsin.receiver.arrivalsAt(hook.path)).toHaveLength(1);
  });

  test('a page is started before what waits, however much that is', async () => {
    const hook = await tocsin.hook({ types: ['drift.detected'] });
    const pager = await tocsin.hook({ types: ['rollback.complete'] });
    const trigger = { types: ['alert.fired'] };
    await tocsin.call('POST', '/escalation-policies', { name: 'p', trigger, tiers: [{ targets: [{ kind: 'webhook', id: pager.id }] }] });
    const { workflow } = tocsin.worker.temporal.client;
    const start = workflow.start.bind(workflow);
    const gate = Promise.withResolvers<void>();
    const started: string[] = [];
    workflow.start = async (type, options) => {
      if (type === 'deliver') started.push(options.workflowId);
      await gate.promise;
      return start(type, options);
    };
    try {
      const events = Array.from({ length: 50 }, (_, i) => ({ type: 'drift.detected', dedupKey: `${i}` }));
      await tocsin.call('POST', '/events/batch', { events });
      await waitFor(
        async () => started.length,
        (count) => count === 30,
        { what: 'the starts under way' },
      );
      await tocsin.call('POST', '/events', { type: 'alert.fired', severity: 'high', subject: 'Disk full' });
      gate.resolve();
      await tocsin.receiver.waitForArrivals(1, { path: pager.path });
      await tocsin.receiver.waitForArrivals(50, { path: hook.path });
    } finally {
      workflow.start = start;
    }
    const { data } = await tocsin.get(`/webhooks/${pager.id}/deliveries`);
    // The first one after those that were under way when it came.
    expect(started.indexOf(data[0].workflowId)).toBe(30);
  });
});
