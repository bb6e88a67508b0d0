import { expect, test } from '@jest/globals';
import { userAgent } from '../../channels/user-agent.ts';
import { buildWebhookRequest, type WebhookEndpoint } from '../../channels/webhook-request.ts';
import { renderPingBody, webhookChannel } from '../../channels/webhook.ts';
import { renderEventBody } from '../../domain/event-body.ts';
import type { MessageView } from '../../domain/message.ts';
import { formatAsymmetricKey, parseSecret, signPlain, signStandard, type SigningKey } from '../../domain/signature.ts';
import { buildEvent, buildFullEvent, deliveryId, maximalView, nowMs, openPolicy, pageView } from './views.ts';

function keyOf(text: string): SigningKey {
  const parsed = parseSecret(text);
  if ('fault' in parsed) throw new Error(parsed.fault);
  return parsed.key;
}

const message = { eventType: 'alert.fired', id: 'evt_1', deliveryId: 'dlv_1', attempt: 2, nowMs, body: Buffer.from('{"é":1}') };
const unsigned: WebhookEndpoint = { url: 'https://receiver.example.com/', headers: {}, keys: null };

test('the smallest event body has the fixed keys in their order, and no white space', () => {
  expect(renderEventBody(buildEvent()).toString()).toBe(
    '{"id":"evt_01k74z3d88fchsq20000000001","type":"alert.fired","timestamp":"2026-10-01T12:00:00.000Z","org_id":"org_01k74z3d88fchsq20000000002",' +
      '"project_id":null,"tenant_id":null,"severity":"critical","source":"prometheus","subject":"CPU > 95 % on web-1","data":{}}',
  );
});

test('what an event has besides follows the data, in the fixed order', () => {
  const body = renderEventBody(buildFullEvent()).toString();
  expect(Object.keys(JSON.parse(body) as object)).toEqual([
    'id',
    'type',
    'timestamp',
    'org_id',
    'project_id',
    'tenant_id',
    'severity',
    'source',
    'subject',
    'data',
    'message',
    'labels',
    'links',
    'resource',
    'actor',
    'environment',
    'git_commit_sha',
  ]);
  expect(body).not.toMatch(/\n$/);
});

test("the producer's data keeps its key order and the text of its numbers", () => {
  const data = '{"z":1,"a":97.50,"big":12345678901234567890,"exp":1E+2,"nested":{"b":[1.0]}}';
  expect(renderEventBody(buildEvent({ data })).toString()).toContain(`"data":${data}}`);
});

test('text of any kind is JSON afterwards', () => {
  const text = 'quote " backslash \\ newline \n nul \0 é 👍 \u2028 </script>';
  const parsed = JSON.parse(
    renderEventBody(buildFullEvent({ subject: text, source: text, message: text, tenantId: text, environment: text })).toString(),
  ) as Record<string, unknown>;
  for (const key of ['subject', 'source', 'message', 'tenant_id', 'environment']) expect(parsed[key]).toBe(text);
});

test('the body of a test names the webhook', () => {
  const body = renderPingBody({ id: 'evt_test_x', nowMs, organizationId: buildEvent().organizationId, webhookId: buildEvent().id });
  expect(body.toString()).toBe(
    '{"id":"evt_test_x","type":"webhook.ping","timestamp":"2026-10-01T12:00:05.500Z","org_id":"org_01k74z3d88fchsq20000000002",' +
      '"data":{"webhook_id":"whk_01k74z3d88fchsq20000000001","message":"Test delivery from Tocsin"}}',
  );
});

test('an unsigned delivery has the headers of every delivery and no signature', () => {
  expect(buildWebhookRequest(unsigned, message).headers).toEqual({
    'Content-Type': 'application/json',
    'User-Agent': userAgent,
    'Accept-Encoding': 'identity',
    'X-Webhook-Event': 'alert.fired',
    'X-Webhook-Delivery': 'dlv_1',
    'X-Webhook-Attempt': '2',
    'webhook-id': 'evt_1',
    'webhook-timestamp': '1790856005',
  });
});

test('the body is sent as the very bytes it was stored as', () => {
  expect(buildWebhookRequest(unsigned, message).body).toBe(message.body);
});

test('during a rotation both secrets sign, newest old one in the plain header; after it only the new one', () => {
  const [current, newer, older, expired] = ['current secret', 'newer old secret', 'older old secret', 'expired secret'].map(keyOf);
  const { key: asymmetric } = formatAsymmetricKey(Buffer.alloc(32, 9));
  const endpoint: WebhookEndpoint = {
    ...unsigned,
    keys: {
      current: current!,
      previous: [
        { key: newer!, expiresAtMs: nowMs + 1 },
        { key: expired!, expiresAtMs: nowMs },
        { key: older!, expiresAtMs: nowMs + 2 },
      ],
      asymmetric,
    },
  };
  const input = { id: 'evt_1', timestampSeconds: 1_790_856_005, body: message.body };
  const { headers } = buildWebhookRequest(endpoint, message);
  expect(headers['X-Webhook-Signature']).toBe(signPlain(current!, message.body));
  expect(headers['X-Webhook-Signature-Previous']).toBe(signPlain(newer!, message.body));
  expect(headers['webhook-signature']).toBe(signStandard([current!, newer!, older!], input, asymmetric));
  const later = buildWebhookRequest(endpoint, { ...message, nowMs: nowMs + 10 }).headers;
  expect(later).not.toHaveProperty('X-Webhook-Signature-Previous');
  expect(later['webhook-signature']!.split(' ')).toHaveLength(2);
});

test('configured headers are sent, and cannot take the place of ours', () => {
  const headers = {
    'X-Team': 'platform',
    'USER-AGENT': 'evil',
    'webhook-ID': 'evil',
    'X-Webhook-Event': 'evil',
    'content-type': 'text/evil',
    Host: 'evil',
  };
  const sent = buildWebhookRequest({ ...unsigned, headers }, message).headers;
  expect(sent['X-Team']).toBe('platform');
  expect(JSON.stringify(sent)).not.toContain('evil');
});

test('attempts differ in their number, timestamp and signature only', () => {
  const endpoint = { ...unsigned, keys: { current: keyOf('a typed secret'), previous: [] } };
  const first = buildWebhookRequest(endpoint, message);
  const second = buildWebhookRequest(endpoint, { ...message, attempt: 3, nowMs: nowMs + 60_000 });
  const changed = Object.keys(first.headers).filter((name) => first.headers[name] !== second.headers[name]);
  expect(changed).toEqual(['webhook-signature', 'X-Webhook-Attempt', 'webhook-timestamp']);
  expect(second.body).toBe(first.body);
});

test('settings of a webhook channel are refused with every fault at once', () => {
  const read = webhookChannel.readSettings(
    { url: 'https://example.com/', secret: 'short', headers: { Host: 'x', 'X-A': '\n' } },
    openPolicy,
  );
  expect(
    'issues' in read && read.issues.map(({ path, code, ...issue }) => [path.join('/'), code, 'params' in issue && issue.params?.['code']]),
  ).toEqual([
    ['secret', 'custom', 'secret_length'],
    ['headers/Host', 'custom', 'reserved_header'],
    ['headers/X-A', 'custom', 'invalid_header_value'],
  ]);
});

test("a channel's body tells of the escalation that sends it, and says so when there is none", () => {
  const opened = webhookChannel.open({ url: 'https://receiver.example.com/' });
  const escalationIn = (view: MessageView): unknown => {
    if ('verdict' in opened) throw new Error(opened.verdict.detail);
    const rendered = opened.render(view, { deliveryId, attempt: 1, nowMs });
    if ('verdict' in rendered || rendered.request.kind !== 'http') throw new Error('nothing to send');
    return (JSON.parse(Buffer.from(rendered.request.body).toString()) as Record<string, unknown>)['escalation'];
  };
  expect(escalationIn(maximalView('high'))).toBeNull();
  const told = { id: 'esc_01k74z3d88fchsq20000000005', tier: 2, round: 1, state: 'acknowledged' };
  expect(escalationIn(pageView({ state: 'acknowledged', acknowledgeUrl: 'https://tocsin.example.com/l/secret' }))).toEqual(told);
});
