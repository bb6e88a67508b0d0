import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from '@jest/globals';
import type { HttpResponse, OutboundResponse, TransportFault } from '../../domain/outbound.ts';
import type { EgressOptions } from '../../egress/guard.ts';
import { startHttpReceiver, type Answer, type Fault, type HttpReceiver } from '../receivers/http.ts';
import { openEgress, post } from './open-egress.ts';

const closing: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function receiver(): Promise<HttpReceiver> {
  const started = await startHttpReceiver();
  closing.push(() => started.close());
  return started;
}

function egressTo(options: Partial<EgressOptions> = {}) {
  const opened = openEgress({ allow: ['127.0.0.1', '::1'], ...options });
  closing.push(() => opened.egress.close());
  return opened;
}

/** One request to a receiver that answers like this. */
async function exchange(answer: Answer, deadlineMs = 2_000, bodyDecides = false): Promise<OutboundResponse> {
  const { egress } = egressTo();
  const target = await receiver();
  target.script('/hook', [answer]);
  return egress.sendHttp(post(target.url('/hook'), { bodyDecides }), { deadlineMs });
}

function asFault(response: OutboundResponse): TransportFault {
  if (response.kind !== 'fault') throw new Error(`Expected a fault, got ${JSON.stringify(response)}`);
  return response;
}

function asAnswer(response: OutboundResponse): HttpResponse {
  if (response.kind !== 'http') throw new Error(`Expected an answer, got ${JSON.stringify(response)}`);
  return response;
}

test('the receiver gets the exact bytes and headers, and its answer comes back whole', async () => {
  const { egress } = egressTo();
  const target = await receiver();
  target.script('/hook', [{ status: 201, headers: { 'X-Reply': 'yes' }, body: 'thanks' }]);
  const body = Buffer.from([0, 255, 13, 10, 195, 169]);
  const response = asAnswer(
    await egress.sendHttp(
      post(target.url('/hook?a=b%20c'), { body, headers: { 'X-Mixed-Case': 'ä'.normalize('NFD').replace(/\P{ASCII}/gu, '') } }),
      { deadlineMs: 2_000 },
    ),
  );
  expect(response).toMatchObject({ status: 201, bodyTruncated: false, remoteAddress: '127.0.0.1' });
  expect(Buffer.from(response.body).toString()).toBe('thanks');
  expect(response.headers['x-reply']).toBe('yes');
  expect(response.timings.total).toBeGreaterThan(0);
  expect(response.timings.connect).toBeGreaterThan(0);
  const [arrival] = target.arrivals;
  expect(arrival?.path).toBe('/hook?a=b%20c');
  expect(arrival?.body).toEqual(body);
  expect(arrival?.headers['x-mixed-case']).toBe('a');
});

test.each([301, 302, 303, 307, 308])('a %i is an answer, and nothing goes where it points', async (status) => {
  const canary = await receiver();
  const response = asAnswer(await exchange({ status, headers: { location: canary.url('/stolen') } }));
  expect(response.status).toBe(status);
  await sleep(20);
  expect(canary.connections).toBe(0);
});

test('connections are kept and used again', async () => {
  const { egress } = egressTo();
  const target = await receiver();
  target.script('/hook', [], { body: 'ok' });
  for (let request = 0; request < 5; request += 1) asAnswer(await egress.sendHttp(post(target.url('/hook')), { deadlineMs: 2_000 }));
  expect(target.connections).toBe(1);
  expect(target.arrivals).toHaveLength(5);
});

test('requests at the same time get a connection each, and no more', async () => {
  const { egress } = egressTo();
  const target = await receiver();
  target.script('/hook', [], { delayMs: 20 });
  const send = () => egress.sendHttp(post(target.url('/hook')), { deadlineMs: 2_000 });
  await Promise.all(Array.from({ length: 8 }, send));
  await Promise.all(Array.from({ length: 8 }, send));
  expect(target.connections).toBe(8);
});

test('a connection is not used beyond its time, so that a rebound name is vetted again', async () => {
  const { egress } = egressTo({ timeouts: { connectionTtlMs: 30 } });
  const target = await receiver();
  target.script('/hook', [], 200);
  await egress.sendHttp(post(target.url('/hook')), { deadlineMs: 2_000 });
  await sleep(40);
  await egress.sendHttp(post(target.url('/hook')), { deadlineMs: 2_000 });
  expect(target.connections).toBe(2);
});

test.each([
  ['reset before reading', 'reset'],
  ['reset after reading', 'reset'],
  ['close before reading', 'reset'],
  ['close after reading', 'reset'],
] as Array<[Fault, string]>)('%s is a reset that may have delivered', async (fault, code) => {
  expect(asFault(await exchange({ fault }))).toMatchObject({ code, bytesWritten: true });
});

test('a receiver that does not answer is a timeout at the deadline, and its connection is given up', async () => {
  const { egress } = egressTo();
  const target = await receiver();
  target.script('/hook', [{ fault: 'hang before head' }, 200]);
  const startedAt = performance.now();
  expect(asFault(await egress.sendHttp(post(target.url('/hook')), { deadlineMs: 150 }))).toMatchObject({
    code: 'timeout',
    bytesWritten: true,
  });
  expect(performance.now() - startedAt).toBeLessThan(1_000);
  expect(asAnswer(await egress.sendHttp(post(target.url('/hook')), { deadlineMs: 2_000 })).status).toBe(200);
  expect(target.connections).toBe(2);
});

test('once the status is there it decides, however the body goes on', async () => {
  for (const fault of ['hang after head', 'drip'] as const) {
    const response = asAnswer(await exchange({ fault }, 300));
    expect(response).toMatchObject({ status: 200, bodyTruncated: true });
    expect(response.timings.total).toBeLessThan(1_500);
  }
});

test('where the body decides an incomplete one is a timeout', async () => {
  expect(asFault(await exchange({ fault: 'hang after head' }, 150, true))).toMatchObject({ code: 'timeout', bytesWritten: true });
  expect(asFault(await exchange({ raw: 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', close: true }, 500, true))).toMatchObject({
    bytesWritten: true,
  });
});

test('a body that breaks off leaves the status as it was', async () => {
  const response = asAnswer(await exchange({ raw: 'HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\nabc', close: true }));
  expect(response).toMatchObject({ status: 500, bodyTruncated: true });
  expect(Buffer.from(response.body).toString()).toBe('abc');
});

test('of an endless body 64 KiB are read, then the socket is closed and memory stays', async () => {
  const { egress } = egressTo();
  const target = await receiver();
  target.script('/hook', [], { fault: 'endless body' });
  const before = process.memoryUsage().rss;
  const responses = await Promise.all(Array.from({ length: 50 }, () => egress.sendHttp(post(target.url('/hook')), { deadlineMs: 5_000 })));
  for (const response of responses) {
    expect(asAnswer(response)).toMatchObject({ status: 200, bodyTruncated: true });
    expect(asAnswer(response).body.byteLength).toBe(64 * 1_024);
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1_024 * 1_024);
});

test('a short body does not cost the connection', async () => {
  const { egress } = egressTo();
  const target = await receiver();
  target.script('/hook', [], { body: 'x'.repeat(60_000) });
  for (let request = 0; request < 3; request += 1) {
    expect(asAnswer(await egress.sendHttp(post(target.url('/hook')), { deadlineMs: 2_000 })).bodyTruncated).toBe(false);
  }
  expect(target.connections).toBe(1);
});

test.each([
  ['a status that is no number', 'HTTP/1.1 abc Bad\r\n\r\n'],
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.6\r\n'],
  ['a protocol switch', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'],
  ['a head over 16 KiB', `HTTP/1.1 200 OK\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`],
  [
    '100 KB of headers',
    `HTTP/1.1 200 OK\r\n${Array.from({ length: 1_000 }, (_, index) => `X-${index}: ${'v'.repeat(90)}`).join('\r\n')}\r\n\r\n`,
  ],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
])('%s is a protocol error', async (_what, raw) => {
  expect(asFault(await exchange({ raw }))).toMatchObject({ code: 'protocol_error', bytesWritten: true });
});

test('a status that HTTP does not define is handed on as it is', async () => {
  expect(asAnswer(await exchange({ raw: 'HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n' })).status).toBe(799);
});

test('informational answers before the answer are skipped', async () => {
  const raw = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n';
  expect(asAnswer(await exchange({ raw })).status).toBe(204);
});

test('a compressed body is not unpacked', async () => {
  const body = Buffer.from('1f8b0800000000000003', 'hex');
  const response = asAnswer(await exchange({ headers: { 'content-encoding': 'gzip' }, body }));
  expect(Buffer.from(response.body)).toEqual(body);
});

test('nobody listening is connect_refused, and nothing was written', async () => {
  const { egress } = egressTo();
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  expect(asFault(await egress.sendHttp(post(`http://127.0.0.1:${port}/`), { deadlineMs: 2_000 }))).toMatchObject({
    code: 'connect_refused',
    bytesWritten: false,
    detail: expect.stringContaining('ECONNREFUSED'),
  });
});

test('a keep-alive connection that the receiver closed meanwhile costs one repetition, not the attempt', async () => {
  // answers the first request of each connection and resets on the second
  const counts: number[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const connection = counts.push(0) - 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', () => {
      counts[connection]! += 1;
      if (counts[connection] === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok');
      else socket.resetAndDestroy();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { egress } = egressTo();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  expect(asAnswer(await egress.sendHttp(post(url), { deadlineMs: 2_000 })).repeated).toBeUndefined();
  expect(asAnswer(await egress.sendHttp(post(url), { deadlineMs: 2_000 }))).toMatchObject({ status: 200, repeated: true });
  expect(counts).toEqual([2, 1]);
});

test('a connection that is closed right after its answer costs nothing', async () => {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => void server.close());
  const { egress } = egressTo();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  for (let request = 0; request < 20; request += 1)
    expect(asAnswer(await egress.sendHttp(post(url), { deadlineMs: 2_000 })).status).toBe(200);
  expect(connections).toBe(20);
});

test('a fresh connection that is reset is not repeated', async () => {
  const { egress } = egressTo();
  const target = await receiver();
  target.script('/hook', [{ fault: 'reset after reading' }]);
  asFault(await egress.sendHttp(post(target.url('/hook')), { deadlineMs: 2_000 }));
  expect(target.arrivals).toHaveLength(1);
});

test('a repetition happens once', async () => {
  const { egress } = egressTo();
  const target = await receiver();
  target.script('/hook', [200, { fault: 'reset after reading' }, { fault: 'reset after reading' }]);
  asAnswer(await egress.sendHttp(post(target.url('/hook')), { deadlineMs: 2_000 }));
  expect(asFault(await egress.sendHttp(post(target.url('/hook')), { deadlineMs: 2_000 }))).toMatchObject({ code: 'reset', repeated: true });
  expect(target.arrivals).toHaveLength(3);
});

test('stopping gives up at once and says so', async () => {
  const { egress } = egressTo();
  const target = await receiver();
  target.script('/hook', [{ fault: 'hang before head' }]);
  const stop = new AbortController();
  const sent = egress.sendHttp(post(target.url('/hook')), { deadlineMs: 10_000, signal: stop.signal });
  await target.waitForArrivals(1);
  stop.abort();
  expect(asFault(await sent)).toMatchObject({ code: 'interrupted', bytesWritten: true });
  expect(asFault(await egress.sendHttp(post(target.url('/hook')), { deadlineMs: 1_000, signal: stop.signal }))).toMatchObject({
    code: 'interrupted',
    bytesWritten: false,
  });
});

test('headers that cannot be sent are a fault of the settings', async () => {
  const { egress } = egressTo();
  const target = await receiver();
  for (const headers of [{ 'X-A': 'a\r\nX-B: b' }, { 'bad name': 'x' }, { Expect: '100-continue' }]) {
    expect(asFault(await egress.sendHttp(post(target.url('/hook'), { headers }), { deadlineMs: 1_000 }))).toMatchObject({
      code: 'config_invalid',
      bytesWritten: false,
    });
  }
  expect(target.arrivals).toHaveLength(0);
});
