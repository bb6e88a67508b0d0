import { z } from 'zod';
import type { StoredPreferences } from '../db/queries/preferences.ts';
import type { EventTypes } from '../domain/custom-event-type.ts';
import { categories } from '../domain/event-type.ts';
import { fromWireId, toWireId } from '../domain/id.ts';
import {
  isPreferenceChannel,
  type Preference,
  preferenceChannels,
  preferenceModes,
  type Selector,
  type Way,
} from '../domain/preference.ts';
import { defaultTimeZone, type PreferenceDraft, preferenceRules } from '../domain/preference-set.ts';
import { defaultBreakThrough, type QuietHours } from '../domain/quiet-hours.ts';
import { severities } from '../domain/severity.ts';
import { timeZone } from './calendar-fields.ts';
import { eventPattern } from './event-pattern.ts';
import { distinct, presentedId, presentedTime, text, wireId } from './schema.ts';

/** The way that a text on the wire names; undefined when it names none. */
export function readWay(name: string): Way | undefined {
  if (name === 'any') return { kind: 'any' };
  if (isPreferenceChannel(name)) return { kind: 'channel_type', channelType: name };
  const id = fromWireId('contact_method', name);
  return id === undefined ? undefined : { kind: 'contact_method', id };
}

const way = z
  .string()
  .max(100)
  .transform((name, context) => {
    const read = readWay(name);
    if (read !== undefined) return read;
    const message = `must be one of ${preferenceChannels.join(', ')}, any, or the id of a contact method`;
    context.addIssue({ code: 'custom', message, params: { code: 'unknown_channel' } });
    return z.NEVER;
  })
  .meta({ description: 'A channel type, the id of a contact method, or `any`.', example: 'email' });

/** Of `type`, `category` and `all` one is given: `inspectPreferences` asks for it, so that it is told with the other faults of a rule. */
const defaultRule = z
  .strictObject({
    type: eventPattern
      .refine((type) => !type.includes('*'), { error: 'must be one event type', params: { code: 'not_exact' } })
      .optional()
      .meta({ description: 'Instead of `category` and `all`.' }),
    category: z.enum(categories).optional().meta({ description: 'Instead of `type` and `all`.' }),
    all: z.literal(true).optional().meta({ description: 'Instead of `type` and `category`.' }),
    channel: way,
    mode: z.enum(preferenceModes).meta({ description: 'The app has no `digest`.' }),
    minSeverity: z.enum(severities).nullable().default(null).meta({ description: 'What is below it is off.' }),
    environments: distinct(text(1, 256), { max: preferenceRules.environments })
      .default([])
      .meta({ description: 'What is of none of them is off. Empty: of any and of none.', example: ['production'] }),
  })
  .meta({ id: 'ProjectPreferenceInput' });

const rule = defaultRule
  .extend({
    projectId: wireId('project').nullable().default(null).meta({ description: 'Null: events of every project and of none.' }),
  })
  .meta({ id: 'PreferenceInput' });

const rulesOf = <T extends z.ZodType>(item: T) =>
  z
    .array(item)
    .max(preferenceRules.perOwner)
    .meta({
      description: `At most ${preferenceRules.perOwner}, no two of which have the same project, type, category or \`all\`, and channel.`,
    });

export const quietHours = z
  .strictObject({
    times: z
      .array(z.strictObject({ start: z.string().max(40), end: z.string().max(40) }))
      .max(20)
      .meta({ description: 'From `start` until `end`, not at it: `HH:MM`; an end before its start is of the next day.' }),
    weekdays: z
      .array(z.string().max(40))
      .exactOptional()
      .meta({ description: 'On which they begin. Absent: every day.', example: ['monday:friday'] }),
    breakThrough: z.enum(severities).default(defaultBreakThrough).meta({ description: 'From this severity on nothing waits.' }),
  })
  .meta({ id: 'QuietHoursInput', example: { times: [{ start: '22:00', end: '07:00' }] } }) satisfies z.ZodType<QuietHours>;

const shownQuietHours = quietHours.extend({ breakThrough: z.enum(severities) }).meta({ id: 'QuietHours' });

/** What an owner can write, by its kind. */
export const preferenceBodies = {
  user: z
    .strictObject({
      rules: rulesOf(rule),
      timeZone: timeZone.default(defaultTimeZone),
      quietHours: quietHours.nullable().default(null).meta({ description: 'Null: none.' }),
    })
    .meta({ id: 'PreferencesInput' }),
  organization: z.strictObject({ rules: rulesOf(rule) }).meta({ id: 'DefaultPreferencesInput' }),
  project: z.strictObject({ rules: rulesOf(defaultRule) }).meta({ id: 'ProjectPreferencesInput' }),
};

type RuleInput = Omit<z.output<typeof rule>, 'projectId'> & { readonly projectId?: string | null };

/** A rule as the domain has it, by the canonical name of its type. */
export function draftOf(input: RuleInput, types: Pick<EventTypes, 'known'>): PreferenceDraft {
  return {
    projectId: input.projectId ?? null,
    selector: readSelector(input, types) ?? { kind: 'all' },
    way: input.channel,
    mode: input.mode,
    minSeverity: input.minSeverity,
    environments: input.environments,
  };
}

/** What the rule is about, of what it has; undefined when that is nothing. */
export function readSelector(
  { type, category, all }: Pick<RuleInput, 'type' | 'category' | 'all'>,
  types: Pick<EventTypes, 'known'>,
): Selector | undefined {
  if (type !== undefined) return { kind: 'type', type: types.known(type)?.type ?? type };
  if (category !== undefined) return { kind: 'category', category };
  return all === true ? { kind: 'all' } : undefined;
}

/** A rule that nobody has written yet. */
export const shownDraft = z
  .strictObject({
    type: z.string().optional(),
    category: z.enum(categories).optional(),
    all: z.literal(true).optional(),
    projectId: presentedId('project').nullable(),
    channel: z.string(),
    mode: z.enum(preferenceModes),
    minSeverity: z.enum(severities).nullable(),
    environments: z.array(z.string()),
  })
  .meta({ id: 'PreferenceDraft' });

export const shownPreference = shownDraft
  .extend({
    id: presentedId('preference').meta({ description: 'It stays while a rule is about the same by the same channel.' }),
    version: z.int(),
  })
  .meta({ id: 'Preference' });

const versioned = {
  version: z.int().meta({ description: '0: nothing has been written yet.' }),
  updatedAt: presentedTime.nullable(),
};

export const shownPreferences = z
  .strictObject({ rules: z.array(shownPreference), timeZone: z.string(), quietHours: shownQuietHours.nullable(), ...versioned })
  .meta({ id: 'Preferences' });

export const shownDefaults = z.strictObject({ rules: z.array(shownPreference), ...versioned }).meta({ id: 'DefaultPreferences' });

export function presentDraft({ projectId, selector, way: by, mode, minSeverity, environments }: PreferenceDraft) {
  return {
    ...presentSelector(selector),
    projectId: projectId === null ? null : toWireId('project', projectId),
    channel: by.kind === 'contact_method' ? toWireId('contact_method', by.id) : by.kind === 'any' ? 'any' : by.channelType,
    mode,
    minSeverity,
    environments: [...environments],
  };
}

function presentSelector(selector: Selector) {
  if (selector.kind === 'type') return { type: selector.type };
  return selector.kind === 'category' ? { category: selector.category } : { all: true as const };
}

export function presentPreference(preference: Preference) {
  return { id: toWireId('preference', preference.id), version: preference.version, ...presentDraft(preference) };
}

/** @param row null: nothing has been written yet */
export function presentDefaults(row: StoredPreferences | null, rules: readonly Preference[]) {
  return { rules: rules.map(presentPreference), version: row?.version ?? 0, updatedAt: row?.updatedAt.toISOString() ?? null };
}

/** The same of a person. */
export function presentPreferences(row: StoredPreferences | null, rules: readonly Preference[]) {
  return { ...presentDefaults(row, rules), timeZone: row?.timeZone ?? defaultTimeZone, quietHours: row?.quietHours ?? null };
}
