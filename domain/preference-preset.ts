import { type Category, eventTypes } from './event-type.ts';
import type { Persona } from './member.ts';
import type { Preference, PreferenceChannel, Selector } from './preference.ts';
import { preferenceKey } from './preference.ts';
import { type PreferenceDraft, saysTheSame } from './preference-set.ts';

/** What is proposed to people of a role: these events at once by these channels. */
interface Preset {
  readonly selectors: readonly Selector[];
  readonly channels: readonly PreferenceChannel[];
  readonly environments?: readonly string[];
}

const types = (...names: string[]): Selector[] => names.map((type) => ({ kind: 'type', type }));
const typesBelow = (prefix: string): Selector[] => types(...eventTypes.map(({ type }) => type).filter((type) => type.startsWith(prefix)));
const ofCategories = (...names: Category[]): Selector[] => names.map((category) => ({ kind: 'category', category }));

const presets: Readonly<Record<Persona, readonly Preset[]>> = {
  devops: [{ selectors: ofCategories('deployment', 'promotion', 'rollback'), channels: ['slack', 'in_app'] }],
  sre: [
    {
      selectors: [...ofCategories('cluster', 'rollback', 'alert'), ...types('release.fail', 'deployment.failed')],
      channels: ['slack', 'email', 'pagerduty', 'in_app'],
    },
  ],
  security: [
    {
      selectors: [...types('break_glass.opened', 'apikey.create', 'member.role.change'), ...typesBelow('policy.violation.')],
      channels: ['email', 'slack', 'in_app'],
    },
  ],
  manager: [
    { selectors: types('approval.request', 'policy.violation.detect'), channels: ['email', 'teams', 'in_app'] },
    { selectors: ofCategories('deployment'), channels: ['email', 'teams', 'in_app'], environments: ['production'] },
  ],
  // Of their own projects: as far as anybody knows everybody works in all of them, also in those that are made later.
  developer: [{ selectors: types('release.create', 'promotion.execute'), channels: ['in_app', 'slack'] }],
};

/** The preferences that are proposed to people of a role. No two have one key. */
export function presetOf(persona: Persona): PreferenceDraft[] {
  return presets[persona].flatMap(({ selectors, channels, environments = [] }) =>
    selectors.flatMap((selector) =>
      channels.map((channelType) => ({
        projectId: null,
        selector,
        way: { kind: 'channel_type' as const, channelType },
        mode: 'instant' as const,
        minSeverity: null,
        environments,
      })),
    ),
  );
}

/** What taking a preset would do to what somebody has. */
export interface PresetDifference {
  readonly add: readonly PreferenceDraft[];
  /** About the same as one that they have, saying something else of it. */
  readonly replace: ReadonlyArray<{ readonly current: Preference; readonly proposed: PreferenceDraft }>;
  /** What they have that stays as it is either way. */
  readonly keep: readonly Preference[];
}

export function comparePreset(current: readonly Preference[], proposed: readonly PreferenceDraft[]): PresetDifference {
  const known = new Map(current.map((preference) => [preferenceKey(preference), preference]));
  const replace = proposed.flatMap((draft) => {
    const own = known.get(preferenceKey(draft));
    return own === undefined || saysTheSame(own, draft) ? [] : [{ current: own, proposed: draft }];
  });
  const replaced = new Set(replace.map((each) => each.current));
  return {
    add: proposed.filter((draft) => !known.has(preferenceKey(draft))),
    replace,
    keep: current.filter((preference) => !replaced.has(preference)),
  };
}

/** What somebody has with the preset taken; over what they have only with `replace`. */
export function takePreset(
  current: readonly Preference[],
  difference: PresetDifference,
  { replace }: { replace: boolean },
): PreferenceDraft[] {
  const proposed = new Map(replace ? difference.replace.map((each) => [each.current, each.proposed] as const) : []);
  return [...current.map((preference) => proposed.get(preference) ?? preference), ...difference.add];
}
