import { randomUUID } from 'node:crypto';
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { MikroORM } from '@mikro-orm/postgresql';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import type { FeedSignal } from '../../db/feed-signal.ts';
import { listenToFeeds } from '../../db/feed-signal.ts';
import { redeemTicket } from '../../db/queries/stream-ticket.ts';
import { countUnread } from '../../db/queries/unread.ts';
import type { SecretBox } from '../../db/secrets.ts';
import { inOrganization } from '../../db/tenant.ts';
import { sha256Hex } from '../../domain/hash.ts';
import { toWireId } from '../../domain/id.ts';
import type { Logger } from '../../log.ts';
import { type Authentication, credentialOf } from '../authentication.ts';
import { basePath } from '../endpoint.ts';
import { presentUnread } from '../notification-fields.ts';
import { type Client, closeClient, release, sendNow } from './client.ts';
import { carryOut } from './commands.ts';
import { type ConnectionEffect, type ConnectionInput, openConnection, stepConnection } from './connection.ts';
import { createDeliver } from './deliver.ts';
import { createHub } from './hub.ts';
import { isOriginAllowed } from './origin.ts';
import { closeCodes, closeTexts, subprotocol } from './protocol.ts';
import { createRegistry } from './registry.ts';
import { sealResume } from './resume.ts';

export interface GatewayOptions {
  readonly orm: MikroORM;
  readonly secrets: SecretBox;
  readonly log: Logger;
  readonly authentication: Authentication;
  /** For the connection that hears of changes. */
  readonly databaseUrl: string;
  readonly feeds: Pick<FeedSignal, 'changed'>;
  /** Origins whose pages may connect; none: only pages from the same host. */
  readonly origins: readonly string[];
  /** Unix ms. */
  readonly now: () => number;
  /** How often what a signal should have told is looked for. Default 5 s. */
  readonly readEveryMs?: number;
}

export interface Gateway {
  /** For `upgrade` of the HTTP server. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Sends everybody away (1012), to come back to another process. */
  stop(): Promise<void>;
}

const path = `${basePath}/stream`;
const tickMs = 250;
/** Past this the connection ends without an answer; up to it the client is told that it said too much. */
const frameMax = 256 * 1024;
const closeWaitMs = 1_000;

/** The WebSocket side of the API: `GET /stream`. */
export function createGateway(options: GatewayOptions): Gateway {
  const { orm, secrets, log, authentication, databaseUrl, feeds, origins, now } = options;
  const clients = new Set<Client>();
  const registry = createRegistry();
  const hub = createHub({ orm, log, deliver: createDeliver({ registry, secrets }), everyMs: options.readEveryMs ?? 5_000 });
  const listener = listenToFeeds({ databaseUrl, log, onChanged: (organizationId) => hub.changed(organizationId) });
  const server = new WebSocketServer({ noServer: true, clientTracking: false, maxPayload: frameMax, handleProtocols: () => subprotocol });
  const ticking = setInterval(() => clients.forEach((client) => step(client, { kind: 'tick' })), tickMs);

  const step = (client: Client, input: ConnectionInput): void => {
    const { state, effects } = stepConnection(client.state, input, now());
    client.state = state;
    for (const effect of effects) apply(client, effect);
  };

  const apply = (client: Client, effect: ConnectionEffect): void => {
    switch (effect.kind) {
      case 'authenticate':
        client.credential = sha256Hex(effect.token);
        return follow(client, async () => admit(client));
      case 'carry_out':
        return follow(client, async () => {
          if (client.principal === undefined || client.state.phase !== 'open') return;
          const deps = { orm, secrets, now: () => new Date(now()), changed: (organizationId: string) => feeds.changed(organizationId) };
          await carryOut(client, client.principal, effect.command, deps);
        });
      case 'send':
        return sendNow(client, effect.message);
      case 'recheck':
        return follow(client, async () => {
          const result = await authentication.recognize(client.credential!, new Date(now()));
          if (result.outcome === 'refused') step(client, { kind: 'refused' });
        });
      case 'close':
        return closeClient(client, effect.reason);
    }
  };

  /** What a client asks for is done in order. What fails is told, and read anew. */
  const follow = (client: Client, work: () => Promise<void>): void => {
    client.work = client.work.then(work).catch((error: unknown) => {
      log.warn('stream', { requestId: client.requestId, organizationId: client.principal?.organizationId, error });
      if (client.state.phase === 'checking') closeClient(client, 'restart');
      else sendNow(client, { t: 'error', code: 'unavailable' });
    });
  };

  const admit = async (client: Client): Promise<void> => {
    const result = await authentication.recognize(client.credential ?? '', new Date(now()));
    if (client.state.phase !== 'checking') return;
    if (result.outcome === 'refused') {
      log.info('stream', { requestId: client.requestId, reason: result.reason });
      return step(client, { kind: 'refused' });
    }
    const { organizationId, id: userId } = result.principal;
    client.principal = result.principal;
    // From here on what changes waits for the greeting, whose counts are read afterwards: nothing is in neither.
    client.waiting = [];
    const surplus = registry.add(organizationId, userId, client);
    if (surplus !== undefined) {
      forget(surplus);
      closeClient(surplus, 'tooManyConnections');
    }
    const point = await hub.watch(organizationId);
    const unread = await inOrganization(orm, organizationId, async (em) => countUnread(em, { organizationId, userId }));
    if (client.socket.readyState !== client.socket.OPEN) {
      // It left while it was let in.
      if (registry.usersOf(organizationId).length === 0) hub.unwatch(organizationId);
      return;
    }
    step(client, { kind: 'admitted' });
    const resume = sealResume(secrets, organizationId, point);
    sendNow(client, { t: 'hello', v: 1, userId: toWireId('user', userId), resume, unread: presentUnread(unread) });
    release(client);
  };

  const forget = (client: Client): void => {
    if (client.principal === undefined) return;
    const { organizationId, id } = client.principal;
    if (registry.remove(organizationId, id, client)) hub.unwatch(organizationId);
  };

  const connect = (socket: WebSocket, request: IncomingMessage, credential: Promise<string | undefined> | undefined): void => {
    const client: Client = {
      socket,
      requestId: randomUUID(),
      ip: request.socket.remoteAddress?.replace(/^::ffff:/, ''),
      userAgent: request.headers['user-agent'],
      state: openConnection(now(), credential !== undefined),
      credential: undefined,
      principal: undefined,
      waiting: undefined,
      work: Promise.resolve(),
    };
    clients.add(client);
    socket.on('message', (data: RawData, isBinary: boolean) => {
      const text = isBinary ? '' : toText(data);
      step(client, { kind: 'message', text, bytes: isBinary ? byteLength(data) : Buffer.byteLength(text) });
    });
    socket.on('error', (error) => log.debug('stream', { requestId: client.requestId, error }));
    socket.on('close', () => {
      client.state = { ...client.state, phase: 'closed' };
      clients.delete(client);
      forget(client);
    });
    if (credential !== undefined)
      follow(client, async () => {
        client.credential = await credential;
        await admit(client);
      });
  };

  let stopping = false;
  return {
    upgrade(request, socket, head) {
      // On a connection that was kept alive one may still come when all others have been sent away.
      if (stopping) return refuse(socket, 503);
      const url = new URL(request.url ?? '/', 'http://localhost');
      const protocols = request.headers['sec-websocket-protocol']?.split(',').map((one) => one.trim()) ?? [];
      if (url.pathname !== path) return refuse(socket, 404);
      if (!protocols.includes(subprotocol)) return refuse(socket, 400);
      if (!isOriginAllowed(request.headers.origin, request.headers.host, origins)) return refuse(socket, 403);
      const { authorization } = request.headers;
      const ticket = url.searchParams.get('ticket');
      // A browser is told what is wrong with its credential only once it is connected.
      server.handleUpgrade(request, socket, head, (webSocket) => {
        if (authorization !== undefined) connect(webSocket, request, Promise.resolve(credentialOf(authorization)));
        else connect(webSocket, request, ticket === null ? undefined : redeemTicket(orm, ticket, new Date(now())));
      });
    },
    async stop() {
      stopping = true;
      clearInterval(ticking);
      for (const { socket } of clients) socket.close(closeCodes.restart, closeTexts.restart);
      await Promise.race([
        Promise.all([...clients].map(async ({ socket }) => new Promise((resolve) => socket.once('close', resolve)))),
        new Promise((resolve) => setTimeout(resolve, closeWaitMs)),
      ]);
      for (const { socket } of clients) socket.terminate();
      await listener.stop();
      await Promise.all([...clients].map(async ({ work }) => work));
      await hub.stop();
    },
  };
}

function refuse(socket: Duplex, status: number): void {
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

function toText(data: RawData): string {
  if (Array.isArray(data)) return Buffer.concat(data).toString();
  return Buffer.isBuffer(data) ? data.toString() : Buffer.from(data).toString();
}

function byteLength(data: RawData): number {
  return Array.isArray(data) ? data.reduce((sum, part) => sum + part.length, 0) : data.byteLength;
}
