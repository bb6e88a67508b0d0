import { getCACertificates } from 'node:tls';
import type { DestinationPolicy, UrlFault, UrlFaultReason } from '../domain/channel.ts';
import type { HttpRequest, HttpResponse, TransportFault } from '../domain/outbound.ts';
import type { Logger } from '../log.ts';
import { egressBlockedTotal } from '../metrics.ts';
import { createAddressPolicy, type AddressPolicyOptions } from './addresses.ts';
import { createConnector, type Connect } from './connect.ts';
import { createHttpSender, type HttpSenderOptions, type SendOptions } from './http.ts';
import { createProxy, type ProxyOptions } from './proxy.ts';
import { createResolver, type Lookup } from './resolver.ts';
import { checkMailHost, checkUrl, portOf, type CheckedUrl } from './url.ts';

export interface EgressOptions extends AddressPolicyOptions {
  /** Refuse http for every target that is not allow-listed. */
  readonly requireHttps: boolean;
  /** Unix milliseconds; for the ages of DNS answers. The system's clock unless a test brings its own. */
  readonly now?: () => number;
  readonly log: Logger;
  /** How names are resolved; the system's resolver unless a test brings its own. */
  readonly lookup?: Lookup;
  /** `TOCSIN_EGRESS_PROXY`: everything but its exceptions goes through it. */
  readonly proxy?: ProxyOptions | undefined;
  /** PEM certificates trusted besides the system's. */
  readonly extraRoots?: readonly string[];
  /** Milliseconds; shortened by tests. */
  readonly timeouts?: { readonly dnsMs?: number; readonly connectMs?: number } & Pick<HttpSenderOptions, 'connectionTtlMs' | 'idleTtlMs'>;
}

/** The one way out: every connection of every feature is opened here, after its target was judged. It keeps connections and the answers of resolvers. */
export interface Egress extends DestinationPolicy {
  /** Sends one HTTP request; the result is always a value. */
  sendHttp(request: HttpRequest, options: SendOptions): Promise<HttpResponse | TransportFault>;
  /** A guarded TCP or TLS socket for other protocols. @throws EgressFault */
  readonly connect: Connect;
  /** PEM certificates for protocols that negotiate TLS on such a socket themselves; undefined: the system's. */
  readonly trustedRoots: readonly string[] | undefined;
  /** `checkUrl`, and what the host's present addresses say. A name that does not resolve is no fault: it may by the time it is used. */
  vetUrl(text: string): Promise<UrlFault | undefined>;
  close(): Promise<void>;
}

/** @throws when `allow` holds something else than CIDR, host or host:port, or the proxy is no URL */
export function createEgress(options: EgressOptions): Egress {
  const { log, requireHttps, timeouts = {} } = options;
  const policy = createAddressPolicy(options);
  const resolver = createResolver({
    lookup: options.lookup,
    now: options.now ?? Date.now,
    ...(timeouts.dnsMs === undefined ? {} : { budgetMs: timeouts.dnsMs }),
  });
  const trustedRoots = options.extraRoots === undefined ? undefined : [...getCACertificates('default'), ...options.extraRoots];
  const noteBlocked = (reason: UrlFaultReason, facts: { host?: string; port?: number; detail: string }): void => {
    egressBlockedTotal.inc({ reason });
    log.warn('egress', { event: 'blocked', reason, ...facts });
  };
  const connect = createConnector({
    policy,
    resolver,
    trustedRoots,
    proxy: options.proxy === undefined ? undefined : createProxy(options.proxy),
    connectTimeoutMs: timeouts.connectMs,
    onBlocked: ({ host, port }, detail) => noteBlocked('blocked_address', { host, port, detail }),
  });
  const sender = createHttpSender({ connect, connectionTtlMs: timeouts.connectionTtlMs, idleTtlMs: timeouts.idleTtlMs });

  const check = (text: string): CheckedUrl | UrlFault => checkUrl(text, { policy, requireHttps });
  const checkedUrls = createUrlCache(check);

  return {
    connect,
    trustedRoots,
    sendHttp(request, sendOptions) {
      const checked = checkedUrls(request.url);
      if ('url' in checked) return sender.send(request, checked.url, sendOptions);
      const code = checked.reason === 'blocked_address' || checked.reason === 'blocked_port' ? 'blocked_address' : 'config_invalid';
      noteBlocked(checked.reason, { detail: checked.detail });
      const detail = `the url ${checked.detail}`;
      return Promise.resolve({ kind: 'fault', code, detail, bytesWritten: false, timings: { total: 0 } });
    },
    checkUrl: (text) => {
      const checked = check(text);
      return 'url' in checked ? undefined : checked;
    },
    async vetUrl(text) {
      const checked = check(text);
      if (!('url' in checked)) return checked;
      const resolution = await resolver.resolve(checked.host);
      if ('fault' in resolution) return undefined;
      for (const address of resolution.addresses) {
        const reason = policy.judgeAddress(checked, address);
        if (reason !== undefined) return { reason: 'blocked_address', detail: reason };
      }
      return undefined;
    },
    checkMailHost: (host, port) => checkMailHost(host, port, policy),
    allowsUrl: (url) => policy.allowsTarget(url.hostname, portOf(url)),
    close: () => sender.close(),
  };
}

/** A destination's url is judged for each request and rarely changes; the rules do not change within a process. */
function createUrlCache(check: (text: string) => CheckedUrl | UrlFault): (text: string) => CheckedUrl | UrlFault {
  const recent = new Map<string, CheckedUrl | UrlFault>();
  return (text) => {
    let checked = recent.get(text);
    if (checked === undefined) {
      checked = check(text);
      if (recent.size >= 1_000) recent.clear();
      recent.set(text, checked);
    }
    return checked;
  };
}
