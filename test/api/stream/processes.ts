/** API processes with the stream on one database, and clients of theirs. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket } from 'ws';
import { createApp } from '../../../api/app.ts';
import { createAuthentication } from '../../../api/authentication.ts';
import { endpoints } from '../../../api/endpoints.ts';
import { createIntake } from '../../../api/intake.ts';
import { createGateway, type GatewayOptions } from '../../../api/stream/gateway.ts';
import { createFeedSignal } from '../../../db/feed-signal.ts';
import { openDatabase } from '../../../db/mikro-orm.config.ts';
import type { TestApi } from '../start-api.ts';

export interface StreamProcess {
  /** `ws://…/api/v2/stream` */
  readonly url: string;
  request(method: string, path: string, options: { key: string; body?: unknown }): Promise<{ status: number; body: any }>; // oxlint-disable-line no-explicit-any -- answers are asserted, not typed
  stop(): Promise<void>;
}

/** Another process on the database of `api`. */
export async function startProcess(api: TestApi, options: Partial<GatewayOptions> = {}): Promise<StreamProcess> {
  const { databaseUrl, deps } = api;
  const orm = await openDatabase({ databaseUrl, role: 'tocsin_app', poolMax: 6 });
  const { log, secrets } = deps;
  const feeds = options.feeds ?? createFeedSignal({ orm, log });
  const authentication = createAuthentication({ orm, log });
  const nobody = { wake: () => {} };
  const intake = createIntake({ orm, secrets, feeds, escalations: nobody, groups: nobody, starter: { offer: () => {} } });
  const feedChanged = (organizationId: string) => feeds.changed(organizationId);
  const app = createApp({ ...deps, orm, authentication, intake, feedChanged, endpoints });
  const gateway = createGateway({ orm, secrets, log, authentication, databaseUrl, origins: [], now: Date.now, ...options, feeds });
  const server = createServer(app.express);
  server.on('upgrade', (request, socket, head) => gateway.upgrade(request, socket, head));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `ws://${host}/api/v2/stream`,
    async request(method, path, { key, body }) {
      const response = await fetch(`http://${host}/api/v2${path}`, {
        method,
        headers: { Authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { status: response.status, body: await response.json() };
    },
    async stop() {
      await gateway.stop();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await app.settled();
      if ('stop' in feeds) await (feeds as ReturnType<typeof createFeedSignal>).stop();
      await orm.close(true);
    },
  };
}

export type Message = Record<string, any> & { t: string }; // oxlint-disable-line no-explicit-any -- messages are asserted, not typed

export interface StreamClient {
  readonly socket: WebSocket;
  /** Everything that came, in order. */
  readonly messages: Message[];
  /** The code that it was closed with. */
  readonly closed: Promise<number>;
  send(message: object): void;
  /** The first message that matches, from the `from`th on; waits for it. */
  next(matches: (message: Message) => boolean, from?: number): Promise<Message>;
}

export function connect(url: string, { key, headers = {} }: { key?: string; headers?: Record<string, string> } = {}): StreamClient {
  const socket = new WebSocket(url, 'tocsin.v1', {
    headers: { ...headers, ...(key === undefined ? {} : { Authorization: `Bearer ${key}` }) },
  });
  const messages: Message[] = [];
  const waiting = new Set<() => void>();
  socket.on('message', (data: Buffer) => {
    messages.push(JSON.parse(data.toString()) as Message);
    waiting.forEach((look) => look());
  });
  const closed = new Promise<number>((resolve) => socket.on('close', resolve));
  socket.on('error', () => {});
  return {
    socket,
    messages,
    closed,
    send: (message) => socket.send(JSON.stringify(message)),
    next: async (matches, from = 0) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = messages.slice(from).find(matches);
          if (found === undefined) return;
          clearTimeout(timer);
          waiting.delete(look);
          resolve(found);
        };
        const timer = setTimeout(() => {
          waiting.delete(look);
          reject(new Error(`Waited in vain among ${JSON.stringify(messages).slice(0, 2_000)}`));
        }, 8_000);
        waiting.add(look);
        look();
      }),
  };
}

export const is =
  (t: string) =>
  (message: Message): boolean =>
    message.t === t;
