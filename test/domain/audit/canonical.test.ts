import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { canonicalize, type JsonValue } from '../../../domain/audit/canonical.ts';

const vectors = JSON.parse(readFileSync(new URL('../../fixtures/audit/jcs.json', import.meta.url), 'utf8')) as {
  cases: Record<string, { input: string; outputHex: string }>;
};
const numbers = JSON.parse(readFileSync(new URL('../../fixtures/audit/jcs-numbers.json', import.meta.url), 'utf8')) as { bits: string[] };

test.each(Object.keys(vectors.cases))('the public vector %s has its published bytes', (name) => {
  const { input, outputHex } = vectors.cases[name]!;
  expect(Buffer.from(canonicalize(JSON.parse(input) as JsonValue)).toString('hex')).toBe(outputHex);
});

test('the first 1,000 lines of the public ES6 number sequence have their published digest', () => {
  const bits = numbers.bits.map((hex) => BigInt(`0x${hex}`));
  for (let i = 0n; bits.length < 1_000; i += 1n) bits.push(0x0010000000000000n + i);
  const digest = createHash('sha256');
  for (const pattern of bits) digest.update(`${pattern.toString(16)},${canonicalize(doubleOf(pattern))}\n`);
  expect(digest.digest('hex')).toBe('be18b62b6f69cdab33a7e0dae0d9cfa869fda80ddc712221570f9f40a5878687');
});

test.each([
  [0x3eb0c6f7a0b5ed8cn, '9.999999999999997e-7'],
  [0x8000000000000000n, '0'],
  [0x444b1ae4d6e2ef50n, '1e+21'],
])('the double %s is written %s', (bits, text) => {
  expect(canonicalize(doubleOf(bits))).toBe(text);
});

test('keys are ordered by UTF-16 code units, not by code points or locale', () => {
  // RFC 8785 section 3.2.3: the emoji is above U+FB33, but its first unit, a surrogate, is below
  const text = '{"\\u20ac":1,"\\r":2,"\\ufb33":3,"1":4,"\\ud83d\\ude00":5,"\\u0080":6,"\\u00f6":7,"10":8,"9":9}';
  expect(canonicalize(JSON.parse(text) as JsonValue)).toBe('{"\\r":2,"1":4,"10":8,"9":9,"\u0080":6,"ö":7,"€":1,"😀":5,"\ufb33":3}');
});

test('text is not normalised: a letter and its composed form stay two texts', () => {
  expect(canonicalize({ a: 'A\u030a', b: '\u00c5' })).toBe('{"a":"A\u030a","b":"\u00c5"}');
});

test('members without a value are absent, in objects made with any prototype', () => {
  const bare = Object.assign(Object.create(null) as Record<string, JsonValue>, { b: 1 });
  expect(canonicalize({ a: undefined, b: bare, c: null })).toBe('{"b":{"b":1},"c":null}');
});

test.each([
  ['a lone surrogate in a text', 'a\ud800'],
  ['a lone surrogate in a key', { '\udc00': 1 }],
  ['NaN', Number.NaN],
  ['infinity', [Number.POSITIVE_INFINITY]],
  ['a date', new Date(0)],
  ['a map', new Map()],
  ['a bigint', 1n],
  ['nothing at all', undefined],
  ['a hole in an array', [undefined]],
])('%s has no canonical form', (_name, value) => {
  expect(() => canonicalize(value as JsonValue)).toThrow('no canonical JSON form');
});

test('any JSON value survives, and its text does not depend on the order of its keys', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = canonicalize(value);
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      expect(canonicalize(reversed(JSON.parse(text) as JsonValue))).toBe(text);
    }),
  );
});

function reversed(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return (value as readonly JsonValue[]).map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, member]) => [key, reversed(member as JsonValue)]),
  );
}

function doubleOf(bits: bigint): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}
