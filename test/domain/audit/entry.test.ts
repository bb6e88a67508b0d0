import { expect, test } from '@jest/globals';
import { canonicalize, type JsonObject, type JsonValue } from '../../../domain/audit/canonical.ts';
import { chainSeed, nextChainHash } from '../../../domain/audit/chain.ts';
import { commitTo, makeDisclosure, readDisclosure } from '../../../domain/audit/commitment.ts';
import { type AuditDraft, type EntryIdentity, type PreparedEntry, prepareEntry } from '../../../domain/audit/entry.ts';
import { decodeEnvelope, encodeEnvelope } from '../../../domain/audit/envelope.ts';
import { rootOf } from '../../../domain/audit/merkle.ts';

const identity: EntryIdentity = { id: '019b76da-abe8-7000-8000-000000000002', recordedAt: '2026-01-01T00:00:01.000Z' };
const orgId = '11111111-1111-4111-8111-111111111111';
const operator = { type: 'user', id: '019b76da-abe8-7000-8000-0000000000aa' } as const;

function build(overrides: Partial<AuditDraft>): PreparedEntry {
  return prepareEntry({ orgId, action: 'webhook.update', actor: operator, ...overrides }, identity);
}

function documentOf(entry: PreparedEntry): JsonObject {
  return JSON.parse(entry.canonical.toString()) as JsonObject;
}

function privateOf(entry: PreparedEntry): Record<string, JsonValue> {
  const commitments = (documentOf(entry)['commitments'] ?? {}) as Record<string, string>;
  const values: Record<string, JsonValue> = {};
  for (const disclosure of entry.privateGroups.flatMap(({ disclosures }) => disclosures)) {
    const { name, value } = readDisclosure(disclosure)!;
    expect(commitments[name]).toBe(commitTo(disclosure));
    values[name] = value;
  }
  expect(Object.keys(values).sort()).toEqual(Object.keys(commitments).sort());
  return values;
}

const golden =
  '{"action":"release.deploy","actor":{"id":"usr_42","type":"user"},"category":"deployments","changed":["version"],"class":"operational","commitments":{"actor.email":"h9trEg5QOp8OgW6gvqtC7DKQnl-y3JTdB7IHY-a2490","ip":"1J9E7W_qiTs0C9b4xHtbJx6JLy6-KdNx-2qlJ_606tc"},"details":{"environment":"production","previousVersion":"2.0.5"},"gitCommitSha":"abc123def456abc123def456abc123def456abcd","id":"019b76da-abe8-7000-8000-000000000002","occurredAt":"2026-01-01T00:00:00.123Z","orgId":"11111111-1111-4111-8111-111111111111","recordedAt":"2026-01-01T00:00:01.000Z","resource":{"id":"rel_7","name":"api-platform","type":"release"},"schema":"release.deploy/1","status":"success","tool":"api","v":1,"verb":"deploy"}';

test('the golden entry has its 702 bytes, its leaf hash and its place at the head of a chain', () => {
  let salts = 0;
  const entry = prepareEntry(
    {
      orgId,
      action: 'release:deploy',
      actor: { type: 'user', id: 'usr_42', email: 'user42@example.com' },
      resource: { type: 'release', id: 'rel_7', name: 'api-platform' },
      occurredAt: new Date('2026-01-01T00:00:00.123Z'),
      gitCommitSha: 'ABC123def456abc123def456abc123def456abcd',
      changed: ['version'],
      details: { previousVersion: '2.0.5', environment: 'production' },
      ip: '::ffff:192.0.2.10',
    },
    { ...identity, salt: () => Uint8Array.from({ length: 16 }, () => salts++) },
  );
  expect(entry.canonical.toString()).toBe(golden);
  expect(entry.canonical.length).toBe(702);
  expect(entry.leafHash.toString('hex')).toBe('e7086a7cbf2a13a76981dcc58780d43ae82eda7830c0cae6f89e09cc12beef0f');
  expect(rootOf([entry.leafHash])).toEqual(entry.leafHash);
  const seed = chainSeed('audit.example.test/tlog/abcdefghijklmnopqrstuvwxyz');
  expect(seed.toString('hex')).toBe('c34ec4e6f9155c941e5e0f4037499c8ec4d3dce7be3600b5ddaebee81c4f40f2');
  expect(nextChainHash(seed, entry.leafHash).toString('hex')).toBe('5fbe923b2f65a35def7b77ad311829f2de090694f50730733df10ddd651ccb9e');
});

test('a disclosure and its commitment are those of SD-JWT', () => {
  const disclosure = 'WyI2cU1RdlJMNWhhaiIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0';
  expect(commitTo(disclosure)).toBe('uutlBuYeMDyjLLTpf6Jxi7yNkEF35jdyWMn9U7b_RYY');
  expect(readDisclosure(disclosure)).toEqual({ name: 'family_name', value: 'Möbius' });
  expect(readDisclosure(makeDisclosure(new Uint8Array(16), 'a"b', '"c"'))).toEqual({ name: 'a"b', value: 'c' });
  for (const broken of ['', 'e30', 'WzFd', '%%%', Buffer.from('["s","n"]').toString('base64url')])
    expect(readDisclosure(broken)).toBeUndefined();
});

test('the document is canonical, without nulls, and names exactly what is private', () => {
  const entry = build({
    actor: { ...operator, email: 'ops@example.com', name: 'Ops', apiTokenId: 'key_1', apiTokenName: 'ci' },
    status: 'failure',
    reason: 'timeout',
    projectId: orgId,
    tenantId: 'acme/eu',
    ip: '2001:DB8:0:0::1',
    userAgent: 'curl/8',
    resource: { type: 'webhook', id: 'whk', name: 'Deploys' },
    targets: [
      { type: 'member', id: 'm1', name: 'Ada' },
      { type: 'project', id: 'p1', name: 'Web' },
    ],
    before: { url: 'https://a.example', active: true },
    after: { url: 'https://b.example', active: true },
    http: { method: 'PATCH', route: '/api/v2/webhooks/{id}', status: 504 },
    request: { headers: { 'Content-Type': 'application/json', 'X-Secret': 's' }, body: { active: true } },
    correlation: { eventId: 'evt', requestId: 'req' },
    breakGlass: { sessionId: 'bg', justification: 'production is down' },
    details: { note: 'hello', count: 3 },
  });
  const document = documentOf(entry);
  expect(canonicalize(document)).toBe(entry.canonical.toString());
  expect(entry.canonical.toString()).not.toMatch(/null|ops@example|Ada|curl|b\.example|down/);
  expect(document).toMatchObject({
    schema: 'generic/1',
    category: 'integrations',
    class: 'operational',
    verb: 'update',
    tool: 'api',
    changed: ['url'],
    occurredAt: identity.recordedAt,
    correlation: { eventId: 'evt', requestId: 'req', root: 'evt' },
    breakGlass: { sessionId: 'bg' },
    targets: [
      { id: 'm1', type: 'member' },
      { id: 'p1', name: 'Web', type: 'project' },
    ],
  });
  expect(document).not.toHaveProperty('details');
  expect(privateOf(entry)).toEqual({
    'actor.email': 'ops@example.com',
    'actor.name': 'Ops',
    after: { active: true, url: 'https://b.example' },
    before: { active: true, url: 'https://a.example' },
    'breakGlass.justification': 'production is down',
    details: { count: 3, note: 'hello' },
    diff: [{ op: 'replace', path: '/url', before: 'https://a.example', after: 'https://b.example' }],
    ip: '2001:db8::1',
    request: { body: { active: true }, headers: { 'Content-Type': 'application/json', 'X-Secret': { $redacted: 'secret' } } },
    'targets.0.name': 'Ada',
    userAgent: 'curl/8',
  });
  expect(entry.columns).toEqual({
    projectId: orgId,
    tenantId: 'acme/eu',
    occurredAt: identity.recordedAt,
    class: 'operational',
    category: 'integrations',
    action: 'webhook.update',
    verb: 'update',
    status: 'failure',
    actorType: 'user',
    actorId: operator.id,
    resourceType: 'webhook',
    resourceId: 'whk',
    resourceName: 'Deploys',
    tool: 'api',
    gitCommitSha: null,
    correlationId: 'evt',
    breakGlassSessionId: 'bg',
    changed: ['url'],
  });
});

test('what concerns a person is kept with that person, the rest with the month', () => {
  const entry = build({
    actor: { ...operator, email: 'ops@example.com' },
    ip: '192.0.2.1',
    resource: { type: 'member', id: 'm1', name: 'Ada' },
    before: { role: 'member' },
    after: { role: 'admin' },
    details: { note: 'x' },
  });
  expect(entry.privateGroups.map(({ subjectId, disclosures }) => [subjectId, disclosures.map((one) => readDisclosure(one)!.name)])).toEqual(
    [
      [operator.id, ['actor.email', 'ip']],
      ['m1', ['after', 'before', 'diff', 'resource.name']],
      ['org:202601', ['details']],
    ],
  );
  expect(documentOf(entry)['resource']).toEqual({ id: 'm1', type: 'member' });
  expect(entry.columns.resourceName).toBeNull();
});

test('details stand in clear only where the schema says so, and only scalars', () => {
  const entry = build({
    action: 'delivery.attempt',
    details: { outcome: 'delivered', statusCode: 200, errorCode: { nested: 1 }, note: 'private', eventType: 'x'.repeat(9_000) },
  });
  expect(documentOf(entry)).toMatchObject({ schema: 'delivery.attempt/1', details: { outcome: 'delivered', statusCode: 200 } });
  expect(privateOf(entry)).toEqual({ details: { errorCode: { nested: 1 }, note: 'private', eventType: 'x'.repeat(9_000) } });
});

test('an entry without private values has neither commitments nor groups', () => {
  const entry = build({ resource: { type: 'webhook', id: 'w' } });
  expect(documentOf(entry)).not.toHaveProperty('commitments');
  expect(entry.privateGroups).toEqual([]);
});

test('salts are fresh: equal values of two entries cannot be matched', () => {
  const [one, two] = [build({ ip: '192.0.2.1' }), build({ ip: '192.0.2.1' })].map((entry) => documentOf(entry)['commitments']);
  expect(one).not.toEqual(two);
});

test('a state that is too long is replaced by its size and digest, and compared as such', () => {
  const values = privateOf(build({ before: { text: 'a'.repeat(300_000) }, after: { text: 'b' } }));
  const marker = { $truncated: { bytes: 300_011, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown } };
  expect(values['before']).toEqual(marker);
  expect(values['diff']).toMatchObject([{ op: 'replace', path: '', after: { text: 'b' } }]);
});

test('more than a thousand differences are replaced by the digest of them all', () => {
  const list = (offset: number) => ({ list: Array.from({ length: 1_001 }, (_, i) => i + offset) });
  expect(privateOf(build({ before: list(0), after: list(1) }))['diff']).toHaveProperty('$truncated');
});

test('nothing changed: neither difference nor names', () => {
  const entry = build({ before: { a: [1, { b: null }] }, after: { a: [1, { b: null }], c: undefined } });
  expect(documentOf(entry)).not.toHaveProperty('changed');
  expect(privateOf(entry)).not.toHaveProperty('diff');
});

test('names that are too many or unfit are shown as a star', () => {
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`k${String(i).padStart(2, '0')}`, i]));
  const changed = documentOf(build({ before: {}, after: many }))['changed'] as string[];
  expect(changed).toHaveLength(32);
  expect(changed.at(-1)).toBe('*');
  expect(documentOf(build({ changed: ['ok', 'nöt'] }))['changed']).toEqual(['ok', '*']);
});

test.each<[string, Partial<AuditDraft>, string]>([
  ['an action that is no noun.verb', { action: 'Deploy' }, 'action: format'],
  ['an organization that is no UUID', { orgId: 'org_1' }, 'orgId: not_a_uuid'],
  ['an e-mail address as actor', { actor: { type: 'user', id: 'a@b.example' } }, 'actor.id: not_opaque'],
  ['an actor without id', { actor: { type: 'user', id: '' } }, 'actor.id: empty'],
  ['a control character in an id', { resource: { type: 'x', id: 'a\nb' } }, 'resource.id: characters'],
  ['a long tenant', { tenantId: 't'.repeat(129) }, 'tenantId: too_long'],
  ['an address that is none', { ip: '192.0.2.256' }, 'ip: format'],
  ['a commit that is none', { gitCommitSha: 'main' }, 'gitCommitSha: format'],
  ['32 days ago', { occurredAt: new Date('2025-11-30T00:00:00Z') }, 'occurredAt: range'],
  ['10 minutes ahead', { occurredAt: new Date('2026-01-01T00:10:01Z') }, 'occurredAt: range'],
  ['no date', { occurredAt: new Date(Number.NaN) }, 'occurredAt: range'],
  ['seventeen targets', { targets: Array.from({ length: 17 }, () => ({ type: 'x', id: 'y' })) }, 'targets: too_many'],
  ['U+0000', { after: { a: 'x\0' } }, 'after: null_character'],
  ['a lone surrogate', { details: { a: '\ud800' } }, 'details: lone_surrogate'],
  ['an inexact integer', { after: { a: 2 ** 53 } }, 'after: number_range'],
  ['a function', { after: { a: () => 1 } }, 'after: not_json'],
  ['a date that is none', { after: { a: new Date(Number.NaN) } }, 'after: not_json'],
  ['a class instance', { after: { a: new Map() } }, 'after: not_json'],
  ['17 levels', { after: { a: JSON.parse('['.repeat(16) + ']'.repeat(16)) as unknown } }, 'after: too_deep'],
])('%s is refused, by name', (_name, overrides, message) => {
  expect(() => build(overrides)).toThrow(`audit entry: ${message}`);
});

test('a clear document of more than 32 KiB is refused', () => {
  const long = '\u20ac'.repeat(256);
  const targets = Array.from({ length: 16 }, () => ({ type: 'x', id: long, name: long }));
  const changed = Array.from({ length: 32 }, (_, i) => `${i}`.padEnd(64, 'x'));
  const correlation = {
    root: long,
    deliveryId: long,
    digestId: long,
    escalationId: long,
    eventId: long,
    requestId: long,
    traceId: long,
    workflowId: long,
  };
  expect(() => build({ targets, changed, correlation })).toThrow('audit entry: entry: too_large');
});

test('a stored envelope opens again; one that is damaged or of a later format does not', () => {
  const envelope = encodeEnvelope(['abc', 'def']);
  expect(envelope.toString()).toBe('\0["abc","def"]');
  expect(decodeEnvelope(envelope)).toEqual(['abc', 'def']);
  expect(decodeEnvelope(envelope.subarray(0, 5))).toBeUndefined();
  expect(decodeEnvelope(Buffer.from('\u0001["abc"]'))).toBeUndefined();
  expect(decodeEnvelope(Buffer.from('\0[1]'))).toBeUndefined();
});
