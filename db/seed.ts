import { createHash, randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { apiKeyHint, makeApiKey } from '../domain/api-key.ts';
import type { AuditDraft } from '../domain/audit/entry.ts';
import { newId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import { permissions } from '../domain/permission.ts';
import { appendAudit } from './audit-log.ts';
import { ApiKeyEntity } from './entities/api-key.ts';
import { MemberEntity } from './entities/member.ts';
import { OrganizationEntity } from './entities/organization.ts';
import { ProjectEntity } from './entities/project.ts';
import { openDatabase } from './mikro-orm.config.ts';
import { inOrganization } from './tenant.ts';

export interface SeedOptions {
  readonly databaseUrl: string;
  /** The owner's API key: `tsn_` and at least 32 letters or digits. Absent = one is generated. */
  readonly bootstrapKey?: string | undefined;
  readonly now: Date;
}

export interface Seeded {
  readonly created: boolean;
  /** Only when one was generated now: it is stored nowhere else. */
  readonly apiKey?: string;
  /** UUID; only when created. */
  readonly organizationId?: string;
}

/**
 * Makes the first organization where there is none: "Demo" with an owner, a project and the owner's API key. Any number of
 * processes may start at once; one of them makes it.
 */
export async function seedFirstOrganization({ databaseUrl, bootstrapKey, now }: SeedOptions): Promise<Seeded> {
  const orm = await openDatabase({ databaseUrl, role: 'tocsin_app', poolMax: 1, applicationName: 'tocsin_seed' });
  try {
    const key = bootstrapKey ?? makeApiKey(randomBytes);
    const organizationId = await seed(orm, key, now);
    if (organizationId === undefined) return { created: false };
    return { created: true, organizationId, ...(bootstrapKey === undefined ? { apiKey: key } : {}) };
  } finally {
    await orm.close(true);
  }
}

async function seed(orm: MikroORM, key: string, now: Date): Promise<string | undefined> {
  const organizationId = newId(now.getTime());
  return inOrganization(orm, organizationId, async (em) => {
    const db = em.getKysely();
    await sql`select pg_advisory_xact_lock(hashtextextended('tocsin.seed', 0))`.execute(db);
    const { rows } = await sql<{ found: boolean }>`select any_organization() as found`.execute(db);
    if (rows[0]?.found !== false) return undefined;
    await appendAudit(em, await createDemo(em, { organizationId, key, now }));
    return organizationId;
  });
}

async function createDemo(em: EntityManager, { organizationId, key, now }: { organizationId: string; key: string; now: Date }) {
  const common = { orgId: organizationId, version: 1, createdAt: now, updatedAt: now };
  const organization = em.create(OrganizationEntity, {
    id: organizationId,
    name: 'Demo',
    settings: {},
    version: 1,
    createdAt: now,
    updatedAt: now,
  });
  // tables refer to the organization by foreign key, and entities do not know of each other: its row goes first
  await em.flush();
  const owner = em.create(MemberEntity, {
    ...common,
    id: newId(now.getTime()),
    email: 'owner@example.com',
    emailKey: foldName('owner@example.com'),
    name: 'Owner',
    role: 'owner',
    personas: [],
    status: 'active',
  });
  const project = em.create(ProjectEntity, {
    ...common,
    id: newId(now.getTime()),
    name: 'Default',
    nameKey: foldName('Default'),
    description: '',
  });
  const apiKey = em.create(ApiKeyEntity, {
    id: newId(now.getTime()),
    orgId: organizationId,
    name: 'Bootstrap',
    ownerType: 'user',
    ownerId: owner.id,
    keyHash: createHash('sha256').update(key).digest(),
    hint: apiKeyHint(key),
    permissions: [...permissions],
    createdAt: now,
  });
  await em.flush();
  const draft = (action: string, type: string, { id, name }: { id: string; name: string }): AuditDraft => ({
    orgId: organizationId,
    actor: { type: 'system', id: 'system', subsystem: 'bootstrap' },
    action,
    resource: { type, id, name },
  });
  return [
    draft('organization.create', 'organization', organization),
    draft('member.join', 'member', owner),
    draft('project.create', 'project', project),
    draft('api_key.create', 'api_key', apiKey),
  ];
}
