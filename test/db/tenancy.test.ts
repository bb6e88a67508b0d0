import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import pg from 'pg';
import { ProjectEntity } from '../../db/entities/project.ts';
import { migrate } from '../../db/mikro-orm.config.ts';
import { inOrganization } from '../../db/tenant.ts';
import { startApi } from '../api/start-api.ts';
import type { TestApi, TestOrganization } from '../api/start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let theirs: TestOrganization;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization('Ours');
  theirs = await api.buildOrganization('Theirs');
  for (const { key } of [ours, theirs]) await api.request('POST', '/projects', { key, body: { name: 'P' } });
});
afterAll(() => api.stop());

/** As the login that migrates, which owns the tables. */
async function asOwner<T extends pg.QueryResultRow>(text: string, databaseUrl = api.databaseUrl): Promise<T[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<T>(text)).rows;
  } finally {
    await client.end();
  }
}

describe('row-level security', () => {
  test('covers every table that has an organization', async () => {
    const open = await asOwner<{ name: string }>(`
      select c.oid::regclass::text as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id'
      where c.relkind in ('r', 'p') and not c.relispartition and not c.relrowsecurity and c.relnamespace in ('public'::regnamespace, 'audit'::regnamespace)`);
    expect(open).toEqual([]);
  });

  test('hides what a query without a condition would show, and everything without an organization', async () => {
    const rows = await inOrganization(api.orm, ours.id, (em) => em.find(ProjectEntity, {}));
    expect(rows.map(({ orgId }) => orgId)).toEqual([ours.id]);
    const { rows: none } = await sql`select * from project`.execute(api.orm.em.fork().getKysely());
    expect(none).toEqual([]);
  });

  test('refuses rows of another organization, and changes none', async () => {
    await expect(
      inOrganization(api.orm, ours.id, async (em) => {
        const now = new Date();
        const id = '0198c0de-0000-7000-8000-000000000001';
        em.create(ProjectEntity, {
          id,
          orgId: theirs.id,
          name: 'x',
          nameKey: 'x',
          description: '',
          version: 1,
          createdAt: now,
          updatedAt: now,
        });
      }),
    ).rejects.toThrow('row-level security');
    const changed = await inOrganization(api.orm, ours.id, (em) => em.nativeUpdate(ProjectEntity, { orgId: theirs.id }, { name: 'x' }));
    expect(changed).toBe(0);
  });

  test('is not given up when the transaction ends: a pooled connection remembers no organization', async () => {
    for (let i = 0; i < 20; i += 1) {
      await inOrganization(api.orm, i % 2 === 0 ? ours.id : theirs.id, (em) => em.count(ProjectEntity, {}));
      const { rows } = await sql`select * from project`.execute(api.orm.em.fork().getKysely());
      expect(rows).toEqual([]);
    }
  });
});

describe('functions that see every organization', () => {
  test('pin their search path and are not for everybody', async () => {
    const loose = await asOwner(`
      select proname from pg_proc
      where prosecdef and pronamespace in ('public'::regnamespace, 'audit'::regnamespace)
        and (proconfig is null or not exists (select from unnest(proconfig) c where c like 'search_path=%'))`);
    expect(loose).toEqual([]);
    const open = await asOwner(`
      select proname from pg_proc where proname in ('authenticate_api_key', 'any_organization', 'delete_expired_idempotency')
        and has_function_privilege('public', oid, 'execute')`);
    expect(open).toEqual([]);
  });
});

describe('migrations', () => {
  test('of several databases of one cluster run at once, also as a login that may only create roles', async () => {
    const suffix = Math.random().toString(36).slice(2, 10);
    const login = `migrator_${suffix}`;
    const names = [`m1_${suffix}`, `m2_${suffix}`, `m3_${suffix}`];
    const url = (name: string, user?: string) => {
      const changed = new URL(api.databaseUrl);
      changed.pathname = `/${name}`;
      if (user !== undefined) changed.username = user;
      if (user !== undefined) changed.password = 'x';
      return changed.href;
    };
    await asOwner(`create role ${login} login password 'x' createrole`);
    await asOwner(`grant tocsin_app, tocsin_relay, tocsin_sequencer to ${login} with admin option`);
    try {
      for (const name of names) await asOwner(`create database ${name} owner ${login}`);
      await Promise.all(names.map((name) => migrate(url(name, login))));
      const [row] = await asOwner<{ done: boolean }>(`select to_regclass('api_key') is not null as done`, url(names[0]!));
      expect(row?.done).toBe(true);
    } finally {
      for (const name of names) await asOwner(`drop database if exists ${name} with (force)`);
      await asOwner(`drop owned by ${login}`);
      await asOwner(`drop role ${login}`);
    }
  });

  test('without the right to create or grant roles say in one sentence what to run', async () => {
    const login = `powerless_${Math.random().toString(36).slice(2, 10)}`;
    await asOwner(`create role ${login} login password 'x'`);
    await asOwner(`create database ${login} owner ${login}`);
    try {
      const url = Object.assign(new URL(api.databaseUrl), { pathname: `/${login}`, username: login, password: 'x' });
      await expect(migrate(url.href)).rejects.toThrow(
        /The login \w+ may not .* as a superuser run: create role tocsin_app nologin; .* grant tocsin_app, tocsin_relay, tocsin_sequencer to \w+;/,
      );
    } finally {
      await asOwner(`drop database ${login} with (force)`);
      await asOwner(`drop role ${login}`);
    }
  });
});
