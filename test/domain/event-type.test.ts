import { describe, expect, test } from '@jest/globals';
import { eventTypes, findEventType } from '../../domain/event-type.ts';

/** `name: severity effect`, by category and feed; what is left out is info and occur. */
const catalogue: Record<string, string> = {
  'deployment deployment': `release.create, release.approve, release.deploy: occur_and_resolve, release.fail: high open, deployment.started,
    deployment.completed: occur_and_resolve, deployment.failed: high open, deployment.cancelled: low occur_and_resolve`,
  'promotion deployment': 'promotion.request: low, promotion.approve, promotion.execute',
  'rollback deployment': 'rollback.initiate: medium, rollback.complete',
  'governance security': 'policy.violation.detect: high open, policy.violation.resolve: resolve, compliance.scan_completed',
  'governance deployment': 'approval.request: low',
  'cluster system':
    'agent.connect: occur_and_resolve, agent.disconnect: high open, host.online: occur_and_resolve, host.offline: high open',
  'cluster alert': 'drift.detect: medium open, drift.detected: medium open',
  'security security': 'break_glass.opened: high, apikey.create: medium, member.role.change: medium',
  'alert alert': 'alert.fired: medium open, alert.resolved: resolve, alert.acknowledged: acknowledge',
  'job job': 'job.completed: occur_and_resolve, job.failed: medium open',
  'escalation alert': 'escalation.triggered, escalation.acknowledged, escalation.snoozed, escalation.resolved, escalation.exhausted: high',
  'operations system': `webhook.failing, webhook.recovered, webhook.disabled, channel.disabled, delivery.failed, watchdog.late: high,
    audit.integrity_failed: high`,
};
const ownCategories = new Set(['escalation', 'operations']);
const words = ['critical', 'high', 'medium', 'low', 'info'];

describe('the catalogue', () => {
  test('has exactly these types, each with its category, feed, severity and effect', () => {
    const expected = Object.entries(catalogue).flatMap(([group, types]) =>
      types.split(',').map((entry) => {
        const [type, traits = ''] = entry.trim().split(': ');
        const [category, feed] = group.split(' ');
        const given = traits.split(' ').filter((word) => word !== '');
        return {
          type,
          category,
          feed,
          defaultSeverity: given.find((word) => words.includes(word)) ?? 'info',
          effect: given.find((word) => !words.includes(word)) ?? 'occur',
          own: ownCategories.has(category!),
        };
      }),
    );
    const byType = (left: { type?: string | undefined }, right: { type?: string | undefined }) => (left.type! < right.type! ? -1 : 1);
    const actual = eventTypes.map(({ type, category, feed, defaultSeverity, effect, own }) => ({
      type,
      category,
      feed,
      defaultSeverity,
      effect,
      own,
    }));
    expect(actual.toSorted(byType)).toEqual(expected.toSorted(byType));
  });

  test('names every type as noun.verb, with a family, a description and an audience', () => {
    for (const { type, family, description, audience } of eventTypes) {
      expect(type).toMatch(/^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,3}$/);
      expect(type.startsWith(`${family}.`)).toBe(true);
      expect(description).not.toBe('');
      expect(audience.length).toBeGreaterThan(0);
    }
  });
});

describe('a spelling', () => {
  test('means one type: no name or alias is given twice', () => {
    const spellings = eventTypes.flatMap(({ type, aliases }) => [type, ...aliases]);
    expect(new Set(spellings).size).toBe(spellings.length);
    for (const { type, aliases } of eventTypes) for (const spelling of [type, ...aliases]) expect(findEventType(spelling)?.type).toBe(type);
  });

  test.each([
    ['release.failed', 'release.fail'],
    ['release.created', 'release.create'],
    ['release.approved', 'release.approve'],
    ['release.deployed', 'release.deploy'],
    ['deployment.start', 'deployment.started'],
    ['deployment.complete', 'deployment.completed'],
    ['deployment.fail', 'deployment.failed'],
    ['deployment.cancel', 'deployment.cancelled'],
    ['deployment.canceled', 'deployment.cancelled'],
    ['promotion.requested', 'promotion.request'],
    ['promotion.approved', 'promotion.approve'],
    ['promotion.executed', 'promotion.execute'],
    ['rollback.initiated', 'rollback.initiate'],
    ['rollback.completed', 'rollback.complete'],
    ['policy.violation.detected', 'policy.violation.detect'],
    ['policy.violation.resolved', 'policy.violation.resolve'],
    ['approval.requested', 'approval.request'],
    ['agent.connected', 'agent.connect'],
    ['agent.disconnected', 'agent.disconnect'],
    ['apikey.created', 'apikey.create'],
    ['member.role.changed', 'member.role.change'],
    ['break_glass.open', 'break_glass.opened'],
    ['alert.fire', 'alert.fired'],
    ['alert.resolve', 'alert.resolved'],
    ['alert.acknowledge', 'alert.acknowledged'],
    ['job.complete', 'job.completed'],
    ['job.fail', 'job.failed'],
  ])('%s means %s', (alias, type) => {
    expect(findEventType(alias)?.type).toBe(type);
  });

  test('in the past tense is a type of its own where two mean two things', () => {
    expect(findEventType('drift.detected')?.type).toBe('drift.detected');
    expect(findEventType('drift.detect')?.type).toBe('drift.detect');
  });

  test.each(['', 'job', 'Job.failed', 'job.failed ', 'job.exploded', 'constructor', '__proto__'])('%j means nothing', (spelling) => {
    expect(findEventType(spelling)).toBeUndefined();
  });
});
