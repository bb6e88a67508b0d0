import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { JsonValue } from '../../../domain/audit/canonical.ts';
import { changedNames, type Difference, diffValues } from '../../../domain/audit/diff.ts';

test('differences name what was added, removed and replaced, at any depth', () => {
  const before = { a: 1, b: { c: [1, 2, 3], 'x/y~z': true }, gone: 'old' };
  const after = { a: 1, b: { c: [1, 5], 'x/y~z': false }, fresh: null };
  expect(diffValues(before, after)).toEqual([
    { op: 'replace', path: '/b/c/1', before: 2, after: 5 },
    { op: 'remove', path: '/b/c/2', before: 3 },
    { op: 'replace', path: '/b/x~1y~0z', before: true, after: false },
    { op: 'add', path: '/fresh', after: null },
    { op: 'remove', path: '/gone', before: 'old' },
  ]);
});

test('what was replaced by a marker differs as a whole', () => {
  expect(diffValues({ $redacted: 'secret' }, { a: 1 })).toEqual([
    { op: 'replace', path: '', before: { $redacted: 'secret' }, after: { a: 1 } },
  ]);
});

test('applied in order, the differences turn the one into the other', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), fc.jsonValue({ maxDepth: 4 }), (left, right) => {
      // through JSON: no negative zero, and `__proto__` as a member of its own
      const [before, after] = [left, right].map((value) => JSON.parse(JSON.stringify(value)) as JsonValue) as [JsonValue, JsonValue];
      const root = { value: structuredClone(before) };
      for (const difference of diffValues(before, after)) apply(root, difference);
      expect(root.value).toEqual(after);
    }),
  );
});

test('changed names are those whose values differ, dates and nested values included', () => {
  const at = new Date(1);
  expect(changedNames({ a: 1, b: [1, { c: 2 }], d: at, e: 1, f: undefined }, { a: 1, b: [1, { c: 3 }], d: new Date(1), g: 0 })).toEqual([
    'b',
    'e',
    'g',
  ]);
});

function apply(root: { value: JsonValue }, { op, path, after }: Difference): void {
  const keys = `/value${path}`
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  const last = keys.pop()!;
  let target = root as unknown;
  for (const key of keys) target = (target as Record<string, unknown>)[key];
  if (Array.isArray(target) && op === 'remove') target.splice(Number(last), 1);
  else if (op === 'remove') delete (target as Record<string, unknown>)[last];
  else Object.defineProperty(target, last, { value: structuredClone(after), enumerable: true, configurable: true, writable: true });
}
