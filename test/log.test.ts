import { expect, test } from '@jest/globals';
import { createLogger, type LogFields } from '../log.ts';

function logOne(fields: LogFields): { line: string; parsed: Record<string, unknown> } {
  const lines: string[] = [];
  createLogger({ process: 'api', write: (line) => lines.push(line) }).info('request', fields);
  expect(lines).toHaveLength(1);
  return { line: lines[0]!, parsed: JSON.parse(lines[0]!) as Record<string, unknown> };
}

test('a line is one line of JSON that begins with time, level, process and unit', () => {
  const { line, parsed } = logOne({ requestId: 'r-1', organizationId: 'org_1', detail: 'two\nlines' });
  expect(line.indexOf('\n')).toBe(line.length - 1);
  expect(Object.keys(parsed)).toEqual(['time', 'level', 'process', 'unit', 'requestId', 'organizationId', 'detail']);
  expect(parsed).toMatchObject({ level: 'info', process: 'api', unit: 'request', detail: 'two\nlines' });
  expect(parsed['time']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test('an error keeps its name, message, code, stack and causes', () => {
  const error = Object.assign(new TypeError('no way', { cause: new Error('deeper') }), { code: 'ECONNREFUSED' });
  expect(logOne({ error }).parsed['error']).toMatchObject({
    name: 'TypeError',
    message: 'no way',
    code: 'ECONNREFUSED',
    stack: expect.stringContaining('TypeError: no way'),
    cause: { name: 'Error', message: 'deeper' },
  });
});

test('lines below the level are not made', () => {
  const lines: string[] = [];
  const logger = createLogger({ process: 'api', level: 'warn', write: (line) => lines.push(line) });
  logger.debug('a', {});
  logger.info('b', {});
  logger.warn('c', {});
  logger.error('d', {});
  expect(lines.map((line) => (JSON.parse(line) as { unit: string }).unit)).toEqual(['c', 'd']);
});

test.each<[string, LogFields, string]>([
  ['an API key', { detail: `key tsn_${'k'.repeat(40)} refused` }, 'k'.repeat(40)],
  ['a webhook secret', { nested: { secretText: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' } }, 'MfKQ9r8G'],
  ['a bearer token', { headers: 'Authorization: Bearer abcdefghijkl' }, 'abcdefghijkl'],
  ['the password of a URL', { error: new Error('cannot reach postgres://tocsin:hunter2@db:5432/tocsin') }, 'hunter2'],
  ['a field called password', { smtp: { user: 'mailer', password: 'quo"te\\d' } }, 'quo'],
  ['a field called authorization', { Authorization: 'Basic aHVudGVyMg==' }, 'aHVudGVyMg'],
])('%s never reaches the log, and the line stays JSON', (_what, fields, secret) => {
  const { line } = logOne(fields);
  expect(line).not.toContain(secret);
  expect(line).toContain('[redacted]');
});

test('what JSON cannot hold is said, never thrown', () => {
  const circular: Record<string, unknown> = {};
  circular['self'] = circular;
  expect(logOne({ circular }).parsed).toMatchObject({ unit: 'request', unserializable: expect.any(String) });
  expect(logOne({ size: 12n }).parsed).toMatchObject({ size: '12' });
});
