import { connect as connectSocket, isIP, type Socket, type TcpNetConnectOpts } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { isNativeError } from 'node:util/types';
import { canonicalAddress } from './addresses.ts';
import { describeError, EgressFault } from './fault.ts';

export interface Target {
  readonly host: string;
  readonly port: number;
}

export interface OpenTcpOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/**
 * A TCP connection to one of `addresses`, which the caller has judged: the lookup that Node would do is answered with them.
 * @returns the socket and the canonical address of its peer, before anything is written
 * @throws EgressFault
 */
export async function openTcp(
  target: Target,
  addresses: readonly string[],
  { signal, timeoutMs }: OpenTcpOptions,
): Promise<{ socket: Socket; remoteAddress: string }> {
  const socket = connectSocket(socketOptions(target, addresses));
  const timer = setTimeout(() => socket.destroy(new EgressFault('connect_timeout', `no connection within ${timeoutMs} ms`)), timeoutMs);
  try {
    await becomes(socket, 'connect', { signal, doing: 'connecting', faultOf: connectFault });
  } finally {
    clearTimeout(timer);
  }
  const remoteAddress = socket.remoteAddress === undefined ? undefined : canonicalAddress(socket.remoteAddress);
  if (remoteAddress === undefined) {
    socket.destroy();
    throw new EgressFault('reset', 'closed as soon as it was connected');
  }
  return { socket, remoteAddress };
}

function socketOptions({ host, port }: Target, addresses: readonly string[]): TcpNetConnectOpts {
  const [first = ''] = addresses;
  const common = { port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000, highWaterMark: 64 * 1024 };
  if (addresses.length === 1) return { ...common, host: first };
  const list = addresses.map((address) => ({ address, family: isIP(address) }));
  return { ...common, host, autoSelectFamily: true, lookup: (_host, _options, callback) => callback(null, list) };
}

interface Waiting {
  readonly signal: AbortSignal;
  /** For the detail of a timeout. */
  readonly doing: string;
  readonly faultOf: (error: Error) => EgressFault;
}

/** Resolves on the event; on an error, a close or the signal the socket is destroyed and the fault thrown. */
function becomes(socket: Socket, event: 'connect' | 'secureConnect', { signal, doing, faultOf }: Waiting): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      signal.removeEventListener('abort', onAbort);
      socket.off('error', fail).off('close', onClose).off(event, onReady);
    };
    const fail = (error: Error) => {
      stop();
      // a late error of a destroyed socket must not become an uncaught one
      socket.on('error', () => undefined);
      socket.destroy();
      reject(error instanceof EgressFault ? error : faultOf(error));
    };
    const onAbort = () => fail(new EgressFault('timeout', `the deadline passed while ${doing}`));
    const onClose = () => fail(new Error(`closed while ${doing}`));
    const onReady = () => {
      stop();
      resolve();
    };
    socket.once('error', fail).once('close', onClose).once(event, onReady);
    signal.addEventListener('abort', onAbort, { once: true });
    // a signal that has aborted says so to nobody any more
    if (signal.aborted) onAbort();
  });
}

function connectFault(error: Error): EgressFault {
  // with several addresses: one error for each
  const causes: readonly unknown[] = 'errors' in error && Array.isArray(error.errors) ? error.errors : [error];
  const timedOut = causes.some((cause) => isNativeError(cause) && 'code' in cause && cause.code === 'ETIMEDOUT');
  const detail = describeError(causes.find(isNativeError) ?? error);
  return new EgressFault(timedOut ? 'connect_timeout' : 'connect_refused', detail, error);
}

export interface OpenTlsOptions {
  readonly host: string;
  readonly roots: readonly string[] | undefined;
  readonly signal: AbortSignal;
}

/**
 * TLS on a connected socket: at least 1.2, chain and name verified.
 * @throws EgressFault
 */
export async function openTls(socket: Socket, { host, roots, signal }: OpenTlsOptions): Promise<TLSSocket> {
  const tlsSocket = connectTls({
    socket,
    host,
    // a literal has no server name; the certificate is then compared with the address
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(roots === undefined ? {} : { ca: [...roots] }),
    ALPNProtocols: ['http/1.1'],
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
  });
  await becomes(tlsSocket, 'secureConnect', {
    signal,
    doing: 'negotiating TLS',
    faultOf: (error) => new EgressFault('tls_error', describeError(error), error),
  });
  return tlsSocket;
}
