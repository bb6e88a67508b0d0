import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createRedactor } from '../../domain/redaction.ts';

const secret = 's3cr3t/+pass "wörd"';
const redact = createRedactor([secret]);

test.each([
  ['as it is', secret],
  ['in JSON', JSON.stringify({ secret })],
  ['percent-encoded', encodeURIComponent(secret)],
  ['percent-encoded in lower case', encodeURIComponent(secret).replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase())],
  ['in base64', Buffer.from(secret).toString('base64')],
  ['in base64url', Buffer.from(secret).toString('base64url')],
  ['inside the base64 of Basic credentials', Buffer.from(`user:${secret}`).toString('base64')],
  ['inside the base64 of other Basic credentials', Buffer.from(`users:${secret}!`).toString('base64')],
  ['inside the base64 of yet others', Buffer.from(`u:${secret}??`).toString('base64')],
])('a secret %s is redacted', (_form, text) => {
  const redacted = redact(`before ${text} after`);
  expect(redacted).toContain('[redacted]');
  expect(redacted).toMatch(/^before .* after$/);
  for (const part of ['s3cr3t', 'czNjcjN0L', 'NjcjN0Ly', 'zY3IzdC8']) expect(redacted).not.toContain(part);
});

test('what is no secret stays as it is', () => {
  expect(redact('a pass word, s3cr3')).toBe('a pass word, s3cr3');
  expect(createRedactor([])(secret)).toBe(secret);
});

test('a secret inside a longer one does not leave the rest of the longer one', () => {
  expect(createRedactor(['topsecret', 'topsecret-and-more'])('x topsecret-and-more y')).toBe('x [redacted] y');
});

test('very short values are left alone: they would blot out ordinary text', () => {
  expect(createRedactor(['prod'])('in production')).toBe('in production');
});

test('characters with a meaning in patterns are taken literally', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 6, maxLength: 40, unit: 'grapheme' }), (text) => {
      fc.pre(text.isWellFormed() && text.length >= 6);
      expect(createRedactor([text])(`<${text}>`)).not.toContain(text);
    }),
  );
});
