import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { OutboundResponse } from '../../domain/outbound.ts';
import type { Egress, EgressOptions } from '../../egress/guard.ts';
import { egressBlockedTotal } from '../../metrics.ts';
import { startHttpReceiver, type HttpReceiver } from '../receivers/http.ts';
import { openEgress, post } from './open-egress.ts';

/** Listens on loopback: whatever reaches it has got past the guard. */
let canary: HttpReceiver;
const closing: Array<() => Promise<void>> = [];

beforeEach(async () => {
  canary = await startHttpReceiver();
  canary.script('/', [], 200);
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await canary.close();
});

function guard(options: Partial<EgressOptions> = {}): { egress: Egress; lines: string[] } {
  const opened = openEgress(options);
  closing.push(() => opened.egress.close());
  return opened;
}

const send = (egress: Egress, url: string, deadlineMs = 2_000): Promise<OutboundResponse> => egress.sendHttp(post(url), { deadlineMs });

test.each([
  '127.0.0.1',
  '127.1',
  '2130706433',
  '0x7f000001',
  '0177.0.0.1',
  '%31%32%37.0.0.1',
  '１２７.0.0.1',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '0.0.0.0',
  'localhost',
])('no spelling of loopback gets a connection: %s', async (host) => {
  const { egress, lines } = guard();
  expect(await send(egress, `http://${host}:${canary.port}/`)).toMatchObject({
    kind: 'fault',
    code: 'blocked_address',
    bytesWritten: false,
  });
  await sleep(10);
  expect(canary.connections).toBe(0);
  expect(lines.join('')).toContain('"blocked"');
});

test('a refusal is counted by its reason, whether of an address or of a url', async () => {
  const { egress } = guard({ lookup: async () => ['10.0.0.1'] });
  const count = async (reason: string) =>
    (await egressBlockedTotal.get()).values.find(({ labels }) => labels.reason === reason)?.value ?? 0;
  const before = [await count('blocked_address'), await count('invalid_scheme')];
  await send(egress, 'http://inside.test/');
  await send(egress, 'ftp://inside.test/');
  expect([await count('blocked_address'), await count('invalid_scheme')]).toEqual(before.map((value) => value + 1));
});

test('a name with one forbidden address among public ones is refused', async () => {
  const { egress } = guard({ lookup: async () => ['93.184.216.34', '127.0.0.1'] });
  expect(await send(egress, `http://mixed.test:${canary.port}/`)).toMatchObject({
    code: 'blocked_address',
    detail: expect.stringContaining('127.0.0.1'),
  });
  expect(canary.connections).toBe(0);
});

test('a name that is rebound after it was saved is judged again when sending', async () => {
  let now = 0;
  const answers = [['93.184.216.34'], ['127.0.0.1']];
  const { egress } = guard({ now: () => now, lookup: async () => answers.shift() ?? ['127.0.0.1'] });
  const url = `http://rebound.test:${canary.port}/`;
  expect(await egress.vetUrl(url)).toBeUndefined();
  now = 31_000;
  expect(await send(egress, url)).toMatchObject({ code: 'blocked_address' });
  expect(canary.connections).toBe(0);
});

test('a name that is rebound while its connection is kept alive is judged again with the next connection', async () => {
  let now = 0;
  let address = '127.0.0.1';
  // the name is reachable as long as it points to the allowed address; the canary's is another one
  const { egress } = guard({ allow: ['127.0.0.1'], now: () => now, lookup: async () => [address], timeouts: { connectionTtlMs: 20 } });
  const url = `http://rebound.test:${canary.port}/`;
  expect(await send(egress, url)).toMatchObject({ status: 200 });
  address = '127.0.0.2';
  now = 31_000;
  await sleep(30);
  expect(await send(egress, url)).toMatchObject({ code: 'blocked_address' });
  expect(canary.connections).toBe(1);
});

test('only vetted addresses are connected to: the name is resolved once per connection', async () => {
  let calls = 0;
  const { egress } = guard({
    allow: ['127.0.0.1'],
    lookup: async () => {
      calls += 1;
      return calls === 1 ? ['127.0.0.1'] : ['127.0.0.2'];
    },
  });
  expect(await send(egress, `http://flip.test:${canary.port}/`)).toMatchObject({ status: 200, remoteAddress: '127.0.0.1' });
  expect(calls).toBe(1);
});

test('of several vetted addresses one that answers is used', async () => {
  const { egress } = guard({ allow: ['127.0.0.0/8', '::1'], lookup: async () => ['::1', '127.0.0.1'] });
  expect(await send(egress, `http://both.test:${canary.port}/`)).toMatchObject({ status: 200, remoteAddress: '127.0.0.1' });
});

test("Tocsin's own servers are out of reach although loopback is allowed, also under another name", async () => {
  const { egress } = guard({
    allow: ['127.0.0.0/8', 'localhost', 'alias.test'],
    deniedTargets: [{ host: '127.0.0.1', port: canary.port }],
    lookup: async () => ['127.0.0.1'],
  });
  for (const host of ['127.0.0.1', '127.0.0.5', 'localhost', 'alias.test']) {
    expect(await send(egress, `http://${host}:${canary.port}/`)).toMatchObject({
      code: 'blocked_address',
      detail: expect.stringContaining('belongs to Tocsin'),
    });
  }
  expect(canary.connections).toBe(0);
});

test('an own server known by name is found behind its addresses', async () => {
  const { egress } = guard({
    allow: ['alias.test', 'db.internal'],
    deniedTargets: [{ host: 'db.internal', port: canary.port }],
    lookup: async () => ['127.0.0.1'],
  });
  for (const host of ['alias.test', 'db.internal'])
    expect(await send(egress, `http://${host}:${canary.port}/`)).toMatchObject({ code: 'blocked_address' });
  expect(canary.connections).toBe(0);
});

test('an unknown name is dns_error', async () => {
  const { egress } = guard({
    lookup: async () => {
      throw Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' });
    },
  });
  expect(await send(egress, 'http://unknown.test/')).toMatchObject({
    code: 'dns_error',
    detail: 'unknown.test: ENOTFOUND',
    bytesWritten: false,
  });
});

test('a name server that does not answer is dns_error after its budget', async () => {
  const { egress } = guard({ lookup: () => new Promise(() => undefined), timeouts: { dnsMs: 50 } });
  const startedAt = performance.now();
  expect(await send(egress, 'http://hanging.test/')).toMatchObject({ code: 'dns_error', bytesWritten: false });
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});

test('the deadline covers the lookup', async () => {
  const { egress } = guard({ lookup: () => new Promise(() => undefined) });
  expect(await send(egress, 'http://hanging.test/', 50)).toMatchObject({ code: 'timeout', bytesWritten: false });
});

test('a host that takes no connection is connect_timeout', async () => {
  // a documentation address: nobody is there
  const { egress } = guard({ allow: ['192.0.2.1'], timeouts: { connectMs: 50 } });
  const response = await send(egress, 'http://192.0.2.1/');
  // where there is no route at all the kernel says so at once
  expect(['connect_timeout', 'connect_refused']).toContain(response.kind === 'fault' ? response.code : response.kind);
});

test('a url that is not allowed any more is a fault of the settings', async () => {
  const { egress } = guard({ requireHttps: true });
  expect(await send(egress, 'http://example.com/')).toMatchObject({ code: 'config_invalid' });
  expect(await send(egress, 'ftp://example.com/')).toMatchObject({ code: 'config_invalid' });
  expect(await send(egress, 'https://example.com:25/')).toMatchObject({ code: 'blocked_address' });
});

test('a name that resolves to a forbidden address is refused when it is saved; one that does not resolve is not', async () => {
  const { egress } = guard({
    lookup: async (host) => {
      if (host === 'inside.test') return ['10.0.0.1'];
      throw new Error('ENOTFOUND');
    },
  });
  expect(await egress.vetUrl('https://inside.test/')).toMatchObject({ reason: 'blocked_address' });
  expect(await egress.vetUrl('https://unknown.test/')).toBeUndefined();
});

const certificate = { key: pem('key'), cert: pem('cert') };
function pem(name: string): string {
  return readFileSync(new URL(`../receivers/tls/${name}.pem`, import.meta.url), 'utf8');
}

test('TLS is verified: chain and name', async () => {
  const secure = await startHttpReceiver({ tls: certificate });
  closing.push(() => secure.close());
  secure.script('/', [], 200);
  const allow = ['127.0.0.1', 'receiver.test', 'other.test'];
  const lookup = async () => ['127.0.0.1'];

  const trusting = guard({ allow, lookup, extraRoots: [pem('ca')] }).egress;
  expect(await send(trusting, `https://receiver.test:${secure.port}/`)).toMatchObject({
    status: 200,
    tlsVersion: 'TLSv1.3',
    timings: { tls: expect.any(Number) },
  });
  expect(await send(trusting, `https://127.0.0.1:${secure.port}/`)).toMatchObject({ status: 200 });
  expect(await send(trusting, `https://other.test:${secure.port}/`)).toMatchObject({
    code: 'tls_error',
    detail: expect.stringContaining('ERR_TLS_CERT_ALTNAME_INVALID'),
    bytesWritten: false,
  });

  const strict = guard({ allow, lookup }).egress;
  expect(await send(strict, `https://receiver.test:${secure.port}/`)).toMatchObject({
    code: 'tls_error',
    detail: expect.stringContaining('UNABLE_TO_VERIFY'),
    bytesWritten: false,
  });
  expect(secure.arrivals).toHaveLength(2);
});

test('a server that does not speak TLS is tls_error', async () => {
  const { egress } = guard({ allow: ['127.0.0.1'] });
  expect(await send(egress, `https://127.0.0.1:${canary.port}/`)).toMatchObject({ code: 'tls_error', bytesWritten: false });
});

test('the deadline covers the handshake', async () => {
  const silent = createServer((socket) => void closing.push(async () => void socket.destroy())).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { egress } = guard({ allow: ['127.0.0.1'] });
  expect(await send(egress, `https://127.0.0.1:${(silent.address() as AddressInfo).port}/`, 100)).toMatchObject({
    code: 'timeout',
    bytesWritten: false,
  });
  silent.close();
});

test('only the guard opens sockets to the outside: nothing but egress/ imports a client', () => {
  // the lint file says the same for people; this is for what lint cannot see
  const sources = ['../../channels/webhook.ts', '../../channels/slack.ts', '../../channels/email.ts', '../../channels/webhook-request.ts'];
  for (const source of sources) {
    expect(readFileSync(new URL(source, import.meta.url), 'utf8')).not.toMatch(
      /from '(?:node:net|node:tls|node:http|node:https|undici|nodemailer)|\bfetch\(/,
    );
  }
});
