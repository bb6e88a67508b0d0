import { expect, test } from '@jest/globals';
import { readDisclosure } from '../../../domain/audit/commitment.ts';
import { type AuditDraft, prepareEntry } from '../../../domain/audit/entry.ts';
import { canonicalIp } from '../../../domain/audit/limits.ts';
import { holdsSecret, redact, redactHeaders } from '../../../domain/audit/redact.ts';

const gone = { $redacted: 'secret' };

test.each([
  'password',
  'dbPasswd',
  'clientSecret',
  'accessToken',
  'API-KEY',
  'api_key',
  'apikey',
  'Authorization',
  'set-cookie',
  'privateKey',
  'aws_credentials',
  'x-signature',
  'otpCode',
  'SENTRY_DSN',
  'connection_string',
])('the value of %s never enters the log', (key) => {
  expect(redact({ [key]: 'x', nested: [{ [key]: { deep: 1 } }] }, 'after')).toEqual({ [key]: gone, nested: [{ [key]: gone }] });
});

test('whether there is a secret at all stays visible', () => {
  expect(redact({ secret: null, hasSecret: true, token: undefined }, 'after')).toEqual({ secret: null, hasSecret: true });
});

test.each([
  ['a PEM block', '-----BEGIN RSA PRIVATE KEY-----\nMIIE'],
  ['a JSON Web Token', 'see eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl'],
  ['a bearer header', 'curl -H "authorization: BEARER abc"'],
  ['user information in a URL', 'postgres://app:hunter2@db.internal:5432/app'],
  ['one of our API keys', 'key tsn_0123456789abcdefghijklmnop'],
  ['a webhook secret', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
  ['a GitHub token', 'ghp_0123456789abcdefghij0123456789abcdef'],
  ['a GitLab token', 'glpat-0123456789abcdefghij'],
  ['a Slack token', 'xoxb-123456789012-abcdef'],
  ['a Stripe key', 'sk_live_0123456789abcdef'],
  ['an AWS key id', 'AKIAIOSFODNN7EXAMPLE'],
  ['a Slack webhook URL', 'https://HOOKS.slack.com/services/T000/B000/XXXX'],
  ['a Discord webhook URL', 'https://discord.com/api/webhooks/1/abc'],
  ['a Teams webhook URL', 'https://acme.webhook.office.com/webhookb2/x'],
  ['a card number', 'paid with 4111 1111 1111 1111.'],
])('%s is replaced wherever it stands', (_name, text) => {
  expect(holdsSecret(text)).toBe(true);
  expect(redact({ note: [text] }, 'after')).toEqual({ note: [gone] });
});

test('a card number does not hide as a number', () => {
  expect(redact(4111111111111111, 'after')).toEqual(gone);
});

test.each([
  'https://example.com/path?x=1',
  'ops@example.com',
  '019b76da-4111-7111-8111-111111111111',
  '1767225600123',
  '4111 1111 1111 1112',
  'deploy v2.0.5 to production',
  'https://example.com/@scope/name',
])('%s is no secret', (text) => {
  expect(holdsSecret(text)).toBe(false);
});

test('of headers only the harmless keep their value', () => {
  expect(
    redactHeaders(
      {
        'Content-Type': 'text/plain',
        'X-Request-Id': 'r',
        'X-Custom': 'v',
        Authorization: 'Basic x',
        traceparent: '00-1',
        gone: undefined,
      },
      'request',
    ),
  ).toEqual({
    'Content-Type': 'text/plain',
    'X-Request-Id': 'r',
    'X-Custom': gone,
    Authorization: gone,
    traceparent: '00-1',
  });
});

test('dates become text and a member named __proto__ stays a member', () => {
  const copy = redact(JSON.parse('{"__proto__":{"polluted":1},"a":1}'), 'after');
  expect(Object.keys(copy as object)).toEqual(['__proto__', 'a']);
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
  expect(redact({ at: new Date(0) }, 'after')).toEqual({ at: '1970-01-01T00:00:00.000Z' });
});

const sentinel = 'S3NTINEL-0a1b2c3d';
test.each<[string, Partial<AuditDraft>]>([
  [
    'channel settings',
    { resource: { type: 'channel', id: 'c' }, before: { settings: { url: 'a' } }, after: { settings: { url: sentinel } } },
  ],
  ['a variable', { resource: { type: 'variable', id: 'v' }, before: { value: 'a' }, after: { value: sentinel } }],
  ['a credential', { resource: { type: 'credential', id: 'v' }, after: { anything: [sentinel] } }],
  ['a custom header', { resource: { type: 'webhook', id: 'w' }, after: { headers: { 'X-Team': sentinel } } }],
  ['a header of a request', { request: { headers: { 'X-Team': sentinel } } }],
  ['a query parameter', { request: { query: { access_token: sentinel } } }],
  ['a body', { response: { body: [{ apiKey: sentinel }] } }],
  ['details', { details: { clientSecret: sentinel } }],
  ['the name of a resource', { resource: { type: 'webhook', id: 'w', name: `https://x:${sentinel}@example.com/` } }],
  ['a user agent', { userAgent: `curl Bearer ${sentinel}` }],
])('a secret planted in %s is nowhere in the entry', (_name, overrides) => {
  const entry = prepareEntry(
    { orgId: '11111111-1111-4111-8111-111111111111', action: 'webhook.update', actor: { type: 'user', id: 'u' }, ...overrides },
    { id: '019b76da-abe8-7000-8000-000000000002', recordedAt: '2026-01-01T00:00:01.000Z' },
  );
  const disclosed = entry.privateGroups.flatMap(({ disclosures }) => disclosures.map((one) => JSON.stringify(readDisclosure(one))));
  expect([entry.canonical.toString(), JSON.stringify(entry.columns), ...disclosed].join('\n')).not.toContain(sentinel);
});

test('a secret that was changed still shows as changed', () => {
  const entry = prepareEntry(
    {
      orgId: '11111111-1111-4111-8111-111111111111',
      action: 'channel.update',
      actor: { type: 'user', id: 'u' },
      resource: { type: 'channel', id: 'c' },
      before: { name: 'a', settings: { url: 'x' } },
      after: { name: 'a', settings: { url: 'y' } },
    },
    { id: '019b76da-abe8-7000-8000-000000000002', recordedAt: '2026-01-01T00:00:01.000Z' },
  );
  expect(entry.columns.changed).toEqual(['settings']);
});

test.each([
  ['192.0.2.10', '192.0.2.10'],
  ['::FFFF:192.0.2.10', '192.0.2.10'],
  ['2001:0DB8:0000:0000:0000:0000:0000:0001', '2001:db8::1'],
  ['fe80::1%eth0', 'fe80::1'],
  ['::1', '::1'],
])('the address %s is written %s', (text, canonical) => {
  expect(canonicalIp(text)).toBe(canonical);
});

test.each(['', '192.0.2', '192.0.2.256', '192.0.2.1.', 'localhost', '1.2.3.4.5', 'g::1', '::1]:80/[::1'])('%j is no address', (text) => {
  expect(() => canonicalIp(text)).toThrow('ip: format');
});
