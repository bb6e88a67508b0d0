import { z } from 'zod';
import { findPreferences, livePreferences } from '../db/queries/preferences.ts';
import { DomainError } from '../domain/errors.ts';
import { personas } from '../domain/member.ts';
import { comparePreset, type PresetDifference, presetOf, takePreset } from '../domain/preference-preset.ts';
import { defaultTimeZone, preferenceRules } from '../domain/preference-set.ts';
import { endpoint } from './endpoint.ts';
import { presentDraft, presentPreference, shownDraft, shownPreference } from './preference-fields.ts';
import { openPreferences, ownerOf, versionOf, writeOwn } from './preference-writing.ts';
import { versionHeaders } from './version.ts';

const difference = z
  .strictObject({
    role: z.enum(personas),
    applied: z.boolean(),
    add: z.array(shownDraft),
    replace: z
      .array(z.strictObject({ current: shownPreference, proposed: shownDraft }))
      .meta({ description: 'What the caller has about the same, and says something else: it stays unless `replace` is given.' }),
    keep: z.array(shownPreference).meta({ description: 'What the caller has that stays as it is either way.' }),
    version: z.int().meta({ description: "Of the caller's preferences, as they are now." }),
  })
  .meta({ id: 'PresetDifference' });

function presentDifference({ add, replace, keep }: PresetDifference) {
  return {
    add: add.map(presentDraft),
    replace: replace.map((each) => ({ current: presentPreference(each.current), proposed: presentDraft(each.proposed) })),
    keep: keep.map(presentPreference),
  };
}

const applyPreset = endpoint({
  name: 'preference.apply_preset',
  method: 'post',
  path: '/preferences/presets/{role}',
  tag: 'Preferences',
  summary: 'What the preset of a role would change, or change it',
  description: 'The rules are ordinary ones from then on. Taken again, a preset changes nothing.',
  permission: 'authenticated',
  audited: false,
  conditional: true,
  params: z.object({ role: z.enum(personas) }),
  query: z.strictObject({
    apply: z.stringbool().default(false).meta({ description: 'Writes it.' }),
    replace: z.stringbool().default(false).meta({ description: 'Also over rules that the caller has.' }),
  }),
  responses: { 200: { description: 'The difference from what the caller had.', schema: difference } },
  handler: async ({ input: { params, query }, ...context }) => {
    const { em, principal } = context;
    const owner = ownerOf(principal);
    const current = query.apply ? await openPreferences(context, owner) : await findPreferences(em, owner);
    const own = await livePreferences(em, owner, current?.rules ?? []);
    const change = comparePreset(own, presetOf(params.role));
    const body = { role: params.role, applied: query.apply, ...presentDifference(change) };
    const changes = change.add.length > 0 || (query.replace && change.replace.length > 0);
    if (!query.apply || !changes) return { body: { ...body, ...versionOf(current) }, headers: versionHeaders(versionOf(current)) };
    const rules = takePreset(own, change, query);
    if (rules.length > preferenceRules.perOwner) {
      throw new DomainError('wrong_state', `You would have ${rules.length} rules; ${preferenceRules.perOwner} is the most.`);
    }
    const { timeZone, quietHours } = current ?? { timeZone: defaultTimeZone, quietHours: null };
    const { row } = await writeOwn(context, owner, current, { rules, timeZone: timeZone ?? null, quietHours: quietHours ?? null });
    return { body: { ...body, version: row.version }, headers: versionHeaders(row) };
  },
});

export const preferencePresetEndpoints = [applyPreset];
