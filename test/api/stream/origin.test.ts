import { expect, test } from '@jest/globals';
import { isOriginAllowed } from '../../../api/stream/origin.ts';

const host = 'tocsin.example.com:8400';

test.each([
  ['whoever is no browser', undefined, [], true],
  ['a page of the same host', 'https://tocsin.example.com:8400', [], true],
  ['a page of another port', 'https://tocsin.example.com', [], false],
  ['a foreign page', 'https://evil.example.com', [], false],
  ['a page that hides where it is from', 'null', [], false],
  ['a page that is allowed', 'https://console.example.com', ['https://console.example.com'], true],
  ['a page of the same host that is not among those allowed', 'https://tocsin.example.com:8400', ['https://console.example.com'], false],
])('%s', (_who, origin, allowed, expected) => {
  expect(isOriginAllowed(origin, host, allowed)).toBe(expected);
});
