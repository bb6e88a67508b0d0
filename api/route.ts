import type { Request } from 'express';
import type { Background } from './background.ts';
import type { Exchange } from './exchange.ts';
import type { Reply } from './serve.ts';

/** What people's browsers and providers call: they have no API key, and what they bring instead the route checks by itself. */
export interface Route {
  readonly method: 'get' | 'post';
  /** From the root, with parameters in braces: `/l/{token}`. */
  readonly path: string;
  /** Throws what is to be answered as a problem. */
  readonly respond: (visit: Visit) => Promise<Reply>;
}

export interface Visit {
  readonly request: Request;
  readonly exchange: Exchange;
  /** For what must not delay the answer. */
  readonly background: Background;
}

/** The address of whoever is connected to this process. */
export function ipOf(request: Request): string | undefined {
  return request.socket.remoteAddress?.replace(/^::ffff:/, '');
}

export function parameterOf(request: Request, name: string): string {
  const value = request.params[name];
  return typeof value === 'string' ? value : '';
}
