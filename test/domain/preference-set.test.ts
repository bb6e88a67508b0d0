import { describe, expect, test } from '@jest/globals';
import type { Preference } from '../../domain/preference.ts';
import { layersOf, type PreferenceDraft, type PreferenceFacts, revisePreferences } from '../../domain/preference-set.ts';

const draft: PreferenceDraft = {
  projectId: null,
  selector: { kind: 'category', category: 'job' },
  way: { kind: 'channel_type', channelType: 'email' },
  mode: 'instant',
  minSeverity: null,
  environments: ['staging', 'production'],
};
const stored: Preference = { ...draft, id: 'one', version: 3 };

describe('what is written over what is there', () => {
  const revise = (wanted: PreferenceDraft[], current = [stored]) => revisePreferences(current, wanted, () => 'fresh');

  test.each<[string, Partial<PreferenceDraft>]>([
    ['the same', {}],
    ['the same environments in another order', { environments: ['production', 'staging'] }],
  ])('stays as it is when it says %s', (_, change) => {
    expect(revise([{ ...draft, ...change }])).toEqual([stored]);
  });

  test.each<[string, Partial<PreferenceDraft>]>([
    ['mode', { mode: 'off' }],
    ['severity', { minSeverity: 'low' }],
    ['environments', { environments: ['production'] }],
    ['as many environments', { environments: ['production', 'test'] }],
  ])('keeps its id and gets the next version with another %s', (_, change) => {
    expect(revise([{ ...draft, ...change }])).toEqual([{ ...draft, ...change, id: 'one', version: 4 }]);
  });

  test.each<[string, Partial<PreferenceDraft>]>([
    ['project', { projectId: 'p1' }],
    ['selector', { selector: { kind: 'all' } }],
    ['way', { way: { kind: 'any' } }],
  ])('is another one with another %s', (_, change) => {
    expect(revise([{ ...draft, ...change }])).toEqual([{ ...draft, ...change, id: 'fresh', version: 1 }]);
  });

  test('has the order in which it is written, and nothing else', () => {
    const other: PreferenceDraft = { ...draft, selector: { kind: 'all' } };
    expect(revise([other, draft]).map(({ id }) => id)).toEqual(['fresh', 'one']);
    expect(revise([])).toEqual([]);
  });
});

test('a person’s layers are their own preferences, those of the event’s project and those of the organization', () => {
  const mine = [stored];
  const theProject = [{ ...stored, id: 'two' }];
  const theOrganization = [{ ...stored, id: 'three' }];
  const facts: PreferenceFacts = {
    users: new Map([['u1', { version: 1, rules: mine, timeZone: 'UTC', quietHours: null }]]),
    projects: new Map([['p1', { version: 1, rules: theProject }]]),
    organization: { version: 1, rules: theOrganization },
  };
  expect(layersOf(facts, 'u1', 'p1')).toEqual({ user: mine, project: theProject, organization: theOrganization });
  expect(layersOf(facts, 'u2', 'p2')).toEqual({ user: [], project: [], organization: theOrganization });
  expect(layersOf({ ...facts, organization: null }, 'u1', null)).toEqual({ user: mine, project: [], organization: [] });
});
