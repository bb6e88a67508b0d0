import type { WebSocket } from 'ws';
import type { Principal } from '../authorization.ts';
import type { ConnectionState } from './connection.ts';
import { closeCodes, type CloseReason, closeTexts, type ServerMessage } from './protocol.ts';

/** One connection of one process. */
export interface Client {
  readonly socket: WebSocket;
  readonly requestId: string;
  readonly ip: string | undefined;
  readonly userAgent: string | undefined;
  state: ConnectionState;
  /** SHA-256 (hex) of the API key that lets it in. */
  credential: string | undefined;
  principal: Principal | undefined;
  /** What waits until the client has been greeted, or brought up to date: it must not come before what is older. Undefined: nothing has to wait. */
  waiting: string[] | undefined;
  /** Ends when what was asked for so far is done. */
  work: Promise<void>;
}

/** Bytes that a client may leave unread. */
const bufferMax = 1024 * 1024;

/** Sends to a client whose turn it is. */
export function sendNow(client: Client, message: ServerMessage): void {
  write(client, JSON.stringify(message));
}

/** Sends what changed: after what the client waits for. */
export function push(client: Client, text: string): void {
  if (client.waiting === undefined) write(client, text);
  else client.waiting.push(text);
}

/** The client has what is older. */
export function release(client: Client): void {
  const texts = client.waiting ?? [];
  client.waiting = undefined;
  for (const text of texts) write(client, text);
}

export function closeClient(client: Client, reason: CloseReason): void {
  client.state = { ...client.state, phase: 'closed' };
  client.socket.close(closeCodes[reason], closeTexts[reason]);
}

function write(client: Client, text: string): void {
  const { socket } = client;
  if (socket.readyState !== socket.OPEN) return;
  if (socket.bufferedAmount > bufferMax) {
    // Whoever reads on later finds out that there is more.
    socket.send(JSON.stringify({ t: 'resync' } satisfies ServerMessage));
    closeClient(client, 'slow');
    return;
  }
  socket.send(text);
}
