import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

/**
 * What the receiver does with one request. A number is a status with an empty body.
 * `before`/`after reading`: the request's body; `hang` keeps the connection open and says nothing more.
 */
export type Answer =
  | number
  | { status?: number; headers?: Record<string, string | string[]>; body?: string | Buffer; delayMs?: number }
  /** These bytes and nothing else; the connection stays open unless `close`. */
  | { raw: string | Buffer; close?: boolean }
  | { fault: Fault };

export type Fault =
  | 'reset before reading'
  | 'reset after reading'
  | 'close before reading'
  | 'close after reading'
  | 'hang before head'
  | 'hang after head'
  /** One byte of body each 20 ms, for ever. */
  | 'drip'
  /** As fast as it is read, for ever. */
  | 'endless body';

export interface Arrival {
  /** With the query. */
  readonly path: string;
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  /** The exact bytes; empty when the answer came before they were read. */
  readonly body: Buffer;
  /** Unix milliseconds when the head was read. */
  readonly atMs: number;
  /** Which connection, from 1. */
  readonly connection: number;
}

export interface ExpectedArrival {
  readonly path: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string | RegExp>>;
}

export interface HttpReceiverOptions {
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly host?: string;
  readonly port?: number;
}

export interface HttpReceiver {
  readonly origin: string;
  readonly port: number;
  url(path: string): string;
  /** The answers to the requests of a path, in order; `then` answers what comes after them. Otherwise a request too many is unexpected. */
  script(path: string, answers: readonly Answer[], then?: Answer): void;
  readonly arrivals: readonly Arrival[];
  arrivalsAt(path: string): Arrival[];
  /** How many connections were accepted, ever. */
  readonly connections: number;
  /** Resolves when so many requests have come to `path` (or in all); rejects after the time. */
  waitForArrivals(count: number, options?: { path?: string; timeoutMs?: number }): Promise<Arrival[]>;
  /** Throws unless exactly these requests came, in this order, and none was unexpected. */
  assertExactly(expected: readonly ExpectedArrival[]): void;
  /** Closes every connection. Rejects when a request came that no script had an answer for. */
  close(): Promise<void>;
}

interface Script {
  readonly answers: Answer[];
  readonly then: Answer | undefined;
}

/** A real HTTP server on loopback that answers as it is told and remembers exactly what it got. */
export async function startHttpReceiver({ tls, host = '127.0.0.1', port = 0 }: HttpReceiverOptions = {}): Promise<HttpReceiver> {
  const scripts = new Map<string, Script>();
  const arrivals: Arrival[] = [];
  const unexpected: string[] = [];
  const sockets = new Map<Socket, number>();
  const watchers = new Set<() => void>();
  let connections = 0;

  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const path = request.url ?? '';
    const script = scripts.get(path.split('?', 1)[0] ?? '');
    const answer = script?.answers.shift() ?? script?.then;
    const arrival = {
      path,
      method: request.method ?? '',
      headers: request.headers,
      atMs: Date.now(),
      connection: sockets.get(request.socket) ?? 0,
    };
    const record = (body: Buffer): void => {
      arrivals.push({ ...arrival, body });
      for (const watch of watchers) watch();
    };
    if (answer === undefined) unexpected.push(`${arrival.method} ${path}`);
    if (typeof answer === 'object' && 'fault' in answer && answer.fault.endsWith('before reading')) {
      record(Buffer.alloc(0));
      return misbehave(request.socket, response, answer.fault);
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      record(Buffer.concat(chunks));
      reply(request.socket, response, answer ?? { status: 500, body: 'unexpected request' });
    });
    request.on('error', () => undefined);
  };

  const server: Server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle);
  server.keepAliveTimeout = 60_000;
  // with TLS a request's socket is the encrypted one, not the one that was accepted
  server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
    sockets.set(socket, sockets.size + 1);
    socket.on('error', () => undefined);
  });
  server.on('connection', (socket: Socket) => {
    connections += 1;
    socket.on('error', () => undefined);
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const listening = server.address() as AddressInfo;
  const origin = `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${listening.port}`;

  const arrivalsAt = (path: string): Arrival[] => arrivals.filter((arrival) => arrival.path.split('?', 1)[0] === path);
  return {
    origin,
    port: listening.port,
    url: (path) => origin + path,
    script: (path, answers, then) => void scripts.set(path, { answers: [...answers], then }),
    arrivals,
    arrivalsAt,
    get connections() {
      return connections;
    },
    waitForArrivals(count, { path, timeoutMs = 30_000 } = {}) {
      const current = (): Arrival[] => (path === undefined ? arrivals : arrivalsAt(path));
      return new Promise((resolve, reject) => {
        const stop = (): void => {
          clearTimeout(timer);
          watchers.delete(watch);
        };
        const watch = (): void => {
          if (current().length < count) return;
          stop();
          resolve([...current()]);
        };
        const timer = setTimeout(() => {
          stop();
          reject(new Error(`${current().length} of ${count} requests came to ${path ?? 'the receiver'} within ${timeoutMs} ms`));
        }, timeoutMs);
        watchers.add(watch);
        watch();
      });
    },
    assertExactly(expected) {
      if (unexpected.length > 0) throw new Error(`Unexpected requests: ${unexpected.join(', ')}`);
      const got = arrivals.map(({ path }) => path);
      const wanted = expected.map(({ path }) => path);
      if (got.join('\n') !== wanted.join('\n')) throw new Error(`Expected requests to [${wanted.join(', ')}], got [${got.join(', ')}]`);
      for (const [index, want] of expected.entries()) assertArrival(arrivals[index]!, want, index);
    },
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      if (unexpected.length > 0) throw new Error(`Unexpected requests: ${unexpected.join(', ')}`);
    },
  };
}

function assertArrival(arrival: Arrival, { body, headers = {} }: ExpectedArrival, index: number): void {
  if (body !== undefined && arrival.body.toString('utf8') !== body) {
    throw new Error(`Request ${index + 1}: expected body ${body}, got ${arrival.body.toString('utf8')}`);
  }
  for (const [name, value] of Object.entries(headers)) {
    const got = String(arrival.headers[name.toLowerCase()]);
    const matches = typeof value === 'string' ? got === value : value.test(got);
    if (!matches) throw new Error(`Request ${index + 1}: expected ${name}: ${String(value)}, got ${got}`);
  }
}

function reply(socket: Socket, response: ServerResponse, answer: Answer): void {
  if (typeof answer === 'number') {
    response.writeHead(answer).end();
  } else if ('fault' in answer) {
    misbehave(socket, response, answer.fault);
  } else if ('raw' in answer) {
    socket.write(answer.raw);
    if (answer.close === true) socket.end();
  } else {
    const send = (): void => {
      response.writeHead(answer.status ?? 200, answer.headers).end(answer.body);
    };
    if (answer.delayMs === undefined) send();
    else setTimeout(send, answer.delayMs);
  }
}

function misbehave(socket: Socket, response: ServerResponse, fault: Fault): void {
  switch (fault) {
    case 'reset before reading':
    case 'reset after reading':
      socket.resetAndDestroy();
      return;
    case 'close before reading':
    case 'close after reading':
      socket.destroy();
      return;
    case 'hang before head':
      return;
    case 'hang after head':
      response.writeHead(200, { 'content-length': '10' }).flushHeaders();
      return;
    case 'drip': {
      response.writeHead(200);
      const timer = setInterval(() => response.write('.'), 20);
      socket.once('close', () => clearInterval(timer));
      return;
    }
    case 'endless body': {
      const block = Buffer.alloc(64 * 1024, 'x');
      response.writeHead(200);
      const pour = (): void => {
        while (!socket.destroyed && response.write(block));
      };
      response.on('drain', pour);
      pour();
      return;
    }
  }
}
