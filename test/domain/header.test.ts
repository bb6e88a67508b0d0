import { expect, test } from '@jest/globals';
import { checkHeaders } from '../../domain/header.ts';

const codes = (headers: Record<string, string>) => checkHeaders(headers).map(({ code }) => code);

test('ordinary headers are accepted', () => {
  expect(checkHeaders({ Authorization: 'Bearer abc', 'X-Team': 'platform ~ "east"' })).toEqual([]);
});

test.each([
  'Host',
  'connection',
  'Keep-Alive',
  'Transfer-Encoding',
  'Content-Length',
  'content-type',
  'Content-Encoding',
  'TE',
  'Trailer',
  'Upgrade',
  'Expect',
  'User-Agent',
  'Accept-Encoding',
  'Cookie',
  'Set-Cookie',
  'Forwarded',
  'Via',
  'Date',
  'webhook-id',
  'Webhook-Anything',
  'X-Webhook-Signature',
  'Proxy-Authorization',
  'X-Forwarded-For',
  'X-Amz-Target',
  'x-goog-api-key',
  'X-Azure-Ref',
  'Sec-Fetch-Mode',
])('%s cannot be configured', (name) => {
  expect(codes({ [name]: 'x' })).toEqual(['reserved_header']);
});

test.each(['', 'a b', 'a:b', 'é', 'a\r\nb', 'x'.repeat(65)])('%j is no header name', (name) => {
  expect(codes({ [name]: 'x' })).toEqual(['invalid_header_name']);
});

test.each(['a\r\nX-Evil: 1', 'a\0', 'tab\t', 'é', 'x'.repeat(4_097)])('the value %j is refused', (value) => {
  expect(codes({ 'X-A': value })).toEqual(['invalid_header_value']);
});

test('number and size of all headers together are limited', () => {
  const many = Object.fromEntries(Array.from({ length: 21 }, (_, index) => [`X-${index}`, 'v']));
  expect(codes(many)).toEqual(['too_many_headers']);
  expect(codes({ 'X-A': 'x'.repeat(4_096), 'X-B': 'x'.repeat(4_096) })).toEqual(['headers_too_large']);
});

test('one name in two spellings is one header too many', () => {
  expect(codes({ 'X-A': '1', 'x-a': '2' })).toEqual(['invalid_header_name']);
});

test('all faults are reported at once', () => {
  expect(codes({ Host: 'x', 'a b': 'x', 'X-A': '\n' })).toEqual(['reserved_header', 'invalid_header_name', 'invalid_header_value']);
});
