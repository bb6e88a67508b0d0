import { describe, expect, test } from '@jest/globals';
import { composeDigest, describeDigest, type DigestItem, type WindowKind } from '../../domain/digest.ts';

let made = 0;
function item(subject: string, given: Partial<DigestItem> = {}): DigestItem {
  made += 1;
  return {
    eventId: `event-${subject}-${made}`,
    type: 'drift.detect',
    subject,
    severity: 'medium',
    projectName: null,
    acceptedAt: made,
    problemId: null,
    isEnd: false,
    ...given,
  };
}

const about = (problemId: string, given: Partial<DigestItem> = {}): DigestItem => item(problemId, { problemId, ...given });
const tell = (items: readonly DigestItem[], kind: WindowKind = 'digest') => describeDigest(kind, composeDigest(items));

describe('lines', () => {
  test('a problem that fired and ended inside is one line, and says that it ended', () => {
    const lines = composeDigest([about('A'), about('A', { isEnd: true, severity: 'info' })]);
    expect(lines).toMatchObject([{ state: 'resolved', items: 2, lead: { severity: 'medium', isEnd: false } }]);
  });

  test('one that fired again after it ended fires', () => {
    expect(composeDigest([about('A'), about('A', { isEnd: true }), about('A')])).toMatchObject([{ state: 'firing', items: 3 }]);
  });

  test('one that became worse is as bad as it was at its worst, in the words of then', () => {
    const raised = about('A', { severity: 'high', subject: 'A is worse' });
    expect(composeDigest([about('A', { severity: 'low' }), raised, about('A', { severity: 'low' })])).toMatchObject([
      { lead: raised, items: 3 },
    ]);
  });

  test('the end of what fired before the window is a line', () => {
    expect(composeDigest([about('A', { isEnd: true })])).toMatchObject([{ state: 'resolved', items: 1 }]);
  });

  test('events about no problem are a line each, however alike', () => {
    expect(composeDigest([item('same'), item('same')])).toHaveLength(2);
  });

  test('what was taken in late stands where it belongs', () => {
    const items = [about('A', { isEnd: true, acceptedAt: 20 }), about('A', { acceptedAt: 10 })];
    expect(composeDigest(items)).toMatchObject([{ state: 'resolved', acceptedAt: 10 }]);
  });

  test('are in the order of projects, then the worst first, then as they came; those of no project last', () => {
    const items = [
      item('1', { acceptedAt: 9 }),
      item('2', { projectName: 'web', severity: 'low', acceptedAt: 1 }),
      item('3', { projectName: 'api', severity: 'low', acceptedAt: 2 }),
      item('4', { projectName: 'api', severity: 'medium', acceptedAt: 4 }),
      item('5', { projectName: 'api', severity: 'medium', acceptedAt: 3 }),
      item('6', { acceptedAt: 8 }),
    ];
    expect(composeDigest(items).map(({ lead }) => lead.subject)).toEqual(['5', '4', '3', '2', '6', '1']);
  });
});

describe('the text', () => {
  test('names projects above their lines, and the severity or the end of each', () => {
    const items = [
      item('Disk fills', { projectName: 'api', severity: 'medium' }),
      about('Lag', { projectName: 'api', severity: 'low' }),
      about('Lag', { projectName: 'api', isEnd: true }),
      item('Certificate ends', { severity: 'low' }),
    ];
    expect(tell(items).message).toBe('api:\n[MEDIUM] Disk fills\n[RESOLVED] Lag\n\nWithout a project:\n[LOW] Certificate ends');
  });

  test('is a plain list where no project is named', () => {
    expect(tell([item('A'), item('B')]).message).toBe('[MEDIUM] A\n[MEDIUM] B');
  });

  test('shows fifty lines of any number, tells how many more there are, and counts all', () => {
    const items = Array.from({ length: 51 }, (_, i) => item(`S${i}`));
    const { message, total } = tell(items);
    expect(total).toBe(51);
    expect(message.split('\n')).toHaveLength(51);
    expect(message.endsWith('\n[MEDIUM] S49\n+1 more')).toBe(true);
    expect(tell(items.slice(1)).message).not.toContain('more');
  });

  test.each([
    ['digest', 'Digest: A and 1 more'],
    ['quiet', 'During quiet hours: A and 1 more'],
    ['throttle', 'Too many at once: A and 1 more'],
  ] as const)('of kind %s is called %s', (kind, subject) => {
    expect(tell([item('A', { severity: 'high' }), item('B')], kind).subject).toBe(subject);
  });

  test('is called after the worst that is not over, and is as bad as that', () => {
    const worst = item('B', { severity: 'medium' });
    const items = [about('A', { severity: 'high' }), about('A', { severity: 'high', isEnd: true }), item('C', { severity: 'low' }), worst];
    expect(tell(items)).toMatchObject({
      subject: 'Digest: B and 2 more',
      severity: 'medium',
      eventId: worst.eventId,
      eventType: worst.type,
    });
  });

  test('of nothing but ends says so, and is harmless', () => {
    expect(tell([about('A', { severity: 'high' }), about('A', { isEnd: true })])).toMatchObject({
      subject: 'Digest: Resolved: A',
      severity: 'info',
    });
  });

  test('is called what fits, at whole characters, and still how many there are', () => {
    const { subject } = tell([item(`${'x'.repeat(236)}😀${'y'.repeat(50)}`, { severity: 'high' }), item('B')]);
    expect(subject).toBe(`Digest: ${'x'.repeat(236)} and 1 more`);
  });
});
