import { expect, test } from '@jest/globals';
import { describeNotice, type ShownMember } from '../../domain/notice.ts';

const member = (subject: string, severity: ShownMember['severity'] = 'medium'): ShownMember => ({
  eventId: `event of ${subject}`,
  type: 'alert.fired',
  subject,
  severity,
});

test('a notice of one speaks of that one, a notice of several of the worst', () => {
  expect(describeNotice('first', [member('A')], [])).toEqual({
    subject: 'A',
    message: '[MEDIUM] A',
    severity: 'medium',
    eventId: 'event of A',
    eventType: 'alert.fired',
  });
  const several = describeNotice('new', [member('A'), member('B', 'critical'), member('C')], []);
  expect(several).toMatchObject({ subject: 'B and 2 more', severity: 'critical', eventId: 'event of B' });
  expect(several.message.split('\n')).toEqual(['[MEDIUM] A', '[CRITICAL] B', '[MEDIUM] C']);
});

test.each<[Parameters<typeof describeNotice>, string]>([
  [['repeat', [member('A'), member('B')], []], 'Still: A and 1 more'],
  [['resolved', [member('A')], [member('B'), member('C')]], '2 resolved, still: A'],
  [['all_resolved', [], [member('A')]], 'Resolved: A'],
  [['all_resolved', [], [member('A'), member('B')]], 'Resolved: all 2, A'],
])('its subject says what has happened: %#', (given, subject) => {
  expect(describeNotice(...given).subject).toBe(subject);
});

test('what ended is listed after what fires, and is no alarm', () => {
  expect(describeNotice('resolved', [member('A')], [member('B')]).message).toBe('[MEDIUM] A\n\nResolved:\n[MEDIUM] B');
  expect(describeNotice('all_resolved', [], [member('A', 'critical')])).toMatchObject({
    severity: 'info',
    message: 'Resolved:\n[CRITICAL] A',
  });
});

test('a long one is cut, and says by how much', () => {
  const many = Array.from({ length: 60 }, (_, i) => member(`${i} ${'x'.repeat(300)}`));
  const { subject, message } = describeNotice('first', many, []);
  expect(subject).toHaveLength(256);
  expect(message.split('\n')).toHaveLength(51);
  expect(message.endsWith('+10 more')).toBe(true);
});
