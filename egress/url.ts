import { isIP } from 'node:net';
import type { UrlFault, UrlFaultReason } from '../domain/channel.ts';
import { webhookRules } from '../domain/webhook.ts';
import { normalizeHost, type AddressPolicy } from './addresses.ts';

export interface UrlRules {
  readonly policy: AddressPolicy;
  readonly requireHttps: boolean;
}

export interface CheckedUrl {
  readonly url: URL;
  /** Normalized: no brackets, no trailing dot. */
  readonly host: string;
  readonly port: number;
}

/** The port a URL names or implies. */
export function portOf({ port, protocol }: Pick<URL, 'port' | 'protocol'>): number {
  if (port !== '') return Number(port);
  return protocol === 'https:' ? 443 : 80;
}

/**
 * Judges a destination's URL, when it is saved and again before each request. The text is judged before it is parsed as well, because the
 * URL parser repairs what other readers of the same text would understand differently (`https:h`, a backslash, a tab in the host).
 */
export function checkUrl(text: string, { policy, requireHttps }: UrlRules): CheckedUrl | UrlFault {
  if (Buffer.byteLength(text) > webhookRules.urlBytes) return fault('url_too_long', `may have at most ${webhookRules.urlBytes} bytes`);
  if (/[\p{Cc} \\]/u.test(text)) return fault('invalid_url', 'must not contain spaces, control characters or backslashes');
  if (!/^https?:/i.test(text)) {
    return /^[a-z][a-z0-9+.-]*:/i.test(text)
      ? fault('invalid_scheme', 'must be http or https')
      : fault('invalid_url', 'must begin with https://');
  }
  if (!/^https?:\/\/[^/]/i.test(text) || !URL.canParse(text)) return fault('invalid_url', 'is not a URL');
  const url = new URL(text);
  if (url.username !== '' || url.password !== '' || /^https?:\/\/[^/?#]*@/i.test(text))
    return fault('user_info', 'must not contain a user or password');
  if (text.includes('#')) return fault('fragment', 'must not contain a fragment');

  const host = normalizeHost(url.hostname);
  const port = portOf(url);
  if (port === 0) return fault('blocked_port', 'port 0 cannot be connected to');
  const literalFault = isIP(host) === 0 ? undefined : policy.judgeAddress({ host, port }, host);
  if (literalFault !== undefined) return fault('blocked_address', literalFault);
  if (policy.allowsTarget(host, port)) return { url, host, port };

  if (isLocalhost(host)) return fault('blocked_address', 'localhost is not a public host');
  if (port !== 80 && port !== 443 && port < 1_024)
    return fault('blocked_port', `port ${port} is not allowed; 80, 443 and 1024 or higher are`);
  if (requireHttps && url.protocol !== 'https:') return fault('https_required', 'must be https');
  return { url, host, port };
}

const mailPorts = new Set([25, 465, 587, 2_525]);

/** Judges an SMTP server; undefined when it may be connected to, as far as its name tells. */
export function checkMailHost(givenHost: string, port: number, policy: AddressPolicy): UrlFault | undefined {
  const host = normalizeHost(givenHost);
  if (isIP(host) === 0 && !/^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$/.test(host)) return fault('invalid_url', 'is not a host name');
  // what the URL parser would read as an address must not pass as a name: 2130706433, 0x7f.1
  const parsed = isIP(host) === 0 && URL.canParse(`http://${host}`) ? normalizeHost(new URL(`http://${host}`).hostname) : host;
  const literalFault = isIP(parsed) === 0 ? undefined : policy.judgeAddress({ host: parsed, port }, parsed);
  if (literalFault !== undefined) return fault('blocked_address', literalFault);
  if (policy.allowsTarget(parsed, port)) return undefined;
  if (isLocalhost(host)) return fault('blocked_address', 'localhost is not a public host');
  return mailPorts.has(port) ? undefined : fault('blocked_port', `port ${port} is not allowed; 25, 465, 587 and 2525 are`);
}

/** RFC 6761 section 6.3: these names are this machine, whatever a resolver says. */
function isLocalhost(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost');
}

function fault(reason: UrlFaultReason, detail: string): UrlFault {
  return { reason, detail };
}
