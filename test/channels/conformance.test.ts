import { afterEach, describe, expect, test } from '@jest/globals';
import { channelAdapters } from '../../channels/index.ts';
import { userAgent } from '../../channels/user-agent.ts';
import type { OpenChannel, SendContext } from '../../channels/channel.ts';
import { deliveryErrorCodes, type Classification } from '../../domain/delivery.ts';
import { channelTypes } from '../../domain/channel.ts';
import type { MessageView } from '../../domain/message.ts';
import type { HttpResponse, OutboundRequest, OutboundResponse, SmtpResponse, TransportFaultCode } from '../../domain/outbound.ts';
import { createRedactor } from '../../domain/redaction.ts';
import { severities } from '../../domain/severity.ts';
import { captureResponse } from '../../egress/capture.ts';
import { perform } from '../../egress/perform.ts';
import { startHttpReceiver } from '../receivers/http.ts';
import { startSmtpReceiver } from '../receivers/smtp.ts';
import { openEgress } from '../egress/open-egress.ts';
import { expectGolden } from './golden.ts';
import { sampleSettings, sendingTypes, type SendingType } from './samples.ts';
import { buildFullEvent, deliveryId, maximalView, minimalView, nowMs, openPolicy, viewOf } from './views.ts';

const context: SendContext = { deliveryId, attempt: 3, nowMs };

const closing: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function open(type: SendingType, overrides: Record<string, unknown> = {}): OpenChannel {
  const opened = channelAdapters[type].open({ ...sampleSettings[type], ...overrides });
  if ('verdict' in opened) throw new Error(opened.verdict.detail);
  return opened;
}

function render(channel: OpenChannel, view: MessageView): { request: OutboundRequest; truncated: boolean } {
  const rendered = channel.render(view, context);
  if ('verdict' in rendered) throw new Error(rendered.verdict.detail);
  return rendered;
}

/** A request as people read it in a diff. */
function describeRequest(request: OutboundRequest): string {
  if (request.kind === 'smtp') {
    const { text, html, server, ...rest } = request;
    return `${JSON.stringify({ ...rest, server: { ...server, password: '...' } }, null, 2)}\n\n--- text\n${text}\n--- html\n${html}`;
  }
  const head = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`);
  return `${request.method} ${request.url}\n${head.join('\n').replace(userAgent, 'Tocsin/<version>')}\n\n${JSON.stringify(JSON.parse(Buffer.from(request.body).toString()), null, 2)}\n`;
}

test('every channel type has an adapter of its name', () => {
  for (const type of channelTypes) expect(channelAdapters[type].type).toBe(type);
  expect([...sendingTypes, 'in_app'].toSorted()).toEqual([...channelTypes].toSorted());
});

describe.each(sendingTypes)('%s', (type) => {
  const adapter = channelAdapters[type];

  test.each(severities)('golden payloads, severity %s', (severity) => {
    expectGolden(`${type}/${severity}-minimal.txt`, describeRequest(render(open(type), minimalView(severity)).request));
    expectGolden(`${type}/${severity}-maximal.txt`, describeRequest(render(open(type), maximalView(severity)).request));
  });

  test('a message is the same bytes every time it is rendered', () => {
    const [first, second] = [1, 2].map(() => describeRequest(render(open(type), maximalView('high')).request));
    expect(second).toBe(first);
  });

  test('settings of other shapes are refused with every fault, and the sample is not', () => {
    expect(adapter.readSettings(sampleSettings[type], openPolicy)).toHaveProperty('settings');
    const wrong = adapter.readSettings({ ...sampleSettings[type], surprise: 1, another: 2 }, openPolicy);
    expect('issues' in wrong && wrong.issues.length).toBeGreaterThan(0);
    for (const input of [null, 5, 'x', [], {}]) expect(adapter.readSettings(input, openPolicy)).toHaveProperty('issues');
    expect(adapter.open({})).toMatchObject({ verdict: { outcome: 'rejected', errorCode: 'config_invalid' } });
  });

  test('hostile text is inert: it changes no structure, mentions nobody and adds no line', () => {
    const hostile = [
      '<!channel> <!here> <@U123> <https://evil.example|click> &amp; <script>alert(1)</script>',
      '"}],"injected":true,[{"',
      'subject\r\nBcc: victim@example.com\r\n\r\nbody',
      '{{constructor}} {{#each this}}{{/each}} {{{x}}}',
      '\u202Etxt.exe \u0000 \u0007',
      '@everyone *bold* `code` [a](javascript:alert(1))',
    ];
    for (const text of hostile) {
      const event = buildFullEvent({
        subject: text,
        message: text,
        source: text,
        labels: { [text.slice(0, 40)]: text },
        links: [
          { href: 'javascript:alert(1)', title: text },
          { href: 'https://ok.example/">|<x>', title: text },
        ],
        actor: { type: 'user', id: '1', name: text },
        data: null,
      });
      const { request } = render(open(type), viewOf(event));
      if (request.kind === 'smtp') {
        expect(request.subject).not.toMatch(/[\r\n\0]/);
        expect(request.html).not.toMatch(/<script|<!channel|javascript:alert\(1\)"/);
        expect(request.text).not.toContain('\0');
      } else {
        const parsed: unknown = JSON.parse(Buffer.from(request.body).toString());
        expect(parsed).not.toHaveProperty('injected');
        expect(JSON.stringify(request.headers)).not.toMatch(/\\r|\\n/);
      }
      if (type === 'slack') expect(describeRequest(request)).not.toMatch(/<!|<@|<script|<https:\/\/evil|\|<x>/);
    }
  });

  test('emoji, right-to-left text and long texts are cut whole, and the subject always begins', () => {
    const family = '👨‍👩‍👧‍👦';
    for (const unit of [family, 'é́', 'שלום ', '&', 'x']) {
      const long = unit.repeat(5_000);
      const view = viewOf(buildFullEvent({ subject: `S ${long}`.slice(0, 4_000), message: long, data: null }));
      const { request } = render(open(type), view);
      const text = request.kind === 'smtp' ? request.subject + request.text : Buffer.from(request.body).toString();
      expect(text.isWellFormed()).toBe(true);
      expect(text).toContain('S ');
    }
  });

  test('classify is total: every status and body has a verdict with a known code, and only success is success', () => {
    const bodies = ['ok', '', 'OK', '{"ok":true}', 'no_service', 'invalid_payload', '<html>', 'ratelimited', '\0\xff'];
    const waits = [undefined, '5', '-1', 'soon', 'Thu, 01 Oct 2026 12:01:00 GMT', '99999'];
    const channel = open(type);
    for (const answer of type === 'email' ? smtpAnswers() : httpAnswers(bodies, waits)) {
      const verdict = channel.classify(answer, { nowMs });
      expect(['delivered', 'retryable', 'rejected']).toContain(verdict.outcome);
      if (verdict.outcome !== 'delivered') expect(deliveryErrorCodes).toContain(verdict.errorCode);
      if (verdict.outcome !== 'retryable') expect(verdict.retryAfterMs).toBeUndefined();
      if (verdict.outcome === 'delivered' && answer.kind === 'http') {
        expect(answer.status).toBeGreaterThanOrEqual(200);
        expect(answer.status).toBeLessThan(300);
      }
    }
  });

  test('every transport fault has a verdict', () => {
    const codes: TransportFaultCode[] = [
      'dns_error',
      'connect_refused',
      'connect_timeout',
      'tls_error',
      'reset',
      'timeout',
      'blocked_address',
      'protocol_error',
      'config_invalid',
      'interrupted',
      'proxy_error',
    ];
    for (const code of codes) {
      for (const bytesWritten of [true, false]) {
        const verdict: Classification = open(type).classify(
          { kind: 'fault', code, detail: 'why', bytesWritten, timings: { total: 1 } },
          { nowMs },
        );
        expect(verdict.errorCode).toBe(code);
        expect(verdict.outcome).toBe(code === 'blocked_address' || code === 'config_invalid' ? 'rejected' : 'retryable');
      }
    }
  });

  test('secrets are in nothing that is kept, even when the receiver sends them back', () => {
    const channel = open(type);
    const redact = createRedactor(channel.secrets);
    const secretTexts = adapter.secretFields.flatMap((field) => textsIn(sampleSettings[type][field]));
    expect(secretTexts.length).toBeGreaterThan(0);
    const echo = secretTexts
      .map((secret) => `${secret} ${encodeURIComponent(secret)} ${Buffer.from(secret).toString('base64')}`)
      .join('\n');
    for (const outcome of ['delivered', 'retryable'] as const) {
      const capture = captureResponse(
        answerWith(500, echo, { 'x-echo': secretTexts.join(' '), 'set-cookie': 'session=1' }),
        outcome,
        redact,
      );
      const kept = JSON.stringify(capture);
      for (const secret of secretTexts) expect(kept).not.toContain(secret);
      expect(capture.headers).not.toHaveProperty('set-cookie');
    }
  });

  test('a blocked address is refused without a connection, and reached when the operator allows it', async () => {
    const receiver = type === 'email' ? await startSmtpReceiver({ security: 'none' }) : await startHttpReceiver();
    closing.push(() => receiver.close());
    if ('script' in receiver && typeof receiver.script === 'function') receiver.script('/hook', [], { body: 'ok' });
    const target: Record<SendingType, Record<string, unknown>> = {
      webhook: { url: `http://127.0.0.1:${receiver.port}/hook` },
      slack: { webhookUrl: `http://127.0.0.1:${receiver.port}/hook` },
      email: { host: '127.0.0.1', port: receiver.port, security: 'none', username: undefined, password: undefined },
    };
    const channel = open(type, target[type]);
    const { request } = render(channel, maximalView('high'));

    const guarded = openEgress().egress;
    closing.push(() => guarded.close());
    expect(adapter.readSettings({ ...sampleSettings[type], ...target[type] }, guarded)).toHaveProperty('issues');
    expect(channel.classify(await perform(guarded, request, { deadlineMs: 2_000 }), { nowMs })).toMatchObject({
      outcome: 'rejected',
      errorCode: 'blocked_address',
    });
    expect(receiver.connections).toBe(0);

    const allowing = openEgress({ allow: ['127.0.0.1'] }).egress;
    closing.push(() => allowing.close());
    expect(adapter.readSettings({ ...sampleSettings[type], ...target[type] }, allowing)).toHaveProperty('settings');
    expect(channel.classify(await perform(allowing, request, { deadlineMs: 2_000 }), { nowMs })).toMatchObject({ outcome: 'delivered' });
    expect(receiver.connections).toBe(1);
  });
});

describe.each(sendingTypes.filter((type) => type !== 'email'))('%s over HTTP', (type) => {
  test.each([
    [{ status: 302, headers: { location: 'http://127.0.0.1:1/' } }, 'redirect_refused'],
    [{ fault: 'reset after reading' }, 'reset'],
    [{ fault: 'hang before head' }, 'timeout'],
  ] as const)('%j is retryable and never success', async (answer, errorCode) => {
    const receiver = await startHttpReceiver();
    closing.push(() => receiver.close());
    receiver.script('/hook', [answer]);
    const { egress } = openEgress({ allow: ['127.0.0.1'] });
    closing.push(() => egress.close());
    const channel = open(type, type === 'slack' ? { webhookUrl: receiver.url('/hook') } : { url: receiver.url('/hook') });
    const response = await perform(egress, render(channel, minimalView('info')).request, { deadlineMs: 200 });
    expect(channel.classify(response, { nowMs })).toMatchObject({ outcome: 'retryable', errorCode });
  });
});

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

function answerWith(status: number, body: string, headers: HttpResponse['headers'] = {}): HttpResponse {
  return { kind: 'http', status, headers, body: Buffer.from(body, 'latin1'), bodyTruncated: false, timings: { total: 1 } };
}

function* httpAnswers(bodies: readonly string[], waits: ReadonlyArray<string | undefined>): Generator<OutboundResponse> {
  for (let status = 0; status <= 700; status += 1) {
    for (const body of bodies) yield answerWith(status, body);
    for (const wait of waits) yield answerWith(status, '', wait === undefined ? {} : { 'retry-after': wait });
  }
}

function* smtpAnswers(): Generator<SmtpResponse> {
  const base = { kind: 'smtp', accepted: [], refused: [], timings: { total: 1 } } as const;
  for (const command of ['CONNECT', 'EHLO', 'AUTH', 'MAIL', 'RCPT', 'DATA'] as const) {
    for (let status = 400; status <= 599; status += 1) yield { ...base, failure: { command, status, reply: `${status} no` } };
  }
  for (const status of [421, 450, 550, 554]) {
    const refused = [{ recipient: 'dev@example.com', status, reply: `${status} no` }];
    yield { ...base, refused };
    yield { ...base, refused, accepted: ['ops@example.com'], reply: '250 ok' };
  }
}
