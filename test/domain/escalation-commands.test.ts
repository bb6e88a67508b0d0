import { describe, expect, test } from '@jest/globals';
import { acknowledgementProofs } from '../../domain/escalation-policy.ts';
import {
  acknowledge,
  at,
  beginGroup,
  buildPolicy,
  type Group,
  hour,
  minute,
  openBetween,
  opened,
  Q,
  summarize,
  tier,
  user,
} from './escalation-story.ts';

const policy = buildPolicy();

describe('commands', () => {
  test('a command for an escalation that is no longer the newest finds it ended', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    group.command(1, { name: 'resolve' });
    group.send(2, opened('A'));
    expect(group.state.escalation?.id).toBe('E2');
    expect(group.command(3, acknowledge, 'E1').outcome).toBe('noop');
    expect(group.command(3, { name: 'snooze', until: at(60) }, 'E1').outcome).toEqual({ refused: 'wrong_state' });
    expect(group.state.escalation?.phase.status).toBe('triggered');
  });

  test.each([
    [{ name: 'escalate', expected: { round: 1, tier: 2 }, toTier: null }, 'tier_mismatch'],
    [{ name: 'escalate', expected: { round: 1, tier: 1 }, toTier: 4 }, 'unknown_tier'],
    [{ name: 'reassign', to: { policyId: 'nothing' } }, 'unknown_policy'],
    [{ name: 'rebase', version: 9 }, 'unknown_policy'],
    [{ name: 'snooze', until: at(7 * 24 * 60) }, 'after_hard_stop'],
  ] as const)('%j is refused with %s, which is all that is written', (command, code) => {
    const group = beginGroup();
    group.send(0, opened('A'));
    const { state } = group;
    const step = group.command(3, command);
    expect(step).toMatchObject({ outcome: { refused: code }, effects: [{ kind: 'timeline', what: 'refused', reason: code }] });
    expect(step.state).toBe(state);
  });

  test.each([
    ['any', []],
    ['no_unsigned', ['provider_unsigned']],
    ['no_link', ['provider_unsigned', 'link_token']],
    ['session', ['provider_unsigned', 'link_token', 'api_key', 'slack_signature', 'provider_signature', 'temporal_signal']],
  ] as const)('a policy that asks for %s refuses acknowledgements by %j', (minProof, refused) => {
    for (const proof of acknowledgementProofs) {
      const group = beginGroup([{ ...policy, minProof }]);
      group.send(0, opened('A'));
      const { outcome } = group.send(1, { kind: 'command', escalationId: 'E1', command: acknowledge, by: { userId: null, proof } });
      expect([proof, outcome]).toEqual([proof, refused.some((weak) => weak === proof) ? { refused: 'proof_too_weak' } : 'applied']);
    }
  });

  test('an acknowledgement that the provider takes back restarts for that reason', () => {
    const group = beginGroup();
    group.send(0, opened('A'));
    group.command(1, acknowledge);
    const by = { userId: null, proof: 'provider_signature' } as const;
    group.send(2, { kind: 'command', escalationId: 'E1', command: { name: 'unacknowledge' }, by });
    expect(summarize(group.last)).toBe('triggered restarted:provider u1(1,1)');
  });

  test('the cooldown is the own policy’s, also while the escalation runs on another', () => {
    const group = beginGroup([policy, { ...Q, cooldownMs: 0 }]);
    group.send(0, opened('A'));
    group.command(1, { name: 'reassign', to: { policyId: 'Q' } });
    group.command(2, acknowledge);
    expect(group.state.cooldown).toEqual({ from: at(2), until: at(32), escalationId: 'E1' });
    group.command(3, { name: 'unacknowledge' });
    expect(group.state.cooldown).toBeNull();
    expect(summarize(group.last)).toBe('triggered restarted:manual q1(1,1)');
  });

  test('reassigned after the new policy’s hard stop, it has that long from then on', () => {
    const group = beginGroup([policy, { ...Q, hardStopMs: hour }]);
    group.send(0, opened('A'));
    group.command(5, acknowledge);
    group.command(90, { name: 'reassign', to: { policyId: 'Q' } });
    expect(summarize(group.last)).toBe('triggered restarted:reassign q1(1,1)');
    group.command(91, acknowledge);
    expect(group.last.plan).toMatchObject({ dueAt: at(150), why: 'hard_stop' });
  });
});

describe('rebase', () => {
  const second = { ...policy, version: 2, tiers: [tier(user('u8')), tier(user('u9'))], cooldownMs: minute };
  const rebase = { name: 'rebase', version: 2 } as const;
  // the newest is what new escalations begin with
  const versions = [second, policy];

  test('changes nothing when the escalation runs on that version', () => {
    const group = beginGroup(versions);
    group.send(0, opened('A'));
    expect(group.command(1, { name: 'rebase', version: 1 }).outcome).toBe('noop');
    group.command(2, { name: 'reassign', to: { targets: [user('x')] } });
    expect(group.command(3, { name: 'rebase', version: 1 })).toMatchObject({ outcome: 'applied', plan: { dueAt: at(12), why: 'tier' } });
    expect(summarize(group.elapse())).toBe('triggered u2(1,2)');
  });

  test('takes the cooldown along, but not that of another policy', () => {
    const group = beginGroup([...versions, { ...Q, version: 2, cooldownMs: 5 * minute }, Q]);
    group.send(0, opened('A'));
    group.command(1, rebase);
    group.command(2, acknowledge);
    expect(group.state.cooldown?.until).toBe(at(3));
    group.command(4, { name: 'reassign', to: { policyId: 'Q' } });
    group.command(5, rebase);
    group.command(6, acknowledge);
    expect(group.state.cooldown?.until).toBe(at(7));
  });

  test('before the first tier leaves T0 where it is', () => {
    const group = beginGroup([second, { ...policy, groupWaitMs: 5 * minute }]);
    group.send(0, opened('A'));
    expect(group.command(1, rebase).plan).toMatchObject({ dueAt: at(5), why: 'tier' });
    expect(summarize(group.elapse())).toBe('triggered u8(1,1)');
  });

  test('ends a wait that the new version does not ask for', () => {
    const calendar = openBetween('18:00', '20:00');
    const group = beginGroup([second, { ...policy, calendarId: 'hours', defer: { maxSeverity: 'high' } }], { calendar: () => calendar });
    group.send(0, opened('A'));
    expect(group.last.plan).toMatchObject({ dueAt: at(360), why: 'deferred_hours' });
    expect(group.command(1, rebase).plan).toMatchObject({ dueAt: at(1), why: 'tier' });
    expect(summarize(group.elapse())).toBe('triggered u8(1,1)');
  });
});

test('escalating what was acknowledged takes that back, and says so', () => {
  const group = beginGroup([{ ...policy, followUp: 'all' }]);
  group.send(0, opened('A'));
  group.command(1, acknowledge);
  group.command(2, { name: 'escalate', expected: { round: 1, tier: 1 }, toTier: null });
  expect(group.state.cooldown).toBeNull();
  expect(group.last.effects).toContainEqual(expect.objectContaining({ kind: 'update', change: 'restarted', reason: 'escalate' }));
  group.command(3, { name: 'escalate', expected: { round: 1, tier: 2 }, toTier: null });
  expect(group.last.effects).not.toContainEqual(expect.objectContaining({ kind: 'update' }));
});

test('calendars are pinned with the policy that names them', () => {
  const asked: Array<number | null> = [];
  const calendar = openBetween('09:00', '17:00', { version: 4 });
  const tiers = [tier(user('u1'), { when: 'open', calendarId: 'own' })];
  const group = beginGroup([{ ...policy, tiers, calendarId: 'hours' }], {
    calendar: (id, version) => {
      asked.push(version);
      return id === 'gone' ? undefined : calendar;
    },
  });
  group.send(0, opened('A'));
  expect(group.state.escalation?.snapshot).toEqual({ policyId: 'P', version: 1, calendars: { hours: 4, own: 4 }, only: null });
  expect(asked).toEqual([null, null, 4]);
});

describe('what is done about messages', () => {
  const kinds = (group: Group): string[] =>
    group.last.effects.flatMap((effect) => {
      switch (effect.kind) {
        case 'cancel_pages':
          return [effect.reason];
        case 'update':
          return [`${effect.change} (${effect.followUp})`];
        case 'post':
          return [`${effect.eventType} ${effect.severity}`];
        default:
          return [];
      }
    });

  test('an acknowledgement cancels every page that has not begun, and corrects the others', () => {
    const group = beginGroup([{ ...policy, followUp: 'in_place' }]);
    group.send(0, opened('A'));
    expect(kinds(group)).toEqual(['escalation.triggered high']);
    group.elapse();
    group.command(10 + 1 / minute, acknowledge);
    expect(kinds(group)).toEqual(['cancelled_by_ack', 'acknowledged (in_place)', 'escalation.acknowledged info']);
  });

  test('so do a snooze, a reassignment and a resolve, each under its own name', () => {
    const group = beginGroup([{ ...policy, followUp: 'all' }, Q]);
    group.send(0, opened('A'));
    group.command(1, { name: 'snooze', until: at(60) });
    expect(kinds(group)).toEqual(['cancelled_by_snooze', 'escalation.snoozed info']);
    group.command(2, { name: 'reassign', to: { targets: [user('x')] } });
    expect(kinds(group)).toEqual(['cancelled_by_reassign', 'restarted (all)', 'escalation.triggered high']);
    group.command(3, { name: 'resolve' });
    expect(kinds(group)).toEqual(['cancelled_by_resolve', 'resolved (all)', 'escalation.resolved info']);
  });

  test('what was resolved before anybody was paged is told to nobody', () => {
    const group = beginGroup([{ ...policy, groupWaitMs: minute }]);
    group.send(0, opened('A'));
    group.send(0.5, { kind: 'problem_resolved', key: 'A' });
    expect(summarize(group.last)).toBe('resolved');
    expect(kinds(group)).toEqual([]);
  });

  test('exhaustion is posted as high, and its end by time is no message to people', () => {
    const group = beginGroup([{ ...policy, followUp: 'all', tiers: policy.tiers.slice(0, 1) }]);
    group.send(0, opened('A'));
    group.elapse();
    expect(kinds(group)).toEqual(['exhausted (all)', 'escalation.exhausted high']);
    group.elapse();
    expect(summarize(group.last)).toBe('resolved closes:A');
    expect(kinds(group)).toEqual(['cancelled_by_resolve', 'resolved (none)', 'escalation.resolved info']);
  });

  test('a firing names all its recipients once, and its targets for those who are told in the app alone', () => {
    const targets = [user('u1'), { kind: 'schedule', id: 's' } as const, { kind: 'channel', id: 'c' } as const, user('nobody')];
    const group = beginGroup([{ ...policy, tiers: [tier(targets)] }]);
    group.send(0, opened('A'));
    const fire = group.last.effects.find((effect) => effect.kind === 'fire');
    expect(fire).toMatchObject({
      firing: 1,
      round: 1,
      tier: 1,
      scheduledAt: at(0),
      late: false,
      reason: 'opened',
      severity: 'high',
      targets,
    });
    expect(fire?.kind === 'fire' && fire.recipients.map(({ id }) => id)).toEqual(['u1', 'c']);
  });

  test('a fallback is a firing of its own, and none when it reaches nobody', () => {
    const group = beginGroup([{ ...policy, tiers: policy.tiers.slice(0, 1) }]);
    group.send(0, opened('A'));
    expect(group.elapse().effects).toContainEqual(expect.objectContaining({ kind: 'fallback', firing: 2, round: 1, tier: 1 }));
    const without = beginGroup([{ ...policy, tiers: policy.tiers.slice(0, 1), fallback: [user('nobody')] }]);
    without.send(0, opened('A'));
    expect(without.elapse().effects.filter(({ kind }) => kind === 'fallback')).toEqual([]);
    expect(without.state.escalation?.firing).toBe(1);
  });
});
