import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import type { PersonalPreferences, PreferenceFacts, PreferenceSet } from '../../domain/preference-set.ts';
import { defaultTimeZone } from '../../domain/preference-set.ts';
import type { PreferencesRow } from '../entities/preferences.ts';

type FactRow = Pick<PreferencesRow, 'ownerKind' | 'ownerId' | 'version' | 'rules' | 'timeZone' | 'quietHours'>;

/** Preferences that were read when the routing configuration was at this version. */
export interface KnownPreferences {
  readonly version: string;
  readonly preferences: PreferenceFacts;
}

const none: PreferenceFacts = { users: new Map(), projects: new Map(), organization: null };

/**
 * Everybody's preferences. Of ten thousand people each changes theirs now and then: what is `known` is kept, and only what was written since
 * is read. Whoever commits a change holds the version until then, so no row at or below the known one can appear later.
 */
export async function readPreferenceFacts(
  em: EntityManager,
  organizationId: string,
  known: KnownPreferences = { version: '-1', preferences: none },
): Promise<PreferenceFacts> {
  const { rows } = await sql<FactRow>`
    select owner_kind as "ownerKind", owner_id as "ownerId", version, rules, time_zone as "timeZone", quiet_hours as "quietHours"
      from preferences where org_id = ${organizationId} and routing_version > ${known.version}::bigint`.execute(em.getKysely());
  const { preferences } = known;
  if (rows.length === 0) return preferences;
  const users = new Map(preferences.users);
  const projects = new Map(preferences.projects);
  let { organization } = preferences;
  for (const row of rows) {
    if (row.ownerKind === 'user') users.set(row.ownerId, personalOf(row));
    else if (row.ownerKind === 'project') projects.set(row.ownerId, setOf(row));
    else organization = setOf(row);
  }
  return { users, projects, organization };
}

function setOf({ version, rules }: FactRow): PreferenceSet {
  return { version, rules };
}

function personalOf(row: FactRow): PersonalPreferences {
  return { ...setOf(row), timeZone: row.timeZone ?? defaultTimeZone, quietHours: row.quietHours ?? null };
}
