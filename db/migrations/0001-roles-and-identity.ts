import { Migration } from '@mikro-orm/migrations';

/**
 * The roles that the pools take on (SET ROLE), and who may act: organizations, projects, members, service accounts and API keys.
 * The login that migrates owns every table; the roles own nothing and cannot bypass row security.
 */
const roles = ['tocsin_app', 'tocsin_relay', 'tocsin_sequencer'];

// Roles belong to the whole cluster: two databases migrated at once may both find one missing, and both grant it. The loser of
// such a race sees one of three errors, depending on how far the winner was; a retry then finds the work done.
const ensureRole = (role: string) => `do $$
declare tries int := 0;
begin
  loop
    begin
      if not exists (select from pg_roles where rolname = '${role}') then
        create role ${role} nologin nosuperuser nobypassrls;
      end if;
      -- since PostgreSQL 16 the creator of a role administers it without being able to take it on
      if not pg_has_role(current_user, '${role}', case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end) then
        execute format('grant ${role} to %I', current_user);
      end if;
      return;
    exception
      when duplicate_object or unique_violation or internal_error then
        tries := tries + 1;
        if tries > 20 then raise; end if;
        perform pg_sleep(0.05);
      when insufficient_privilege then
        raise exception 'The login % may not create or take on the role ${role}; as a superuser run: ${roles
          .map((name) => `create role ${name} nologin;`)
          .join(' ')} grant ${roles.join(', ')} to %;', current_user, quote_ident(current_user)
          using errcode = 'insufficient_privilege';
    end;
  end loop;
end $$`;

const ownRows = (table: string, column = 'org_id') => `
alter table ${table} enable row level security;
create policy ${table}_own on ${table} to tocsin_app
  using (${column} = nullif(current_setting('app.org_id', true), '')::uuid)
  with check (${column} = nullif(current_setting('app.org_id', true), '')::uuid)`;

export class Migration0001RolesAndIdentity extends Migration {
  override name = '0001-roles-and-identity';

  override up(): void {
    for (const role of roles) this.addSql(ensureRole(role));
    this.addSql(`grant usage on schema public to ${roles.join(', ')}`);
    this.createOrganizations();
    this.createOwners();
    this.createApiKeys();
    this.createIdempotency();
    this.createLookups();
  }

  private createOrganizations(): void {
    this.addSql(`
create table organization (
  id uuid primary key,
  name text not null,
  settings jsonb not null default '{}',
  version int not null default 1,
  created_at timestamptz(3) not null,
  updated_at timestamptz(3) not null
);
create table project (
  id uuid primary key,
  org_id uuid not null references organization,
  name text not null,
  name_key text not null,
  description text not null default '',
  version int not null default 1,
  created_at timestamptz(3) not null,
  updated_at timestamptz(3) not null,
  deleted_at timestamptz(3)
);
create unique index project_name on project (org_id, name_key) where deleted_at is null`);
    this.addSql(ownRows('organization', 'id'));
    this.addSql(ownRows('project'));
    this.addSql('grant select, insert, update on organization, project to tocsin_app');
  }

  private createOwners(): void {
    this.addSql(`
create table member (
  id uuid primary key,
  org_id uuid not null references organization,
  email text not null,
  email_key text not null,
  name text not null,
  role text not null check (role in ('owner', 'admin', 'operator', 'auditor', 'member')),
  personas text[] not null default '{}',
  status text not null check (status in ('invited', 'active', 'disabled')),
  version int not null default 1,
  created_at timestamptz(3) not null,
  updated_at timestamptz(3) not null,
  removed_at timestamptz(3)
);
create unique index member_email on member (org_id, email_key) where removed_at is null;
create table service_account (
  id uuid primary key,
  org_id uuid not null references organization,
  name text not null,
  name_key text not null,
  description text not null default '',
  permissions text[] not null,
  creator_id uuid not null,
  version int not null default 1,
  created_at timestamptz(3) not null,
  updated_at timestamptz(3) not null,
  deleted_at timestamptz(3)
);
create unique index service_account_name on service_account (org_id, name_key) where deleted_at is null`);
    this.addSql(ownRows('member'));
    this.addSql(ownRows('service_account'));
    this.addSql('grant select, insert, update on member, service_account to tocsin_app');
  }

  private createApiKeys(): void {
    this.addSql(`
create table api_key (
  id uuid primary key,
  org_id uuid not null references organization,
  name text not null,
  owner_type text not null check (owner_type in ('user', 'service_account')),
  owner_id uuid not null,
  key_hash bytea not null unique check (octet_length(key_hash) = 32),
  previous_key_hash bytea unique check (octet_length(previous_key_hash) = 32),
  previous_expires_at timestamptz(3),
  hint text not null,
  permissions text[] not null,
  expires_at timestamptz(3),
  revoked_at timestamptz(3),
  last_used_at timestamptz(3),
  creator_id uuid,
  created_at timestamptz(3) not null
);
create index api_key_owner on api_key (org_id, owner_id)`);
    this.addSql(ownRows('api_key'));
    this.addSql('grant select, insert, update on api_key to tocsin_app');
  }

  private createIdempotency(): void {
    this.addSql(`
create table idempotency (
  org_id uuid not null,
  principal_id uuid not null,
  key text not null,
  request_hash bytea not null,
  status int,
  headers jsonb,
  body bytea,
  created_at timestamptz(3) not null,
  primary key (org_id, principal_id, key)
);
create index idempotency_created on idempotency (created_at)`);
    this.addSql(ownRows('idempotency'));
    this.addSql('grant select, insert, update, delete on idempotency to tocsin_app');
  }

  /** What must be answered before an organization is known. These run as the owner of the tables and see every organization. */
  private createLookups(): void {
    this.addSql(`
create function authenticate_api_key(presented bytea) returns table (
  api_key_id uuid, api_key_name text, org_id uuid, owner_type text, owner_id uuid, owner_name text, owner_email text,
  owner_role text, owner_permissions text[], owner_creator_id uuid, owner_active boolean, permissions text[],
  expires_at timestamptz, revoked_at timestamptz
) language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select k.id, k.name, k.org_id, k.owner_type, k.owner_id, coalesce(m.name, s.name), m.email,
    m.role, s.permissions, s.creator_id,
    coalesce(m.status = 'active' and m.removed_at is null, s.deleted_at is null and s.id is not null), k.permissions,
    case when k.key_hash = presented then k.expires_at else least(k.expires_at, k.previous_expires_at) end, k.revoked_at
  from api_key k
    left join member m on k.owner_type = 'user' and m.org_id = k.org_id and m.id = k.owner_id
    left join service_account s on k.owner_type = 'service_account' and s.org_id = k.org_id and s.id = k.owner_id
  where k.key_hash = presented or k.previous_key_hash = presented
$$;
create function any_organization() returns boolean
  language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$ select exists (select from organization) $$;
create function delete_expired_idempotency(before timestamptz, max_rows int) returns int
  language sql security definer set search_path = pg_catalog, public, pg_temp as $$
  with gone as (
    delete from idempotency where ctid in (select ctid from idempotency where created_at < before limit max_rows) returning 1
  ) select count(*)::int from gone
$$;
revoke execute on function authenticate_api_key(bytea), any_organization(), delete_expired_idempotency(timestamptz, int) from public;
grant execute on function authenticate_api_key(bytea), any_organization() to tocsin_app;
grant execute on function delete_expired_idempotency(timestamptz, int) to tocsin_relay`);
  }
}
