import { once } from 'node:events';
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from '@jest/globals';
import { createProxy } from '../../egress/proxy.ts';
import { startHttpReceiver } from '../receivers/http.ts';
import { openEgress, post } from './open-egress.ts';

const closing: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A CONNECT proxy that sends every tunnel to one port on loopback, whatever host it was asked for. */
async function startProxy(answer = 'HTTP/1.1 200 Connection established\r\n\r\n', to = 0): Promise<{ port: number; heads: string[] }> {
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', (head: Buffer) => {
      heads.push(head.toString());
      socket.write(answer);
      if (to === 0) return;
      const upstream = connect(to, '127.0.0.1');
      sockets.add(upstream);
      upstream.on('error', () => undefined);
      socket.pipe(upstream).pipe(socket);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, heads };
}

function egressThrough(port: number, options: Parameters<typeof openEgress>[0] & { login?: string; noProxy?: string[] } = {}) {
  const { login = '', noProxy = [], ...rest } = options;
  const { egress } = openEgress({
    proxy: { url: `http://${login}127.0.0.1:${port}`, noProxy },
    lookup: async () => ['127.0.0.1'],
    ...rest,
  });
  closing.push(() => egress.close());
  return egress;
}

function pem(name: string): string {
  return readFileSync(new URL(`../receivers/tls/${name}.pem`, import.meta.url), 'utf8');
}

test('plain http goes through a tunnel as well, by name, with the login', async () => {
  const receiver = await startHttpReceiver();
  closing.push(() => receiver.close());
  receiver.script('/hook', [], { body: 'ok' });
  const proxy = await startProxy(undefined, receiver.port);
  const egress = egressThrough(proxy.port, { login: 'us%40er:p%3Ass@' });
  for (let request = 0; request < 2; request += 1) {
    expect(await egress.sendHttp(post('http://receiver.test:8080/hook'), { deadlineMs: 2_000 })).toMatchObject({
      status: 200,
      remoteAddress: undefined,
    });
  }
  expect(proxy.heads).toEqual([
    `CONNECT receiver.test:8080 HTTP/1.1\r\nHost: receiver.test:8080\r\nProxy-Authorization: Basic ${Buffer.from('us@er:p:ss').toString('base64')}\r\n\r\n`,
  ]);
  expect(receiver.arrivals[0]!.headers).not.toHaveProperty('proxy-authorization');
});

test('TLS is end to end: the proxy cannot stand in for the receiver', async () => {
  const receiver = await startHttpReceiver({ tls: { key: pem('key'), cert: pem('cert') } });
  closing.push(() => receiver.close());
  receiver.script('/hook', [], 200);
  const proxy = await startProxy(undefined, receiver.port);
  const egress = egressThrough(proxy.port, { extraRoots: [pem('ca')] });
  expect(await egress.sendHttp(post('https://receiver.test/hook'), { deadlineMs: 2_000 })).toMatchObject({
    status: 200,
    tlsVersion: 'TLSv1.3',
  });
  expect(await egress.sendHttp(post('https://other.test/hook'), { deadlineMs: 2_000 })).toMatchObject({ code: 'tls_error' });
});

test('literals and own servers are judged here, before the proxy is asked', async () => {
  const proxy = await startProxy();
  const egress = egressThrough(proxy.port, { allow: ['db.internal:8080'], deniedTargets: [{ host: 'db.internal', port: 8080 }] });
  for (const url of [
    'http://127.0.0.1:8080/',
    'http://[::1]:8080/',
    'http://169.254.169.254/',
    'http://localhost:8080/',
    'http://db.internal:8080/',
  ]) {
    expect(await egress.sendHttp(post(url), { deadlineMs: 2_000 })).toMatchObject({ code: 'blocked_address' });
  }
  expect(proxy.heads).toEqual([]);
});

test.each([
  ['HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', 'answered 407'],
  ['HTTP/1.1 503 Service Unavailable\r\n\r\n', 'answered 503'],
  ['SSH-2.0-x\r\n\r\n', 'answered no status'],
  [`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(9_000)}`, 'sent too long an answer'],
])('a proxy that says %j is proxy_error', async (answer, detail) => {
  const proxy = await startProxy(answer);
  const egress = egressThrough(proxy.port);
  expect(await egress.sendHttp(post('http://receiver.test/'), { deadlineMs: 2_000 })).toMatchObject({
    code: 'proxy_error',
    bytesWritten: false,
    detail: expect.stringContaining(detail),
  });
});

test('a proxy that is down is proxy_error, one that is silent a timeout', async () => {
  const silent = await startProxy('');
  expect(await egressThrough(silent.port).sendHttp(post('http://receiver.test/'), { deadlineMs: 150 })).toMatchObject({
    code: 'timeout',
    bytesWritten: false,
  });
  expect(await egressThrough(1).sendHttp(post('http://receiver.test/'), { deadlineMs: 2_000 })).toMatchObject({
    code: 'proxy_error',
    bytesWritten: false,
  });
});

test('a deadline that passes while the name of a silent proxy is looked up ends the attempt', async () => {
  const silent = await startProxy('');
  const { egress } = openEgress({
    proxy: { url: `http://proxy.test:${silent.port}`, noProxy: [] },
    lookup: async () => {
      await sleep(100);
      return ['127.0.0.1'];
    },
  });
  closing.push(() => egress.close());
  const opening = egress.connect({ host: 'mail.test', port: 25 }, { secure: false, signal: AbortSignal.timeout(20) });
  await expect(opening).rejects.toMatchObject({ name: 'EgressFault', code: 'timeout' });
  expect(silent.heads).toEqual([]);
}, 5_000);

test('exceptions are reached directly, under the rules of direct connections', async () => {
  const receiver = await startHttpReceiver();
  closing.push(() => receiver.close());
  receiver.script('/hook', [], 200);
  const proxy = await startProxy();
  const egress = egressThrough(proxy.port, { noProxy: ['inside.test'], allow: ['hook.inside.test'] });
  expect(await egress.sendHttp(post(`http://hook.inside.test:${receiver.port}/hook`), { deadlineMs: 2_000 })).toMatchObject({
    status: 200,
  });
  expect(await egress.sendHttp(post(`http://other.inside.test:${receiver.port}/hook`), { deadlineMs: 2_000 })).toMatchObject({
    code: 'blocked_address',
  });
  expect(proxy.heads).toEqual([]);
});

test.each([
  ['example.com', 'example.com', 80, true],
  ['example.com', 'a.example.com', 80, true],
  ['.example.com', 'a.example.com', 80, true],
  ['*.example.com', 'a.example.com', 80, true],
  ['example.com', 'notexample.com', 80, false],
  ['example.com:8080', 'example.com', 8080, true],
  ['example.com:8080', 'example.com', 80, false],
  ['*', 'anything.test', 80, true],
  ['10.0.0.1', '10.0.0.1', 80, true],
  ['::1', '::1', 80, true],
  ['', 'example.com', 80, false],
])('the exception %j and %s port %i: direct is %s', (exception, host, port, direct) => {
  expect(createProxy({ url: 'http://proxy:3128', noProxy: [exception] }).isBypassed({ host, port })).toBe(direct);
});
