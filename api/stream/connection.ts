/** One connection as a state machine: what it may do when, and when it is closed. It knows no socket, no clock and no database. */
import { type ClientMessage, type CloseReason, parseClientMessage, type Req, type ServerMessage } from './protocol.ts';

export const limits = {
  authenticateMs: 5_000,
  pingMs: 30_000,
  silentMs: 75_000,
  messageBytes: 4_096,
  messages: 20,
  messagesMs: 10_000,
} as const;

export interface ConnectionState {
  /** `waiting`: for a credential; `checking`: one that was given; `open`: somebody's; `closed`: nothing counts any more. */
  readonly phase: 'waiting' | 'checking' | 'open' | 'closed';
  readonly openedAt: number;
  /** When the client last answered, or was let in. */
  readonly heardAt: number;
  readonly pingedAt: number;
  readonly pings: number;
  /** When the latest messages came, oldest first. */
  readonly received: readonly number[];
}

export type ConnectionInput =
  | { readonly kind: 'tick' }
  | { readonly kind: 'message'; readonly text: string; readonly bytes: number }
  /** What came of the credential. */
  | { readonly kind: 'admitted' }
  | { readonly kind: 'refused' };

/** What only an open connection may ask for. */
export type Command = Exclude<ClientMessage, { t: 'auth' | 'pong' }>;

export type ConnectionEffect =
  | { readonly kind: 'authenticate'; readonly token: string }
  | { readonly kind: 'carry_out'; readonly command: Command }
  | { readonly kind: 'send'; readonly message: ServerMessage }
  /** Whether the client may still be here has to be asked again. */
  | { readonly kind: 'recheck' }
  | { readonly kind: 'close'; readonly reason: CloseReason };

interface Step {
  readonly state: ConnectionState;
  readonly effects: readonly ConnectionEffect[];
}

/** @param credential whether one came with the request, so that it is being checked already */
export function openConnection(at: number, credential: boolean): ConnectionState {
  return { phase: credential ? 'checking' : 'waiting', openedAt: at, heardAt: at, pingedAt: at, pings: 0, received: [] };
}

export function stepConnection(state: ConnectionState, input: ConnectionInput, at: number): Step {
  if (state.phase === 'closed') return stay(state);
  switch (input.kind) {
    case 'tick':
      return tick(state, at);
    case 'message':
      return receive(state, input, at);
    case 'admitted':
      // Pings begin with the connection's own time, so that those of many do not all come at once.
      return stay(state.phase === 'checking' ? { ...state, phase: 'open', heardAt: at, pingedAt: at } : state);
    case 'refused':
      return close(state, 'authentication');
  }
}

function tick(state: ConnectionState, at: number): Step {
  if (state.phase === 'waiting') return at - state.openedAt >= limits.authenticateMs ? close(state, 'authentication') : stay(state);
  if (state.phase !== 'open') return stay(state);
  if (at - state.heardAt >= limits.silentMs) return close(state, 'silent');
  if (at - state.pingedAt < limits.pingMs) return stay(state);
  const n = state.pings + 1;
  return { state: { ...state, pingedAt: at, pings: n }, effects: [{ kind: 'send', message: { t: 'ping', n } }, { kind: 'recheck' }] };
}

function receive(state: ConnectionState, { text, bytes }: { text: string; bytes: number }, at: number): Step {
  if (bytes > limits.messageBytes) return close(state, 'tooLarge');
  const received = [...state.received.filter((earlier) => at - earlier < limits.messagesMs), at];
  if (received.length > limits.messages) return close(state, 'tooMany');
  const counted = { ...state, received };
  const parsed = parseClientMessage(text);
  if (state.phase !== 'open') {
    // Before the answer to its credential a client has nothing to say.
    if (state.phase !== 'waiting' || parsed.message?.t !== 'auth') return close(counted, 'authentication');
    return { state: { ...counted, phase: 'checking' }, effects: [{ kind: 'authenticate', token: parsed.message.token }] };
  }
  if (parsed.message === undefined) return refuse(counted, parsed.req);
  const { message } = parsed;
  if (message.t === 'auth') return refuse(counted, undefined);
  // Whichever ping it answers, the client is alive; one that was never sent it only guesses.
  if (message.t === 'pong') return stay(message.n >= 1 && message.n <= state.pings ? { ...counted, heardAt: at } : counted);
  return { state: counted, effects: [{ kind: 'carry_out', command: message }] };
}

function refuse(state: ConnectionState, req: Req | undefined): Step {
  const message: ServerMessage = { t: 'error', code: 'invalid_message', ...(req === undefined ? {} : { req }) };
  return { state, effects: [{ kind: 'send', message }] };
}

function close(state: ConnectionState, reason: CloseReason): Step {
  return { state: { ...state, phase: 'closed' }, effects: [{ kind: 'close', reason }] };
}

function stay(state: ConnectionState): Step {
  return { state, effects: [] };
}
