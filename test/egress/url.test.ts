import { expect, test } from '@jest/globals';
import { createAddressPolicy } from '../../egress/addresses.ts';
import { checkMailHost, checkUrl } from '../../egress/url.ts';

const strict = createAddressPolicy({ allow: [], deniedTargets: [], ownAddresses: () => [] });

function reason(url: string, allow: string[] = [], requireHttps = false): string {
  const policy = allow.length === 0 ? strict : createAddressPolicy({ allow, deniedTargets: [], ownAddresses: () => [] });
  const checked = checkUrl(url, { policy, requireHttps });
  return 'url' in checked ? 'accepted' : checked.reason;
}

test.each([
  'https://example.com/hook',
  'http://example.com',
  'HTTPS://EXAMPLE.COM:8443/a?b=c',
  'https://example.com./hook',
  'https://bücher.example/x',
  'https://93.184.216.34/',
  'https://[2606:2800:220:1::1]/',
  'https://example.com:443/',
  'http://example.com:80/',
  'https://notlocalhost/',
])('%s is accepted', (url) => {
  expect(reason(url)).toBe('accepted');
});

test.each([
  // every spelling of loopback that a parser may turn into one
  'http://127.0.0.1/',
  'http://127.0.0.1./',
  'http://127.1/',
  'http://127.0.1/',
  'http://2130706433/',
  'http://0x7f000001/',
  'http://0x7f.1/',
  'http://0177.0.0.1/',
  'http://017700000001/',
  'http://%31%32%37.0.0.1/',
  'http://１２７.０.０.１/',
  'http://①②⑦.0.0.1/',
  'http://0/',
  'http://0.0.0.0/',
  'http://[::1]/',
  'http://[::]/',
  'http://[0:0:0:0:0:0:0:1]/',
  'http://[::ffff:127.0.0.1]/',
  'http://[::ffff:7f00:1]/',
  'http://[0:0:0:0:0:ffff:7f00:0001]/',
  'http://[::127.0.0.1]/',
  'http://[64:ff9b::7f00:1]/',
  'http://[2002:7f00:1::]/',
  // private, link-local, shared, documentation, multicast, reserved
  'http://10.0.0.1/',
  'http://172.16.0.1/',
  'http://172.31.255.255/',
  'http://192.168.1.1/',
  'http://169.254.169.254/latest/meta-data/',
  'http://100.64.0.1/',
  'http://192.0.0.1/',
  'http://192.0.2.1/',
  'http://192.88.99.1/',
  'http://198.18.0.1/',
  'http://198.51.100.1/',
  'http://203.0.113.1/',
  'http://224.0.0.1/',
  'http://255.255.255.255/',
  'http://168.63.129.16/',
  'http://[fe80::1]/',
  'http://[fc00::1]/',
  'http://[fd00:ec2::254]/',
  'http://[ff02::1]/',
  'http://[2001:db8::1]/',
  'http://[2001::1]/',
  'http://[3fff::1]/',
  'http://[4000::1]/',
  // by name
  'http://localhost/',
  'http://LOCALHOST./',
  'http://app.localhost:8080/',
])('%s is a blocked address', (url) => {
  expect(reason(url)).toBe('blocked_address');
});

test.each([
  ['ftp://example.com/', 'invalid_scheme'],
  ['file:///etc/passwd', 'invalid_scheme'],
  ['javascript:alert(1)', 'invalid_scheme'],
  ['gopher://example.com/', 'invalid_scheme'],
  ['', 'invalid_url'],
  ['example.com/hook', 'invalid_url'],
  ['//example.com/', 'invalid_url'],
  ['https:example.com', 'invalid_url'],
  ['https:/example.com/', 'invalid_url'],
  ['https:///example.com/', 'invalid_url'],
  ['https:\\\\example.com', 'invalid_url'],
  ['https://example.com\\@127.0.0.1/', 'invalid_url'],
  ['https://exa\tmple.com/', 'invalid_url'],
  ['https://exa\nmple.com/', 'invalid_url'],
  [' https://example.com/', 'invalid_url'],
  ['https://example.com/a b', 'invalid_url'],
  ['https://example.com/\0', 'invalid_url'],
  ['https://', 'invalid_url'],
  ['https://[::1/', 'invalid_url'],
  ['https://example.com:99999/', 'invalid_url'],
  ['https://user:pass@example.com/', 'user_info'],
  ['https://user@example.com/', 'user_info'],
  ['https://@example.com/', 'user_info'],
  ['https://example.com/#top', 'fragment'],
  ['https://example.com/#', 'fragment'],
  ['https://example.com:0/', 'blocked_port'],
  ['https://example.com:22/', 'blocked_port'],
  ['http://example.com:443x/', 'invalid_url'],
  ['http://example.com:1023/', 'blocked_port'],
  [`https://example.com/${'x'.repeat(2_048)}`, 'url_too_long'],
  [`https://example.com/${'é'.repeat(1_020)}`, 'url_too_long'],
])('%j is refused as %s', (url, expected) => {
  expect(reason(url)).toBe(expected);
});

test('https can be required, except of what the operator allowed', () => {
  expect(reason('http://example.com/', [], true)).toBe('https_required');
  expect(reason('http://example.com/', ['example.com'], true)).toBe('accepted');
  expect(reason('https://example.com/', [], true)).toBe('accepted');
});

test.each([
  ['http://127.0.0.1:8080/', ['127.0.0.1'], 'accepted'],
  ['http://127.0.0.1:8080/', ['127.0.0.0/8'], 'accepted'],
  ['http://127.0.0.1:22/', ['127.0.0.1:22'], 'accepted'],
  ['http://127.0.0.1:8080/', ['127.0.0.1:22'], 'blocked_address'],
  ['http://[::1]:8080/', ['::1'], 'accepted'],
  ['http://[::1]:8080/', ['[::1]:8080'], 'accepted'],
  ['http://[::ffff:127.0.0.1]:8080/', ['127.0.0.1'], 'accepted'],
  ['http://localhost:8080/', ['localhost'], 'accepted'],
  ['http://localhost:8080/', ['127.0.0.1'], 'blocked_address'],
  ['http://localhost:8080/', ['LOCALHOST:8080'], 'accepted'],
  ['http://10.1.2.3/', ['10.0.0.0/8'], 'accepted'],
  ['http://11.1.2.3/', ['10.0.0.0/8'], 'accepted'],
  ['http://hooks.internal:25/', ['hooks.internal'], 'accepted'],
  // denied whatever is allowed
  ['http://169.254.169.254/', ['169.254.0.0/16', '0.0.0.0/0'], 'blocked_address'],
  ['http://100.100.100.200/', ['100.64.0.0/10'], 'blocked_address'],
  ['http://192.0.0.192/', ['192.0.0.192'], 'blocked_address'],
  ['http://168.63.129.16/', ['168.63.129.16'], 'blocked_address'],
  ['http://[fd00:ec2::254]/', ['fd00::/8'], 'blocked_address'],
  ['http://[fe80::1]/', ['::/0'], 'blocked_address'],
])('%s with the allow list %j is %s', (url, allow, expected) => {
  expect(reason(url, allow)).toBe(expected);
});

test.each(['10.0.0.0/33', '10.0.0/8', 'a b', 'http://x', 'host:0', 'host:70000', '[::1', '', '::1:80:', '*.example.com'])(
  'an allow-list entry %j is refused at start',
  (entry) => {
    expect(() => createAddressPolicy({ allow: [entry], deniedTargets: [] })).toThrow('Egress allow list');
  },
);

test.each([
  ['smtp.example.com', 587, undefined],
  ['smtp.example.com', 25, undefined],
  ['smtp.example.com', 80, 'blocked_port'],
  ['127.0.0.1', 587, 'blocked_address'],
  ['2130706433', 587, 'blocked_address'],
  ['0x7f.1', 587, 'blocked_address'],
  ['localhost', 587, 'blocked_address'],
  ['::1', 587, 'blocked_address'],
  ['mail example', 587, 'invalid_url'],
  ['mail\r\nexample', 587, 'invalid_url'],
  ['a/b', 587, 'invalid_url'],
])('the mail server %j port %i is %s', (host, port, expected) => {
  expect(checkMailHost(host, port, strict)?.reason).toBe(expected);
});
