import { isIP, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { normalizeHost } from './addresses.ts';
import { EgressFault } from './fault.ts';
import { openTcp, openTls, type OpenTcpOptions, type Target } from './socket.ts';
import { portOf } from './url.ts';

export interface ProxyOptions {
  /** `http://` or `https://`, with user and password where the proxy asks for them. */
  readonly url: string;
  /** `NO_PROXY`: hosts, domains (with or without a leading dot), each with a port or without; `*` for all. */
  readonly noProxy: readonly string[];
}

export interface Proxy {
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
  /** The value of Proxy-Authorization; never logged. */
  readonly authorization: string | undefined;
  /** Whether this target is reached directly, under the guard's own rules. */
  isBypassed(target: Target): boolean;
}

/** @throws when the url is none */
export function createProxy({ url: text, noProxy }: ProxyOptions): Proxy {
  const url = new URL(text);
  const login = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  const exceptions = noProxy.map(parseException);
  return {
    host: normalizeHost(url.hostname),
    port: portOf(url),
    secure: url.protocol === 'https:',
    authorization: url.username === '' ? undefined : `Basic ${Buffer.from(login).toString('base64')}`,
    isBypassed({ host: given, port }) {
      const host = normalizeHost(given);
      return exceptions.some(
        ({ name, port: only }) => (only === undefined || only === port) && (name === '*' || host === name || host.endsWith(`.${name}`)),
      );
    },
  };
}

function parseException(text: string): { name: string; port: number | undefined } {
  const [, host = '', port] = /^(.*?)(?::(\d+))?$/.exec(isIP(text) === 6 ? `[${text}]` : text.trim()) ?? [];
  return { name: normalizeHost(host.replace(/^\*?\./, '')), port: port === undefined ? undefined : Number(port) };
}

const answerLimitBytes = 8 * 1024;

/**
 * A connection through the proxy (RFC 9110 section 9.3.6), also for plain http: the proxy sees where it goes and nothing else.
 * @throws EgressFault `proxy_error` for whatever the proxy does; `timeout` when the deadline passes
 */
export async function openTunnel(
  proxy: Proxy,
  addresses: readonly string[],
  target: Target,
  { signal, timeoutMs, roots }: OpenTcpOptions & { roots: readonly string[] | undefined },
): Promise<Socket | TLSSocket> {
  try {
    const { socket } = await openTcp(proxy, addresses, { signal, timeoutMs });
    const connection = proxy.secure ? await openTls(socket, { host: proxy.host, roots, signal }) : socket;
    await askForTunnel(connection, target, proxy.authorization, signal);
    return connection;
  } catch (error) {
    if (error instanceof EgressFault && error.code !== 'timeout') throw new EgressFault('proxy_error', `the proxy: ${error.detail}`, error);
    throw error;
  }
}

function askForTunnel(socket: Socket, { host, port }: Target, authorization: string | undefined, signal: AbortSignal): Promise<void> {
  const bare = normalizeHost(host);
  const authority = `${bare.includes(':') ? `[${bare}]` : bare}:${port}`;
  const login = authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`;
  return new Promise((resolve, reject) => {
    let answer = '';
    const stop = (): void => {
      signal.removeEventListener('abort', onAbort);
      socket.off('data', onData).off('error', onLost).off('close', onLost);
    };
    const fail = (code: 'proxy_error' | 'timeout', detail: string): void => {
      stop();
      socket.on('error', () => undefined);
      socket.destroy();
      reject(new EgressFault(code, detail));
    };
    const onAbort = (): void => fail('timeout', 'the deadline passed while the proxy opened a tunnel');
    const onLost = (): void => fail('proxy_error', 'closed the connection');
    const onData = (chunk: Buffer): void => {
      answer += chunk.toString('latin1');
      const end = answer.indexOf('\r\n\r\n');
      if (end < 0) return answer.length > answerLimitBytes ? fail('proxy_error', 'sent too long an answer') : undefined;
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(answer)?.[1];
      if (status?.startsWith('2') !== true) return fail('proxy_error', `answered ${status ?? 'no status'}`);
      stop();
      socket.pause();
      const rest = answer.slice(end + 4);
      if (rest !== '') socket.unshift(Buffer.from(rest, 'latin1'));
      resolve();
    };
    socket.on('data', onData).once('error', onLost).once('close', onLost);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) return onAbort();
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${login}\r\n`);
  });
}
