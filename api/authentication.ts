import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { inOrganization } from '../db/tenant.ts';
import { ApiKeyEntity } from '../db/entities/api-key.ts';
import { apiKeyPattern, apiKeyState } from '../domain/api-key.ts';
import { sha256Hex } from '../domain/hash.ts';
import { effectivePermissions, rolePermissions } from '../domain/permission.ts';
import type { Role } from '../domain/permission.ts';
import type { Logger } from '../log.ts';
import type { Principal } from './authorization.ts';

/** Why a request was not let in. Only the log and the audit entry say which; the answer is the same for all. */
export type RefusalReason =
  | 'credentials_missing'
  | 'credentials_malformed'
  | 'key_unknown'
  | 'key_expired'
  | 'key_revoked'
  | 'owner_inactive';

export type Authenticated =
  | { readonly outcome: 'admitted'; readonly principal: Principal }
  | { readonly outcome: 'refused'; readonly reason: RefusalReason; readonly principal?: Principal };

export interface Authentication {
  /** Decides on the value of an `Authorization` header. Rejects only when the database cannot be asked. */
  authenticate(authorization: string | undefined, now: Date): Promise<Authenticated>;
  /** The same for a credential that was shown before, by `credentialOf` of it. */
  recognize(credential: string, now: Date): Promise<Authenticated>;
  /** Forgets what was looked up: after a key, role or status changed, the next request is decided afresh. */
  forget(): void;
}

// A key revoked through another process works at most this much longer.
const cacheMs = 2_000;
const cacheMax = 10_000;
const usedEveryMs = 60_000;

interface Found {
  readonly row: KeyRow | undefined;
  readonly principal: Principal | undefined;
}

/**
 * Authentication by API key. Looking a key up costs one SHA-256 and, at most every two seconds a key, one query; concurrent
 * requests with one key share it.
 */
export function createAuthentication({ orm, log }: { orm: MikroORM; log: Logger }): Authentication {
  const cache = new Map<string, { found: Promise<Found>; untilMs: number }>();
  const usedAtMs = new Map<string, number>();

  function find(digest: string, now: Date): Promise<Found> {
    const cached = cache.get(digest);
    if (cached !== undefined && cached.untilMs > now.getTime()) return cached.found;
    if (cache.size >= cacheMax) cache.clear();
    const found = findKey(orm, digest);
    cache.set(digest, { found, untilMs: now.getTime() + cacheMs });
    // A failed look-up says nothing about the key: the next request must ask again.
    found.catch(() => cache.delete(digest));
    return found;
  }

  function noteUse(principal: Principal, now: Date): void {
    const { id } = principal.apiKey;
    if (now.getTime() - (usedAtMs.get(id) ?? 0) < usedEveryMs) return;
    if (usedAtMs.size >= cacheMax) usedAtMs.clear();
    usedAtMs.set(id, now.getTime());
    inOrganization(orm, principal.organizationId, (em) => em.nativeUpdate(ApiKeyEntity, { id }, { lastUsedAt: now })).catch(
      (error: unknown) => log.warn('authentication', { organizationId: principal.organizationId, apiKeyId: id, error }),
    );
  }

  return {
    async authenticate(authorization, now) {
      if (authorization === undefined) return { outcome: 'refused', reason: 'credentials_missing' };
      const credential = credentialOf(authorization);
      return credential === undefined ? { outcome: 'refused', reason: 'credentials_malformed' } : this.recognize(credential, now);
    },
    async recognize(credential, now) {
      const { row, principal } = await find(credential, now);
      if (row === undefined || principal === undefined) return { outcome: 'refused', reason: 'key_unknown' };
      const state = apiKeyState({ expiresAt: toDate(row.expires_at), revokedAt: toDate(row.revoked_at) }, now);
      if (state !== 'active') return { outcome: 'refused', reason: state === 'expired' ? 'key_expired' : 'key_revoked', principal };
      if (!row.owner_active) return { outcome: 'refused', reason: 'owner_inactive', principal };
      noteUse(principal, now);
      return { outcome: 'admitted', principal };
    },
    forget: () => cache.clear(),
  };
}

/** What is known of a credential afterwards: SHA-256 (hex) of the API key in an `Authorization` header; undefined: there is none in it. */
export function credentialOf(authorization: string): string | undefined {
  const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  return token === undefined || !apiKeyPattern.test(token) ? undefined : sha256Hex(token);
}

interface KeyRow {
  api_key_id: string;
  api_key_name: string;
  org_id: string;
  owner_type: 'user' | 'service_account';
  owner_id: string;
  owner_name: string | null;
  owner_email: string | null;
  owner_role: Role | null;
  owner_permissions: string[] | null;
  owner_creator_id: string | null;
  owner_active: boolean;
  permissions: string[];
  /** Times come as PostgreSQL writes them: raw queries bypass the mapping of entities. */
  expires_at: string | null;
  revoked_at: string | null;
}

function toDate(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}

async function findKey(orm: MikroORM, digest: string): Promise<Found> {
  const query = sql<KeyRow>`select * from authenticate_api_key(decode(${digest}, 'hex'))`;
  const [row] = (await query.execute(orm.em.fork().getKysely())).rows;
  return { row, principal: row && toPrincipal(row) };
}

function toPrincipal(row: KeyRow): Principal {
  const owned = row.owner_role === null ? (row.owner_permissions ?? []) : rolePermissions[row.owner_role];
  return {
    organizationId: row.org_id,
    type: row.owner_type,
    id: row.owner_id,
    name: row.owner_name ?? '',
    email: row.owner_email ?? undefined,
    creatorId: row.owner_creator_id ?? undefined,
    apiKey: { id: row.api_key_id, name: row.api_key_name },
    permissions: effectivePermissions(row.permissions, owned),
  };
}
