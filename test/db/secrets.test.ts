import { createHmac, randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { createSecretBox, SecretUnavailableError, type SecretPlace } from '../../db/secrets.ts';

const old = { id: 'old', key: randomBytes(32) };
const current = { id: 'current', key: randomBytes(32) };
const place: SecretPlace = { organizationId: 'org', table: 'webhook', row: 'row', field: 'secret' };

test('opens what was sealed, of any length and script, and seals the same text differently each time', () => {
  const box = createSecretBox([current]);
  for (const text of ['', 'x', 'Geheimnis 👩‍🚒', 'y'.repeat(100_000)]) expect(box.open(box.seal(text, place), place)).toBe(text);
  expect(box.seal('x', place).equals(box.seal('x', place))).toBe(false);
  expect(box.seal('plain to see', place).includes('plain to see')).toBe(false);
});

test.each<keyof SecretPlace>(['organizationId', 'table', 'row', 'field'])('does not open in another %s', (part) => {
  const box = createSecretBox([current]);
  const sealed = box.seal('secret', place);
  expect(() => box.open(sealed, { ...place, [part]: 'another' })).toThrow(SecretUnavailableError);
});

test('opens with every key that is still there, and seals with the first', () => {
  const sealed = createSecretBox([old]).seal('secret', place);
  const rotated = createSecretBox([current, old]);
  expect(rotated.open(sealed, place)).toBe('secret');
  expect(() => createSecretBox([current]).open(sealed, place)).toThrow('No key "old"');
  expect(createSecretBox([current]).open(rotated.seal('new', place), place)).toBe('new');
});

test('does not open with another key of the same name, nor what was changed or cut anywhere', () => {
  const box = createSecretBox([current]);
  const sealed = box.seal('secret', place);
  expect(() => createSecretBox([{ id: 'current', key: randomBytes(32) }]).open(sealed, place)).toThrow(SecretUnavailableError);
  for (let i = 0; i < sealed.length; i += 1) {
    const changed = Buffer.from(sealed);
    changed[i]! ^= 1;
    expect(() => box.open(changed, place)).toThrow(SecretUnavailableError);
    expect(() => box.open(sealed.subarray(0, i), place)).toThrow(SecretUnavailableError);
  }
});

test('an error names the place and never the secret', () => {
  const sealed = createSecretBox([current]).seal('topsecret', place);
  try {
    createSecretBox([old]).open(sealed, place);
    throw new Error('It opened.');
  } catch (error) {
    expect((error as Error).message).toBe('No key "current" for webhook.secret.');
  }
});

test('needs a key', () => {
  expect(() => createSecretBox([])).toThrow('At least one secret key');
});

test('derives by HKDF-SHA256 for one purpose from one key, whichever comes first', () => {
  const hmac = (key: Uint8Array, text: Uint8Array) => createHmac('sha256', key).update(text).digest();
  // RFC 5869: extract with a salt of zeros, then one block of expand
  const expected = hmac(hmac(Buffer.alloc(32), old.key), Buffer.from('purpose\x01'));
  expect(createSecretBox([old]).deriveKey('purpose', 'old')).toEqual(expected);
  const rotated = createSecretBox([current, old]);
  expect(rotated.keyId).toBe('current');
  expect(rotated.deriveKey('purpose', 'old')).toEqual(expected);
  expect(rotated.deriveKey('purpose', 'current')).not.toEqual(expected);
  expect(rotated.deriveKey('another', 'old')).not.toEqual(expected);
  expect(() => createSecretBox([current]).deriveKey('purpose', 'old')).toThrow(SecretUnavailableError);
});
