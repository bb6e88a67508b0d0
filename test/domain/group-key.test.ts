import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { deriveGroupKey, groupByKeys, groupValues, isGroupByKey } from '../../domain/group-key.ts';
import { buildEvent, buildFullEvent } from '../channels/views.ts';

const rule = '0199c9f1-b508-7b23-9b88-00000000000a';

test('an event has a value for every key, the empty text for what it lacks', () => {
  const event = buildFullEvent({ groupKey: 'g1' });
  expect(groupValues([...groupByKeys, 'label.team', 'label.missing', 'label.__proto__'], event)).toEqual([
    'alert.fired',
    'alert',
    '0199c9f1-b508-7b23-9b88-000000000003',
    'production',
    'prometheus',
    'web-1',
    'auto:1',
    'g1',
    'platform',
    '',
    '',
  ]);
  expect(groupValues(['projectId', 'environment', 'resource.id', 'groupKey', 'label.team'], buildEvent())).toEqual(['', '', '', '', '']);
});

test('a group key is the SHA-256 of the canonical JSON of owner and values', () => {
  const canonical = `["${rule}",["alert.fired",""]]`;
  expect(deriveGroupKey(rule, ['type', 'projectId'], buildEvent())).toBe(createHash('sha256').update(canonical).digest('hex'));
});

test('two events share a group exactly when their values are equal, and two owners never do', () => {
  const text = fc.string({ unit: fc.constantFrom('a', '"', ',', '[', '\\', 'é', '\n'), maxLength: 4 });
  const event = fc.record({ environment: text, source: text }).map((fields) => buildEvent(fields));
  fc.assert(
    fc.property(event, event, (left, right) => {
      const keys = ['environment', 'source'];
      const equal = left.environment === right.environment && left.source === right.source;
      expect(deriveGroupKey(rule, keys, left) === deriveGroupKey(rule, keys, right)).toBe(equal);
    }),
  );
  expect(deriveGroupKey('a', ['type'], buildEvent())).not.toBe(deriveGroupKey('b', ['type'], buildEvent()));
});

test.each([
  ['type', true],
  ['groupKey', true],
  ['label.team', true],
  ['label.app.kubernetes.io/name', true],
  ['label.', false],
  ['severity', false],
  ['resource', false],
  ['', false],
])('events are grouped by %s: %s', (key, expected) => {
  expect(isGroupByKey(key)).toBe(expected);
});
