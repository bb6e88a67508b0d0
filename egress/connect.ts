import { connect as connectSocket, isIP, type Socket, type TcpNetConnectOpts } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { isNativeError } from 'node:util/types';
import { canonicalAddress, normalizeHost, type AddressPolicy } from './addresses.ts';
import { describeError, EgressFault } from './fault.ts';
import type { Resolver } from './resolver.ts';

export interface ConnectorOptions {
  readonly policy: AddressPolicy;
  readonly resolver: Resolver;
  /** PEM certificates; undefined: the system's. */
  readonly trustedRoots: readonly string[] | undefined;
  /** How long TCP may take, in milliseconds. */
  readonly connectTimeoutMs?: number | undefined;
  /** Told of each refusal, before the fault is thrown. */
  readonly onBlocked: (target: Target, reason: string) => void;
}

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** A connected socket whose peer was judged before a byte was written. Times are milliseconds since the connection was asked for. */
export interface Connected {
  readonly socket: Socket | TLSSocket;
  readonly remoteAddress: string;
  readonly tlsVersion: string | undefined;
  readonly dnsMs: number | undefined;
  readonly connectMs: number;
  readonly tlsMs: number | undefined;
}

/** The only code that opens a socket to the outside. @throws EgressFault, also when `signal` aborts (`timeout`) */
export type Connect = (target: Target, options: { secure: boolean; signal: AbortSignal }) => Promise<Connected>;

export function createConnector(options: ConnectorOptions): Connect {
  const { policy, resolver, onBlocked, trustedRoots, connectTimeoutMs = 5_000 } = options;

  /** Literals never reach a lookup, so they are judged here; of a name every address must be allowed, or an attacker adds one to choose. */
  async function vet(target: Target): Promise<{ addresses: readonly string[]; resolved: boolean }> {
    const host = normalizeHost(target.host);
    const literal = isIP(host) !== 0;
    const addresses = literal ? [host] : await resolve(host);
    for (const address of addresses) refuse(target, policy.judgeAddress(target, address));
    await refuseDeniedNames(target, addresses);
    return { addresses, resolved: !literal };
  }

  async function resolve(host: string): Promise<readonly string[]> {
    const resolution = await resolver.resolve(host);
    if ('fault' in resolution) throw new EgressFault('dns_error', `${host}: ${resolution.fault}`);
    return resolution.addresses;
  }

  /** Our own servers may be configured by name; another name for the same address is still them. */
  async function refuseDeniedNames(target: Target, addresses: readonly string[]): Promise<void> {
    for (const name of policy.deniedNames(target.port)) {
      if (name === normalizeHost(target.host)) refuse(target, `${name}:${target.port} belongs to Tocsin`);
      const own = await resolver.resolve(name);
      if ('addresses' in own && addresses.some((address) => own.addresses.includes(address))) {
        refuse(target, `${name}:${target.port} belongs to Tocsin`);
      }
    }
  }

  function refuse(target: Target, reason: string | undefined): void {
    if (reason === undefined) return;
    onBlocked(target, reason);
    throw new EgressFault('blocked_address', reason);
  }

  return async function connect(target, { secure, signal }) {
    const startedAt = performance.now();
    const { addresses, resolved } = await vet(target);
    const dnsMs = resolved ? performance.now() - startedAt : undefined;
    if (signal.aborted) throw new EgressFault('timeout', 'the deadline passed while the host name was looked up');

    const socket = connectSocket(socketOptions(target, addresses));
    const remoteAddress = await connected(socket, signal, connectTimeoutMs);
    const connectMs = performance.now() - startedAt;
    try {
      refuse(target, policy.judgeAddress(target, remoteAddress));
    } catch (error) {
      socket.destroy();
      throw error;
    }
    if (!secure) return { socket, remoteAddress, tlsVersion: undefined, dnsMs, connectMs, tlsMs: undefined };
    const tlsSocket = await secured(socket, { host: normalizeHost(target.host), roots: trustedRoots, signal });
    const tlsMs = performance.now() - startedAt;
    return { socket: tlsSocket, remoteAddress, tlsVersion: tlsSocket.getProtocol() ?? undefined, dnsMs, connectMs, tlsMs };
  };
}

/** Connects to the vetted addresses only: the lookup that Node would do is answered with them. */
function socketOptions({ host, port }: Target, addresses: readonly string[]): TcpNetConnectOpts {
  const [first = ''] = addresses;
  const common = { port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000, highWaterMark: 64 * 1024 };
  if (addresses.length === 1) return { ...common, host: first };
  const list = addresses.map((address) => ({ address, family: isIP(address) }));
  return { ...common, host, autoSelectFamily: true, lookup: (_host, _options, callback) => callback(null, list) };
}

/** @returns the canonical address of the peer */
async function connected(socket: Socket, signal: AbortSignal, timeoutMs: number): Promise<string> {
  const timer = setTimeout(() => socket.destroy(new EgressFault('connect_timeout', `no connection within ${timeoutMs} ms`)), timeoutMs);
  try {
    await becomes(socket, 'connect', { signal, doing: 'connecting', faultOf: connectFault });
  } finally {
    clearTimeout(timer);
  }
  const address = socket.remoteAddress === undefined ? undefined : canonicalAddress(socket.remoteAddress);
  if (address === undefined) {
    socket.destroy();
    throw new EgressFault('reset', 'closed as soon as it was connected');
  }
  return address;
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
  });
}

function connectFault(error: Error): EgressFault {
  // with several addresses: one error for each
  const causes: readonly unknown[] = 'errors' in error && Array.isArray(error.errors) ? error.errors : [error];
  const timedOut = causes.some((cause) => isNativeError(cause) && 'code' in cause && cause.code === 'ETIMEDOUT');
  const detail = describeError(causes.find(isNativeError) ?? error);
  return new EgressFault(timedOut ? 'connect_timeout' : 'connect_refused', detail, error);
}

interface Securing {
  readonly host: string;
  readonly roots: readonly string[] | undefined;
  readonly signal: AbortSignal;
}

async function secured(socket: Socket, { host, roots, signal }: Securing): Promise<TLSSocket> {
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
