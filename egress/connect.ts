import { isIP, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Timings } from '../domain/outbound.ts';
import { normalizeHost, type AddressPolicy } from './addresses.ts';
import { EgressFault } from './fault.ts';
import { openTunnel, type Proxy } from './proxy.ts';
import type { Resolver } from './resolver.ts';
import { openTcp, openTls, type Target } from './socket.ts';

export interface ConnectorOptions {
  readonly policy: AddressPolicy;
  readonly resolver: Resolver;
  /** PEM certificates; undefined: the system's. */
  readonly trustedRoots: readonly string[] | undefined;
  readonly proxy: Proxy | undefined;
  /** How long TCP may take, in milliseconds. */
  readonly connectTimeoutMs?: number | undefined;
  /** Told of each refusal, before the fault is thrown. */
  readonly onBlocked: (target: Target, reason: string) => void;
}

/** A connected socket whose peer was judged before a byte was written. Times are milliseconds since the connection was asked for. */
export interface Connected {
  readonly socket: Socket | TLSSocket;
  /** Undefined behind a proxy, which alone knows it. */
  readonly remoteAddress: string | undefined;
  readonly tlsVersion: string | undefined;
  readonly dnsMs: number | undefined;
  readonly connectMs: number;
  readonly tlsMs: number | undefined;
}

/** The parts of opening a connection, for the attempt that waited for it. */
export function openingTimings({ dnsMs, connectMs, tlsMs }: Connected): Pick<Timings, 'dns' | 'connect' | 'tls'> {
  return {
    ...(dnsMs === undefined ? {} : { dns: roundMs(dnsMs) }),
    connect: roundMs(connectMs),
    ...(tlsMs === undefined ? {} : { tls: roundMs(tlsMs) }),
  };
}

/** Milliseconds with one decimal. */
export function roundMs(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** The only code that opens a socket to the outside. @throws EgressFault, also when `signal` aborts (`timeout`) */
export type Connect = (target: Target, options: { secure: boolean; signal: AbortSignal }) => Promise<Connected>;

export function createConnector(options: ConnectorOptions): Connect {
  const { policy, resolver, onBlocked, trustedRoots, proxy, connectTimeoutMs = 5_000 } = options;

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

  async function direct(target: Target, signal: AbortSignal): Promise<Opened> {
    const startedAt = performance.now();
    const { addresses, resolved } = await vet(target);
    const dnsMs = resolved ? performance.now() - startedAt : undefined;
    if (signal.aborted) throw new EgressFault('timeout', 'the deadline passed while the host name was looked up');
    const { socket, remoteAddress } = await openTcp(target, addresses, { signal, timeoutMs: connectTimeoutMs });
    try {
      refuse(target, policy.judgeAddress(target, remoteAddress));
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return { socket, remoteAddress, dnsMs };
  }

  /** The proxy resolves and judges addresses; what can be judged without resolving is judged here as well. */
  async function proxied(through: Proxy, target: Target, signal: AbortSignal): Promise<Opened> {
    const host = normalizeHost(target.host);
    if (isIP(host) !== 0) refuse(target, policy.judgeAddress(target, host));
    if (policy.deniedNames(target.port).includes(host)) refuse(target, `${host}:${target.port} belongs to Tocsin`);
    const resolution = isIP(through.host) === 0 ? await resolver.resolve(through.host) : { addresses: [through.host] };
    if ('fault' in resolution) throw new EgressFault('proxy_error', `the proxy's name does not resolve: ${resolution.fault}`);
    const socket = await openTunnel(through, resolution.addresses, target, { signal, timeoutMs: connectTimeoutMs, roots: trustedRoots });
    return { socket, remoteAddress: undefined, dnsMs: undefined };
  }

  return async function connect(target, { secure, signal }) {
    const startedAt = performance.now();
    const { socket, remoteAddress, dnsMs } =
      proxy === undefined || proxy.isBypassed(target) ? await direct(target, signal) : await proxied(proxy, target, signal);
    const connectMs = performance.now() - startedAt;
    if (!secure) return { socket, remoteAddress, tlsVersion: undefined, dnsMs, connectMs, tlsMs: undefined };
    const tlsSocket = await openTls(socket, { host: normalizeHost(target.host), roots: trustedRoots, signal });
    const tlsMs = performance.now() - startedAt;
    return { socket: tlsSocket, remoteAddress, tlsVersion: tlsSocket.getProtocol() ?? undefined, dnsMs, connectMs, tlsMs };
  };
}

type Opened = Pick<Connected, 'socket' | 'remoteAddress' | 'dnsMs'>;
