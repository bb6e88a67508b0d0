import { readFileSync } from 'node:fs';
import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import {
  formatAsymmetricKey,
  formatSecret,
  parseAsymmetricKey,
  parseSecret,
  signPlain,
  signStandard,
  type ParsedSecret,
} from '../../domain/signature.ts';

interface Vector {
  from: string;
  secret: string;
  publicKey?: string;
  id: string;
  timestamp: number;
  body: string;
  repeat?: number;
  signature: string;
}

const vectors = JSON.parse(readFileSync(new URL('../fixtures/signatures.json', import.meta.url), 'utf8')) as Record<
  'standard' | 'asymmetric' | 'plain',
  Vector[]
>;

function secretOf(text: string): ParsedSecret {
  const parsed = parseSecret(text);
  if ('fault' in parsed) throw new Error(parsed.fault);
  return parsed;
}

function bodyOf({ body, repeat = 1 }: Vector): Buffer {
  return Buffer.from(body.repeat(repeat));
}

test.each(vectors.standard)('v1 signs as published: $from', (vector) => {
  const { id, timestamp: timestampSeconds, secret, signature } = vector;
  expect(signStandard([secretOf(secret).key], { id, timestampSeconds, body: bodyOf(vector) })).toBe(signature);
});

test.each(vectors.asymmetric)('v1a signs as published: $from', (vector) => {
  const key = parseAsymmetricKey(vector.secret);
  expect(key?.publicKey).toBe(vector.publicKey);
  expect(signStandard([], { id: vector.id, timestampSeconds: vector.timestamp, body: bodyOf(vector) }, key)).toBe(vector.signature);
});

test.each(vectors.plain)('the sha256= header signs as published: $from', (vector) => {
  expect(signPlain(secretOf(vector.secret).key, bodyOf(vector))).toBe(vector.signature);
});

test('the plain signature is HMAC-SHA256 as in RFC 4231', () => {
  const key = createSecretKey(Buffer.from('Jefe'));
  expect(signPlain({ plain: key, standard: key }, Buffer.from('what do ya want for nothing?'))).toBe(
    'sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  );
});

test('signatures come in the order current key, old keys newest first, then v1a', () => {
  const [current, newer, older] = ['current secret', 'newer old secret', 'older old secret'].map((text) => secretOf(text).key);
  const { key: asymmetric } = formatAsymmetricKey(randomBytes(32));
  const input = { id: 'evt_1', timestampSeconds: 1, body: Buffer.from('{}') };
  const all = signStandard([current!, newer!, older!], input, asymmetric).split(' ');
  expect(all.slice(0, 3)).toEqual([current!, newer!, older!].map((key) => signStandard([key], input)));
  expect(all[3]).toMatch(/^v1a,/);
  expect(all).toHaveLength(4);
});

test('an id that could move the boundary to the timestamp is not signed', () => {
  const { key } = secretOf('a typed secret of some length');
  for (const id of ['', 'evt.1', 'evt 1', 'é', 'x'.repeat(65)]) {
    expect(() => signStandard([key], { id, timestampSeconds: 1, body: Buffer.from('{}') })).toThrow('Not an id');
  }
});

test('a generated secret is read back as itself and is not weak', () => {
  const secret = formatSecret(Buffer.alloc(32, 7));
  expect(secretOf(secret)).toMatchObject({ standardSecret: secret, weak: false });
});

test('whsec_ secrets key the two schemes with different bytes', () => {
  const { key } = secretOf(`whsec_${Buffer.alloc(24, 1).toString('base64')}`);
  const body = Buffer.from('{}');
  const plain = createHmac('sha256', `whsec_${Buffer.alloc(24, 1).toString('base64')}`)
    .update(body)
    .digest('hex');
  expect(signPlain(key, body)).toBe(`sha256=${plain}`);
  expect(key.standard.export()).toEqual(Buffer.alloc(24, 1));
});

test('typed secrets are shown in the form that libraries take', () => {
  expect(secretOf('correct horse battery staple').standardSecret).toBe('whsec_Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==');
  expect(secretOf('correct horse battery staple').weak).toBe(false);
  expect(secretOf('hunter2hunter2')).toMatchObject({ weak: true });
});

test.each([
  ['seven77', 'secret_length'],
  ['x'.repeat(257), 'secret_length'],
  ['é'.repeat(129), 'secret_length'],
  ['whsec_', 'secret_key_length'],
  [`whsec_${Buffer.alloc(23).toString('base64')}`, 'secret_key_length'],
  [`whsec_${Buffer.alloc(65).toString('base64')}`, 'secret_key_length'],
  [`whsec_${Buffer.alloc(32).toString('base64').replace('=', '')}`, 'secret_not_base64'],
  [`whsec_${Buffer.alloc(33, 255).toString('base64url')}`, 'secret_not_base64'],
  ['whsec_correct horse battery', 'secret_not_base64'],
])('%j is refused as %s', (text, fault) => {
  expect(parseSecret(text)).toEqual({ fault });
});

test('the bounds of secrets are inclusive', () => {
  for (const text of [
    'x'.repeat(8),
    'x'.repeat(256),
    `whsec_${Buffer.alloc(24).toString('base64')}`,
    `whsec_${Buffer.alloc(64).toString('base64')}`,
  ]) {
    expect(parseSecret(text)).not.toHaveProperty('fault');
  }
});

test('an asymmetric key whose halves do not belong together is refused', () => {
  const { secret } = formatAsymmetricKey(Buffer.alloc(32, 3));
  expect(parseAsymmetricKey(secret)).toBeDefined();
  const bytes = Buffer.from(secret.slice(5), 'base64');
  bytes[40]! ^= 1;
  expect(parseAsymmetricKey(`whsk_${bytes.toString('base64')}`)).toBeUndefined();
  expect(parseAsymmetricKey('whsec_AAAA')).toBeUndefined();
  expect(parseAsymmetricKey('whsk_AAAA')).toBeUndefined();
});
