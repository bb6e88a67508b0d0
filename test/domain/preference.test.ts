import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  choosePreference,
  type Preference,
  preferenceKey,
  type PreferenceLayer,
  type PreferenceLayers,
  type PreferenceMode,
  type Reach,
  type Selector,
  type Way,
} from '../../domain/preference.ts';
import type { MatchedEvent } from '../../domain/rule.ts';
import { severities } from '../../domain/severity.ts';
import { buildEvent } from '../channels/views.ts';

const event: MatchedEvent = {
  ...buildEvent({ environment: 'production' }),
  type: 'release.fail',
  category: 'deployment',
  severity: 'high',
  projectId: 'p1',
};
const work: Reach = { channelType: 'email', contactMethodId: 'work' };
const inApp: Reach = { channelType: 'in_app', contactMethodId: null };

const type: Selector = { kind: 'type', type: 'release.fail' };
const category: Selector = { kind: 'category', category: 'deployment' };
const all: Selector = { kind: 'all' };
const contact: Way = { kind: 'contact_method', id: 'work' };
const email: Way = { kind: 'channel_type', channelType: 'email' };
const any: Way = { kind: 'any' };

let ids = 0;
function prefer(selector: Selector, way: Way, mode: PreferenceMode = 'instant', fields: Partial<Preference> = {}): Preference {
  return { id: `${(ids += 1)}`, version: 1, projectId: null, selector, way, mode, minSeverity: null, environments: [], ...fields };
}

function choose(rows: Partial<PreferenceLayers>, reach = work, about: Partial<MatchedEvent> = {}) {
  return choosePreference({ ...event, ...about }, reach, { user: [], project: [], organization: [], ...rows });
}

describe('without any preference', () => {
  test('it is told in the app at once, and nowhere else', () => {
    expect(choose({}, inApp)).toEqual({ mode: 'instant', reason: 'builtin_default', winner: null, losers: [] });
    expect(choose({})).toEqual({ mode: 'off', reason: 'preference_off', winner: null, losers: [] });
  });
});

describe('of several that apply', () => {
  test.each([
    ['a type outranks a category', prefer(type, any), prefer(category, contact)],
    ['a category outranks all', prefer(category, any), prefer(all, contact)],
    ['a project’s outranks a type of all projects', prefer(all, any, 'off', { projectId: 'p1' }), prefer(type, contact)],
    ['a contact method outranks its type', prefer(all, contact), prefer(all, email, 'off')],
    ['a channel type outranks any', prefer(all, email, 'digest'), prefer(all, any, 'off')],
  ])('%s', (_, winner, loser) => {
    for (const user of [
      [winner, loser],
      [loser, winner],
    ]) {
      const choice = choose({ user });
      expect(choice.winner).toEqual({ layer: 'user', preference: winner });
      expect(choice.losers).toEqual([{ layer: 'user', preference: loser }]);
    }
  });

  test('the person’s outrank the project’s, and those the organization’s, however exact', () => {
    const [user, project, organization] = [prefer(all, any, 'digest'), prefer(type, email, 'off'), prefer(type, email, 'instant')];
    expect(choose({ user: [user], project: [project], organization: [organization] })).toEqual({
      mode: 'digest',
      reason: 'preference',
      winner: { layer: 'user', preference: user },
      losers: [
        { layer: 'project', preference: project },
        { layer: 'organization', preference: organization },
      ],
    });
    expect(choose({ project: [prefer(all, any)], organization: [organization] })).toMatchObject({
      mode: 'instant',
      reason: 'project_default',
    });
    expect(choose({ organization: [organization] })).toMatchObject({ mode: 'instant', reason: 'org_default' });
  });
});

describe('a preference', () => {
  test.each([
    ['of another project', { projectId: 'p2' }],
    ['of another type', { selector: { kind: 'type', type: 'release.failed' } }],
    ['of another category', { selector: { kind: 'category', category: 'rollback' } }],
    ['of another contact method', { way: { kind: 'contact_method', id: 'home' } }],
    ['of another channel type', { way: { kind: 'channel_type', channelType: 'slack' } }],
  ] as const)('%s does not apply', (_, fields) => {
    expect(choose({ user: [prefer(all, any, 'digest', fields)] })).toMatchObject({ winner: null, losers: [] });
  });

  test('owns what it selects: what fails its filters is off, and no other is asked', () => {
    const wide = prefer(all, any, 'instant');
    const strict = prefer(type, any, 'instant', { minSeverity: 'critical' });
    expect(choose({ user: [strict, wide] })).toMatchObject({ mode: 'off', reason: 'preference_filter', winner: { preference: strict } });
    expect(choose({ user: [strict, wide] }, work, { severity: 'critical' })).toMatchObject({ mode: 'instant', reason: 'preference' });
    const elsewhere = prefer(type, any, 'digest', { environments: ['staging', 'test'] });
    expect(choose({ user: [elsewhere, wide] })).toMatchObject({ mode: 'off', reason: 'preference_filter' });
    expect(choose({ user: [elsewhere] }, work, { environment: 'test' })).toMatchObject({ mode: 'digest' });
    expect(choose({ user: [elsewhere] }, work, { environment: null })).toMatchObject({ mode: 'off', reason: 'preference_filter' });
  });

  test('that is off says so before its filters are asked', () => {
    expect(choose({ user: [prefer(type, any, 'off', { minSeverity: 'critical' })] })).toMatchObject({ reason: 'preference_off' });
  });
});

test('the app has no digest: what is to be in one by any way is there at once', () => {
  const row = prefer(all, any, 'digest');
  expect(choose({ user: [row] })).toMatchObject({ mode: 'digest', reason: 'preference' });
  expect(choose({ user: [row] }, inApp)).toMatchObject({ mode: 'instant', reason: 'preference', winner: { preference: row } });
});

test('of any set with distinct keys the smallest rank wins, in whatever order they are read', () => {
  const way = fc.constantFrom<Way>(
    contact,
    { kind: 'contact_method', id: 'home' },
    email,
    { kind: 'channel_type', channelType: 'in_app' },
    any,
  );
  const selector = fc.constantFrom<Selector>(
    type,
    { kind: 'type', type: 'release.create' },
    category,
    { kind: 'category', category: 'job' },
    all,
  );
  const row = fc.record({
    projectId: fc.constantFrom(null, 'p1', 'p2'),
    selector,
    way,
    mode: fc.constantFrom<PreferenceMode>('instant', 'digest', 'off'),
    minSeverity: fc.constantFrom(null, ...severities),
    environments: fc.constantFrom([], ['production'], ['staging']),
  });
  const rows = fc
    .uniqueArray(row, { selector: preferenceKey, maxLength: 30 })
    .map((each) => each.map((fields) => prefer(all, any, 'off', fields)));
  /** By score instead of by order: a project's 100, a type 20, a category 10, a contact method 2, a channel type 1. */
  const score = ({ projectId, selector: about, way: by }: Preference) =>
    (projectId === null ? 0 : 100) +
    { type: 20, category: 10, all: 0 }[about.kind] +
    { contact_method: 2, channel_type: 1, any: 0 }[by.kind];
  const order: PreferenceLayer[] = ['user', 'project', 'organization'];
  fc.assert(
    fc.property(rows, rows, rows, fc.constantFrom(work, inApp), fc.nat(), (user, project, organization, reach, turn) => {
      const layers = { user, project, organization };
      const rotated = Object.fromEntries(
        order.map((layer) => [layer, [...layers[layer].slice(turn % 7), ...layers[layer].slice(0, turn % 7)]]),
      );
      const choice = choose(rotated, reach);
      const fitting = order.map((layer) =>
        layers[layer].filter(
          ({ projectId, selector: about, way: by }) =>
            [null, 'p1'].includes(projectId) &&
            (about.kind === 'all' || (about.kind === 'type' ? about.type === 'release.fail' : about.category === 'deployment')) &&
            (by.kind === 'any' || (by.kind === 'contact_method' ? by.id === reach.contactMethodId : by.channelType === reach.channelType)),
        ),
      );
      const first = fitting.find((each) => each.length > 0) ?? [];
      const best = first.toSorted((a, b) => score(b) - score(a))[0];
      expect(choice.winner?.preference.id).toBe(best?.id);
      expect(choice.losers).toHaveLength(Math.max(0, fitting.flat().length - 1));
    }),
  );
});
