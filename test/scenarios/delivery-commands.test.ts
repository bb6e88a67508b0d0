import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { searchAttributes } from '../../workflows/messages.ts';
import { withTemporal } from '../support/servers.ts';
import { startInstance, waitFor, type Instance } from './instance.ts';

const describeWithTemporal = await withTemporal();
const never = { status: 503, headers: { 'retry-after': '600' } };

describeWithTemporal('a person', () => {
  let tocsin: Instance;
  beforeAll(async () => {
    tocsin = await startInstance({ TOCSIN_RETRY_STANDARD: 'PT0S,PT0.2S' });
  });
  afterAll(() => tocsin.stop());

  const statusIs =
    (...wanted: string[]) =>
    ({ status }: { status?: string }) =>
      wanted.includes(status!);
  const read = async (id: string) => tocsin.get(`/deliveries/${id}`);
  const until = async (id: string, ...wanted: string[]) => waitFor(() => read(id), statusIs(...wanted), { what: `delivery ${id}` });
  const retry = async (id: string, body?: object) => tocsin.call('POST', `/deliveries/${id}/retry`, body);

  test('retries what failed: attempt numbers go on, the schedule starts again, id and bytes stay', async () => {
    const hook = await tocsin.hook({ types: ['job.failed'], answers: [500, 500, 500] });
    const failed = await tocsin.delivery(await tocsin.post({ type: 'job.failed' }));
    expect(failed).toMatchObject({ status: 'failed', cycle: 1, totalAttempts: 2 });
    await retry(failed['id']);
    const delivered = await until(failed['id'], 'delivered', 'failed');
    expect(delivered).toMatchObject({ status: 'delivered', cycle: 2, attemptCount: 2, totalAttempts: 4 });
    const numbers = delivered['attempts'].map(({ number, cycle, trigger }: Record<string, unknown>) => [number, cycle, trigger]);
    expect(numbers).toEqual([
      [1, 1, 'schedule'],
      [2, 1, 'schedule'],
      [3, 2, 'manual'],
      [4, 2, 'schedule'],
    ]);
    expect(delivered['workflowId']).toBe(failed['workflowId'].replace(/\.1$/, '.2'));
    const arrivals = tocsin.receiver.arrivalsAt(hook.path);
    expect(new Set(arrivals.map(({ body }) => body.toString())).size).toBe(1);
    expect(new Set(arrivals.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(arrivals.map(({ headers }) => headers['x-webhook-attempt'])).toEqual(['1', '2', '3', '4']);
  });

  test('sends a delivered one again only by force', async () => {
    const hook = await tocsin.hook({ types: ['job.completed'] });
    const { id } = await tocsin.delivery(await tocsin.post({ type: 'job.completed' }));
    await expect(retry(id)).rejects.toThrow('already_delivered');
    await retry(id, { force: true });
    await tocsin.receiver.waitForArrivals(2, { path: hook.path });
    expect(await until(id, 'delivered')).toMatchObject({ cycle: 2, totalAttempts: 2 });
  });

  test('wakes one that waits: it is sent now, by the run that owns it', async () => {
    await tocsin.hook({ types: ['host.online'], answers: [never] });
    const waiting = await tocsin.delivery(await tocsin.post({ type: 'host.online' }), statusIs('retrying'));
    await retry(waiting['id']);
    const delivered = await until(waiting['id'], 'delivered');
    expect(delivered).toMatchObject({ cycle: 1, totalAttempts: 2, workflowId: waiting['workflowId'] });
    expect(delivered['attempts'][1]).toMatchObject({ trigger: 'manual', lane: 'slow' });
  });

  test('cancels one that waits: nothing more is sent, and its workflow ends', async () => {
    const hook = await tocsin.hook({ types: ['host.offline'], answers: [never] });
    const waiting = await tocsin.delivery(await tocsin.post({ type: 'host.offline' }), statusIs('retrying'));
    await tocsin.call('POST', `/deliveries/${waiting['id']}/cancel`);
    const handle = tocsin.client.workflow.getHandle(waiting['workflowId']);
    await expect(handle.result()).resolves.toEqual({ delivered: 0, failed: 0, cancelled: 1 });
    expect((await handle.describe()).typedSearchAttributes.get(searchAttributes.state)).toBe('cancelled');
    expect(await read(waiting['id'])).toMatchObject({ status: 'cancelled', errorCode: 'cancelled_by_user' });
    expect(tocsin.receiver.arrivalsAt(hook.path)).toHaveLength(1);
  });

  test('cancels some of a run: it goes on with the others, and counts them all', async () => {
    const hook = await tocsin.hook({ types: ['deployment.failed'], answers: Array.from({ length: 8 }, () => never) });
    const events = Array.from({ length: 8 }, (_, i) => ({ type: 'deployment.failed', dedupKey: `${i}` }));
    await tocsin.call('POST', '/events/batch', { events });
    const list = async () => (await tocsin.get(`/webhooks/${hook.id}/deliveries`))['data'];
    const waiting = await waitFor(list, (all) => all.length === 8 && all.every(statusIs('retrying')), { what: 'the group' });
    const [workflowId, ...others] = new Set<string>(waiting.map((each: { workflowId: string }) => each.workflowId));
    expect(others).toEqual([]);
    for (const { id } of waiting.slice(0, 3)) await tocsin.call('POST', `/deliveries/${id}/cancel`);
    for (const { id } of waiting.slice(3)) await retry(id);
    const result: unknown = await tocsin.client.workflow.getHandle(workflowId!).result();
    expect(result).toEqual({ delivered: 5, failed: 0, cancelled: 3 });
  });

  test.each<[string, number, string]>([
    ['delivered, when the attempt delivers it', 204, 'delivered'],
    ['cancelled, when it does not', 503, 'cancelled'],
  ])('cancels one in flight, which ends %s', async (_, status, expected) => {
    const type = status === 204 ? 'agent.connect' : 'agent.disconnect';
    const hook = await tocsin.hook({ types: [type], answers: [{ status, delayMs: 1_500 }] });
    const event = await tocsin.post({ type });
    const { id } = event['deliveries'][0];
    await tocsin.receiver.waitForArrivals(1, { path: hook.path });
    expect(await tocsin.call('POST', `/deliveries/${id}/cancel`)).toMatchObject({ status: 'in_flight' });
    const done = await tocsin.delivery(event);
    expect(done).toMatchObject({ status: expected, totalAttempts: 1, nextAttemptAt: null });
    const counts = { delivered: 0, failed: 0, cancelled: 0, [expected]: 1 };
    await expect(tocsin.client.workflow.getHandle(done['workflowId']).result()).resolves.toEqual(counts);
  });

  test('deletes a webhook: its open deliveries end, and nothing more is sent', async () => {
    const hook = await tocsin.hook({ types: ['alert.fired'], answers: [never] });
    const waiting = await tocsin.delivery(await tocsin.post({ type: 'alert.fired' }), statusIs('retrying'));
    await tocsin.call('DELETE', `/webhooks/${hook.id}`);
    await tocsin.client.workflow.getHandle(waiting['workflowId']).signal('wake');
    const counts = { delivered: 0, failed: 0, cancelled: 1 };
    await expect(tocsin.client.workflow.getHandle(waiting['workflowId']).result()).resolves.toEqual(counts);
    expect((await tocsin.post({ type: 'alert.fired' }))['deliveries']).toEqual([]);
    expect(tocsin.receiver.arrivalsAt(hook.path)).toHaveLength(1);
  });

  test('switches a webhook off: what waits for its next attempt is cancelled instead of sent', async () => {
    const hook = await tocsin.hook({ types: ['alert.resolved'], answers: [{ status: 503, headers: { 'retry-after': '2' } }] });
    const event = await tocsin.post({ type: 'alert.resolved' });
    await tocsin.delivery(event, statusIs('retrying'));
    await tocsin.call('PATCH', `/webhooks/${hook.id}`, { active: false });
    expect(await tocsin.delivery(event)).toMatchObject({ status: 'cancelled', totalAttempts: 1 });
    expect(tocsin.receiver.arrivalsAt(hook.path)).toHaveLength(1);
  });

  test('changes the address of a webhook: the next attempt goes there with the same bytes', async () => {
    const hook = await tocsin.hook({ types: ['drift.detect'], answers: [{ status: 503, headers: { 'retry-after': '2' } }] });
    const event = await tocsin.post({ type: 'drift.detect' });
    await tocsin.delivery(event, statusIs('retrying'));
    tocsin.receiver.script('/moved', [204]);
    await tocsin.call('PATCH', `/webhooks/${hook.id}`, { url: tocsin.receiver.url('/moved') });
    await tocsin.delivery(event);
    expect(tocsin.receiver.arrivalsAt('/moved')[0]!.body.equals(tocsin.receiver.arrivalsAt(hook.path)[0]!.body)).toBe(true);
  });
});
