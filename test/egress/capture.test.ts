import { expect, test } from '@jest/globals';
import type { HttpResponse } from '../../domain/outbound.ts';
import { createRedactor } from '../../domain/redaction.ts';
import { captureDetail, captureRequestHeaders, captureResponse } from '../../egress/capture.ts';
import { post } from './open-egress.ts';

const same = (text: string) => text;

function answer(body: string | Buffer, parts: Partial<HttpResponse> = {}): HttpResponse {
  return { kind: 'http', status: 500, headers: {}, body: Buffer.from(body), bodyTruncated: false, timings: { total: 1 }, ...parts };
}

test.each([
  ['delivered', 1_024],
  ['retryable', 16_384],
  ['rejected', 16_384],
] as const)('of a %s attempt %i bytes of body are kept', (outcome, bytes) => {
  expect(captureResponse(answer('x'.repeat(bytes)), outcome, same)).toMatchObject({ body: 'x'.repeat(bytes), truncated: false });
  expect(captureResponse(answer('x'.repeat(bytes + 1)), outcome, same)).toMatchObject({ body: 'x'.repeat(bytes), truncated: true });
});

test('a character across the limit is left out whole', () => {
  const { body, truncated } = captureResponse(answer(`${'x'.repeat(1_023)}é`), 'delivered', same);
  expect(body).toBe('x'.repeat(1_023));
  expect(truncated).toBe(true);
});

test('text that is not quite UTF-8 is kept lossily, binary as base64', () => {
  expect(captureResponse(answer(Buffer.from([0x61, 0xff, 0x62])), 'retryable', same)).toMatchObject({ body: 'a\uFFFDb', encoding: 'utf8' });
  expect(captureResponse(answer(Buffer.from([0x61, 0, 0x62])), 'retryable', same)).toMatchObject({
    body: Buffer.from([0x61, 0, 0x62]).toString('base64'),
    encoding: 'base64',
  });
});

test('a secret across the limit leaves no half behind', () => {
  const secret = 'correct-horse-battery-staple';
  const { body } = captureResponse(answer(`${'x'.repeat(1_010)}${secret} end`), 'delivered', createRedactor([secret]));
  expect(body).not.toContain('correct');
});

test('a secret inside a binary body is found in every spelling, also across the limit and when it is not ASCII', () => {
  const secret = 'correct-horse&battery/staple';
  const spellings = [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64')];
  const bodies = [`\0${spellings.join(' ')}`, `\0${'x'.repeat(1_010)}${secret}`];
  for (const text of bodies) {
    const { body } = captureResponse(answer(Buffer.from(text)), 'delivered', createRedactor([secret]));
    const kept = Buffer.from(body, 'base64').toString('latin1');
    expect(kept).toContain('[redact');
    for (const spelling of [...spellings, 'correct-']) expect(kept).not.toContain(spelling);
  }
  const { body } = captureResponse(answer(Buffer.from('\0Schlüssel-für-alle')), 'retryable', createRedactor(['Schlüssel-für-alle']));
  expect(Buffer.from(body, 'base64').toString()).not.toContain('Schlüssel-für-alle');
});

test('at most 64 headers and 8 KiB are kept, never cookies', () => {
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`x-${index}`, 'v']));
  expect(Object.keys(captureResponse(answer('', { headers: many }), 'retryable', same).headers)).toHaveLength(64);
  const large = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`x-${index}`, 'v'.repeat(1_000)]));
  expect(Object.keys(captureResponse(answer('', { headers: large }), 'retryable', same).headers)).toHaveLength(8);
  const cookies = { 'set-cookie': ['a=1', 'b=2'], link: ['<a>', '<b>'] };
  expect(captureResponse(answer('', { headers: cookies }), 'retryable', same).headers).toEqual({ link: '<a>, <b>' });
});

test('a detail is one line of at most 500 characters', () => {
  expect(captureDetail(`a\r\n b ${'x'.repeat(600)}`, same)).toHaveLength(500);
  expect(captureDetail('a\r\n b', same)).toBe('a b');
  expect(captureDetail('a\0\u0007b', same)).toBe('a b');
  expect(captureDetail(undefined, same)).toBeNull();
});

test('a signature is never kept: over a known body it would let a weak secret be guessed at leisure', () => {
  const headers = { 'webhook-signature': 'v1,abc=', 'X-Webhook-Signature': 'sha256=abc', 'X-Webhook-Signature-Previous': 'sha256=def' };
  const kept = captureRequestHeaders(post('https://example.com/', { headers, privateHeaders: new Set() }), same);
  expect(new Set(Object.values(kept))).toEqual(new Set(['[redacted]']));
});

test("of the organization's own request headers only the names are kept", () => {
  const headers = { 'X-Pin': '1234', 'Content-Type': 'application/json' };
  const request = post('https://example.com/', { headers, privateHeaders: new Set(['x-pin']) });
  expect(captureRequestHeaders(request, same)).toEqual({ 'X-Pin': '[redacted]', 'Content-Type': 'application/json' });
});
