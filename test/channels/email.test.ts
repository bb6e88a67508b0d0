import { expect, test } from '@jest/globals';
import { emailChannel } from '../../channels/email.ts';
import type { SmtpRequest, SmtpResponse } from '../../domain/outbound.ts';
import { deliveryId, maximalView, nowMs, openPolicy, pageView } from './views.ts';

const settings = { host: 'smtp.example.com', from: 'tocsin@example.com', to: ['ops@example.com', 'Dev <dev@example.com>'] };

function open(overrides: Record<string, unknown> = {}) {
  const opened = emailChannel.open({ ...settings, ...overrides });
  if ('verdict' in opened) throw new Error(opened.verdict.detail);
  return opened;
}

function render(overrides: Record<string, unknown> = {}, providerRef?: Record<string, unknown>): SmtpRequest {
  const rendered = open(overrides).render(maximalView('high'), { deliveryId, attempt: 1, nowMs, providerRef });
  if ('verdict' in rendered || rendered.request.kind !== 'smtp') throw new Error('nothing to send');
  return rendered.request;
}

function reply(parts: Partial<SmtpResponse>): SmtpResponse {
  return { kind: 'smtp', accepted: [], refused: [], timings: { total: 1 }, ...parts };
}

const refused = (recipient: string, status: number) => ({ recipient, status, reply: `${status} no` });

test('the defaults are port 587 and STARTTLS', () => {
  expect(render().server).toEqual({ host: 'smtp.example.com', port: 587, security: 'starttls', username: undefined, password: undefined });
});

test.each(['ops@example.com', 'Ops Team <ops@example.com>', 'Åsa Öberg <asa@example.com>', "o'brien+x@mail.example.co"])(
  '%j is an address',
  (from) => {
    expect(emailChannel.readSettings({ ...settings, from }, openPolicy)).toHaveProperty('settings');
  },
);

test.each([
  'ops',
  '@example.com',
  'ops@',
  'ops@example.com, dev@example.com',
  'ops@example.com\r\nBcc: victim@example.com',
  'Evil\r\nBcc: victim@example.com <ops@example.com>',
  'ops@example.com\0',
  'Ops <ops@example.com',
  'ops@example.com>',
  '<ops@example.com>',
  'Ops "x" <ops@example.com>',
  'öps@example.com',
])('%j is no address', (address) => {
  for (const overrides of [{ from: address }, { to: [address] }, { replyTo: address }]) {
    expect(emailChannel.readSettings({ ...settings, ...overrides }, openPolicy)).toHaveProperty('issues');
  }
});

test('line breaks in credentials are refused, and so is one without the other', () => {
  const issues = (overrides: Record<string, unknown>) => {
    const read = emailChannel.readSettings({ ...settings, ...overrides }, openPolicy);
    return 'issues' in read ? read.issues.map(({ path }) => path.join('/')) : [];
  };
  expect(issues({ username: 'a\r\nQUIT', password: 'b\n' })).toEqual(['username', 'password']);
  expect(issues({ username: 'a' })).toEqual(['password']);
  expect(issues({ password: 'a' })).toEqual(['username']);
});

test('the identity of a mail is its delivery, its thread the problem', () => {
  const request = render({ from: 'Tocsin <tocsin@mail.example.com>' });
  expect(request.messageId).toBe('<dlv_01k6fthmg0fchsq20000000004@mail.example.com>');
  expect(request.references).toBe('<tocsin.0123456789abcdef0123456789abcdef01234567@mail.example.com>');
  expect(request.headers['Auto-Submitted']).toBe('auto-generated');
});

test('a later attempt goes to the recipients that were not reached', () => {
  expect(render({}, { accepted: ['ops@example.com'] }).to).toEqual(['Dev <dev@example.com>']);
});

test('a channel without recipients sends nothing', () => {
  expect(open({ to: undefined }).render(maximalView('high'), { deliveryId, attempt: 1, nowMs })).toMatchObject({
    verdict: { outcome: 'rejected', errorCode: 'config_invalid' },
  });
});

test.each([
  ['everybody accepted', { accepted: ['ops@example.com', 'dev@example.com'] }, 'delivered undefined'],
  ['one refused for good', { accepted: ['ops@example.com'], refused: [refused('dev@example.com', 550)] }, 'delivered partial'],
  ['one refused for now', { accepted: ['ops@example.com'], refused: [refused('dev@example.com', 450)] }, 'retryable smtp_4yz'],
  ['all refused for good', { refused: [refused('ops@example.com', 550), refused('dev@example.com', 551)] }, 'rejected smtp_5yz'],
  ['all refused, one for now', { refused: [refused('ops@example.com', 550), refused('dev@example.com', 450)] }, 'retryable smtp_4yz'],
  ['greeting 421', { failure: { command: 'CONNECT', status: 421, reply: '421 busy' } }, 'retryable smtp_4yz'],
  ['greeting 554', { failure: { command: 'CONNECT', status: 554, reply: '554 no' } }, 'rejected smtp_5yz'],
  ['auth 535', { failure: { command: 'AUTH', status: 535, reply: '535 no' } }, 'rejected auth_failed'],
  ['auth 534', { failure: { command: 'AUTH', status: 534, reply: '534 no' } }, 'rejected auth_failed'],
  ['auth 454', { failure: { command: 'AUTH', status: 454, reply: '454 later' } }, 'retryable smtp_4yz'],
  ['530 at MAIL', { failure: { command: 'MAIL', status: 530, reply: '530 auth' } }, 'rejected auth_failed'],
  ['550 at MAIL', { failure: { command: 'MAIL', status: 550, reply: '550 no' } }, 'rejected smtp_5yz'],
  ['452 at DATA', { failure: { command: 'DATA', status: 452, reply: '452 full' } }, 'retryable smtp_4yz'],
  ['552 at DATA', { failure: { command: 'DATA', status: 552, reply: '552 too big' } }, 'rejected smtp_5yz'],
] as Array<[string, Partial<SmtpResponse>, string]>)('%s is %s', (_what, parts, expected) => {
  const { outcome, errorCode } = open().classify(reply(parts), { nowMs });
  expect(`${outcome} ${errorCode}`).toBe(expected);
});

test('recipients reached by earlier attempts are remembered and count', () => {
  const before = { accepted: ['ops@example.com'] };
  const later = open().classify(reply({ refused: [refused('dev@example.com', 550)] }), { nowMs, providerRef: before });
  expect(later).toMatchObject({ outcome: 'delivered', errorCode: 'partial', providerRef: { accepted: ['ops@example.com'] } });
  const first = open().classify(reply({ accepted: ['ops@example.com'], refused: [refused('dev@example.com', 450)] }), { nowMs });
  expect(first.providerRef).toEqual({ accepted: ['ops@example.com'] });
});

test('when earlier attempts reached every recipient that is left, the mail is delivered and nothing is sent', () => {
  const providerRef = { accepted: ['ops@example.com', 'dev@example.com'] };
  const rendered = open({ to: ['Ops <OPS@example.com>'] }).render(maximalView('high'), { deliveryId, attempt: 2, nowMs, providerRef });
  expect(rendered).toMatchObject({ verdict: { outcome: 'delivered', providerRef } });
});

test('an answer lost after DATA may be a duplicate', () => {
  const fault = { kind: 'fault', code: 'reset', detail: 'x', timings: { total: 1 } } as const;
  expect(open().classify({ ...fault, bytesWritten: true }, { nowMs })).toMatchObject({ outcome: 'retryable', possibleDuplicate: true });
  expect(open().classify({ ...fault, bytesWritten: false }, { nowMs })).toMatchObject({ outcome: 'retryable', possibleDuplicate: false });
});

test('a mail that follows another replies to it, in the same thread and under the same subject', () => {
  const send = (replyTo: string | null) => {
    const rendered = open().render(pageView({ replyTo, headline: 'Acknowledged by Åsa' }), { deliveryId, attempt: 1, nowMs });
    if ('verdict' in rendered || rendered.request.kind !== 'smtp') throw new Error('nothing to send');
    return rendered.request;
  };
  const [first, reply] = [send(null), send('dlv_01k6fthmg0fchsq20000000009')];
  expect(first).toMatchObject({ inReplyTo: undefined });
  expect(reply.inReplyTo).toBe('<dlv_01k6fthmg0fchsq20000000009@example.com>');
  expect(reply.references).toBe(`${first.references} ${reply.inReplyTo}`);
  expect(reply.subject).toBe(`Re: ${first.subject}`);
  expect(reply.text).toMatch(/^\[HIGH\] .*\n\nAcknowledged by Åsa, policy Platform <critical>\n/);
  expect(reply.html).toContain('Acknowledged by Åsa');
});
