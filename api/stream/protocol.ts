/** What is said over `GET /stream`, subprotocol `tocsin.v1`: one JSON object per text message. */
import { z } from 'zod';
import { feeds } from '../../domain/event-type.ts';
import type { presentNotification, presentUnread } from '../notification-fields.ts';
import { wireId } from '../schema.ts';

export const subprotocol = 'tocsin.v1';

export const closeCodes = {
  authentication: 4401,
  silent: 4408,
  tooManyConnections: 4409,
  slow: 4410,
  tooLarge: 4413,
  tooMany: 4429,
  restart: 1012,
} as const;

export type CloseReason = keyof typeof closeCodes;

/** What the server closes a connection for, in words for whoever reads a log. */
export const closeTexts: Readonly<Record<CloseReason, string>> = {
  authentication: 'authentication needed',
  silent: 'no pong',
  tooManyConnections: 'a newer connection took the place',
  slow: 'too much unread by the client; read by REST',
  tooLarge: 'a message of more than 4 KB',
  tooMany: 'more than 20 messages in 10 s',
  restart: 'restart',
};

const token = z.string().max(2_000);
const req = z.union([z.string().max(64), z.int()]);

const clientMessage = z.discriminatedUnion('t', [
  z.object({ t: z.literal('auth'), token }),
  z.object({ t: z.literal('resume'), token }),
  z.object({ t: z.literal('pong'), n: z.int() }),
  z.object({ t: z.literal('read'), ids: z.array(wireId('notification')).min(1).max(100), req: req.optional() }),
  z.object({ t: z.literal('read_all'), before: wireId('notification'), category: z.enum(feeds).optional(), req: req.optional() }),
]);

export type ClientMessage = z.output<typeof clientMessage>;
export type Req = z.output<typeof req>;

/** @returns undefined: it is none of these; with the `req` to name in the answer, where it has one */
export function parseClientMessage(text: string): { message: ClientMessage } | { message: undefined; req: Req | undefined } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { message: undefined, req: undefined };
  }
  const parsed = clientMessage.safeParse(json);
  if (parsed.success) return { message: parsed.data };
  const named = z.object({ req }).safeParse(json);
  return { message: undefined, req: named.data?.req };
}

type Item = ReturnType<typeof presentNotification>;
export type ShownUnread = ReturnType<typeof presentUnread>;

export type ErrorName = 'invalid_message' | 'invalid_resume' | 'unavailable';

export type ServerMessage =
  | { t: 'hello'; v: 1; userId: string; resume: string; unread: ShownUnread }
  | { t: 'notification'; item: Item; resume: string }
  /** These items were read at that time (null: marked as unread), or, with `before`, everything unread up to that item in the categories. */
  | { t: 'updated'; ids: string[]; readAt: string | null; before?: string; categories?: string[] }
  | ({ t: 'unread' } & ShownUnread)
  | { t: 'ping'; n: number }
  | { t: 'ok'; req?: Req }
  /** What is on the screen may be incomplete: to be read anew by REST. */
  | { t: 'resync' }
  | { t: 'error'; code: ErrorName; req?: Req };
