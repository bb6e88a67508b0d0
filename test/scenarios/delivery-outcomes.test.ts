import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Answer } from '../receivers/http.ts';
import { withTemporal } from '../support/servers.ts';
import { startInstance, waitFor, type Instance } from './instance.ts';

const describeWithTemporal = await withTemporal();

describeWithTemporal('a delivery', () => {
  let tocsin: Instance;
  beforeAll(async () => {
    tocsin = await startInstance();
  });
  afterAll(() => tocsin.stop());

  /** Every test has an event type of its own, so that webhooks of other tests get nothing. */
  const types = [
    'job.completed',
    'job.failed',
    'host.online',
    'host.offline',
    'agent.connect',
    'agent.disconnect',
    'drift.detect',
    'drift.detected',
    'alert.fired',
    'alert.resolved',
    'alert.acknowledged',
    'release.create',
    'release.approve',
    'release.deploy',
    'release.fail',
    'deployment.started',
    'deployment.completed',
    'deployment.failed',
    'deployment.cancelled',
    'promotion.request',
    'promotion.approve',
    'promotion.execute',
    'rollback.initiate',
    'rollback.complete',
    'apikey.create',
    'break_glass.opened',
    'member.role.change',
    'approval.request',
    'policy.violation.detect',
    'policy.violation.resolve',
  ];
  const ownType = () => types.pop()!;

  async function send(answers: readonly Answer[], fields: Record<string, unknown> = {}, then: Answer = 204) {
    const type = ownType();
    const hook = await tocsin.hook({ types: [type], answers, then, fields });
    const event = await tocsin.post({ type });
    return { hook, event };
  }
  async function deliver(answers: readonly Answer[], fields: Record<string, unknown> = {}, then: Answer = 204) {
    const { hook, event } = await send(answers, fields, then);
    const delivery = await tocsin.delivery(event);
    return { hook, event, delivery, attempts: delivery['attempts'] };
  }

  test('that is taken ends delivered after one attempt, in the fast lane', async () => {
    const { hook, delivery } = await deliver([]);
    expect(delivery).toMatchObject({
      status: 'delivered',
      cycle: 1,
      attemptCount: 1,
      totalAttempts: 1,
      nextAttemptAt: null,
      statusCode: 204,
    });
    expect(delivery['attempts']).toMatchObject([
      { number: 1, lane: 'fast', outcome: 'delivered', trigger: 'schedule', remoteAddress: '127.0.0.1' },
    ]);
    expect(tocsin.receiver.arrivalsAt(hook.path)).toHaveLength(1);
  });

  test('is tried by its schedule, never early, with the same id and bytes, until it is taken', async () => {
    const { hook, delivery, attempts } = await deliver([503, 500]);
    expect(delivery).toMatchObject({ status: 'delivered', totalAttempts: 3, attemptCount: 3 });
    const arrivals = tocsin.receiver.arrivalsAt(hook.path);
    expect(arrivals).toHaveLength(3);
    for (const name of ['webhook-id', 'x-webhook-delivery']) expect(new Set(arrivals.map(({ headers }) => headers[name])).size).toBe(1);
    expect(arrivals.map(({ headers }) => headers['x-webhook-attempt'])).toEqual(['1', '2', '3']);
    for (const { body } of arrivals) expect(body.equals(arrivals[0]!.body)).toBe(true);
    for (const [i, attempt] of attempts.slice(1).entries()) {
      const waited = Date.parse(attempt.startedAt) - Date.parse(attempts[i].finishedAt);
      expect(attempts[i].nextDelayMs).toBeGreaterThanOrEqual(200);
      expect(waited).toBeGreaterThanOrEqual(attempts[i].nextDelayMs);
    }
  });

  test('fails for good when its schedule is exhausted', async () => {
    const { delivery, attempts, hook } = await deliver([], {}, 503);
    expect(delivery).toMatchObject({ status: 'failed', totalAttempts: 3, statusCode: 503, errorCode: 'http_5xx' });
    expect(attempts.map(({ outcome }: { outcome: string }) => outcome)).toEqual(['retryable', 'retryable', 'retryable']);
    expect(tocsin.receiver.arrivalsAt(hook.path)).toHaveLength(3);
  });

  test('with the policy none is tried once', async () => {
    const { delivery } = await deliver([500], { retryPolicy: { kind: 'none' } });
    expect(delivery).toMatchObject({ status: 'failed', totalAttempts: 1 });
  });

  test.each<[string, string, number | null, number | undefined]>([
    ['seconds', '1', 1_000, 1_000],
    ['decimal seconds', '0.9', 900, 900],
    ['a date to come', 'date+2', null, 500],
    ['a past date: the schedule', 'Wed, 21 Oct 2015 07:28:00 GMT', 0, 200],
    ['junk: the schedule', 'soon', null, 200],
    ['a negative number: the schedule', '-5', null, 200],
  ])('waits as Retry-After asks, given %s', async (_, value, recorded, least) => {
    const header = value === 'date+2' ? new Date(Date.now() + 2_500).toUTCString() : value;
    const { attempts, delivery } = await deliver([{ status: 503, headers: { 'retry-after': header } }]);
    expect(delivery).toMatchObject({ status: 'delivered', totalAttempts: 2 });
    if (value !== 'date+2') expect(attempts[0].retryAfterMs).toBe(recorded);
    else expect(attempts[1].startedAt >= new Date(header).toISOString()).toBe(true);
    expect(Date.parse(attempts[1].startedAt) - Date.parse(attempts[0].finishedAt)).toBeGreaterThanOrEqual(least!);
  });

  test('that gets a 429 waits alone: the next of the same webhook is sent at once', async () => {
    const type = ownType();
    const hook = await tocsin.hook({ types: [type], answers: [{ status: 429, headers: { 'retry-after': '600' } }] });
    const limited = await tocsin.post({ type });
    await tocsin.delivery(limited, ({ status }) => status === 'retrying');
    const free = await tocsin.post({ type, dedupKey: 'other' });
    expect(await tocsin.delivery(free)).toMatchObject({ status: 'delivered', totalAttempts: 1 });
    expect(await tocsin.get(`/deliveries/${limited['deliveries'][0].id}`)).toMatchObject({ status: 'retrying', errorCode: 'rate_limited' });
    expect(await tocsin.get(`/webhooks/${hook.id}`)).toMatchObject({ active: true });
    await tocsin.call('POST', `/deliveries/${limited['deliveries'][0].id}/retry`);
    expect(await tocsin.delivery(limited)).toMatchObject({ status: 'delivered', totalAttempts: 2 });
  });

  test.each<[string, Answer, string, string]>([
    ['410', 410, 'gone', 'gone'],
    ['webhook-delivery: disable', { status: 400, headers: { 'webhook-delivery': 'disable' } }, 'receiver_request', 'receiver_request'],
  ])('answered by %s is rejected, switches its webhook off and cancels what was open', async (_, answer, errorCode, reason) => {
    const type = ownType();
    const hook = await tocsin.hook({ types: [type], answers: [{ status: 503, headers: { 'retry-after': '600' } }, answer] });
    const waiting = await tocsin.post({ type });
    await tocsin.delivery(waiting, ({ status }) => status === 'retrying');
    const rejected = await tocsin.post({ type, dedupKey: 'second' });
    expect(await tocsin.delivery(rejected)).toMatchObject({ status: 'failed', errorCode, totalAttempts: 1 });
    expect(await tocsin.delivery(waiting)).toMatchObject({ status: 'cancelled', errorCode: 'destination_disabled', totalAttempts: 1 });
    expect(await tocsin.get(`/webhooks/${hook.id}`)).toMatchObject({ active: false, status: 'inactive', disabledReason: reason });
    const after = await tocsin.post({ type, dedupKey: 'third' });
    expect(after['deliveries']).toEqual([]);
    expect(after['decisions'][0]).toMatchObject({ verdict: 'suppress', reason: 'destination_inactive' });
    const { data: entries } = await tocsin.get(`/audit-logs?action=webhook.auto_disable&resource=webhook:${hook.id}`);
    expect(entries).toHaveLength(1);
  });

  test('that is taken with webhook-delivery: disable stays delivered, and was the last', async () => {
    const { hook, delivery } = await deliver([{ status: 200, headers: { 'webhook-delivery': 'disable' } }]);
    expect(delivery).toMatchObject({ status: 'delivered' });
    expect(await tocsin.get(`/webhooks/${hook.id}`)).toMatchObject({ active: false, disabledReason: 'receiver_request' });
  });

  test.each<[string, Answer, Record<string, unknown>, string]>([
    ['webhook-delivery: abort-message', { status: 500, headers: { 'webhook-delivery': 'abort-message' } }, {}, 'aborted_by_receiver'],
    ['413', 413, {}, 'payload_too_large'],
    ['422, when client errors are final', 422, { retryClientErrors: false }, 'http_4xx'],
  ])('answered by %s is rejected at once; its webhook stays', async (_, answer, fields, errorCode) => {
    const { hook, delivery } = await deliver([answer], fields);
    expect(delivery).toMatchObject({ status: 'failed', errorCode, totalAttempts: 1 });
    expect(await tocsin.get(`/webhooks/${hook.id}`)).toMatchObject({ active: true });
  });

  test('is never redirected: the answer is kept and tried again', async () => {
    const elsewhere = tocsin.receiver.url('/elsewhere');
    const { attempts, delivery } = await deliver([{ status: 302, headers: { location: elsewhere } }]);
    expect(delivery).toMatchObject({ status: 'delivered', totalAttempts: 2 });
    expect(attempts[0]).toMatchObject({ errorCode: 'redirect_refused', statusCode: 302, responseHeaders: { location: elsewhere } });
    expect(tocsin.receiver.arrivalsAt('/elsewhere')).toEqual([]);
  });

  test('that is not answered in time is a possible duplicate and tried again', async () => {
    const { attempts, delivery } = await deliver([{ fault: 'hang before head' }], { timeoutSeconds: 1 });
    expect(delivery).toMatchObject({ status: 'delivered', totalAttempts: 2 });
    expect(attempts[0]).toMatchObject({ errorCode: 'timeout', possibleDuplicate: true, statusCode: null });
    expect(attempts[0].durationMs).toBeGreaterThanOrEqual(990);
    expect(attempts[1]).toMatchObject({ possibleDuplicate: false });
  });

  test('to a port where nobody listens is tried again', async () => {
    const type = ownType();
    await tocsin.call('POST', '/webhooks', { name: 'refused', url: 'http://127.0.0.1:9/', eventTypes: [type] });
    const delivery = await tocsin.delivery(await tocsin.post({ type }));
    expect(delivery).toMatchObject({ status: 'failed', errorCode: 'connect_refused', totalAttempts: 3 });
  });

  test('keeps 16 KiB of a refusal and 1 KiB of a success, and no cookie', async () => {
    const body = 'é'.repeat(20_000);
    const headers = { 'set-cookie': 'session=1', 'x-kept': 'yes' };
    const { attempts } = await deliver([
      { status: 500, headers, body },
      { status: 200, headers, body },
    ]);
    for (const [i, limit] of [16_384, 1_024].entries()) {
      expect(Buffer.byteLength(attempts[i].responseBody)).toBeLessThanOrEqual(limit);
      expect(Buffer.byteLength(attempts[i].responseBody)).toBeGreaterThan(limit - 8);
      expect(attempts[i]).toMatchObject({ responseTruncated: true, responseHeaders: { 'x-kept': 'yes' } });
      expect(attempts[i].responseHeaders).not.toHaveProperty('set-cookie');
    }
  });

  test('is decided by the status line, however long the body goes on', async () => {
    const { delivery } = await deliver([{ fault: 'endless body' }]);
    expect(delivery).toMatchObject({ status: 'delivered', totalAttempts: 1 });
  });

  test('has an audit entry for each attempt, naming its workflow', async () => {
    const { event, delivery } = await deliver([500]);
    const trace = await waitFor(
      () => tocsin.get(`/events/${event['id']}`),
      ({ auditEntries }) => auditEntries.length >= 3,
      { what: 'the trace' },
    );
    expect(trace['auditEntries'].map(({ action, status }: { action: string; status: string }) => [action, status])).toEqual([
      ['event.ingest', 'success'],
      ['delivery.attempt', 'failure'],
      ['delivery.attempt', 'success'],
    ]);
    expect(delivery['workflowId']).toMatch(/^deliver:[0-9a-f-]{36}\.1$/);
  });
});
