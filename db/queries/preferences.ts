import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import type { Preference, PreferenceLayer } from '../../domain/preference.ts';
import { ContactMethodEntity } from '../entities/contact-method.ts';
import { PreferencesEntity, type PreferencesRow } from '../entities/preferences.ts';
import { ProjectEntity } from '../entities/project.ts';

/** Whose preferences. Ids are UUIDs. */
export interface PreferenceOwner {
  readonly orgId: string;
  readonly ownerKind: PreferenceLayer;
  readonly ownerId: string;
}

/** What a row holds besides its owner. */
export type StoredPreferences = Pick<PreferencesRow, 'version' | 'rules' | 'timeZone' | 'quietHours' | 'updatedAt'>;

/** Null: the owner has none. */
export async function findPreferences(em: EntityManager, owner: PreferenceOwner): Promise<PreferencesRow | null> {
  return em.findOne(PreferencesEntity, { ...owner });
}

/** The same; until the transaction ends nobody else writes them. There may be no row yet that could be locked. */
export async function holdPreferences(em: EntityManager, owner: PreferenceOwner): Promise<PreferencesRow | null> {
  await sql`select lock_keys(${[`preferences ${owner.ownerKind} ${owner.ownerId}`]}::text[])`.execute(em.getKysely());
  return findPreferences(em, owner);
}

/** Without those about projects and contact methods that are gone. */
export async function livePreferences(em: EntityManager, { orgId }: PreferenceOwner, rules: readonly Preference[]): Promise<Preference[]> {
  const projectIds = rules.flatMap(({ projectId }) => projectId ?? []);
  const contactIds = rules.flatMap(({ way }) => (way.kind === 'contact_method' ? way.id : []));
  const only = { fields: ['id'] } as const;
  const wanted = (ids: string[]) => ({ orgId, id: { $in: ids }, deletedAt: null });
  const projects = projectIds.length === 0 ? [] : await em.find(ProjectEntity, wanted(projectIds), only);
  const contacts = contactIds.length === 0 ? [] : await em.find(ContactMethodEntity, wanted(contactIds), only);
  const live = new Set([...projects, ...contacts].map(({ id }) => id));
  return rules.filter(
    ({ projectId, way }) => (projectId === null || live.has(projectId)) && (way.kind !== 'contact_method' || live.has(way.id)),
  );
}

/** Who has a live preference about this very type, and is still there. At most a hundred of them. */
export async function findPreferringOwners(
  em: EntityManager,
  organizationId: string,
  type: string,
): Promise<Array<Omit<PreferenceOwner, 'orgId'> & { readonly name: string }>> {
  const selector = JSON.stringify({ kind: 'type', type });
  const { rows } = await sql<Omit<PreferenceOwner, 'orgId'> & { name: string }>`
    select p.owner_kind as "ownerKind", p.owner_id as "ownerId", coalesce(m.name, j.name, o.name) as name
      from preferences p
        left join member m on p.owner_kind = 'user' and m.id = p.owner_id and m.removed_at is null
        left join project j on p.owner_kind = 'project' and j.id = p.owner_id and j.deleted_at is null
        left join organization o on p.owner_kind = 'organization' and o.id = p.owner_id
      where p.org_id = ${organizationId} and coalesce(m.id, j.id, o.id) is not null and exists (
        select from jsonb_array_elements(p.rules) r
          where r->'selector' = ${selector}::jsonb
            and (r->>'projectId' is null or exists (select from project x where x.id = (r->>'projectId')::uuid and x.deleted_at is null))
            and (r->'way'->>'kind' <> 'contact_method'
              or exists (select from contact_method c where c.id = (r->'way'->>'id')::uuid and c.deleted_at is null)))
      order by p.owner_kind, p.owner_id limit 100`.execute(em.getKysely());
  return rows;
}
