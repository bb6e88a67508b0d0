import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { rawElements, rawMember } from '../../domain/raw-json.ts';

test('number text, key order and escapes of a member are kept to the letter', () => {
  const data = '{"b":1.0,"a":12345678901234567890,"2":1e3,"1":"\\u00e9 \\" , }"}';
  expect(rawMember(`{ "type" : "x", "data" : ${data} , "z": 1}`, 'data')).toEqual({ text: data, depth: 1 });
});

test('white space between tokens goes, white space in strings stays', () => {
  expect(rawMember('{"data": [ 1 ,\n\t{ "a b" : " c " } ]}', 'data')).toEqual({ text: '[1,{"a b":" c "}]', depth: 2 });
});

test('a member named like the wanted one deeper down is not taken, and of two the last wins', () => {
  expect(rawMember('{"x":{"data":1},"data":2,"data":3}', 'data')?.text).toBe('3');
  expect(rawMember('{"x":{"data":1}}', 'data')).toBeUndefined();
});

test('any JSON value comes out as JSON.stringify writes it, however it was indented', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), fc.integer({ min: 0, max: 4 }), (value, other, indent) => {
      // JSON.stringify writes -0 as 0, so parse what it wrote.
      const text = JSON.stringify({ other, data: value, after: [other] }, null, indent);
      expect(rawMember(text, 'data')?.text).toBe(JSON.stringify(value));
      const elements = rawElements(JSON.stringify([value, other, value], null, indent));
      expect(elements.map((element): unknown => JSON.parse(element))).toEqual(JSON.parse(JSON.stringify([value, other, value])));
    }),
  );
});

test('an empty array has no elements', () => {
  expect(rawElements(' [ ] ')).toEqual([]);
});
