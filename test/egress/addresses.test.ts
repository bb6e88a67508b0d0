import { expect, test } from '@jest/globals';
import { canonicalAddress, createAddressPolicy } from '../../egress/addresses.ts';

const policy = createAddressPolicy({
  allow: ['127.0.0.0/8', '::1', '10.0.0.0/8', 'api.internal'],
  deniedTargets: [
    { host: '127.0.0.1', port: 8400 },
    { host: '0.0.0.0', port: 7233 },
    { host: 'localhost', port: 5432 },
    { host: '10.0.0.9', port: 5433 },
    { host: 'db.internal', port: 5434 },
  ],
  ownAddresses: () => ['10.0.0.5', '2606:4700::5'],
});
const judge = (host: string, port: number, address = host) => policy.judgeAddress({ host, port }, address) ?? 'allowed';

test.each([
  ['127.0.0.1', '127.0.0.1'],
  ['::ffff:127.0.0.1', '127.0.0.1'],
  ['::FFFF:7F00:1', '127.0.0.1'],
  ['0:0:0:0:0:ffff:a00:1', '10.0.0.1'],
  ['fe80::1%eth0', 'fe80::1'],
  ['2001:0DB8:0000::1', '2001:db8::1'],
  ['example.com', undefined],
  ['127.1', undefined],
])('%s is canonically %s', (text, expected) => {
  expect(canonicalAddress(text)).toBe(expected);
});

test("Tocsin's own servers are refused on every local address, whatever is allowed", () => {
  for (const address of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1', '10.0.0.5']) {
    for (const port of [8400, 7233, 5432]) expect(judge(address, port)).toContain('belongs to Tocsin');
    expect(judge(address, 8401)).toBe('allowed');
  }
  expect(judge('10.0.0.9', 5433)).toContain('belongs to Tocsin');
  expect(judge('10.0.0.8', 5433)).toBe('allowed');
});

test('names of own servers are handed to whoever resolves names', () => {
  expect(policy.deniedNames(5434)).toEqual(['db.internal']);
  expect(policy.deniedNames(5432)).toEqual(['localhost']);
  expect(policy.deniedNames(80)).toEqual([]);
});

test("this machine's own public address is refused unless allowed", () => {
  expect(judge('2606:4700::5', 443)).toContain('this machine');
  expect(judge('2606:4700::6', 443)).toBe('allowed');
});

test('a name that is allowed may have a private address; others may not', () => {
  expect(judge('api.internal', 443, '192.168.7.7')).toBe('allowed');
  expect(judge('API.internal.', 443, '192.168.7.7')).toBe('allowed');
  expect(judge('other.internal', 443, '192.168.7.7')).toContain('not a public address');
  expect(judge('api.internal', 443, '169.254.169.254')).toContain('never allowed');
});

test('what is no address is refused', () => {
  expect(judge('example.com', 443, 'example.com')).toContain('not an address');
});
