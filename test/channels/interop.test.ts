import { verify as verifyPlain } from '@octokit/webhooks-methods';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';
import { buildWebhookRequest, type SigningKeys } from '../../channels/webhook-request.ts';
import { renderPingBody } from '../../channels/webhook.ts';
import { renderEventBody } from '../../domain/event-body.ts';
import { formatSecret, parseSecret, type ParsedSecret } from '../../domain/signature.ts';
import type { Egress } from '../../egress/guard.ts';
import { openEgress } from '../egress/open-egress.ts';
import { startHttpReceiver, type Arrival, type HttpReceiver } from '../receivers/http.ts';
import { buildEvent, buildFullEvent } from './views.ts';

let receiver: HttpReceiver;
let egress: Egress;
beforeEach(async () => {
  receiver = await startHttpReceiver();
  receiver.script('/hook', [], 200);
  ({ egress } = openEgress({ allow: ['127.0.0.1'] }));
});
afterEach(async () => {
  await egress.close();
  await receiver.close();
});

function secretOf(text: string): ParsedSecret {
  const parsed = parseSecret(text);
  if ('fault' in parsed) throw new Error(parsed.fault);
  return parsed;
}

const generated = formatSecret(Buffer.from(Array.from({ length: 32 }, (_, index) => index)));
const typed = 'correct horse battery staple';
const event = buildFullEvent();

/** What a receiver really got. */
async function deliver(keys: SigningKeys, body: Buffer, { attempt = 1, ageMs = 0 } = {}): Promise<Arrival> {
  const endpoint = { url: receiver.url('/hook'), headers: {}, keys };
  const message = {
    eventType: 'alert.fired',
    id: 'evt_01k74z3d88fchsq20000000001',
    deliveryId: 'dlv_1',
    attempt,
    nowMs: Date.now() - ageMs,
    body,
  };
  await egress.sendHttp(buildWebhookRequest(endpoint, message), { deadlineMs: 2_000 });
  return receiver.arrivals.at(-1)!;
}

function headersOf(arrival: Arrival): Record<string, string> {
  return Object.fromEntries(['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => [name, String(arrival.headers[name])]));
}

function verifyStandard(arrival: Arrival, standardSecret: string, body = arrival.body.toString('utf8')): void {
  new StandardWebhook(standardSecret).verify(body, headersOf(arrival));
  new SvixWebhook(standardSecret).verify(body, headersOf(arrival));
}

const bodies: ReadonlyArray<[string, Buffer]> = [
  ['an event', renderEventBody(event)],
  ['non-ASCII text', renderEventBody(buildEvent({ subject: 'Ärger „überall“ 👩‍🚒 שלום', message: '\u2028' }))],
  ['256 KiB of data', renderEventBody(buildEvent({ data: JSON.stringify({ text: 'é'.repeat(128 * 1_024 - 10) }) }))],
  ['a test', renderPingBody({ id: 'evt_test_1', nowMs: Date.now(), organizationId: event.organizationId, webhookId: event.id })],
];

test.each(bodies)('standardwebhooks, svix and octokit verify %s, first attempt and retry', async (_what, body) => {
  for (const secret of [generated, typed]) {
    const { key, standardSecret } = secretOf(secret);
    for (const attempt of [1, 2]) {
      const arrival = await deliver({ current: key, previous: [] }, body, { attempt });
      expect(arrival.body.equals(body)).toBe(true);
      expect(arrival.headers['x-webhook-attempt']).toBe(String(attempt));
      verifyStandard(arrival, standardSecret);
      expect(await verifyPlain(secret, arrival.body.toString('utf8'), String(arrival.headers['x-webhook-signature']))).toBe(true);
    }
  }
});

test('after a rotation both secrets verify until the grace ends, and then only the new one', async () => {
  const [current, old] = [secretOf(generated), secretOf(typed)];
  const during = await deliver({ current: current.key, previous: [{ key: old.key, expiresAtMs: Date.now() + 60_000 }] }, bodies[0]![1]);
  verifyStandard(during, current.standardSecret);
  verifyStandard(during, old.standardSecret);
  expect(await verifyPlain(generated, during.body.toString(), String(during.headers['x-webhook-signature']))).toBe(true);
  expect(await verifyPlain(typed, during.body.toString(), String(during.headers['x-webhook-signature-previous']))).toBe(true);

  const after = await deliver({ current: current.key, previous: [{ key: old.key, expiresAtMs: Date.now() - 1 }] }, bodies[0]![1]);
  verifyStandard(after, current.standardSecret);
  expect(() => verifyStandard(after, old.standardSecret)).toThrow();
  expect(after.headers).not.toHaveProperty('x-webhook-signature-previous');
});

test('a flipped byte, a wrong key and an old timestamp fail', async () => {
  const { key, standardSecret } = secretOf(generated);
  const arrival = await deliver({ current: key, previous: [] }, bodies[0]![1]);
  const flipped = arrival.body.toString('utf8').replace('critical', 'critisal');
  const wrong = formatSecret(Buffer.alloc(32, 1));
  const signature = String(arrival.headers['x-webhook-signature']);
  for (const Library of [StandardWebhook, SvixWebhook]) {
    expect(() => new Library(standardSecret).verify(flipped, headersOf(arrival))).toThrow();
    expect(() => new Library(wrong).verify(arrival.body.toString(), headersOf(arrival))).toThrow();
  }
  expect(await verifyPlain(generated, flipped, signature)).toBe(false);
  expect(await verifyPlain(wrong, arrival.body.toString(), signature)).toBe(false);

  const old = await deliver({ current: key, previous: [] }, bodies[0]![1], { ageMs: 301_000 });
  for (const Library of [StandardWebhook, SvixWebhook])
    expect(() => new Library(standardSecret).verify(old.body.toString(), headersOf(old))).toThrow();
});
