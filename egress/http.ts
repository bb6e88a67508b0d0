import { isNativeError } from 'node:util/types';
import { Client } from 'undici';
import type { HttpRequest, HttpResponse, TransportFault } from '../domain/outbound.ts';
import type { Connect, Connected } from './connect.ts';
import { HttpExchange } from './http-exchange.ts';
import { portOf } from './url.ts';

export interface SendOptions {
  /** From DNS to the response head, in milliseconds. */
  readonly deadlineMs: number;
  /** Gives up with the fault `interrupted`. */
  readonly signal?: AbortSignal | undefined;
}

export interface HttpSender {
  /** Sends one request. Never throws for what the network or the receiver does, and never follows a redirect. */
  send(request: HttpRequest, url: URL, options: SendOptions): Promise<HttpResponse | TransportFault>;
  close(): Promise<void>;
}

export interface HttpSenderOptions {
  readonly connect: Connect;
  /** How long a connection may be reused, so that rebound names are vetted again, and how long it may be idle; milliseconds. */
  readonly connectionTtlMs?: number | undefined;
  readonly idleTtlMs?: number | undefined;
}

/**
 * One connection to one origin. undici's `Client` reconnects by itself, always through the guarded connector; `opened` is its present socket.
 * A client each, instead of undici's pool, because an attempt must know its socket: was it used before, whom does it speak to, and
 * destroying it when the body is cut must not hit another request.
 */
export interface Connection {
  readonly origin: string;
  readonly client: Client;
  readonly createdAtMs: number;
  /** Absent while connecting. */
  opened: Connected | undefined;
  /** Answers read from the present socket. */
  answered: number;
  readonly dialing: AbortController;
}

const headLimitBytes = 16 * 1024;

export function createHttpSender({ connect, connectionTtlMs = 60_000, idleTtlMs = 4_000 }: HttpSenderOptions): HttpSender {
  const idle = new Map<string, Connection[]>();
  const all = new Set<Connection>();

  function open(url: URL): Connection {
    const dialing = new AbortController();
    const connection: Connection = {
      origin: url.origin,
      createdAtMs: performance.now(),
      opened: undefined,
      answered: 0,
      dialing,
      client: new Client(url.origin, {
        allowH2: false,
        pipelining: 1,
        maxHeaderSize: headLimitBytes,
        keepAliveTimeout: idleTtlMs,
        keepAliveMaxTimeout: idleTtlMs,
        // the exchange has one deadline for everything
        headersTimeout: 0,
        bodyTimeout: 0,
        connect: ({ hostname, port, protocol }, callback) => {
          const target = { host: hostname, port: portOf({ port, protocol }) };
          connect(target, { secure: protocol === 'https:', signal: dialing.signal }).then(
            (opened) => {
              connection.opened = opened;
              connection.answered = 0;
              opened.socket.once('close', () => drop(connection));
              callback(null, opened.socket);
            },
            (error: unknown) => callback(isNativeError(error) ? error : new Error('connecting failed'), null),
          );
        },
      }),
    };
    all.add(connection);
    return connection;
  }

  /** The most recently used connection, so that the others become idle and close. */
  function take(url: URL): Connection {
    const waiting = idle.get(url.origin);
    for (let connection = waiting?.pop(); connection !== undefined; connection = waiting?.pop()) {
      const fresh = performance.now() - connection.createdAtMs < connectionTtlMs;
      if (fresh && connection.opened?.socket.destroyed === false) return connection;
      drop(connection);
    }
    return open(url);
  }

  function giveBack(connection: Connection): void {
    if (!all.has(connection)) return;
    const waiting = idle.get(connection.origin);
    if (waiting === undefined) idle.set(connection.origin, [connection]);
    else waiting.push(connection);
  }

  function drop(connection: Connection): void {
    if (!all.delete(connection)) return;
    connection.dialing.abort();
    const waiting = idle.get(connection.origin);
    const index = waiting?.indexOf(connection) ?? -1;
    if (waiting !== undefined && index >= 0) waiting.splice(index, 1);
    if (waiting?.length === 0) idle.delete(connection.origin);
    connection.client.destroy().catch(() => undefined);
  }

  return {
    send: (request, url, options) =>
      new Promise((resolve) => {
        new HttpExchange({ request, url, options, pool: { take, open, giveBack, drop }, settle: resolve }).start();
      }),
    async close() {
      const clients = [...all];
      for (const connection of clients) drop(connection);
      await Promise.all(clients.map(({ client }) => client.destroy().catch(() => undefined)));
    },
  };
}
