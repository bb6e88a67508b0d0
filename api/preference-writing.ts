import type { EntityManager } from '@mikro-orm/postgresql';
import type { z } from 'zod';
import { PreferencesEntity, type PreferencesRow } from '../db/entities/preferences.ts';
import {
  findPreferences,
  holdPreferences,
  livePreferences,
  type PreferenceOwner,
  type StoredPreferences,
} from '../db/queries/preferences.ts';
import { validationFailed } from '../domain/errors.ts';
import { findEventType } from '../domain/event-type.ts';
import { newId } from '../domain/id.ts';
import type { Preference } from '../domain/preference.ts';
import { type PreferenceDraft, revisePreferences } from '../domain/preference-set.ts';
import type { QuietHours } from '../domain/quiet-hours.ts';
import type { AuditPart } from './audit-trail.ts';
import type { Principal } from './authorization.ts';
import type { Dependencies } from './dependencies.ts';
import type { TransactionContext } from './endpoint.ts';
import { holdTypes, unknownType } from './event-pattern.ts';
import { assertPerson } from './preference-faults.ts';
import { draftOf, type preferenceBodies, presentDefaults, presentPreferences } from './preference-fields.ts';
import { assertVersion, versionHeaders } from './version.ts';

/** What an owner writes. The last two are of people only, and theirs always. */
interface WrittenPreferences {
  readonly rules: readonly PreferenceDraft[];
  readonly timeZone: string | null;
  readonly quietHours: QuietHours | null;
}

interface Rewritten {
  readonly row: StoredPreferences;
  readonly before: StoredPreferences | null;
}

/** The caller's own. Throws `permission_denied` for who is no person. */
export function ownerOf(principal: Principal): PreferenceOwner {
  assertPerson(principal);
  return { orgId: principal.organizationId, ownerKind: 'user', ownerId: principal.id };
}

/** A person's preferences speak of them: what an entry tells of them belongs to them. */
function personalResource({ id, name }: Principal): NonNullable<AuditPart['resource']> {
  return { type: 'preference', id, name, subjectId: id };
}

/** Their version; that of preferences that nobody has written is 0. */
export const versionOf = (row: StoredPreferences | null) => ({ version: row?.version ?? 0 });

/** What the owner has, which nobody else changes until the transaction ends; null: nothing. Throws `stale_version`. */
export async function openPreferences(
  { em, ifMatch }: Pick<TransactionContext, 'em' | 'ifMatch'>,
  owner: PreferenceOwner,
): Promise<PreferencesRow | null> {
  const current = await holdPreferences(em, owner);
  assertVersion(versionOf(current), ifMatch);
  return current;
}

/** Writes over `current`, which was opened. Throws for types that are deleted meanwhile. */
async function writePreferences(
  { em, now, deps }: Pick<TransactionContext, 'em' | 'now' | 'deps'>,
  owner: PreferenceOwner,
  current: PreferencesRow | null,
  { rules, timeZone, quietHours }: WrittenPreferences,
): Promise<Rewritten> {
  await holdOwnTypes(em, deps, owner.orgId, rules);
  const revised = revisePreferences(current?.rules ?? [], rules, () => newId(now.getTime()));
  const written = { rules: revised, timeZone, quietHours, version: versionOf(current).version + 1, updatedAt: now };
  const before = current && storedOf(current);
  const row = current === null ? em.create(PreferencesEntity, { ...owner, ...written }) : em.assign(current, written);
  return { row, before };
}

/** The types among them that the organization has added are held against deletion. Throws for those that are deleted already. */
async function holdOwnTypes(
  em: EntityManager,
  { facts }: Pick<Dependencies, 'facts'>,
  organizationId: string,
  rules: readonly PreferenceDraft[],
): Promise<void> {
  const own = rules.flatMap(({ selector }, index) =>
    selector.kind === 'type' && findEventType(selector.type) === undefined
      ? [{ type: selector.type, pointer: `/rules/${index}/type` }]
      : [],
  );
  if (own.length === 0) return;
  await holdTypes(
    em,
    organizationId,
    own.map(({ type }) => type),
  );
  const { types } = await facts.read(em, organizationId);
  const gone = own.filter(({ type }) => types.find(type) === undefined);
  if (gone.length > 0) throw validationFailed(gone.map(({ pointer }) => ({ pointer, ...unknownType })));
}

/** As it is now, whatever is assigned to it. */
function storedOf({ version, rules, timeZone, quietHours, updatedAt }: StoredPreferences): StoredPreferences {
  return { version, rules, timeZone, quietHours, updatedAt };
}

type Presenter<T> = (row: StoredPreferences | null, rules: readonly Preference[]) => T;

/** Preferences as the API shows them. */
async function showPreferences<T>(
  em: EntityManager,
  owner: PreferenceOwner,
  row: StoredPreferences | null,
  present: Presenter<T>,
): Promise<T> {
  return present(row, await livePreferences(em, owner, row?.rules ?? []));
}

/** The answer that shows what the owner has. */
export async function readPreferences<T>(em: EntityManager, owner: PreferenceOwner, present: Presenter<T>) {
  const row = await findPreferences(em, owner);
  return { body: await showPreferences(em, owner, row, present), headers: versionHeaders(versionOf(row)) };
}

/** Replaces the defaults of a project or of the organization, which is the `resource` that the entry is about. */
export async function replaceDefaults(
  context: TransactionContext,
  owner: PreferenceOwner,
  { rules, ...about }: Pick<AuditPart, 'resource' | 'projectId'> & { rules: z.output<typeof preferenceBodies.organization>['rules'] },
) {
  const { em, deps, audit } = context;
  const types = await deps.intake.types(owner.orgId);
  const drafts = rules.map((rule) => draftOf(rule, types));
  const current = await openPreferences(context, owner);
  const { row, before } = await writePreferences(context, owner, current, { rules: drafts, timeZone: null, quietHours: null });
  const after = await showPreferences(em, owner, row, presentDefaults);
  audit({
    ...about,
    ...(before === null ? {} : { before: { preferences: await showPreferences(em, owner, before, presentDefaults) } }),
    after: { preferences: after },
  });
  return { body: after, headers: versionHeaders(row) };
}

/** Writes the caller's own over `current`, with its audit entry. */
export async function writeOwn(
  context: TransactionContext,
  owner: PreferenceOwner,
  current: PreferencesRow | null,
  written: WrittenPreferences,
): Promise<{ row: StoredPreferences; after: ReturnType<typeof presentPreferences> }> {
  const { em, principal, audit } = context;
  const { row, before } = await writePreferences(context, owner, current, written);
  const after = await showPreferences(em, owner, row, presentPreferences);
  audit({
    resource: personalResource(principal),
    ...(before === null ? {} : { before: await showPreferences(em, owner, before, presentPreferences) }),
    after,
  });
  return { row, after };
}
