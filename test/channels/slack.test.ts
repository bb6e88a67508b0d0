import { describe, expect, test } from '@jest/globals';
import { slackChannel } from '../../channels/slack.ts';
import { toWireId } from '../../domain/id.ts';
import type { MessageView } from '../../domain/message.ts';
import type { HttpResponse } from '../../domain/outbound.ts';
import { openEgress } from '../egress/open-egress.ts';
import { buildFullEvent, deliveryId, nowMs, pageView, viewOf } from './views.ts';

const webhookUrl = 'https://hooks.slack.com/services/T0/B0/X';

interface Payload {
  text: string;
  attachments: [
    {
      fallback: string;
      blocks: Array<{ type: string; text?: { text: string }; fields?: Array<{ text: string }>; elements?: Array<{ text: string }> }>;
    },
  ];
}

function open() {
  const opened = slackChannel.open({ webhookUrl });
  if ('verdict' in opened) throw new Error();
  return opened;
}

function render(view: MessageView): { payload: Payload; truncated: boolean } {
  const rendered = open().render(view, { deliveryId, attempt: 1, nowMs });
  if ('verdict' in rendered || rendered.request.kind !== 'http') throw new Error();
  return { payload: JSON.parse(Buffer.from(rendered.request.body).toString()) as Payload, truncated: rendered.truncated };
}

const block = (payload: Payload, type: string) => payload.attachments[0].blocks.find((candidate) => candidate.type === type);

test.each([
  [150, false],
  [151, true],
])('a subject of %i characters is cut: %s', (length, cut) => {
  const { payload, truncated } = render(viewOf(buildFullEvent({ subject: 'x'.repeat(length) })));
  expect(block(payload, 'header')!.text!.text).toHaveLength(150);
  expect(truncated).toBe(cut);
  // the notification's text has room for all of it
  expect(payload.text).toBe(`[CRITICAL] ${'x'.repeat(length)}`);
});

test.each([
  [3_000, false],
  [3_001, true],
])('a message of %i characters is cut: %s', (length, cut) => {
  const { payload, truncated } = render(viewOf(buildFullEvent({ message: 'x'.repeat(length) })));
  expect(block(payload, 'section')!.text!.text).toHaveLength(3_000);
  expect(truncated).toBe(cut);
});

test('an entity or an emoji at the limit is left out whole', () => {
  for (const unit of ['&', '👨‍👩‍👧‍👦']) {
    const { payload } = render(viewOf(buildFullEvent({ message: unit.repeat(3_000) })));
    const text = block(payload, 'section')!.text!.text;
    expect(text.length).toBeLessThanOrEqual(3_000);
    expect(text).toMatch(unit === '&' ? /^(?:&amp;)+…$/ : /^(?:👨‍👩‍👧‍👦)+…$/u);
  }
});

test('ten fields are shown, the last ones are dropped', () => {
  const labels = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`label-${index}`, 'v']));
  const { payload, truncated } = render(viewOf(buildFullEvent({ labels })));
  const fields = payload.attachments[0].blocks.find(({ fields: list }) => list !== undefined)!.fields!;
  expect(fields).toHaveLength(10);
  expect(fields[0]!.text).toBe('*Type*\nalert.fired');
  expect(truncated).toBe(true);
});

test('empty parts are left out', () => {
  const { payload } = render({ ...viewOf(buildFullEvent({ message: null, links: [] })), url: null, fields: [] });
  expect(payload.attachments[0].blocks.map(({ type }) => type)).toEqual(['header', 'context']);
  expect(block(payload, 'context')!.elements).toHaveLength(1);
});

test.each([
  ['https://hooks.slack.com/services/T0/B0/X', undefined],
  ['http://hooks.slack.com/services/T0/B0/X', 'unexpected_host'],
  ['https://hooks.slack.com:8443/services/T0/B0/X', 'unexpected_host'],
  ['https://hooks.slack.com.evil.example/services/T0', 'unexpected_host'],
  ['https://example.com/services/T0/B0/X', 'unexpected_host'],
  ['https://hooks.slack.com@evil.example/', 'user_info'],
  ['http://127.0.0.1:9000/services/T0', 'blocked_address'],
  ['not a url', 'invalid_url'],
])('the webhook url %s is %s', (url, code) => {
  const read = slackChannel.readSettings({ webhookUrl: url }, openEgress().egress);
  expect('issues' in read ? read.issues.map((issue) => issue.code === 'custom' && issue.params?.['code']) : []).toEqual(
    code === undefined ? [] : [code],
  );
});

test('another host is expected only where the configuration of the process names it', () => {
  const { egress } = openEgress({ allow: ['127.0.0.1:9000'] });
  expect(slackChannel.readSettings({ webhookUrl: 'http://127.0.0.1:9000/services/T0' }, egress)).toHaveProperty('settings');
  expect(slackChannel.readSettings({ webhookUrl: 'http://127.0.0.1:9001/services/T0' }, egress)).toHaveProperty('issues');
});

function answer(status: number, body: string, headers: HttpResponse['headers'] = {}): HttpResponse {
  return { kind: 'http', status, headers, body: Buffer.from(body), bodyTruncated: false, timings: { total: 1 } };
}

test.each([
  [200, 'ok', 'delivered undefined undefined'],
  [200, 'ok\n', 'delivered undefined undefined'],
  [200, '', 'retryable provider_error undefined'],
  [200, 'okay', 'retryable provider_error undefined'],
  [201, 'ok', 'retryable provider_error undefined'],
  [200, 'invalid_payload', 'rejected message_rejected message'],
  [200, 'is_archived', 'rejected destination_gone destination'],
  [302, '', 'retryable redirect_refused undefined'],
  [400, 'invalid_payload', 'rejected message_rejected message'],
  [400, 'msg_too_long', 'rejected message_rejected message'],
  [400, 'user_not_found', 'rejected destination_gone destination'],
  [400, '', 'rejected message_rejected message'],
  [401, '', 'rejected auth_failed auth'],
  [403, 'invalid_token', 'rejected auth_failed auth'],
  [403, 'action_prohibited', 'rejected auth_failed auth'],
  [404, 'no_service', 'rejected destination_gone destination'],
  [404, 'channel_not_found', 'rejected destination_gone destination'],
  [410, 'channel_is_archived', 'rejected destination_gone destination'],
  [413, '', 'rejected payload_too_large message'],
  [418, '', 'retryable http_4xx undefined'],
  [429, 'rate_limited', 'retryable rate_limited destination'],
  [200, 'ratelimited', 'retryable rate_limited destination'],
  [500, 'rollup_error', 'retryable http_5xx undefined'],
  [503, '', 'retryable http_5xx undefined'],
  [999, '', 'retryable protocol_error undefined'],
])('an answer %i %j is %s', (status, body, expected) => {
  const { outcome, errorCode, scope } = open().classify(answer(status, body), { nowMs });
  expect(`${outcome} ${errorCode} ${scope}`).toBe(expected);
});

test('a rate limit keeps the place in the schedule and says how long', () => {
  expect(open().classify(answer(429, '', { 'retry-after': '30' }), { nowMs })).toMatchObject({
    retryAfterMs: 30_000,
    sparesSchedule: true,
  });
});

test('ok that was cut off is not ok', () => {
  expect(open().classify({ ...answer(200, 'ok'), bodyTruncated: true }, { nowMs })).toMatchObject({ outcome: 'retryable' });
});

describe("below an escalation's message", () => {
  const buttons = (part: Parameters<typeof pageView>[0]) => block(render(pageView(part)).payload, 'actions');
  const [ack, resolve, snooze, escalate] = ['tocsin_ack', 'tocsin_resolve', 'tocsin_snooze_1h', 'tocsin_escalate'];
  const id = 'esc_01k74z3d88fchsq20000000005';

  test.each([
    ['triggered', [ack, resolve, snooze, escalate]],
    ['acknowledged', [resolve, snooze, escalate]],
    ['exhausted', [ack, resolve, escalate]],
  ] as const)('of one that is %s there are buttons for what there is to do: %j', (state, actions) => {
    expect(buttons({ state })).toMatchObject({
      block_id: `tocsin_${toWireId('delivery', deliveryId)}`,
      elements: actions.map((action) => ({ type: 'button', action_id: action, value: action === escalate ? `${id}.1.2` : id })),
    });
  });

  test('there is none when it is over, or when nobody would answer', () => {
    expect(buttons({ state: 'resolved' })).toBeUndefined();
    expect(buttons({ takesPresses: false })).toBeUndefined();
    expect(block(render(viewOf(buildFullEvent())).payload, 'actions')).toBeUndefined();
  });

  test('its reader sees what it is before all else', () => {
    const { payload } = render(pageView());
    expect(payload.attachments[0].blocks[1]!.text!.text).toBe('*Tier 2 is paged*, policy Platform &lt;critical&gt;');
  });
});
