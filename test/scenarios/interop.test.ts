import { verify as verifyPlain } from '@octokit/webhooks-methods';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';
import type { Arrival } from '../receivers/http.ts';
import { withTemporal } from '../support/servers.ts';
import { startInstance, waitFor, type Instance } from './instance.ts';

const describeWithTemporal = await withTemporal();

describeWithTemporal('published libraries verify', () => {
  let tocsin: Instance;
  beforeAll(async () => {
    tocsin = await startInstance({ TOCSIN_RETRY_STANDARD: 'PT0S,PT0.2S' });
  });
  afterAll(() => tocsin.stop());

  async function verify({ headers, body }: Arrival, { secret, standardSecret }: { secret: string; standardSecret: string }) {
    const text = body.toString();
    const plain = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
    expect(new StandardWebhook(standardSecret).verify(text, plain)).toEqual(JSON.parse(text));
    new SvixWebhook(standardSecret).verify(text, plain);
    expect(await verifyPlain(secret, text, plain['x-webhook-signature']!)).toBe(true);
    expect(plain['x-webhook-signature']).toMatch(/^sha256=[0-9a-f]{64}$/);
  }

  test.each<[string, Record<string, unknown>]>([
    ['a generated secret', {}],
    ['a typed secret', { secret: 'ein getipptes Geheimnis, lang genug' }],
  ])('the first attempt, a retry, a manual retry and a test, with %s', async (name, fields) => {
    const type = name.startsWith('a typed') ? 'job.failed' : 'job.completed';
    const hook = await tocsin.hook({ types: [type], answers: [500, 500, 204, 204], fields });
    const event = await tocsin.post({ type, subject: 'Ärger „überall“ 👩‍🚒 שלום', data: { text: '\u2028é' } });
    const { id } = await tocsin.delivery(event);
    await tocsin.call('POST', `/deliveries/${id}/retry`);
    await waitFor(
      () => tocsin.get(`/deliveries/${id}`),
      ({ status }) => status === 'delivered',
      { what: 'the manual retry' },
    );
    const tested = await tocsin.call('POST', `/webhooks/${hook.id}/test`);
    expect(tested).toMatchObject({ success: true, statusCode: 204 });

    const arrivals = tocsin.receiver.arrivalsAt(hook.path);
    expect(arrivals.map(({ headers }) => headers['x-webhook-attempt'])).toEqual(['1', '2', '3', '1']);
    for (const arrival of arrivals) await verify(arrival, hook);
    const [first, second, third, ping] = arrivals;
    expect([second, third].map(({ headers } = first!) => headers['webhook-id'])).toEqual([event['id'], event['id']]);
    expect(ping!.headers['webhook-id']).toMatch(/^evt_test_/);
    expect(JSON.parse(ping!.body.toString())).toMatchObject({ type: 'webhook.ping' });
  });

  test('both secrets after a rotation', async () => {
    const hook = await tocsin.hook({ types: ['host.online'] });
    const { secret, standardSecret } = await tocsin.call('POST', `/webhooks/${hook.id}/rotate-secret`);
    await tocsin.delivery(await tocsin.post({ type: 'host.online' }));
    const [arrival] = tocsin.receiver.arrivalsAt(hook.path);
    await verify(arrival!, { secret, standardSecret });
    const plain = Object.fromEntries(Object.entries(arrival!.headers).map(([name, value]) => [name, String(value)]));
    new StandardWebhook(hook.standardSecret).verify(arrival!.body.toString(), plain);
    expect(await verifyPlain(hook.secret, arrival!.body.toString(), plain['x-webhook-signature-previous']!)).toBe(true);
  });

  test('a body of 256 KiB, byte for byte what was posted', async () => {
    const hook = await tocsin.hook({ types: ['host.offline'] });
    const data = { text: 'é'.repeat(128 * 1_024 - 10) };
    await tocsin.delivery(await tocsin.post({ type: 'host.offline', data }));
    const [arrival] = tocsin.receiver.arrivalsAt(hook.path);
    await verify(arrival!, hook);
    expect(arrival!.body.includes(JSON.stringify(data))).toBe(true);
  });
});
