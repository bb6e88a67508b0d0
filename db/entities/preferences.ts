import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { Preference, PreferenceLayer } from '../../domain/preference.ts';
import type { QuietHours } from '../../domain/quiet-hours.ts';

/** The preferences of one owner. Who has none has no row; rows are never deleted, whatever becomes of their owner. */
export const PreferencesEntity = defineEntity({
  name: 'Preferences',
  tableName: 'preferences',
  properties: {
    orgId: p.uuid().primary(),
    ownerKind: p.text().$type<PreferenceLayer>().primary(),
    /** Of a member, a project or the organization itself. */
    ownerId: p.uuid().primary(),
    version: p.integer(),
    rules: p.json<Preference[]>().columnType('jsonb'),
    /** Of people only, and always. */
    timeZone: p.text().nullable(),
    quietHours: p.json<QuietHours>().columnType('jsonb').nullable(),
    updatedAt: p.datetime(3),
  },
});
export type PreferencesRow = InferEntity<typeof PreferencesEntity>;
