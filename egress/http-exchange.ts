import type { Dispatcher } from 'undici';
import type { ConnectionFacts, HttpRequest, HttpResponse, TransportFault, TransportFaultCode } from '../domain/outbound.ts';
import { openingTimings, roundMs } from './connect.ts';
import { describeError, EgressFault } from './fault.ts';
import type { Connection, SendOptions } from './http.ts';

export interface ConnectionPool {
  take(url: URL): Connection;
  open(url: URL): Connection;
  giveBack(connection: Connection): void;
  drop(connection: Connection): void;
}

export interface ExchangeInput {
  readonly request: HttpRequest;
  readonly url: URL;
  readonly options: SendOptions;
  readonly pool: ConnectionPool;
  readonly settle: (result: HttpResponse | TransportFault) => void;
}

const bodyLimitBytes = 64 * 1024;
const bodyLimitMs = 2_000;

interface Head {
  readonly status: number;
  readonly headers: Record<string, string | string[]>;
}

/**
 * One request and its answer, as the handler that undici calls. It settles exactly once, at the first of: answer complete, enough of
 * the body read, fault, deadline, abort. What undici says after that is ignored.
 */
export class HttpExchange implements Dispatcher.DispatchHandler {
  readonly #input: ExchangeInput;
  readonly #startedAt = performance.now();
  #connection: Connection | undefined;
  /** The connection in use had answered before. */
  #reused = false;
  #repeated = false;
  #written = false;
  #firstByteMs: number | undefined;
  #head: Head | undefined;
  #body: Buffer[] = [];
  #bodyBytes = 0;
  #settled = false;
  #deadline: NodeJS.Timeout | undefined;
  #bodyDeadline: NodeJS.Timeout | undefined;
  #onAbort: (() => void) | undefined;

  constructor(input: ExchangeInput) {
    this.#input = input;
  }

  start(): void {
    const { options, pool, url } = this.#input;
    if (options.signal !== undefined) {
      if (options.signal.aborted) return this.#fail('interrupted', 'stopped before it was sent');
      this.#onAbort = () => this.#cut('interrupted', 'stopped while it was under way');
      options.signal.addEventListener('abort', this.#onAbort, { once: true });
    }
    this.#deadline = setTimeout(() => this.#onDeadline(), options.deadlineMs);
    this.#dispatch(pool.take(url));
  }

  onRequestStart(): void {
    this.#written = true;
  }

  onResponseStarted(): void {
    this.#firstByteMs ??= this.#elapsed();
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    // informational answers precede the answer
    if (this.#settled || status < 200) return;
    this.#firstByteMs ??= this.#elapsed();
    this.#head = { status, headers: headers as Record<string, string | string[]> };
    if (this.#input.request.bodyDecides) return;
    const restMs = this.#input.options.deadlineMs - this.#elapsed();
    this.#bodyDeadline = setTimeout(() => this.#cutBody(), Math.max(0, Math.min(bodyLimitMs, restMs)));
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled) return;
    const room = bodyLimitBytes - this.#bodyBytes;
    // a copy: the chunk is a view of a much larger read buffer
    this.#body.push(Buffer.from(chunk.subarray(0, room)));
    this.#bodyBytes += Math.min(room, chunk.length);
    if (chunk.length > room) this.#cutBody();
  }

  onResponseEnd(): void {
    const connection = this.#connection;
    if (this.#settled || connection === undefined) return;
    connection.answered += 1;
    this.#input.pool.giveBack(connection);
    this.#answer(false);
  }

  onResponseError(_controller: unknown, error: Error): void {
    if (this.#settled) return;
    const { pool, url, request } = this.#input;
    this.#drop();
    if (this.#head !== undefined && !request.bodyDecides) return this.#answer(true);
    const code = faultCodeOf(error);
    // the receiver closed an idle connection as the request was on its way: no fault of this attempt
    if (code === 'reset' && this.#reused && !this.#repeated && this.#firstByteMs === undefined) {
      this.#repeated = true;
      return this.#dispatch(pool.open(url));
    }
    this.#fail(code, error instanceof EgressFault ? error.detail : describeError(error));
  }

  #dispatch(connection: Connection): void {
    this.#connection = connection;
    this.#reused = connection.answered > 0;
    const { request, url } = this.#input;
    connection.client.dispatch(
      { method: request.method, path: url.pathname + url.search, headers: request.headers, body: request.body },
      this,
    );
  }

  #onDeadline(): void {
    if (this.#head !== undefined && !this.#input.request.bodyDecides) this.#cutBody();
    else this.#cut('timeout', `no ${this.#head === undefined ? 'answer' : 'complete answer'} within ${this.#input.options.deadlineMs} ms`);
  }

  /** Enough of the body: the answer stands, the connection does not. */
  #cutBody(): void {
    if (this.#settled) return;
    this.#answer(true);
    this.#drop();
  }

  #cut(code: TransportFaultCode, detail: string): void {
    if (this.#settled) return;
    this.#fail(code, detail);
    this.#drop();
  }

  #drop(): void {
    if (this.#connection !== undefined) this.#input.pool.drop(this.#connection);
  }

  #answer(bodyTruncated: boolean): void {
    const head = this.#head;
    if (head === undefined) return this.#fail('protocol_error', 'the answer ended before its status');
    const body = this.#body.length === 1 ? this.#body[0]! : Buffer.concat(this.#body);
    this.#settle({ kind: 'http', ...head, body, bodyTruncated, ...this.#facts() });
  }

  #fail(code: TransportFaultCode, detail: string): void {
    this.#settle({ kind: 'fault', code, detail, bytesWritten: this.#written, ...this.#facts() });
  }

  #settle(result: HttpResponse | TransportFault): void {
    if (this.#settled) return;
    this.#settled = true;
    clearTimeout(this.#deadline);
    clearTimeout(this.#bodyDeadline);
    if (this.#onAbort !== undefined) this.#input.options.signal?.removeEventListener('abort', this.#onAbort);
    this.#input.settle(result);
  }

  #elapsed(): number {
    return performance.now() - this.#startedAt;
  }

  #facts(): ConnectionFacts {
    const opened = this.#connection?.opened;
    const timings = {
      // a reused connection was opened by an earlier request
      ...(opened === undefined || this.#reused || this.#repeated ? {} : openingTimings(opened)),
      ...(this.#firstByteMs === undefined ? {} : { firstByte: roundMs(this.#firstByteMs) }),
      total: roundMs(this.#elapsed()),
    };
    return { timings, remoteAddress: opened?.remoteAddress, tlsVersion: opened?.tlsVersion, repeated: this.#repeated || undefined };
  }
}

const resetCodes = new Set([
  'ECONNRESET',
  'EPIPE',
  'ECONNABORTED',
  'ENOTCONN',
  'ETIMEDOUT',
  'UND_ERR_DESTROYED',
  'UND_ERR_CLOSED',
  'UND_ERR_INFO',
  'UND_ERR_ABORTED',
]);
const configurationCodes = new Set(['UND_ERR_INVALID_ARG', 'UND_ERR_NOT_SUPPORTED', 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH']);

function faultCodeOf(error: Error): TransportFaultCode {
  if (error instanceof EgressFault) return error.code;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  // undici has one code for "the other side closed" and for a final answer that HTTP/1.1 does not know (100, 101)
  if (code === 'UND_ERR_SOCKET') return error.message.startsWith('bad ') ? 'protocol_error' : 'reset';
  if (resetCodes.has(code) || code === 'HPE_INVALID_EOF_STATE') return 'reset';
  if (configurationCodes.has(code)) return 'config_invalid';
  if (code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_') || code === 'EPROTO') return 'tls_error';
  return 'protocol_error';
}
