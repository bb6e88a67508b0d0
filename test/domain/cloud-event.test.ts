import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { validateEvent } from '../../api/event-schema.ts';
import { allFaults, cloudEventMode, type CloudEventTranslation, translateBinary, translateStructured } from '../../domain/cloud-event.ts';
import { builtInTypes } from '../../domain/custom-event-type.ts';
import { DomainError } from '../../domain/errors.ts';
import { findEventType } from '../../domain/event-type.ts';

const fixture = (name: string): unknown => JSON.parse(readFileSync(new URL(`../fixtures/intake/${name}`, import.meta.url), 'utf8'));

const types = {
  isKnown: (spelling: string) => findEventType(spelling)?.own === false,
  map: new Map([['com.example.cluster.agent-lost', 'agent.disconnect']]),
};
const keyOf = (source: string, id: string) => `ce:${createHash('sha256').update(`${source}\n${id}`).digest('hex')}`;
const minimal = { specversion: '1.0', id: '1', source: '/s', type: 'job.failed' };
const structured = (overrides: Record<string, unknown> = {}) => translateStructured({ ...minimal, ...overrides }, types);
const header = (overrides: Record<string, string> = {}) => ({
  'ce-specversion': '1.0',
  'ce-id': '1',
  'ce-source': '/s',
  'ce-type': 'job.failed',
  ...overrides,
});

/** All that a caller hears of a translation. */
function faultsOf(translation: CloudEventTranslation): string[] {
  const validated = validateEvent(translation.input, { types: builtInTypes, data: undefined, now: new Date('2026-10-01T12:00:00Z') });
  const ofInput = 'faults' in validated ? validated.faults : [];
  return allFaults(translation, ofInput).map(({ pointer, code }) => `${pointer} ${code}`);
}
const errorOf = (run: () => unknown): string => {
  try {
    run();
    return 'none';
  } catch (error) {
    return error instanceof DomainError ? error.code : String(error);
  }
};

describe('how a request carries CloudEvents', () => {
  test.each([
    ['application/cloudevents+json', {}, 'structured'],
    ['application/cloudevents', {}, 'structured'],
    ['application/cloudevents+json', header(), 'structured'],
    ['application/cloudevents-batch+json', {}, 'batch'],
    ['application/json', header(), 'binary'],
    ['application/json', { 'ce-type': 'job.failed' }, 'binary'],
    ['', header(), 'binary'],
    ['application/json', { 'x-ce-id': '1' }, null],
  ])('%s with headers %j: %s', (mediaType, headers, mode) => {
    expect(cloudEventMode(mediaType, headers)).toBe(mode);
  });

  test('another event format is not taken', () => {
    expect(errorOf(() => cloudEventMode('application/cloudevents+avro', {}))).toBe('unsupported_media_type');
  });
});

describe('an event in the JSON format', () => {
  test('becomes an event that is accepted', () => {
    const translation = translateStructured(fixture('cloud-event.json'), types);
    expect(translation.input).toEqual({
      type: 'deployment.failed',
      severity: 'error',
      subject: 'api-platform 2.0.6 failed in production',
      source: '/ci/pipelines/42',
      tenantId: 'acme-eu',
      environment: 'production',
      resource: { type: 'deployment', id: 'api-platform' },
      data: { subject: 'api-platform 2.0.6 failed in production', step: 'migrate', seconds: 12.5 },
      dedupKey: 'deploy-api-platform',
      occurredAt: '2026-10-01T11:59:58.120+02:00',
    });
    expect(translation.idempotencyKey).toBe(keyOf('/ci/pipelines/42', 'A234-1234-1234'));
    expect(faultsOf(translation)).toEqual([]);
  });

  test('of a batch stands or falls alone', () => {
    const [drift, snapshot, agent] = fixture('cloud-events-batch.json') as unknown[];
    expect(translateStructured(drift, types).input).toEqual({
      type: 'drift.detect',
      subject: 'drift.detect',
      source: 'https://gitops.example.com/clusters/eu-1',
      resource: { type: 'subject', id: 'eu-1' },
      data: null,
      occurredAt: '2026-10-01T12:00:00Z',
    });
    expect(errorOf(() => translateStructured(snapshot, types))).toBe('unsupported_media_type');
    const translation = translateStructured(agent, types);
    expect(translation.input).toMatchObject({
      type: 'agent.disconnect',
      subject: 'com.example.cluster.agent-lost',
      resource: { type: 'agents', id: 'eu-1/7' },
    });
    expect(faultsOf(translation)).toEqual([]);
  });

  test('that is no object is refused', () => {
    expect(errorOf(() => translateStructured([minimal], types))).toBe('validation_failed');
  });

  test('is one request however often it comes, and another when source or id differ', () => {
    expect(structured({ data: 1 }).idempotencyKey).toBe(structured({ data: 2 }).idempotencyKey);
    expect(structured({ source: '/s1', id: '' }).idempotencyKey).toBeNull();
    expect(structured({ source: '/s1', id: '2' }).idempotencyKey).not.toBe(structured({ source: '/s', id: '12' }).idempotencyKey);
    // or a line break would let one pass for another
    expect(faultsOf(structured({ id: 'a\nb' }))).toEqual(['/id control_character']);
  });

  test.each<[string, Record<string, unknown>, string[]]>([
    ['as it is', {}, []],
    ['with null for what it lacks', { subject: null, time: null, severity: null, data_base64: null }, []],
    ['with unknown extensions', { traceparent: '00-1', sequence: 7 }, []],
    [
      'without the attributes that it must have',
      { specversion: undefined, id: '', source: null, type: undefined },
      ['/specversion required', '/id required', '/source required', '/type required'],
    ],
    ['of another version', { specversion: '0.3' }, ['/specversion unknown_value']],
    [
      'with attributes of other kinds',
      { id: 1, subject: {}, severity: 3 },
      ['/id invalid_type', '/subject invalid_type', '/severity invalid_type'],
    ],
    [
      'with values that no event may have',
      { severity: 'page', time: 'now', projectid: 'p', tenantid: '', dedupkey: 'x'.repeat(513), subject: `${'t'.repeat(65)}/i` },
      [
        '/severity unknown_severity',
        '/projectid invalid_id',
        '/tenantid too_small',
        '/subject too_big',
        '/dedupkey too_big',
        '/time invalid_format',
      ],
    ],
    ['of an unknown type', { type: 'com.example.nothing' }, ['/type unknown_event_type']],
    ["of one of Tocsin's own types", { type: 'webhook.failing' }, ['/type reserved_event_type']],
  ])('%s points at every fault by its attribute', (_, overrides, faults) => {
    expect(faultsOf(structured(overrides)).toSorted()).toEqual(faults.toSorted());
  });
});

test.each([
  ['deployment.failed', 'deployment.failed'],
  ['deployment.fail', 'deployment.fail'],
  ['com.example.deployment.failed', 'deployment.failed'],
  ['com.example.policy.violation.detect', 'policy.violation.detect'],
  ['com.example.cluster.agent-lost', 'agent.disconnect'],
  ['com.example.deployment.failed.v1', 'com.example.deployment.failed.v1'],
  ['com.example.webhook.failing', 'com.example.webhook.failing'],
  ['x'.repeat(100_000).replaceAll('x', 'x.'), 'x.'.repeat(100_000)],
])('the type %.40s is %.40s', (type, expected) => {
  expect(structured({ type }).input.type).toBe(expected);
});

test('an exact type goes before the map, and the map before a suffix', () => {
  const known = {
    ...types,
    map: new Map([
      ['job.failed', 'alert.fired'],
      ['ours.job.failed', 'alert.fired'],
    ]),
  };
  expect(translateStructured(minimal, known).input.type).toBe('job.failed');
  expect(translateStructured({ ...minimal, type: 'ours.job.failed' }, known).input.type).toBe('alert.fired');
});

test.each([
  ['deployment/api', { type: 'deployment', id: 'api' }],
  ['a/b/c', { type: 'a', id: 'b/c' }],
  ['api', { type: 'subject', id: 'api' }],
  ['/blobs/1', { type: 'subject', id: '/blobs/1' }],
  ['api/', { type: 'subject', id: 'api/' }],
])('the subject %s is the resource %j', (subject, resource) => {
  expect(structured({ subject }).input.resource).toEqual(resource);
});

test.each<[unknown, string]>([
  [{ subject: 'It\nfailed' }, 'It failed'],
  [{ subject: 'x'.repeat(300) }, 'x'.repeat(256)],
  [{ subject: ' ' }, 'job.failed'],
  [{ subject: 7 }, 'job.failed'],
  ['text', 'job.failed'],
  [undefined, 'job.failed'],
])('data %j gives the subject %s', (data, subject) => {
  expect(structured({ data }).input.subject).toBe(subject);
});

describe('an event in headers', () => {
  test('becomes an event that is accepted', () => {
    const { headers, body } = fixture('cloud-event-binary.json') as { headers: Record<string, string>; body: unknown };
    const translation = translateBinary(headers, body, types);
    expect(translation.input).toEqual({
      type: 'job.failed',
      severity: 'critical',
      subject: 'io.example.job.failed',
      source: '/backup/nightly',
      environment: 'production',
      resource: { type: 'job', id: 'Sicherung Köln' },
      data: { exitCode: 74, volume: 'vol-1' },
      occurredAt: '2026-10-01T02:31:07Z',
    });
    expect(translation.idempotencyKey).toBe(keyOf('/backup/nightly', 'C234-1234-1234'));
    expect(faultsOf(translation)).toEqual([]);
  });

  test.each([
    ['Euro%20%E2%82%AC%20%F0%9F%98%80', 'Euro € 😀'],
    ['Euro%20%e2%82%ac', 'Euro €'],
    ['%41%2541', 'A%41'],
    ['"a \\"b\\" \\\\ %20"', 'a "b" \\  '],
    ['say "hi"', 'say "hi"'],
  ])('is read as the binding says: %s', (value, id) => {
    expect(translateBinary(header({ 'ce-subject': value }), undefined, types).input.resource).toEqual({ type: 'subject', id });
  });

  test('without a body has no data', () => {
    expect(translateBinary(header(), undefined, types).input).not.toHaveProperty('data');
  });

  test.each(['%C0%A0', '100%', '%E2%82', 'K\u00f6ln'])('is refused for a value that is no percent-encoded UTF-8: %s', (value) => {
    expect(faultsOf(translateBinary(header({ 'ce-id': value }), undefined, types))).toEqual(['/headers/ce-id invalid_format']);
  });

  test('points at every fault by its header', () => {
    const headers = header({ 'ce-severity': 'page', 'ce-time': 'now', 'ce-subject': 'a%00', 'ce-specversion': '2' });
    expect(faultsOf(translateBinary({ ...headers, 'ce-source': undefined }, {}, types)).toSorted()).toEqual([
      '/headers/ce-severity unknown_severity',
      '/headers/ce-source required',
      '/headers/ce-specversion unknown_value',
      '/headers/ce-subject control_character',
      '/headers/ce-time invalid_format',
    ]);
  });
});
