import type { Category } from './event-type.ts';
import type { MatchedEvent } from './rule.ts';
import { isAtLeast, type Severity } from './severity.ts';

/**
 * Channel types that a preference may name. More than people can be reached by so far: what somebody wants of a type decides as soon as they
 * have a contact method of it.
 */
export const preferenceChannels = ['in_app', 'email', 'slack', 'discord', 'teams', 'pagerduty', 'opsgenie', 'webhook'] as const;
export type PreferenceChannel = (typeof preferenceChannels)[number];

export function isPreferenceChannel(text: string): text is PreferenceChannel {
  return (preferenceChannels as readonly string[]).includes(text);
}

export const preferenceModes = ['instant', 'digest', 'off'] as const;
export type PreferenceMode = (typeof preferenceModes)[number];

/** Which events a preference is about. */
export type Selector =
  | { readonly kind: 'type'; readonly type: string }
  | { readonly kind: 'category'; readonly category: Category }
  | { readonly kind: 'all' };

/** By which way: one contact method, every one of a channel type (the app is one too), or all. */
export type Way =
  | { readonly kind: 'contact_method'; readonly id: string }
  | { readonly kind: 'channel_type'; readonly channelType: PreferenceChannel }
  | { readonly kind: 'any' };

/** How somebody wants to hear of something. Of one owner no two have the same project, selector and way. */
export interface Preference {
  readonly id: string;
  readonly version: number;
  /** Null: events of every project and of none. */
  readonly projectId: string | null;
  readonly selector: Selector;
  readonly way: Way;
  readonly mode: PreferenceMode;
  /** What is below it is off. */
  readonly minSeverity: Severity | null;
  /** What is of none of them is off; empty: of any and of none. */
  readonly environments: readonly string[];
}

/** What of an event preferences look at. */
export type PreferredEvent = Pick<MatchedEvent, 'type' | 'category' | 'severity' | 'projectId' | 'environment'>;

/** Where a message would go: in the app, or to a contact method. */
export interface Reach {
  readonly channelType: string;
  readonly contactMethodId: string | null;
}

export type PreferenceLayer = 'user' | 'project' | 'organization';

/** Preferences of the person, of the event's project and of the organization: whoever has one that applies decides. */
export type PreferenceLayers = Readonly<Record<PreferenceLayer, readonly Preference[]>>;

export interface PreferenceChoice {
  mode: PreferenceMode;
  reason: 'preference' | 'project_default' | 'org_default' | 'builtin_default' | 'preference_off' | 'preference_filter';
  /** Null: built in. */
  winner: { layer: PreferenceLayer; preference: Preference } | null;
  /** Those that apply too, in the order in which they would have decided. */
  losers: Array<{ layer: PreferenceLayer; preference: Preference }>;
}

const reasons = { user: 'preference', project: 'project_default', organization: 'org_default' } as const;

/**
 * How `event` goes to `reach`. The first layer with a preference for it decides; in one layer a project's outranks all projects', then a
 * type a category, then a contact method a channel type. A preference owns its selector: what fails its filters is off, and no other is asked.
 * The app has no digest, for its reader looks when he likes: what is to be in digests by any way is there at once.
 */
export function choosePreference(event: PreferredEvent, reach: Reach, layers: PreferenceLayers): PreferenceChoice {
  const applying = (['user', 'project', 'organization'] as const).flatMap((layer) =>
    layers[layer]
      .filter((preference) => applies(preference, event, reach))
      .toSorted((a, b) => compareRanks(rankOf(a), rankOf(b)))
      .map((preference) => ({ layer, preference })),
  );
  const [winner, ...losers] = applying;
  if (winner === undefined) {
    const mode = reach.channelType === 'in_app' ? 'instant' : 'off';
    return { mode, reason: mode === 'off' ? 'preference_off' : 'builtin_default', winner: null, losers: [] };
  }
  const { layer, preference } = winner;
  if (preference.mode === 'off') return { mode: 'off', reason: 'preference_off', winner, losers };
  if (!passesFilters(preference, event)) return { mode: 'off', reason: 'preference_filter', winner, losers };
  const mode = reach.channelType === 'in_app' ? 'instant' : preference.mode;
  return { mode, reason: reasons[layer], winner, losers };
}

function applies({ projectId, selector, way }: Preference, event: PreferredEvent, reach: Reach): boolean {
  if (projectId !== null && projectId !== event.projectId) return false;
  if (selector.kind === 'type' && selector.type !== event.type) return false;
  if (selector.kind === 'category' && selector.category !== event.category) return false;
  if (way.kind === 'contact_method') return way.id === reach.contactMethodId;
  return way.kind === 'any' || way.channelType === reach.channelType;
}

function passesFilters({ minSeverity, environments }: Preference, event: PreferredEvent): boolean {
  if (minSeverity !== null && !isAtLeast(event.severity, minSeverity)) return false;
  return environments.length === 0 || (event.environment !== null && environments.includes(event.environment));
}

const selectorRanks = { type: 0, category: 1, all: 2 } as const;
const wayRanks = { contact_method: 0, channel_type: 1, any: 2 } as const;

/** The smallest decides. No two that apply to the same reach have the same: their owner would have two of one key. */
function rankOf({ projectId, selector, way }: Preference): readonly number[] {
  return [projectId === null ? 1 : 0, selectorRanks[selector.kind], wayRanks[way.kind]];
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (const [i, rank] of a.entries()) if (rank !== b[i]) return rank - b[i]!;
  return 0;
}

/** What there may be one of for each owner. */
export function preferenceKey({ projectId, selector, way }: Pick<Preference, 'projectId' | 'selector' | 'way'>): string {
  const about = selector.kind === 'type' ? selector.type : selector.kind === 'category' ? selector.category : '';
  const by = way.kind === 'contact_method' ? way.id : way.kind === 'channel_type' ? way.channelType : '';
  return JSON.stringify([projectId, selector.kind, about, way.kind, by]);
}
