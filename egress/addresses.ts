import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

/** A host (name or literal) and port that must never be reached: Tocsin's own PostgreSQL, Temporal and API. */
export interface DeniedTarget {
  readonly host: string;
  readonly port: number;
}

export interface AddressPolicyOptions {
  /** `TOCSIN_EGRESS_ALLOW`: CIDR, host, or host:port. */
  readonly allow: readonly string[];
  readonly deniedTargets: readonly DeniedTarget[];
  /** This machine's addresses; injected by tests. */
  readonly ownAddresses?: () => readonly string[];
}

export interface AddressPolicy {
  /** Why `address` must not be connected to for this target; undefined when it may. */
  judgeAddress(target: { host: string; port: number }, address: string): string | undefined;
  /** The operator named this target: the rules on literals, localhost, ports and https do not apply to it. */
  allowsTarget(host: string, port: number): boolean;
  /** Names of denied targets on this port; whoever connects there has to compare their addresses too. */
  deniedNames(port: number): readonly string[];
}

/**
 * Two lists, because one `BlockList` that holds an IPv6 net containing `::ffff:0:0/96` would match every IPv4 address.
 * IPv6 is denied outside global unicast (2000::/3), which leaves out NAT64, unique local and everything unassigned.
 */
const deniedIPv4 = listOf('ipv4', [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '168.63.129.16/32',
]);
const globalIPv6 = listOf('ipv6', ['2000::/3']);
const deniedIPv6 = listOf('ipv6', ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']);

/** Denied even when allowed: link-local and the metadata services of the clouds, whose answers are credentials. */
const alwaysDeniedIPv4 = listOf('ipv4', ['169.254.0.0/16', '168.63.129.16/32', '100.100.100.200/32', '192.0.0.192/32']);
const alwaysDeniedIPv6 = listOf('ipv6', ['fd00:ec2::/32', 'fe80::/10']);

const loopbackIPv4 = listOf('ipv4', ['127.0.0.0/8', '0.0.0.0/8']);
const loopbackIPv6 = listOf('ipv6', ['::1/128', '::/128']);
const mappedIPv4 = listOf('ipv6', ['::ffff:0:0/96']);

type Family = 'ipv4' | 'ipv6';
type AllowRule = { readonly kind: 'net'; readonly list: BlockList; readonly family: Family; readonly port: number | undefined } | NameRule;
type NameRule = { readonly kind: 'name'; readonly host: string; readonly port: number | undefined };

/** Reads allow-list entries (CIDR, host or host:port). Every entry that is none is named in `faults`. */
export function parseAllowList(entries: readonly string[]): { rules: AllowRule[]; faults: string[] } {
  const rules: AllowRule[] = [];
  const faults: string[] = [];
  for (const entry of entries) {
    const rule = parseAllowEntry(entry.trim());
    if (rule === undefined) faults.push(`"${entry}" is not a CIDR, a host or a host:port`);
    else rules.push(rule);
  }
  return { rules, faults };
}

function parseAllowEntry(entry: string): AllowRule | undefined {
  if (entry.includes('/')) return netRule(entry, undefined);
  if (isIP(entry) !== 0) return netRule(`${entry}/${isIP(entry) === 4 ? 32 : 128}`, undefined);
  const parts = /^(?<host>\[[^\]]+\]|[^:[\]]+)(?::(?<port>\d{1,5}))?$/.exec(entry)?.groups;
  if (parts?.['host'] === undefined) return undefined;
  const port = parts['port'] === undefined ? undefined : Number(parts['port']);
  if (port !== undefined && (port < 1 || port > 65_535)) return undefined;
  const host = normalizeHost(parts['host']);
  if (isIP(host) !== 0) return netRule(`${host}/${isIP(host) === 4 ? 32 : 128}`, port);
  return /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/.test(host) ? { kind: 'name', host, port } : undefined;
}

function netRule(cidr: string, port: number | undefined): AllowRule | undefined {
  const [network = '', bits = '', ...rest] = cidr.split('/');
  const version = isIP(network);
  if (version === 0 || rest.length > 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > (version === 4 ? 32 : 128)) return undefined;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  return { kind: 'net', list: listOf(family, [cidr]), family, port };
}

/** The policy of this process. @throws when an allow-list entry is none. */
export function createAddressPolicy({ allow, deniedTargets, ownAddresses = listInterfaces() }: AddressPolicyOptions): AddressPolicy {
  const { rules, faults } = parseAllowList(allow);
  if (faults.length > 0) throw new Error(`Egress allow list: ${faults.join('; ')}`);
  const denied = deniedTargets.map(({ host, port }) => ({ host: normalizeHost(host), port }));

  const isOwn = (address: string) => ownAddresses().some((own) => own === address);
  const isLocal = (family: Family, address: string) =>
    (family === 'ipv4' ? loopbackIPv4 : loopbackIPv6).check(address, family) || isOwn(address);
  const allows = (host: string, port: number, address: string | undefined) =>
    rules.some((rule) => {
      if (rule.port !== undefined && rule.port !== port) return false;
      if (rule.kind === 'name') return rule.host === host;
      return address !== undefined && familyOf(address) === rule.family && rule.list.check(address, rule.family);
    });

  return {
    judgeAddress(target, given) {
      const address = canonicalAddress(given);
      if (address === undefined) return `${given} is not an address`;
      const family = familyOf(address);
      const always = family === 'ipv4' ? alwaysDeniedIPv4 : alwaysDeniedIPv6;
      if (always.check(address, family)) return `${address} is never allowed`;
      for (const { host, port } of denied) {
        if (port !== target.port) continue;
        const same = isIP(host) === 0 ? host === 'localhost' && isLocal(family, address) : canonicalAddress(host) === address;
        if (same || (isLoopbackLiteral(host) && isLocal(family, address))) return `${address}:${port} belongs to Tocsin`;
      }
      if (allows(normalizeHost(target.host), target.port, address)) return undefined;
      const forbidden =
        family === 'ipv4' ? deniedIPv4.check(address, family) : !globalIPv6.check(address, family) || deniedIPv6.check(address, family);
      if (forbidden) return `${address} is not a public address`;
      return isOwn(address) ? `${address} is this machine` : undefined;
    },
    allowsTarget(host, port) {
      const name = normalizeHost(host);
      return allows(name, port, isIP(name) === 0 ? undefined : canonicalAddress(name));
    },
    deniedNames: (port) => denied.filter((target) => target.port === port && isIP(target.host) === 0).map(({ host }) => host),
  };
}

/** Lower case, without brackets and one trailing dot. */
export function normalizeHost(host: string): string {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  return (bare.endsWith('.') ? bare.slice(0, -1) : bare).toLowerCase();
}

/** One spelling per address: no zone, IPv6 compressed, IPv4-mapped IPv6 as IPv4. Undefined when it is no literal. */
export function canonicalAddress(text: string): string | undefined {
  const address = text.split('%', 1)[0] ?? '';
  const version = isIP(address);
  if (version === 4) return address;
  if (version === 0) return undefined;
  const compressed = new URL(`http://[${address}]`).hostname.slice(1, -1);
  if (!mappedIPv4.check(compressed, 'ipv6')) return compressed;
  const [high = 0, low = 0] = compressed
    .split(':')
    .slice(-2)
    .map((group) => Number.parseInt(group || '0', 16));
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

function familyOf(address: string): Family {
  return isIP(address) === 4 ? 'ipv4' : 'ipv6';
}

/** A server that listens on loopback or on every address is reached through any local address. */
function isLoopbackLiteral(host: string): boolean {
  const address = canonicalAddress(host);
  if (address === undefined) return false;
  const family = familyOf(address);
  return (family === 'ipv4' ? loopbackIPv4 : loopbackIPv6).check(address, family);
}

function listOf(family: Family, cidrs: readonly string[]): BlockList {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [network = '', bits = ''] = cidr.split('/');
    list.addSubnet(network, Number(bits), family);
  }
  return list;
}

/** Interfaces come and go; asking the kernel for each connection would cost more than it tells. */
function listInterfaces(): () => readonly string[] {
  let addresses: readonly string[] = [];
  let readAt = Number.NEGATIVE_INFINITY;
  return () => {
    if (performance.now() - readAt > 30_000) {
      addresses = Object.values(networkInterfaces()).flatMap((entries) =>
        (entries ?? []).map(({ address }) => canonicalAddress(address) ?? address),
      );
      readAt = performance.now();
    }
    return addresses;
  };
}
