import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { matchesEventType, matchesGlob, matchesRule, type Matcher, type Rule } from '../../domain/rule.ts';
import { buildEvent } from '../channels/views.ts';

const rule: Rule = {
  id: 'r',
  version: 1,
  name: 'r',
  enabled: true,
  position: 1,
  types: [],
  categories: [],
  projectIds: [],
  minSeverity: null,
  matchers: [],
  channelIds: [],
  policyId: null,
  aggregate: null,
  stop: false,
};
const event = buildEvent({
  type: 'alert.fired',
  category: 'alert',
  severity: 'high',
  projectId: 'p1',
  environment: 'production',
  source: 'prometheus',
  groupKey: 'rack-7',
  labels: { team: 'platform', 'a.b/c': 'x' },
  resource: { type: 'host', id: 'web-1' },
});
const matches = (fields: Partial<Rule>) => matchesRule({ ...rule, ...fields }, event);

describe('a rule', () => {
  test.each<[string, Partial<Rule>, boolean]>([
    ['without conditions matches everything', {}, true],
    ['that is disabled matches nothing', { enabled: false }, false],
    ['matches by type', { types: ['alert.fired'] }, true],
    ['matches by pattern', { types: ['alert.*'] }, true],
    ['matches by type or category', { types: ['job.failed'], categories: ['alert'] }, true],
    ['of other types and categories does not match', { types: ['job.failed'], categories: ['job'] }, false],
    ['of its project matches', { projectIds: ['p0', 'p1'] }, true],
    ['of another project does not', { projectIds: ['p0'] }, false],
    ['of at most this severity matches', { minSeverity: 'high' }, true],
    ['of a worse severity does not', { minSeverity: 'critical' }, false],
    [
      'needs every matcher',
      {
        matchers: [
          { key: 'severity', op: '=', value: 'high' },
          { key: 'source', op: '=', value: 'other' },
        ],
      },
      false,
    ],
  ])('%s', (_, fields, expected) => {
    expect(matches(fields)).toBe(expected);
  });

  test('of a project does not match an event without one', () => {
    expect(matchesRule({ ...rule, projectIds: ['p1'] }, buildEvent({ projectId: null }))).toBe(false);
  });
});

test.each<[Matcher, boolean]>([
  [{ key: 'environment', op: '=', value: 'production' }, true],
  [{ key: 'environment', op: '!=', value: 'production' }, false],
  [{ key: 'tenantId', op: '=', value: '' }, true],
  [{ key: 'tenantId', op: '!=', value: 'acme' }, true],
  [{ key: 'label.team', op: 'in', value: ['web', 'platform'] }, true],
  [{ key: 'label.team', op: 'not_in', value: ['web', 'platform'] }, false],
  [{ key: 'label.missing', op: 'in', value: [''] }, true],
  [{ key: 'label.a.b/c', op: '=', value: 'x' }, true],
  [{ key: 'label.__proto__', op: 'exists', value: false }, true],
  [{ key: 'label.constructor', op: 'exists', value: false }, true],
  [{ key: 'label.team', op: 'exists', value: true }, true],
  [{ key: 'resource.id', op: 'glob', value: 'web-?' }, true],
  [{ key: 'resource.type', op: 'glob', value: 'HOST' }, false],
  [{ key: 'projectId', op: '=', value: 'p1' }, true],
  [{ key: 'groupKey', op: 'glob', value: 'rack-*' }, true],
  [{ key: 'nothing', op: 'exists', value: true }, false],
])('the matcher %j says %s', (matcher, expected) => {
  expect(matches({ matchers: [matcher] })).toBe(expected);
});

describe('an event type pattern', () => {
  test.each([
    ['*', 'alert.fired', true],
    ['alert.fired', 'alert.fired', true],
    ['alert.*', 'alert.fired', true],
    ['policy.*', 'policy.violation.detect', true],
    ['policy.violation.*', 'policy.violation.detect', true],
    ['alert.*', 'alerts.fired', false],
    ['alert.*', 'alert', false],
    ['drift.detect', 'drift.detected', false],
  ])('%s on %s: %s', (pattern, type, expected) => {
    expect(matchesEventType(pattern, type)).toBe(expected);
  });
});

describe('a glob', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?', '\n', '\\', 'é'), maxLength: 12 });

  test('means what the regular expression means that says the same', () => {
    const toRegExp = (pattern: string) =>
      new RegExp(`^${pattern.replaceAll(/[.*?\\]/g, (c) => (c === '*' ? '[^]*' : c === '?' ? '[^]' : `\\${c}`))}$`);
    fc.assert(
      fc.property(letters, letters, (pattern, text) => {
        expect(matchesGlob(pattern, text)).toBe(toRegExp(pattern).test(text));
      }),
      { numRuns: 5_000 },
    );
  });

  test('matches every text that it was made from by blotting letters out', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom('a', 'b', '.'), fc.constantFrom('keep', '?', '*'))), (parts) => {
        const pattern = parts.map(([letter, how]) => (how === 'keep' ? letter : how)).join('');
        expect(matchesGlob(pattern, parts.map(([letter]) => letter).join(''))).toBe(true);
      }),
    );
  });

  test('is never slow: a pattern that makes regular expressions backtrack for ever needs time in proportion', () => {
    const startedAt = performance.now();
    expect(matchesGlob('*a'.repeat(128), `${'a'.repeat(20_000)}b`)).toBe(false);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});
