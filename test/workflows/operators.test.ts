import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parseWireId } from '../../domain/id.ts';
import { changed, plan } from '../../workflows/messages.ts';
import { startInstance, waitFor, type Instance } from '../scenarios/instance.ts';
import { withTemporal } from '../support/servers.ts';
import { closedHistory } from './history.ts';

const describeWithTemporal = await withTemporal();
const never = { status: 503, headers: { 'retry-after': '600' } };

describeWithTemporal('in Temporal', () => {
  let tocsin: Instance;
  beforeAll(async () => {
    tocsin = await startInstance({ TOCSIN_RETRY_STANDARD: 'PT0S,PT0.2S,PT0.2S,PT0.2S,PT0.2S,PT0.2S' });
  });
  afterAll(() => tocsin.stop());

  const waits = ({ status }: { status?: string }) => status === 'retrying';
  const eventsOf = async (workflowId: string) => (await closedHistory(tocsin.client, workflowId)).events!.length;
  const find = async (query: string) => {
    const found = [];
    for await (const each of tocsin.client.workflow.list({ query })) found.push(each.workflowId);
    return found;
  };

  test.each([1, 2, 3, 5])('a delivery taken at attempt %i costs exactly its events', async (attempts) => {
    const type = ['job.completed', 'job.failed', 'host.online', 'host.offline', 'agent.connect'][attempts - 1]!;
    await tocsin.hook({ types: [type], answers: Array.from({ length: attempts - 1 }, () => 503) });
    const delivery = await tocsin.delivery(await tocsin.post({ type }));
    expect(delivery).toMatchObject({ status: 'delivered', totalAttempts: attempts });
    expect(await eventsOf(delivery['workflowId'])).toBe(attempts === 1 ? 6 : 19 + 11 * (attempts - 2));
  });

  test('a delivery that fails six times costs 63 events', async () => {
    await tocsin.hook({ types: ['agent.disconnect'], then: 503 });
    const delivery = await tocsin.delivery(await tocsin.post({ type: 'agent.disconnect' }));
    expect(delivery).toMatchObject({ status: 'failed', totalAttempts: 6 });
    expect(await eventsOf(delivery['workflowId'])).toBe(63);
  });

  test('a first attempt that the fast lane refuses costs 12 events, because its destination has not yet answered another', async () => {
    const hook = await tocsin.hook({ types: ['drift.detect'], answers: [{ status: 204, delayMs: 2_500 }, 204] });
    const busy = await tocsin.post({ type: 'drift.detect', dedupKey: 'busy' });
    await tocsin.receiver.waitForArrivals(1, { path: hook.path });
    const refused = await tocsin.delivery(await tocsin.post({ type: 'drift.detect', dedupKey: 'refused' }));
    expect(refused).toMatchObject({ status: 'delivered', totalAttempts: 1, attempts: [{ lane: 'slow' }] });
    expect(await eventsOf(refused['workflowId'])).toBe(12);
    expect(await eventsOf((await tocsin.delivery(busy))['workflowId'])).toBe(6);
  });

  test('a run is found by organization, destination, event type and state, and says what it is and what it waits for', async () => {
    const hook = await tocsin.hook({ types: ['alert.fired'], answers: [never] });
    const delivery = await tocsin.delivery(await tocsin.post({ type: 'alert.fired' }), waits);
    const { body } = await tocsin.api.request('GET', '/organization', { key: tocsin.organization.key });
    const where = `TocsinOrg = '${body['id']}' and TocsinDestination = '${hook.id}' and TocsinEventType = 'alert.fired' and TocsinChannelType = 'webhook'`;
    const waiting = `${where} and TocsinState = 'retrying'`;
    await waitFor(
      () => find(waiting),
      (ids) => ids.length > 0,
      { what: 'the run in the list' },
    );
    expect(await find(waiting)).toEqual([delivery['workflowId']]);

    const handle = tocsin.client.workflow.getHandle(delivery['workflowId']);
    const description = await handle.describe();
    expect(await description.staticSummary()).toBe(`alert.fired -> webhook ${hook.id}`);
    const link = new URL((await description.staticDetails())!);
    const { body: listed } = await tocsin.api.request('GET', `${link.pathname.replace('/api/v2', '')}${link.search}`, {
      key: tocsin.organization.key,
    });
    expect(listed['data']).toMatchObject([{ id: delivery['id'] }]);

    const { events } = await handle.fetchHistory();
    const timer = events!.find(({ timerStartedEventAttributes }) => timerStartedEventAttributes)!;
    expect(Buffer.from(timer.userMetadata!.summary!.data!).toString()).toBe('"attempt 2: http_503"');
    const { currentDetails } = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
    expect(currentDetails).toContain(`| ${delivery['id']} | alert.fired | retrying | 1 | http_503 |`);

    await tocsin.call('POST', `/deliveries/${delivery['id']}/retry`);
    await tocsin.delivery({ deliveries: [delivery] });
    await waitFor(
      () => find(`${where} and TocsinState = 'delivered'`),
      (ids) => ids.length > 0,
      { what: 'the closed run in the list' },
    );
    expect(await find(waiting)).toEqual([]);
  });

  test('an operator’s cancel cancels what the run still owns', async () => {
    const hook = await tocsin.hook({ types: ['alert.resolved'], answers: [never] });
    const event = await tocsin.post({ type: 'alert.resolved' });
    const { workflowId } = await tocsin.delivery(event, waits);
    await tocsin.client.workflow.getHandle(workflowId).cancel();
    expect(await tocsin.delivery(event)).toMatchObject({ status: 'cancelled', errorCode: 'operator', totalAttempts: 1 });
    expect(tocsin.receiver.arrivalsAt(hook.path)).toHaveLength(1);
    const { data } = await tocsin.get(`/audit-logs?action=delivery.cancel&resource=delivery:${event['deliveries'][0].id}`);
    expect(data).toHaveLength(1);
  });

  test('an operator’s cancel in the middle of an attempt cancels the delivery when that attempt fails', async () => {
    const hook = await tocsin.hook({ types: ['promotion.request'], answers: [503, { status: 503, delayMs: 2_500 }] });
    const event = await tocsin.post({ type: 'promotion.request' });
    await tocsin.receiver.waitForArrivals(2, { path: hook.path });
    const { workflowId } = await tocsin.get(`/deliveries/${event['deliveries'][0].id}`);
    await tocsin.client.workflow.getHandle(workflowId).cancel();
    expect(await tocsin.delivery(event)).toMatchObject({ status: 'cancelled', totalAttempts: 2 });
    expect(tocsin.receiver.arrivalsAt(hook.path)).toHaveLength(2);
  });

  test('an operator’s terminate loses nothing: the relay gives the delivery a new run', async () => {
    await tocsin.hook({ types: ['release.fail'], answers: [{ status: 503, headers: { 'retry-after': '2' } }] });
    const event = await tocsin.post({ type: 'release.fail' });
    const waiting = await tocsin.delivery(event, waits);
    await tocsin.client.workflow.getHandle(waiting['workflowId']).terminate('by mistake');
    const delivered = await tocsin.delivery(event, undefined, 40_000);
    expect(delivered).toMatchObject({ status: 'delivered', totalAttempts: 2 });
    expect(delivered['workflowId']).toBe(waiting['workflowId'].replace(/\.1$/, '.2'));
  });

  test('a signal with a version that no row ever had costs an escalation one look, and does not make it deaf', async () => {
    const { id } = await tocsin.hook({ types: ['job.completed'] });
    const tiers = [{ targets: [{ kind: 'webhook', id }], timeout: 'PT10M' }];
    await tocsin.call('POST', '/escalation-policies', { name: 'signals', trigger: { types: ['policy.violation.detect'] }, tiers });
    await tocsin.post({ type: 'policy.violation.detect' });
    const { data } = await tocsin.get('/escalations?limit=1');
    const handle = tocsin.client.workflow.getHandle(data[0].workflowId as string);
    const looks = async () => {
      const { events } = await handle.fetchHistory();
      return events!.filter(({ markerRecordedEventAttributes: marker }) => marker).length;
    };
    const waits = async (count: number) => waitFor(looks, (made) => made === count, { what: `look ${count}` });
    await waits(1);
    await handle.signal(changed, { version: 99 });
    await waits(2);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await looks()).toBe(2);
    await tocsin.call('POST', `/escalations/${data[0].id}/acknowledge`, {});
    await waits(3);
    expect(await handle.query(plan)).toMatchObject({ state: 'acknowledged' });
  });

  test('what piles up for a destination shares a run, which costs what one delivery costs', async () => {
    const hook = await tocsin.hook({ types: ['deployment.started', 'deployment.completed'] });
    const events = Array.from({ length: 50 }, (_, i) => ({
      type: i % 2 ? 'deployment.started' : 'deployment.completed',
      dedupKey: `${i}`,
    }));
    await tocsin.call('POST', '/events/batch', { events });
    await tocsin.receiver.waitForArrivals(50, { path: hook.path });
    const list = async () => (await tocsin.get(`/webhooks/${hook.id}/deliveries?limit=100`))['data'];
    const deliveries = await waitFor(list, (all) => all.every(({ status }: { status: string }) => status === 'delivered'), {
      what: 'the group',
    });
    const runs = new Set<string>(deliveries.map(({ workflowId }: { workflowId: string }) => workflowId));
    expect(deliveries).toHaveLength(50);
    expect(runs.size).toBe(1);
    const [workflowId] = [...runs];
    const oldest = deliveries.map(({ id }: { id: string }) => parseWireId(id)!.uuid).toSorted()[0];
    expect(workflowId).toBe(`deliver:${oldest}.1`);
    expect(await eventsOf(workflowId!)).toBe(6);
    const description = await tocsin.client.workflow.getHandle(workflowId!).describe();
    expect(await description.staticSummary()).toBe(`50 deliveries -> webhook ${hook.id}`);
    expect(JSON.stringify(description.typedSearchAttributes)).not.toContain('deployment.');
  });

  test('a group that is refused as a whole waits on few timers, and every delivery of it arrives', async () => {
    const hook = await tocsin.hook({ types: ['deployment.failed'], answers: Array.from({ length: 20 }, () => 503) });
    const events = Array.from({ length: 20 }, (_, i) => ({ type: 'deployment.failed', dedupKey: `${i}` }));
    await tocsin.call('POST', '/events/batch', { events });
    await tocsin.receiver.waitForArrivals(40, { path: hook.path });
    const list = async () => (await tocsin.get(`/webhooks/${hook.id}/deliveries?limit=100`))['data'];
    const deliveries = await waitFor(list, (all) => all.every(({ status }: { status: string }) => status === 'delivered'), {
      what: 'the group',
    });
    const [workflowId, ...others] = new Set<string>(deliveries.map((each: { workflowId: string }) => each.workflowId));
    expect(others).toEqual([]);
    expect(tocsin.receiver.arrivalsAt(hook.path)).toHaveLength(40);
    // One timer where all answers fall into one step of the rounding, two or three where they straddle it.
    expect(await eventsOf(workflowId!)).toBeLessThanOrEqual(19 + 2 * 11);
  });
});
