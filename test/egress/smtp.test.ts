import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import type { OutboundResponse, SmtpRequest, SmtpResponse, TransportFault } from '../../domain/outbound.ts';
import type { EgressOptions } from '../../egress/guard.ts';
import { perform } from '../../egress/perform.ts';
import { startSmtpReceiver, type SmtpReceiver, type SmtpReceiverOptions } from '../receivers/smtp.ts';
import { openEgress } from './open-egress.ts';

const closing: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const certificate = { key: pem('key'), cert: pem('cert') };
function pem(name: string): string {
  return readFileSync(new URL(`../receivers/tls/${name}.pem`, import.meta.url), 'utf8');
}

async function server(options: SmtpReceiverOptions = {}): Promise<SmtpReceiver> {
  const receiver = await startSmtpReceiver({ certificate, ...options });
  closing.push(() => receiver.close());
  return receiver;
}

function mailTo(
  receiver: Pick<SmtpReceiver, 'host' | 'port'>,
  parts: Partial<SmtpRequest> = {},
  settings: Partial<SmtpRequest['server']> = {},
): SmtpRequest {
  return {
    kind: 'smtp',
    server: { host: receiver.host, port: receiver.port, security: 'starttls', ...settings },
    from: 'Tocsin <tocsin@example.com>',
    to: ['ops@example.com', 'Dev Team <dev@example.com>'],
    subject: '[CRITICAL] CPU > 95 % é',
    text: 'text part\n.\nafter a lone dot\n',
    html: '<p>html part</p>',
    messageId: '<dlv_1@example.com>',
    references: '<tocsin.abc@example.com>',
    headers: { 'Auto-Submitted': 'auto-generated' },
    dateMs: Date.parse('2026-10-01T12:00:00Z'),
    ...parts,
  };
}

function send(
  request: SmtpRequest,
  { deadlineMs = 3_000, ...options }: Partial<EgressOptions> & { deadlineMs?: number } = {},
): Promise<OutboundResponse> {
  const { egress } = openEgress({
    allow: ['127.0.0.1', 'receiver.test'],
    extraRoots: [pem('ca')],
    lookup: async () => ['127.0.0.1'],
    ...options,
  });
  return perform(egress, request, { deadlineMs });
}

function asReply(response: OutboundResponse): SmtpResponse {
  if (response.kind !== 'smtp') throw new Error(`Expected a reply, got ${JSON.stringify(response)}`);
  return response;
}

function asFault(response: OutboundResponse): TransportFault {
  if (response.kind !== 'fault') throw new Error(`Expected a fault, got ${JSON.stringify(response)}`);
  return response;
}

test('a mail arrives over STARTTLS, with its identity, both parts and every recipient', async () => {
  const receiver = await server();
  const reply = asReply(await send(mailTo(receiver)));
  expect(reply).toMatchObject({ accepted: ['ops@example.com', 'dev@example.com'], refused: [], remoteAddress: '127.0.0.1' });
  expect(reply.reply).toContain('queued');
  const [mail] = receiver.mails;
  expect(mail).toMatchObject({ from: 'tocsin@example.com', to: ['ops@example.com', 'dev@example.com'], secure: true });
  for (const line of [
    'Message-ID: <dlv_1@example.com>',
    'References: <tocsin.abc@example.com>',
    'Auto-Submitted: auto-generated',
    'Content-Type: multipart/alternative',
  ]) {
    expect(mail!.raw).toContain(line);
  }
  expect(mail!.raw).toContain('Date: Thu, 01 Oct 2026 12:00:00 +0000');
  expect(mail!.raw).toContain('text part\r\n.\r\nafter a lone dot');
  expect(mail!.raw).toContain('<p>html part</p>');
});

test('every attempt sends the same bytes', async () => {
  const receiver = await server();
  await send(mailTo(receiver));
  await send(mailTo(receiver));
  expect(receiver.mails[1]!.raw).toBe(receiver.mails[0]!.raw);
});

test('TLS from the first byte', async () => {
  const receiver = await server({ security: 'tls' });
  const reply = asReply(await send(mailTo(receiver, {}, { security: 'tls' })));
  expect(reply).toMatchObject({ tlsVersion: 'TLSv1.3', accepted: ['ops@example.com', 'dev@example.com'] });
  expect(receiver.mails[0]!.secure).toBe(true);
});

test('in the clear only when it was chosen', async () => {
  const receiver = await server({ security: 'none' });
  expect(asFault(await send(mailTo(receiver)))).toMatchObject({ code: 'tls_error', bytesWritten: false });
  expect(asReply(await send(mailTo(receiver, {}, { security: 'none' }))).accepted).toHaveLength(2);
  expect(receiver.mails[0]!.secure).toBe(false);
});

test('a certificate that cannot be verified is tls_error, before anything is said', async () => {
  for (const security of ['starttls', 'tls'] as const) {
    const receiver = await server({ security, users: { tocsin: 'hunter2hunter2' } });
    const request = mailTo(receiver, {}, { security, username: 'tocsin', password: 'hunter2hunter2' });
    const { egress } = openEgress({ allow: ['127.0.0.1'] });
    expect(asFault(await perform(egress, request, { deadlineMs: 3_000 }))).toMatchObject({ code: 'tls_error', bytesWritten: false });
    expect(receiver.mails).toHaveLength(0);
  }
});

test('logging in: the right password, a wrong one, and one that nobody asked for', async () => {
  const guarded = await server({ users: { tocsin: 'right password' } });
  const login = { username: 'tocsin', password: 'right password' };
  expect(asReply(await send(mailTo(guarded, {}, login))).accepted).toHaveLength(2);
  expect(guarded.mails[0]!.user).toBe('tocsin');
  expect(asReply(await send(mailTo(guarded, {}, { ...login, password: 'wrong' }))).failure).toMatchObject({ command: 'AUTH', status: 535 });
  expect(asReply(await send(mailTo(guarded))).failure).toMatchObject({ command: 'MAIL', status: 530 });
});

test.each([
  ['connect', 'CONNECT', 421],
  ['connect', 'CONNECT', 554],
  ['auth', 'AUTH', 454],
  ['mail', 'MAIL', 451],
  ['mail', 'MAIL', 550],
  ['data', 'DATA', 452],
  ['data', 'DATA', 554],
] as const)('a refusal at %s is an answer: %s %i', async (step, command, status) => {
  const receiver = await server(step === 'auth' ? { users: { tocsin: 'hunter2hunter2' } } : {});
  receiver.script[step] = { status, message: 'Not now, or never' };
  const settings = step === 'auth' ? { username: 'tocsin', password: 'hunter2hunter2' } : {};
  const reply = asReply(await send(mailTo(receiver, {}, settings)));
  expect(reply).toMatchObject({ accepted: [], failure: { command, status, reply: expect.stringContaining('Not now, or never') } });
});

test('recipients are accepted and refused one by one', async () => {
  const receiver = await server();
  receiver.script.rcpt = { 'dev@example.com': { status: 550, message: 'No such user' } };
  expect(asReply(await send(mailTo(receiver)))).toMatchObject({
    accepted: ['ops@example.com'],
    refused: [{ recipient: 'dev@example.com', status: 550, reply: expect.stringContaining('No such user') }],
  });
  expect(receiver.mails[0]!.to).toEqual(['ops@example.com']);
});

test('when all recipients are refused each has its own reply', async () => {
  const receiver = await server();
  receiver.script.rcpt = {
    'ops@example.com': { status: 450, message: 'Busy' },
    'dev@example.com': { status: 550, message: 'No such user' },
  };
  const reply = asReply(await send(mailTo(receiver)));
  expect(reply.accepted).toEqual([]);
  expect(reply.refused.map(({ status }) => status).toSorted()).toEqual([450, 550]);
  expect(receiver.mails).toHaveLength(0);
});

test('a connection lost after DATA may have delivered', async () => {
  const receiver = await server();
  receiver.script.dropAfterData = true;
  expect(asFault(await send(mailTo(receiver)))).toMatchObject({ code: 'reset', bytesWritten: true });
  expect(receiver.mails).toHaveLength(1);
});

test('a server that does not answer after DATA is a timeout that may have delivered', async () => {
  const receiver = await server();
  receiver.script.hangAfterData = true;
  expect(asFault(await send(mailTo(receiver), { deadlineMs: 500 }))).toMatchObject({ code: 'timeout', bytesWritten: true });
});

test('a server that says nothing at all is a timeout that delivered nothing', async () => {
  const silent = createServer((socket) => void closing.push(async () => void socket.destroy())).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  closing.push(async () => void silent.close());
  const { port } = silent.address() as AddressInfo;
  expect(asFault(await send(mailTo({ host: '127.0.0.1', port }), { deadlineMs: 200 }))).toMatchObject({
    code: 'timeout',
    bytesWritten: false,
  });
});

test("of a server's reply one line is kept, without what a database cannot store", async () => {
  const words = `250 2.0.0 taken\0\u0007 ${'x'.repeat(2_000)}\r\n`;
  const chatty = createServer((socket) => {
    closing.push(async () => void socket.destroy());
    socket.write('220 ready\r\n');
    socket
      .on('error', () => undefined)
      .on('data', (chunk) => {
        const text = chunk.toString();
        if (text.endsWith('\r\n.\r\n')) socket.write(words);
        else if (/^(?:EHLO|MAIL|RCPT)/.test(text)) socket.write('250 ok\r\n');
        else if (text.startsWith('DATA')) socket.write('354 go on\r\n');
      });
  }).listen(0, '127.0.0.1');
  await once(chatty, 'listening');
  closing.push(async () => void chatty.close());
  const { port } = chatty.address() as AddressInfo;
  const answer = await send(mailTo({ host: '127.0.0.1', port }, {}, { security: 'none' }));
  expect(answer).toMatchObject({ kind: 'smtp', reply: expect.stringMatching(/^250 2\.0\.0 taken x{1,484}$/) });
});

test('a mail server inside is out of reach, also behind a name', async () => {
  const receiver = await server();
  for (const host of ['127.0.0.1', '127.1', 'inside.test']) {
    expect(asFault(await send(mailTo({ host, port: receiver.port }), { allow: [] }))).toMatchObject({
      code: 'blocked_address',
      bytesWritten: false,
    });
  }
  expect(receiver.connections).toBe(0);
});

test('stopping gives up at once and says so', async () => {
  const receiver = await server();
  receiver.script.hangAfterData = true;
  const { egress } = openEgress({ allow: ['127.0.0.1'], extraRoots: [pem('ca')] });
  const stop = new AbortController();
  const sent = perform(egress, mailTo(receiver), { deadlineMs: 10_000, signal: stop.signal });
  await receiver.waitForMails(1);
  stop.abort();
  expect(asFault(await sent)).toMatchObject({ code: 'interrupted', bytesWritten: true });
});
