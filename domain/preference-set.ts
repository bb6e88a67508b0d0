import type { Preference, PreferenceLayers } from './preference.ts';
import { preferenceKey } from './preference.ts';
import type { QuietHours } from './quiet-hours.ts';

/** All preferences of one owner: what is read, written and versioned together. */

export const preferenceRules = { perOwner: 200, environments: 50 } as const;

/** Of whoever has said nothing of their time zone. */
export const defaultTimeZone = 'UTC';

/** The defaults of a project or of the organization. */
export interface PreferenceSet {
  readonly version: number;
  readonly rules: readonly Preference[];
}

/** One value is never changed: quiet hours are remembered by it. */
export interface PersonalPreferences extends PreferenceSet {
  /** IANA. */
  readonly timeZone: string;
  readonly quietHours: QuietHours | null;
}

/**
 * Everybody's preferences in one organization, by the UUID of their owner; who has none is absent. Owners that are gone may still be there:
 * they are asked for no more. So may preferences about projects and contact methods that are gone: no event or message is of them.
 */
export interface PreferenceFacts {
  readonly users: ReadonlyMap<string, PersonalPreferences>;
  readonly projects: ReadonlyMap<string, PreferenceSet>;
  readonly organization: PreferenceSet | null;
}

/** What decides how the person hears of events of the project (null: of none). */
export function layersOf(facts: PreferenceFacts, userId: string, projectId: string | null): PreferenceLayers {
  return {
    user: facts.users.get(userId)?.rules ?? [],
    project: (projectId === null ? undefined : facts.projects.get(projectId)?.rules) ?? [],
    organization: facts.organization?.rules ?? [],
  };
}

/** A preference as its owner writes it. */
export type PreferenceDraft = Omit<Preference, 'id' | 'version'>;

/**
 * `wanted` as what `current` becomes: what is about the same keeps its id, and its version too unless what it says of it changes.
 * No two of `wanted` may have one key.
 */
export function revisePreferences(current: readonly Preference[], wanted: readonly PreferenceDraft[], makeId: () => string): Preference[] {
  const known = new Map(current.map((preference) => [preferenceKey(preference), preference]));
  return wanted.map((draft) => {
    const before = known.get(preferenceKey(draft));
    if (before === undefined) return { ...draft, id: makeId(), version: 1 };
    return saysTheSame(before, draft) ? before : { ...draft, id: before.id, version: before.version + 1 };
  });
}

/** Whether two about the same want the same. The order of environments means nothing. */
export function saysTheSame(left: PreferenceDraft, right: PreferenceDraft): boolean {
  return (
    left.mode === right.mode &&
    left.minSeverity === right.minSeverity &&
    left.environments.length === right.environments.length &&
    left.environments.every((environment) => right.environments.includes(environment))
  );
}
