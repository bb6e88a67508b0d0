import { describe, expect, test } from '@jest/globals';
import { personas } from '../../domain/member.ts';
import { choosePreference, type Preference, preferenceKey, type Selector } from '../../domain/preference.ts';
import { comparePreset, presetOf, takePreset } from '../../domain/preference-preset.ts';
import { type PreferenceDraft, revisePreferences } from '../../domain/preference-set.ts';

const nameOf = (selector: Selector) =>
  selector.kind === 'type' ? selector.type : selector.kind === 'category' ? `${selector.category}/` : '*';

/** `deployment/ > slack`, with the environments that it is filtered by. */
function describeRule({ selector, way, environments }: PreferenceDraft): string {
  const by = way.kind === 'channel_type' ? way.channelType : way.kind;
  return [`${nameOf(selector)} > ${by}`, ...environments].join(' in ');
}

const each = (events: string, channels: string, environment = '') =>
  events.split(' ').flatMap((event) => channels.split(' ').map((channel) => `${event} > ${channel}${environment}`));

describe('the preset of', () => {
  test.each([
    ['devops', each('deployment/ promotion/ rollback/', 'slack in_app')],
    ['sre', each('cluster/ rollback/ alert/ release.fail deployment.failed', 'slack email pagerduty in_app')],
    [
      'security',
      each('break_glass.opened apikey.create member.role.change policy.violation.detect policy.violation.resolve', 'email slack in_app'),
    ],
    [
      'manager',
      [
        ...each('approval.request policy.violation.detect', 'email teams in_app'),
        ...each('deployment/', 'email teams in_app', ' in production'),
      ],
    ],
    ['developer', each('release.create promotion.execute', 'in_app slack')],
  ] as const)('%s tells of just these, at once, in every project', (role, expected) => {
    const preset = presetOf(role);
    expect(preset.map(describeRule).toSorted()).toEqual(expected.toSorted());
    for (const rule of preset) expect([rule.mode, rule.projectId, rule.minSeverity]).toEqual(['instant', null, null]);
  });

  test.each(personas)('%s has no two rules about the same', (role) => {
    const keys = presetOf(role).map(preferenceKey);
    expect(new Set(keys).size).toBe(keys.length);
  });
});

describe('taking a preset', () => {
  const own = (draft: PreferenceDraft, id: string): Preference => ({ ...draft, id, version: 1 });
  const [slack, inApp] = presetOf('developer');
  const unrelated: PreferenceDraft = { ...slack!, selector: { kind: 'all' }, mode: 'off' };
  const current = [own(unrelated, 'a'), own({ ...slack!, mode: 'off' }, 'b'), own(inApp!, 'c')];
  const difference = comparePreset(current, presetOf('developer'));
  const taken = (replace: boolean) => revisePreferences(current, takePreset(current, difference, { replace }), () => 'new');

  test('shows what would be added and replaced, and what stays', () => {
    expect(difference.add.map(describeRule)).toEqual(presetOf('developer').slice(2).map(describeRule));
    expect(difference.replace).toEqual([{ current: current[1], proposed: slack }]);
    expect(difference.keep).toEqual([current[0], current[2]]);
  });

  test('leaves what somebody has, unless it may be replaced', () => {
    expect(taken(false).map(({ id, version, mode }) => `${id}@${version} ${mode}`)).toEqual([
      'a@1 off',
      'b@1 off',
      'c@1 instant',
      'new@1 instant',
      'new@1 instant',
    ]);
    expect(
      taken(true)
        .slice(0, 3)
        .map(({ id, version, mode }) => `${id}@${version} ${mode}`),
    ).toEqual(['a@1 off', 'b@2 instant', 'c@1 instant']);
  });

  test('again changes nothing', () => {
    const after = taken(true);
    const again = comparePreset(after, presetOf('developer'));
    expect([again.add, again.replace, again.keep]).toEqual([[], [], after]);
  });

  test('of a manager tells of deployments to production by e-mail, and of no other', () => {
    const user = revisePreferences([], presetOf('manager'), () => 'x');
    const choose = (environment: string | null) =>
      choosePreference(
        { type: 'deployment.completed', category: 'deployment', severity: 'info', projectId: null, environment },
        { channelType: 'email', contactMethodId: 'c' },
        { user, project: [], organization: [] },
      ).mode;
    expect([choose('production'), choose('staging'), choose(null)]).toEqual(['instant', 'off', 'off']);
  });
});
